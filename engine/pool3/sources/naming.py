"""Names of images: reversible escaping for ids, and the natural order of files.

An id is text that can be printed on one line and stored as UTF-8; a file's name is bytes. `escape` and
`unescape` are the bridge. Ids are kept as they are wherever a name is ordinary text without backslashes.
"""

from __future__ import annotations

import re
from typing import Any

_ODD = re.compile("[\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\udc80-\udcff]")
_ESCAPE = re.compile(rb"\\(?:(\\)|x([0-9a-f]{2}))?")
_DIGITS = re.compile(rb"([0-9]+)")


def escape(name: str) -> str:
    r"""Turn a name, as `os.fsdecode` returns it, into one line of valid UTF-8.

    A backslash becomes ``\\``; every byte that is not UTF-8, and every byte of a control character or line
    separator, becomes ``\xNN`` (two lower-case hexadecimal digits). All else stays.
    """
    return _ODD.sub(_escaped, name)


def _escaped(match: re.Match[str]) -> str:
    if match[0] == "\\":
        return "\\\\"
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))


def unescape(id_: str) -> str:
    """Undo `escape`.

    Raises:
        ValueError: `id_` holds a backslash that `escape` would not have written.
    """
    if "\\" not in id_:
        return id_
    return _ESCAPE.sub(_unescaped, id_.encode()).decode("utf-8", "surrogateescape")


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return b"\\"
    if match[2]:
        return bytes([int(match[2], 16)])
    raise ValueError(f"a lone backslash at byte {match.start()} of {match.string!r} is no escape of pool3's")


def natural_key(name: str) -> tuple[Any, bytes]:
    """Sort key of one path component: runs of ASCII digits count as integers, ties go by the raw bytes.

    So ``img2`` comes before ``img10``, and ``img02`` before ``img2``. Other bytes compare by value: upper
    case comes before lower case.
    """
    raw = name.encode("utf-8", "surrogateescape")
    pieces: list[Any] = _DIGITS.split(raw)  # text, digits, text, digits … text: types agree at each position
    for position in range(1, len(pieces), 2):
        digits = pieces[position].lstrip(b"0")
        pieces[position] = (len(digits), digits)  # orders as the integer does, at any length
    return pieces, raw
