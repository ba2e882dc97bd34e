"""What the two forms know of each operation in a chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Padding = Literal["SAME", "VALID"]
"""TensorFlow's names."""

Zeros = Padding | list[list[int]]
"""As its convolutions take them: by name, or so many before and after each axis of (B, H, W, C)."""


@dataclass(frozen=True, slots=True)
class Window:
    """A convolution or a pool, whatever is done to its result by element with it.

    Attributes:
        size: rows and columns that one result comes from.
        stride: the same down and across.
        padding: ``VALID``, or ``SAME`` with a stride of 1 and odd sizes: that is symmetric.
        run: (x (B, H, W, in), zeros) → (B, H', W', out); the zeros are ``VALID`` where the padding is, else explicit.

    Raises:
        ValueError: ``SAME`` with a stride or with an even size.
    """

    size: tuple[int, int]
    stride: int
    padding: Padding
    run: Callable[[Any, Zeros], Any]

    def __post_init__(self) -> None:
        if self.padding == "SAME" and (self.stride > 1 or not all(side % 2 for side in self.size)):
            raise ValueError(
                f"SAME pads {self.size} with a stride of {self.stride} unevenly; no band can be cut"
            )

    @property
    def margins(self) -> tuple[int, int]:
        """Rows and columns of zeros on each side."""
        rows, columns = self.size
        return (rows // 2, columns // 2) if self.padding == "SAME" else (0, 0)

    def results(self, rows: int) -> int:
        """Rows of the result of so many."""
        return (rows + 2 * self.margins[0] - self.size[0]) // self.stride + 1

    def padded(self, above: int, below: int) -> Zeros:
        """What `run` takes for a band with so many rows of zeros above and below."""
        if self.padding == "VALID":
            return "VALID"
        across = self.margins[1]
        return [[0, 0], [above, below], [across, across], [0, 0]]
