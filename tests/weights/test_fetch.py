from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pool3.errors import DownloadError, HashMismatchError, SpecError
from pool3.weights import KnownFile, cached, fetch
from pool3.weights.locks import exclusive

CONTENT = np.random.default_rng(0).bytes(700_000)


@dataclass
class Server:
    """A file server that can be told to misbehave; `script` holds one behaviour for each request, then 'good'."""

    url: str
    content: bytes = CONTENT
    script: list[str] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            behaviour = state.script.pop(0) if state.script else "good"
            asked = self.headers.get("Range")
            state.ranges.append(asked)
            if behaviour.isdigit():
                self.send_error(int(behaviour))
                return
            start = (
                int(asked.removeprefix("bytes=").removesuffix("-"))
                if asked and behaviour != "no ranges"
                else 0
            )
            if start >= len(state.content):
                self.send_error(416)
                return
            body = state.content[start:]
            self.send_response(206 if start else 200)
            if start:
                first = 0 if behaviour == "wrong range" else start
                self.send_header(
                    "Content-Range", f"bytes {first}-{len(state.content) - 1}/{len(state.content)}"
                )
            if behaviour != "no length":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if behaviour == "silence":
                state.hang.wait(5)  # type: ignore[attr-defined]
            elif behaviour in ("cut", "no length"):
                self.wfile.write(body[: len(body) // 2])
            else:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the tests' output clean."""

    state.hang = threading.Event()  # type: ignore[attr-defined]
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}/file.bin"
    yield state
    state.hang.set()  # type: ignore[attr-defined]
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("POOL3_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("POOL3_OFFLINE", raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def part(tmp_path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache" / "file.bin.part"


def known(server: Server, *urls: str, md5: bool = False) -> KnownFile:
    digest = (
        {"md5": hashlib.md5(CONTENT).hexdigest()} if md5 else {"sha256": hashlib.sha256(CONTENT).hexdigest()}
    )
    return KnownFile(
        name="file",
        filename="file.bin",
        urls=urls or (server.url,),
        size=len(CONTENT),
        licence="none",
        **digest,
    )


def test_downloads_once_and_reports_progress(server, tmp_path):
    seen: list[tuple[int, int | None]] = []
    path = fetch(known(server), progress=lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "cache" / "file.bin"
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert len(seen) > 1
    assert fetch(known(server)) == path
    assert server.ranges == [None]
    assert not list(path.parent.glob("*.part"))


def test_resumes_from_a_part_file(server, part):
    part.write_bytes(CONTENT[:300_001])
    assert fetch(known(server)).read_bytes() == CONTENT
    assert server.ranges == ["bytes=300001-"]


def test_a_whole_part_file_needs_no_request(server, part):
    part.write_bytes(CONTENT)
    assert fetch(known(server)).read_bytes() == CONTENT
    assert server.ranges == []


def test_server_that_ignores_ranges(server, part):
    part.write_bytes(b"x" * 300_001)  # would fail the hash if anything of it were kept
    server.script = ["no ranges"]
    assert fetch(known(server)).read_bytes() == CONTENT


def test_server_that_answers_with_another_range(server, part):
    part.write_bytes(CONTENT[:300_001])
    server.script = ["wrong range"]
    with pytest.raises(DownloadError, match="another range"):
        fetch(known(server))


@pytest.mark.parametrize("behaviour", ["cut", "no length", "500", "503", "429"])
def test_failures_that_pass_are_tried_again(behaviour, server):
    server.script = [behaviour]
    assert fetch(known(server), pause=0.01).read_bytes() == CONTENT
    half = f"bytes={len(CONTENT) // 2}-"
    assert server.ranges == [None, half if behaviour in ("cut", "no length") else None]


def test_a_server_that_falls_silent(server):
    server.script = ["silence"]
    assert fetch(known(server), pause=0.01, timeout=0.2).read_bytes() == CONTENT
    assert len(server.ranges) == 2


def test_gives_up_and_keeps_what_came(server, part):
    server.script = ["cut"] * 3
    with pytest.raises(DownloadError, match=r"file\.bin could not be downloaded.*bytes.*sha256") as caught:
        fetch(known(server), pause=0.01, attempts=3)
    assert server.url in str(caught.value)
    assert part.read_bytes() == CONTENT[: part.stat().st_size]
    assert part.stat().st_size > len(CONTENT) // 2
    assert fetch(known(server)).read_bytes() == CONTENT


def test_the_next_url_is_asked(server):
    server.script = ["404"]
    assert fetch(known(server, server.url, server.url)).read_bytes() == CONTENT
    assert len(server.ranges) == 2  # a refusal is not repeated


def test_nobody_listens(server):
    with pytest.raises(DownloadError, match="could not be downloaded"):
        fetch(known(server, "http://127.0.0.1:9/file.bin"), attempts=1, timeout=1)


@pytest.mark.parametrize("resumed", [0, 1000])
@pytest.mark.parametrize("md5", [False, True])
@pytest.mark.parametrize(
    "content",
    [CONTENT[:-1] + b"!", CONTENT[:-1], CONTENT + b"!" * 10_000_000],
    ids=["changed", "shorter", "longer"],
)
def test_other_bytes_are_removed(content, md5, resumed, server, part):
    if resumed:
        part.write_bytes(content[:resumed])
    server.content = content
    file = known(server, md5=md5)
    with pytest.raises(HashMismatchError) as caught:
        fetch(file, pause=0.01)
    received = content[: len(CONTENT) + 1]
    assert file.digest in str(caught.value)
    assert getattr(hashlib, file.algorithm)(received).hexdigest() in str(caught.value)
    assert not part.exists()
    assert not part.with_suffix("").exists()
    server.content = CONTENT
    assert fetch(file).read_bytes() == CONTENT


def test_part_file_longer_than_the_file(server, part):
    part.write_bytes(CONTENT + b"!")
    assert fetch(known(server)).read_bytes() == CONTENT
    assert server.ranges == [None]


def test_cached_file_with_other_bytes(server, part):
    part.with_suffix("").write_bytes(b"something else")
    with pytest.raises(HashMismatchError, match="delete it"):
        fetch(known(server))
    assert part.with_suffix("").read_bytes() == b"something else"
    assert server.ranges == []


def test_cached(server):
    assert cached(known(server)) is None
    path = fetch(known(server))
    assert cached(known(server)) == path


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline(how, server, monkeypatch, tmp_path):
    if how == "environment":
        monkeypatch.setenv("POOL3_OFFLINE", "1")
    with pytest.raises(DownloadError, match="offline") as caught:
        fetch(known(server), offline=how == "argument")
    for part_of_advice in (server.url, known(server).digest, str(tmp_path / "cache" / "file.bin")):
        assert part_of_advice in str(caught.value)
    assert server.ranges == []
    monkeypatch.setenv("POOL3_OFFLINE", "0")
    path = fetch(known(server))
    assert fetch(known(server), offline=True) == path


def test_several_at_once(server):
    with ThreadPoolExecutor(6) as pool:
        paths = list(pool.map(lambda _: fetch(known(server)), range(6)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.ranges) == 1


def test_unwritable_cache(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("POOL3_CACHE", str(tmp_path / "file"))
    with pytest.raises(DownloadError, match="could not be written"):
        fetch(known(server))


def test_lock_lets_one_in_at_a_time(tmp_path):
    inside: list[int] = []

    def enter(_: int) -> int:
        with exclusive(tmp_path / "lock"):
            inside.append(1)
            threading.Event().wait(0.02)
            count = len(inside)
            inside.pop()
            return count

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(enter, range(4))) == [1, 1, 1, 1]


def test_a_record_needs_exactly_one_hash():
    for hashes in ({}, {"sha256": "a", "md5": "b"}):
        with pytest.raises(SpecError, match="exactly one"):
            KnownFile(name="x", filename="x", urls=(), size=1, licence="", **hashes)


def test_a_missing_network_is_not_waited_for(tmp_path, monkeypatch):
    known = KnownFile(
        name="x",
        filename="x.bin",
        urls=("http://nowhere.invalid/x.bin",),
        size=1,
        sha256="0" * 64,
        licence="MIT",
    )
    monkeypatch.setattr("time.sleep", lambda _: pytest.fail("it waited"))
    with pytest.raises(DownloadError, match="its host cannot be found"):
        fetch(known, directory=tmp_path)
