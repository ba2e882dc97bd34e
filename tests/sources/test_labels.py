import numpy as np
import pytest

from pool3.errors import SourceError
from pool3.sources.labels import from_first_folder, from_indices, from_names, from_values, no_labels


def test_names_are_numbered_in_natural_order() -> None:
    numbers, names = from_names(["c10", "c2", None, "c10"])
    assert names == ("c2", "c10")
    assert numbers.tolist() == [1, 0, -1, 1]


def test_first_folder() -> None:
    numbers, names = from_first_folder(["b/x.png", "a/b/y.png", "z.png"])
    assert names == ("a", "b")
    assert numbers.tolist() == [1, 0, -1]
    assert from_first_folder(["z.png"])[1] == ()


def test_integers_keep_their_values_as_names() -> None:
    numbers, names = from_values([3, 0, 1, 2], 4, "it")
    assert (numbers.tolist(), names) == ([3, 0, 1, 2], ("0", "1", "2", "3"))
    numbers, names = from_values(np.array([7, -1, 10**9]), 3, "it")
    assert (numbers.tolist(), names) == ([0, -1, 1], ("7", "1000000000"))
    numbers, names = from_values(np.array([2**64 - 1, 0], np.uint64), 2, "it")
    assert (numbers.tolist(), names) == ([1, 0], ("0", str(2**64 - 1)))
    numbers, names = from_values([-1, -1], 2, "it")
    assert (numbers.tolist(), names) == ([-1, -1], ())
    assert numbers.dtype == np.int32


def test_strings_are_escaped_and_in_natural_order() -> None:
    numbers, names = from_values(["b\n", "a10", "a9"], 3, "it")
    assert (numbers.tolist(), names) == ([2, 1, 0], ("a9", "a10", "b\\x0a"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, 2], "shape"),
        ([[1, 2, 3]], "shape"),
        ([0.0, 1, 2], "float64"),
        ([True, False, True], "bool"),
        ([0, -2, 1], "-2"),
    ],
)
def test_other_labels_are_refused(values: list[object], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        from_values(values, 3, "it")  # type: ignore[arg-type]


def test_indices_are_checked() -> None:
    assert from_indices([1, 0], ["a", "b"], "it")[0].tolist() == [1, 0]
    for bad in (-1, 2):
        with pytest.raises(SourceError, match=f"label {bad}"):
            from_indices([0, bad], ["a", "b"], "it")


def test_no_labels() -> None:
    numbers, names = no_labels(3)
    assert numbers.tolist() == [-1, -1, -1]
    assert names == ()
