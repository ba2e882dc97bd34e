"""Reading tar files, plain or compressed, as a sequence of members; nothing is ever extracted to disk."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from pool3.errors import SourceError

DAMAGE = (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, LookupError)
"""What reading a damaged or hostile tar file can raise."""

_SKIP = 1 << 20


class _StrictTarInfo(tarfile.TarInfo):
    """Refuses a damaged header in mid-file, which `tarfile` takes for the end, losing all that follows."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> _StrictTarInfo:
        offset = tarfile_.offset
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            if type(error).__name__ in ("EOFHeaderError", "EmptyHeaderError"):
                raise
            raise tarfile.ReadError(f"{error} at byte {offset}") from error


def open_stream(path: Path) -> IO[bytes]:
    """Open the uncompressed bytes of a file; gzip, bzip2 and xz are told by their first bytes.

    Seeking forward decompresses on from where the stream stands; seeking backward begins anew.
    """
    with path.open("rb") as file:
        head = file.read(10)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(path))
    if head.startswith(b"BZh") and head[4:] in (
        b"1AY&SY",
        b"\x17rE8P\x90",
    ):  # a name in a tar may begin with BZh
        return cast(IO[bytes], bz2.open(path))
    if head.startswith(b"\xfd7zXZ\x00"):
        return cast(IO[bytes], lzma.open(path))
    return path.open("rb")


@contextmanager
def open_tar(path: Path) -> Iterator[Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]]:
    """Give an iterator over the members; read to its end, it has checked every header and compressed byte.

    Raises:
        SourceError: the file is no tar file, damaged or truncated.
    """
    try:
        with (
            open_stream(path) as stream,
            tarfile.TarFile(
                fileobj=stream, tarinfo=_StrictTarInfo, encoding="utf-8", errors="surrogateescape"
            ) as tar,
        ):
            yield _members(tar, stream)
    except SourceError:
        raise
    except DAMAGE as error:
        raise SourceError(
            f"{path} cannot be listed as a tar file ({error}): it is damaged or truncated, so fetch it again"
        ) from error


def _members(tar: tarfile.TarFile, stream: Any) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    kept: list[tarfile.TarInfo] = vars(tar)["members"]
    while (member := tar.next()) is not None:
        yield member, tar
        kept.clear()  # they would take about a kilobyte each
    while stream.read(_SKIP):  # past the end mark, so that a compressed file's own checksum is reached
        continue
