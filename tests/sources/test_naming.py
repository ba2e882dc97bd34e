import os
import random

import pytest

from pool3.sources.naming import escape, natural_key, unescape

NAMES = [
    b"plain.jpg",
    "grüße/日本.png".encode(),
    b"back\\slash",
    b"\\x41",
    b"new\nline",
    b"tab\t\r\x7f",
    b"\xff\xfe latin \xe9",
    b"\xe2\x80",
    "next\u0085line\u2028para\u2029".encode(),
    b"\x00",
    b"",
    bytes(range(256)),
]


@pytest.mark.parametrize("raw", NAMES)
def test_round_trip(raw: bytes) -> None:
    name = os.fsdecode(raw)
    assert unescape(escape(name)) == name
    assert escape(name).isprintable()
    assert escape(name).encode().decode() == escape(name)


def test_round_trip_of_random_bytes() -> None:
    rng = random.Random(3)
    names = {
        bytes(rng.choices(b"\\x4a/\n\xc3\xa9\xff\xe2\x80\xa8", k=rng.randrange(12))) for _ in range(3000)
    }
    escaped = {escape(os.fsdecode(raw)) for raw in names}
    assert len(escaped) == len(names)
    assert {os.fsencode(unescape(id_)) for id_ in escaped} == names


def test_what_escapes_look_like() -> None:
    assert escape("a b/ü.jpg") == "a b/ü.jpg"
    assert escape("a\\b") == "a\\\\b"
    assert escape("a\nb") == "a\\x0ab"
    assert escape(os.fsdecode(b"\xe9.jpg")) == "\\xe9.jpg"


@pytest.mark.parametrize("id_", ["a\\", "a\\n", "a\\x4", "a\\xZZ", "\\xAB"])
def test_a_lone_backslash_is_refused(id_: str) -> None:
    with pytest.raises(ValueError, match="lone backslash"):
        unescape(id_)


def test_natural_order() -> None:
    ordered = [
        "IMG3",
        "a",
        "a-1",
        "img",
        "img02",
        "img2",
        "img02b",
        "img2b",
        "img10",
        "img" + "9" * 6000,
        "img1" + "0" * 6000,
        "imh",
        "é",
    ]
    shuffled = ordered[:]
    random.Random(1).shuffle(shuffled)
    assert sorted(shuffled, key=natural_key) == ordered


def test_natural_order_takes_names_that_begin_with_digits_or_are_no_utf8() -> None:
    names = ["10", "9", "a9", os.fsdecode(b"\xff2"), os.fsdecode(b"\xff10"), ""]
    assert sorted(names, key=natural_key) == [
        "",
        "9",
        "10",
        "a9",
        os.fsdecode(b"\xff2"),
        os.fsdecode(b"\xff10"),
    ]
