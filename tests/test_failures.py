"""Failures are data: a run goes past them up to --max-failures, and --retry-failed tries just them again."""

import shutil
from pathlib import Path

import numpy as np
import pytest

import pool3
from pool3 import Extractor, ExtractSpec
from pool3.errors import OutputExistsError, SpecError, TooManyFailuresError
from pool3.sources import SelectionSource, open_source
from pool3.spec import failure_limit
from tests.images import write_folder
from tests.stored import stored
from tests.test_cli import NETWORK
from tests.test_cli import pool3 as command

BROKEN = (3, 4, 9, 21, 38)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(ExtractSpec(backbone="efficientnet_lite0", devices="cpu", batch_size=4))


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch) -> None:
    monkeypatch.setattr("pool3.extractor.SHARD_ROWS", 8)


@pytest.fixture
def folder(tmp_path) -> Path:
    """40 images, of which some are broken, beside a whole copy of the folder."""
    paths = write_folder(tmp_path / "whole", 40)
    shutil.copytree(tmp_path / "whole", tmp_path / "images")
    for index in BROKEN:
        (tmp_path / "images" / paths[index].relative_to(tmp_path / "whole")).write_bytes(b"broken")
    return tmp_path / "images"


def mend(folder: Path, *indices: int) -> None:
    for index in indices:
        id_ = open_source(folder).ids[index]
        shutil.copy(folder.with_name("whole") / id_, folder / id_)


def test_a_retry_tries_the_failed_ones_alone(extractor, folder, tmp_path) -> None:
    first = extractor.extract(folder, tmp_path / "out.h5")
    assert (first.rows, first.failures, first.retried) == (35, 5, 0)
    mend(folder, 3, 9, 38)
    steps = []
    again = extractor.extract(
        folder, tmp_path / "out.h5", retry_failed=True, progress=lambda *step: steps.append(step)
    )
    assert (again.retried, again.recovered, again.computed) == (5, 3, 5)
    assert (again.rows, again.failures) == (38, 2)
    # Five images of four ranges in two batches of four.
    assert steps == [(40, 40, 3), (40, 40, 2)]
    straight = extractor.extract(folder, tmp_path / "straight.h5")
    assert stored(again.output) == stored(straight.output)
    mend(folder, 4, 21)
    extractor.extract(folder, tmp_path / "out.h5", retry_failed=True)
    whole = extractor.extract(folder.with_name("whole"), tmp_path / "whole.h5")
    assert stored(tmp_path / "out.h5") == stored(whole.output)


def test_an_interrupted_retry_keeps_what_it_did(extractor, folder, tmp_path) -> None:
    extractor.extract(folder, tmp_path / "out.h5")
    mend(folder, *BROKEN)

    def stop(done: int, total: int, failures: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extractor.extract(folder, tmp_path / "out.h5", retry_failed=True, progress=stop)
    assert len(list((tmp_path / "out.h5.shards").glob("*.shard"))) == 3  # the ranges of the first four
    again = extractor.extract(folder, tmp_path / "out.h5", retry_failed=True)
    assert (again.retried, again.recovered, again.failures) == (1, 1, 0)
    whole = extractor.extract(folder.with_name("whole"), tmp_path / "whole.h5")
    assert stored(again.output) == stored(whole.output)


def test_a_retry_of_another_source_is_refused(extractor, folder, tmp_path) -> None:
    """The failed files may have changed, no others; and the list of images must be the same."""
    output = extractor.extract(folder, tmp_path / "out.h5").output
    before = output.read_bytes()
    ids = open_source(folder).ids
    (folder / ids[0]).write_bytes((folder / ids[1]).read_bytes())
    with pytest.raises(OutputExistsError, match="has changed since"):
        extractor.extract(folder, output, retry_failed=True)
    (folder / ids[3]).unlink()
    with pytest.raises(OutputExistsError, match="source_manifest_sha256"):
        extractor.extract(folder, output, retry_failed=True)
    assert output.read_bytes() == before


def test_past_the_limit_the_run_stops_committed_and_unsealed(extractor, folder, tmp_path) -> None:
    output = tmp_path / "out.h5"
    with pytest.raises(TooManyFailuresError, match=r"3 of 12 images failed so far, more than the 2"):
        extractor.extract(folder, output, max_failures=2)
    assert not output.exists()
    # At once, and before anything is computed.
    with pytest.raises(TooManyFailuresError, match=r"3 of 12"):
        extractor.extract(folder, output, max_failures="5%")
    mend(folder, 3, 4)
    result = extractor.extract(folder, output, max_failures="8%", retry_failed=True)  # 8 % of 40 are 3.2
    assert (result.retried, result.recovered, result.failures, result.computed) == (3, 2, 3, 31)
    with pytest.raises(TooManyFailuresError, match=r"3 of 40"):
        extractor.extract(folder, output, max_failures=2)
    assert extractor.extract(folder, output, max_failures=3).computed == 0


def test_no_failure_allowed(extractor, folder, tmp_path) -> None:
    with pytest.raises(TooManyFailuresError, match="more than the 0"):
        extractor.extract(folder, tmp_path / "out.h5", max_failures=0)
    assert extractor.extract(folder.with_name("whole"), tmp_path / "whole.h5", max_failures=0).rows == 40


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), ("7", 7), ("5%", 10), ("0.1%", 0), ("99.9 %", 199), ("100%", 200), (" 3 ", 3)],
)
def test_limits_are_read(value, expected) -> None:
    assert failure_limit(value, 200) == expected


