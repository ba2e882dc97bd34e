"""The conductor through the Python API: independence of rows, resume, progress, failures."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import pool3
from pool3 import Extractor, ExtractSpec
from pool3.errors import OutputExistsError, SourceError, SpecError
from pool3.extractor import _rows_per_shard
from tests.images import pixels, write_folder, write_image

SPEC = ExtractSpec(backbone="efficientnet_lite0", devices="cpu", batch_size=8)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return Extractor(SPEC)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.stack([pixels(40, 40, seed) for seed in range(19)])


def test_a_row_has_the_same_bits_whatever_stands_beside_it(extractor, images) -> None:
    """Alone, in the padded tail, in a full batch, and among other neighbours: at one compute shape, one result."""
    together = extractor.embed(images)
    assert together.shape == (19, 1280)
    assert together.dtype == np.float32
    alone = np.concatenate([extractor.embed(images[i : i + 1]) for i in range(19)])
    np.testing.assert_array_equal(alone, together)
    backwards = extractor.embed(images[::-1])[::-1]
    np.testing.assert_array_equal(backwards, together)
    assert len(np.unique(together, axis=0)) == 19


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_sizes_agree(extractor, images, batch_size) -> None:
    spec = ExtractSpec(backbone="efficientnet_lite0", devices="cpu", batch_size=batch_size)
    expected = extractor.embed(images)
    actual = Extractor(spec).embed(images)
    assert (np.abs(actual - expected).max(axis=1) / np.abs(expected).max(axis=1)).max() < 1e-6


def test_the_routes_agree(extractor, images, tmp_path) -> None:
    """Arrays of one size, resized on the device, against a source of mixed kinds, resized on the host."""
    on_device = extractor.embed(images)
    other = write_folder(tmp_path, 1)
    on_host = extractor.embed([images, *map(str, other)])
    np.testing.assert_array_equal(on_host[:19], on_device)


def test_extract_reads_back_as_embed_gives_it(extractor, images, tmp_path) -> None:
    result = extractor.extract(images, tmp_path / "out.h5")
    with pool3.open_features(result.output) as file:
        np.testing.assert_array_equal(file.features[:], extractor.embed(images))
        assert file.provenance.batch_size == 8
        assert file.provenance.route == "device"
        assert file.provenance.tf32 is False
        assert file.provenance.libraries["tensorflow"]


def test_a_resumed_run_keeps_the_shape_and_gives_the_same_file(extractor, tmp_path, monkeypatch) -> None:
    """Stopped in the second range, whose first batch is kept; gone on with by a run that asked for other batches."""
    monkeypatch.setattr("pool3.extractor.SHARD_ROWS", 16)
    images = np.stack([pixels(12, 12, seed) for seed in range(40)])
    calls = []

    def stop_in_the_second_range(done: int, total: int, failures: int) -> None:
        calls.append((done, total, failures))
        if done > 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extractor.extract(images, tmp_path / "out.h5", progress=stop_in_the_second_range)
    assert calls == [(8, 40, 0), (16, 40, 0), (24, 40, 0)]
    other = Extractor(ExtractSpec(backbone="efficientnet_lite0", devices="cpu", batch_size=5))
    with pytest.warns(UserWarning, match="batches of 8"):
        resumed = other.extract(images, tmp_path / "out.h5")
    assert resumed.computed == 16
    assert resumed.batch_size == 8
    straight = extractor.extract(images, tmp_path / "straight.h5")
    with pool3.open_features(resumed.output) as a, pool3.open_features(straight.output) as b:
        np.testing.assert_array_equal(a.features[:], b.features[:])
        assert a.ids == b.ids


def test_images_that_changed_under_the_same_ids_are_noticed(extractor, images, tmp_path) -> None:
    """Whether the output is finished or not: the ids of an array say nothing of its pixels."""
    extractor.extract(images, tmp_path / "out.h5")
    before = (tmp_path / "out.h5").read_bytes()
    for other in (images[::-1], np.zeros((19, 30, 30, 3), np.uint8)):
        with pytest.raises(OutputExistsError, match=r"changed|source_manifest"):
            extractor.extract(other, tmp_path / "out.h5")
    assert (tmp_path / "out.h5").read_bytes() == before
    paths = write_folder(tmp_path / "images", 5)
    extractor.extract(tmp_path / "images", tmp_path / "files.h5")
    write_image(paths[4], pixels(9, 9, 77))
    with pytest.raises(OutputExistsError, match=paths[4].name):
        extractor.extract(tmp_path / "images", tmp_path / "files.h5")


def test_a_run_that_goes_on_elsewhere_says_so(tmp_path, monkeypatch) -> None:
    """The file tells for each range of rows what computed it."""
    monkeypatch.setattr("pool3.extractor.SHARD_ROWS", 8)
    images = np.stack([pixels(12, 12, seed) for seed in range(24)])

    def stop(done: int, total: int, failures: int) -> None:
        if done > 8:
            raise KeyboardInterrupt

    first = Extractor(SPEC)
    with pytest.raises(KeyboardInterrupt):
        first.extract(images, tmp_path / "out.h5", progress=stop)
    second = Extractor(SPEC)
    second.placement = replace(second.placement, description="another CPU")
    result = second.extract(images, tmp_path / "out.h5")
    here = first.placement.description
    assert result.devices == [here, "another CPU"]
    with pool3.open_features(result.output) as file:
        parts = [(part["start"], part["stop"], part["device"]) for part in file.environments]
        assert parts == [(0, 16, here), (16, 24, "another CPU")]
        assert file.environments[0]["libraries"] == file.provenance.libraries


def test_wide_features_are_committed_in_fewer_rows() -> None:
    assert _rows_per_shard(32, 2048) == 1024
    assert _rows_per_shard(7, 2048) == 1022
    assert _rows_per_shard(32, 8 * 8 * 2048) == 128
    assert _rows_per_shard(2000, 2048) == 2000
    assert _rows_per_shard(32, 73 * 73 * 64) == 32


def test_progress_reaches_the_end_and_counts_failures(extractor, tmp_path) -> None:
    paths = write_folder(tmp_path / "images", 20)
    paths[4].write_bytes(b"broken")
    calls = []
    result = extractor.extract(tmp_path / "images", tmp_path / "out.h5", progress=lambda *c: calls.append(c))
    assert calls == [(8, 20, 1), (16, 20, 1), (20, 20, 1)]
    assert (result.rows, result.failures) == (19, 1)
    with pool3.open_features(result.output) as file:
        assert file.failures[0].index == 4
        assert file.failures[0].stage == "decode"


def test_embed_names_the_first_broken_image(extractor, tmp_path) -> None:
    paths = write_folder(tmp_path, 3)
    paths[1].write_bytes(b"broken")
    with pytest.raises(SourceError, match=paths[1].name):
        extractor.embed(tmp_path)


def test_the_function_form(images, tmp_path: Path) -> None:
    arguments = {"backbone": "efficientnet_lite0", "devices": "cpu", "limit": 3}
    assert pool3.extract(images, tmp_path / "out.h5", **arguments).rows == 3
    assert pool3.extract(images, tmp_path / "out.h5", **arguments).computed == 0
    with pytest.raises(OutputExistsError, match="feature: pool → softmax"):
        pool3.extract(images, tmp_path / "out.h5", **arguments, feature="softmax")


@pytest.mark.parametrize(
    "settings",
    [
        {"backbone": "vgg"},
        {"feature": "mixed_11"},
        {"precision": "int8"},
        {"batch_size": -1},
        {"devices": "gpu:x"},
    ],
)
def test_unknown_settings_are_refused_on_construction(settings) -> None:
    with pytest.raises(SpecError):
        ExtractSpec(**settings)


def test_the_file_says_how_long_it_took_also_after_an_interruption(extractor, images, tmp_path) -> None:
    """Stages that follow one another fill the wall time; nothing is counted twice when a run goes on."""

    def stop(done: int, *_: int) -> None:
        if done > 8:
            raise KeyboardInterrupt

    straight = extractor.extract(images, tmp_path / "straight.h5")
    with pytest.raises(KeyboardInterrupt):
        extractor.extract(images, tmp_path / "out.h5", progress=stop)
    begun = pool3.store.info(tmp_path / "out.h5")["timing"]
    assert begun["images"] == 16
    extractor.extract(images, tmp_path / "out.h5")
    for path in (straight.output, tmp_path / "out.h5"):
        with pool3.open_features(path) as file:
            timing = file.timing
        assert timing.images == 19
        in_turn = sum(seconds for name, seconds in timing.stages.items() if name not in ("read", "write"))
        assert 0 < in_turn <= timing.seconds + 1e-3
        assert all(seconds >= 0 for seconds in timing.stages.values())
        assert {"scan", "compile", "forward", "wait", "read", "write", "seal"} <= set(timing.stages)
        assert timing.seconds > begun["seconds"] or path == straight.output
    with pool3.open_features(straight.output) as file:
        assert file.timing.seconds <= straight.seconds
