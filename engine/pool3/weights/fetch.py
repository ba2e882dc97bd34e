"""Download a known file into the cache: resumed, verified, and moved into place in one step."""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from pool3._version import __version__
from pool3.errors import DownloadError, HashMismatchError
from pool3.weights.cache import cache_directory, offline_asked
from pool3.weights.hashes import verify_file
from pool3.weights.locks import exclusive
from pool3.weights.registry import KnownFile

Progress = Callable[[int, int | None], None]
"""Called with (bytes so far, bytes in all or None)."""

_BLOCK = 1 << 18
_TRIED_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_NETWORK_ERRORS = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


class _CutOffError(Exception):
    """The connection ended before the whole file had come."""


class _RefusedError(Exception):
    """The server will not give this file, however often it is asked."""


def by_hand(known: KnownFile) -> str:
    """How to get a known file without this module, as the end of a sentence."""
    return (
        f"get it from {' or '.join(known.urls)} ({known.algorithm} {known.digest}) and put it at "
        f"{cache_directory() / known.filename}"
    )


def cached(known: KnownFile, directory: Path | None = None) -> Path | None:
    """Return the path of a known file in the cache, verified; None where it is not there.

    Raises:
        HashMismatchError: a file of that name is there, with other bytes.
    """
    path = (directory or cache_directory()) / known.filename
    if not path.is_file():
        return None
    verify_file(path, known, "delete it, then fetch it again")
    return path


def fetch(
    known: KnownFile,
    *,
    offline: bool = False,
    progress: Progress | None = None,
    directory: Path | None = None,
    timeout: float = 30.0,
    attempts: int = 4,
    pause: float = 1.0,
) -> Path:
    """Return the path of a known file in the cache, downloading it first where needed.

    An interrupted download leaves ``FILENAME.part``, which the next call continues. Several processes may
    call this at once: one downloads, the others wait for it.

    Args:
        known: the file.
        offline: never touch the network; so does the environment variable ``POOL3_OFFLINE=1``.
        progress: called after every block.
        directory: in place of `cache_directory`.
        timeout: in seconds, for each wait on the network.
        attempts: for each URL.
        pause: in seconds, before the second attempt; doubled for each further one.

    Raises:
        DownloadError: the file could not be downloaded or written, or offline mode forbids it.
        HashMismatchError: what came, or what lies in the cache, is not the published file; a download is removed.
    """
    folder = directory or cache_directory()
    found = cached(known, folder)
    if found is not None:
        return found
    target = folder / known.filename
    if offline_asked(offline):
        raise DownloadError(
            f"{known.filename} is not here, and was not to be downloaded now; {by_hand(known)}."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / f".{known.filename}.lock"):
            found = cached(known, folder)  # another process may have been first
            if found is None:
                part = folder / f"{known.filename}.part"
                _download(known, part, progress, timeout, attempts, pause)
                _settle(known, part, target)
    except (DownloadError, HashMismatchError):
        raise
    except OSError as error:
        raise DownloadError(
            f"{target} could not be written ({error}); free space, or set POOL3_CACHE to a writable folder."
        ) from error
    return target


def _download(
    known: KnownFile, part: Path, progress: Progress | None, timeout: float, attempts: int, pause: float
) -> None:
    """Complete the part file from the first URL that gives it."""
    reasons: list[str] = []
    for url in known.urls:
        for attempt in range(attempts):
            if attempt:
                time.sleep(pause * 2 ** (attempt - 1))
            try:
                _receive(url, known, part, progress, timeout)
            except _RefusedError as error:
                reasons.append(f"{url}: {error}")
                break
            except (_CutOffError, *_NETWORK_ERRORS) as error:
                if attempt == attempts - 1:
                    reasons.append(f"{url}: {str(error) or type(error).__name__}")
            else:
                return
    raise DownloadError(f"{known.filename} could not be downloaded ({'; '.join(reasons)}); {by_hand(known)}.")


def _receive(url: str, known: KnownFile, part: Path, progress: Progress | None, timeout: float) -> None:
    """Make one request, and append to the part file what it gives."""
    have = part.stat().st_size if part.exists() else 0
    if have == known.size:
        return  # only the move into place was missing
    if have > known.size:
        part.unlink()
        have = 0
    headers = {"User-Agent": f"pool3/{__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # the server's file is shorter than what lies here
            part.unlink()
            raise _CutOffError("the server cannot continue this download") from None
        if error.code in _TRIED_AGAIN:
            raise _CutOffError(f"HTTP {error.code}") from None
        raise _RefusedError(f"HTTP {error.code}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, socket.gaierror):  # waiting mends a slow server, not a missing network
            raise _RefusedError("its host cannot be found") from None
        raise
    with response:
        begin = have if have and _continues(response, have) else 0  # a plain 200 starts from the first byte
        length = response.headers.get("Content-Length")
        total = begin + int(length) if length and length.isdigit() else None
        done = begin
        with part.open("r+b" if begin else "wb") as file:
            file.seek(begin)
            # one byte too many is enough to know that this is not the file; a server cannot fill the disk
            while done <= known.size and (block := response.read(min(_BLOCK, known.size + 1 - done))):
                file.write(block)
                done += len(block)
                if progress is not None:
                    progress(done, known.size)
            file.flush()
            os.fsync(file.fileno())
    if done < (known.size if total is None else total) and done < known.size:
        raise _CutOffError(f"the connection ended after {done} of {known.size} bytes")


def _continues(response: http.client.HTTPResponse, have: int) -> bool:
    """Tell whether the response starts where the part file ends."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    if response.status != 206:
        return False
    if match is None or int(match.group(1)) != have:
        raise _RefusedError("the server answered with another range than the one asked for")
    return True


def _settle(known: KnownFile, part: Path, target: Path) -> None:
    """Verify the part file, then give it its name; both survive a power cut once this returns."""
    try:
        verify_file(
            part, known, "the download was removed; try again, and if it repeats, get the file elsewhere"
        )
    except HashMismatchError:
        part.unlink()
        raise
    part.replace(target)
    if os.name == "posix":
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