@pytest.mark.parametrize("value", ["", "-1", "five", "101%", "%", "1e3", "3.5", -2, "5%%"])
def test_what_is_no_limit_is_refused(value) -> None:
    with pytest.raises(SpecError, match="--max-failures takes a number"):
        failure_limit(value, 200)


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_storage_is_what_was_asked_for(folder, tmp_path, storage) -> None:
    spec = {"backbone": "efficientnet_lite0", "devices": "cpu", "batch_size": 4, "storage": storage}
    result = pool3.extract(folder, tmp_path / "out.h5", limit=8, **spec)
    computed = Extractor(ExtractSpec(**spec)).embed(
        [str(folder / id_) for id_ in open_source(folder).ids[:3]]
    )
    with pool3.open_features(result.output) as file:
        assert file.features.dtype == storage
        assert file.provenance.storage == storage
        np.testing.assert_array_equal(file.features[:3], computed.astype(storage))


def test_a_selection_reads_what_was_chosen(folder) -> None:
    source = open_source(folder.with_name("whole"))
    chosen = np.array([0, 1, 2, 7, 20, 21, 39])
    selection = SelectionSource(source, chosen)
    assert selection.ids == [source.ids[i] for i in chosen]
    every = list(source.read(0, 40))
    for start, stop in ((0, 7), (1, 5), (3, 3), (6, 7)):
        assert list(selection.read(start, stop)) == [every[i] for i in chosen[start:stop]]
    assert selection.labels.tolist() == source.labels[chosen].tolist()


@pytest.mark.slow
def test_on_the_command_line(folder, tmp_path) -> None:
    output = tmp_path / "out.h5"
    network = (*NETWORK, "--batch-size", 32)
    done = command("extract", folder, "-o", output, *network, "--max-failures", "5%")
    assert done.returncode == 3
    assert "4 of 32 images failed so far, more than the 2 that --max-failures allows" in done.stderr
    assert "--retry-failed" in done.stderr
    assert not output.exists()
    info = command("info", output)
    assert "80.0% committed" in info.stdout
    mend(folder, 4)
    done = command("extract", folder, "-o", output, *network, "--max-failures", "10%", "--retry-failed")
    assert done.returncode == 0, done.stderr
    assert "tried 4 failed images again; rows now: 1" in done.stderr
    assert "4 of 40 images failed; their reasons: pool3 info" in done.stderr
    assert "36 rows, 4 failures" in done.stdout
    wrong = command("extract", folder, "-o", output, *network, "--max-failures", "many")
    assert wrong.returncode == 1
    assert "--max-failures takes a number" in wrong.stderr
