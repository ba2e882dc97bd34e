"""What a report says: every figure of the page, and of its JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Mistake:
    """A tested row that was predicted wrong.

    Attributes:
        row: of the tested file.
        id: the image's.
        true: its class.
        predicted: what the classifier took it for.
        margin: decision score of the predicted class less that of the true one; None where the model has no scores.
    """

    row: int
    id: str
    true: str
    predicted: str
    margin: float | None


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two classes, and how often one was taken for the other.

    Attributes:
        true: the class of the rows.
        predicted: what they were taken for.
        count: how many.
        share: of the true class's rows in the test.
    """

    true: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True, slots=True)
class Examples:
    """Some rows of a class.

    Attributes:
        name: the class; None: rows without a label.
        rows: of the file, evenly spread over those of the class.
        ids: of these rows.
        count: all rows of the class.
    """

    name: str | None
    rows: tuple[int, ...]
    ids: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportResult:
    """What a report says.

    Attributes:
        output: the page.
        bytes: its size.
        files: of each feature file what `pool3.store.info` gives, with ``role`` (``train``, ``test`` or ``all``),
            ``blog_ratio`` (images a second by the blog's 33.3) and ``advice``.
        classification: `ClassifyResult.to_dict`, with ``recall_intervals`` (95 %, Wilson, one a class), ``confusions``,
            ``mistakes`` (count) and ``blog_accuracy``, ``cifar10`` (whether the classes are those of CIFAR-10);
            None where there is none.
        no_classification: why; empty where there is one.
        mistakes: the worst, the widest margin first.
        examples: by class, of the file that was trained on.
        projection: figures of the map; None where there is none.
        no_projection: why; empty where there is one.
        pictures: count of pictures on the page, the map's left out.
        picture_notes: what is missing among them and why, one text a file.
        seconds: wall time, by part: ``classify``, ``project``, ``pictures``, ``total``.
    """

    output: Path
    bytes: int
    files: tuple[dict[str, Any], ...]
    classification: dict[str, Any] | None
    no_classification: str
    mistakes: tuple[Mistake, ...]
    examples: tuple[Examples, ...]
    projection: dict[str, Any] | None
    no_projection: str
    pictures: int
    picture_notes: tuple[str, ...]
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """All of it, JSON-able; times rounded to the millisecond."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {
            "output": str(self.output),
            "files": list(self.files),
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
            "examples": [asdict(some) for some in self.examples],
            "picture_notes": list(self.picture_notes),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }
