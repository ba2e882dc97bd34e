"""Several devices give the file of one; a batch that does not fit is halved. Logical CPUs stand for GPUs."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tensorflow as tf

import pool3
from pool3 import ExtractSpec, devices, nvml
from pool3.errors import DeviceError, DeviceMemoryError, ExtractionError, SpecError
from pool3.extractor import Extractor
from pool3.runtime import Runner
from pool3.tuning import gpu_batch_size

POOL3 = (sys.executable, "-m", "pool3.cli")
COUNT = 21
DATASETS = ("features", "ids", "labels", "source_index", "content_sha256")


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 24, 24, 3), dtype=np.uint8)


def extract(folder, name: str, *options: str) -> tuple[dict, dict[str, np.ndarray]]:
    """Run the command; return what it prints as JSON, and the file's datasets."""
    output = folder / f"{name}.h5"
    command = [*POOL3, "extract", str(folder / "images.npy"), "-o", str(output), "--json"]
    command += ["--backbone", "efficientnet_lite0", "--batch-size", "4", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with h5py.File(output) as file:
        return json.loads(done.stdout), {dataset: file[dataset][()] for dataset in DATASETS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    np.save(folder / "images.npy", noise(COUNT))
    return folder


@pytest.fixture(scope="module")
def one_device(folder):
    return extract(folder, "one", "--devices", "cpu")[1]


@pytest.mark.parametrize("listed", ["cpu:0,1", "cpu:0,1,2,3"])
def test_several_devices_give_the_rows_of_one_bit_for_bit(folder, one_device, listed) -> None:
    """21 images in batches of 4 are six: neither the last batch nor the last step is full."""
    result, found = extract(folder, listed.replace(":", "_"), "--devices", listed)
    assert result["rows"] == COUNT
    assert result["devices"][0].startswith(listed.upper())
    for dataset, expected in one_device.items():
        np.testing.assert_array_equal(found[dataset], expected, err_msg=dataset)


def test_xla_on_two_devices_equals_one_without(folder, one_device) -> None:
    """XLA sums in another order: 1e-5 of the largest feature."""
    result, found = extract(folder, "xla", "--devices", "cpu:0,1", "--xla", "on")
    bound = 1e-5 * np.abs(one_device["features"]).max()
    np.testing.assert_allclose(found["features"], one_device["features"], rtol=0, atol=bound)
    np.testing.assert_array_equal(found["content_sha256"], one_device["content_sha256"])
    with pool3.open_features(result["output"]) as file:
        assert {entry["compiler"] for entry in file.environments} == {"xla"}


def memory_for(monkeypatch, most: int) -> list[int]:
    """Give every device memory for batches of `most`; returns the sizes that were run, as they come."""
    run, sizes = Runner.run, []

    def limited(self, batches):
        def full(*_):
            raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

        sizes.append(self._batch_size)
        if self._batch_size > most:
            monkeypatch.setattr(self, "_step", full)
        return run(self, batches)

    monkeypatch.setattr(Runner, "run", limited)
    return sizes


def extractor(**settings) -> Extractor:
    return Extractor(
        ExtractSpec(backbone="efficientnet_lite0", devices="cpu", precision="float32", **settings)
    )


def test_a_batch_that_does_not_fit_is_halved_from_the_start(monkeypatch, tmp_path, one_device) -> None:
    memory_for(monkeypatch, 4)
    with pytest.warns(UserWarning, match="a batch of 16 does not fit .* going on with 8") as warned:
        result = extractor(batch_size=16).extract(noise(COUNT), tmp_path / "out.h5")
    assert [str(w.message).count("going on with 4") for w in warned] == [0, 1]
    with pool3.open_features(result.output) as file:
        assert [entry["batch_size"] for entry in file.environments] == [4]
        assert file.provenance.batch_size == 16
        np.testing.assert_array_equal(file.features[:], one_device["features"])


def test_memory_that_runs_out_on_the_way_halves_the_batch_of_what_is_left(monkeypatch, tmp_path) -> None:
    full = extractor(batch_size=4).embed(noise(COUNT))
    network = extractor(batch_size=4)
    with monkeypatch.context() as patch:

        def step(done: int, total: int, failures: int) -> None:
            if done == 4:
                memory_for(patch, 2)

        with pytest.warns(UserWarning, match="going on with 2"):
            result = network.extract(noise(COUNT), tmp_path / "out.h5", progress=step)
    with pool3.open_features(result.output) as file:
        environments = [(e["start"], e["stop"], e["batch_size"]) for e in file.environments]
        boundary = environments[0][1]
        assert environments == [(0, boundary, 4), (boundary, COUNT, 2)]
        assert boundary in (8, 12)
        scale = np.abs(full).max()
        np.testing.assert_allclose(file.features[:], full, rtol=0, atol=1e-6 * scale)
        np.testing.assert_array_equal(file.features[:boundary], full[:boundary])
    assert pool3.verify(result.output).ok


def test_one_image_that_does_not_fit_is_an_error_and_commits_stay(monkeypatch, tmp_path) -> None:
    network = extractor(batch_size=4)

    def step(done: int, total: int, failures: int) -> None:
        if done == 4:
            memory_for(patch, 0)

    with (
        monkeypatch.context() as patch,
        pytest.warns(UserWarning, match="going on with 1,"),
        pytest.raises(DeviceMemoryError) as caught,
    ):
        network.extract(noise(COUNT), tmp_path / "out.h5", progress=step)
    assert "a batch of 1 does not fit into the memory of CPU" in str(caught.value)
    result = extractor(batch_size=4).extract(noise(COUNT), tmp_path / "out.h5")
    assert (result.rows, result.failures) == (COUNT, 0)
    assert 4 <= COUNT - result.computed < COUNT


def test_a_retry_that_runs_out_of_memory_still_mends_every_row(monkeypatch, tmp_path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, image in enumerate(noise(9)):
        (images / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    good = {path: path.read_bytes() for path in sorted(images.iterdir())}
    for path in list(good)[1:7]:
        path.write_bytes(b"no image")
    network = extractor(batch_size=4)
    assert network.extract(images, tmp_path / "out.h5").failures == 6
    for path, content in good.items():
        path.write_bytes(content)
    memory_for(monkeypatch, 2)
    with pytest.warns(UserWarning, match="going on with 2"):
        result = network.extract(images, tmp_path / "out.h5", retry_failed=True)
    assert (result.rows, result.recovered) == (9, 6)
    with pool3.open_features(result.output) as file:
        assert [(e["start"], e["stop"], e["batch_size"]) for e in file.environments] == [
            (0, 1, 4),
            (1, 7, 2),
            (7, 9, 4),
        ]


def test_embedding_in_memory_halves_too(monkeypatch, one_device) -> None:
    memory_for(monkeypatch, 4)
    with pytest.warns(UserWarning, match="going on with 4"):
        found = extractor(batch_size=8).embed(noise(COUNT))
    np.testing.assert_array_equal(found, one_device["features"])


def test_a_lost_device_is_an_error_that_keeps_the_commits(monkeypatch, tmp_path) -> None:
    run = Runner.run

    def lost(self, batches):
        def fail(*_):
            raise tf.errors.InternalError(None, None, "CUDA_ERROR_DEVICE_UNAVAILABLE\nand where")

        monkeypatch.setattr(self, "_step", fail)
        return run(self, batches)

    def step(done: int, total: int, failures: int) -> None:
        if done == 8:
            patch.setattr(Runner, "run", lost)

    with monkeypatch.context() as patch, pytest.raises(ExtractionError) as caught:
        extractor(batch_size=4).extract(noise(COUNT), tmp_path / "out.h5", progress=step)
    assert "failed to run the network: CUDA_ERROR_DEVICE_UNAVAILABLE; what was committed is kept" in str(
        caught.value
    )
    assert extractor(batch_size=4).extract(noise(COUNT), tmp_path / "out.h5").computed < COUNT


@pytest.mark.parametrize(
    ("memory", "expected"), [(None, 16), (1 << 30, 16), (4 << 30, 64), (6 << 30, 64), (141 << 30, 256)]
)
def test_the_batch_size_follows_the_memory_of_a_gpu(memory, expected) -> None:
    assert gpu_batch_size(memory) == expected


@pytest.mark.parametrize("wrong", ["gpu:", "gpu:0,", "gpu:0,0", "tpu", "auto:1", "gpu:-1"])
def test_devices_that_cannot_be_read_are_said(wrong) -> None:
    with pytest.raises(SpecError, match="devices"):
        ExtractSpec(devices=wrong)


class FakeGpus:
    """TensorFlow's view of GPUs of these models."""

    def __init__(self, monkeypatch, *models: str) -> None:
        self.grown: list[str] = []
        names = [f"gpu{n}" for n in range(len(models))]
        details = {name: {"device_name": model} for name, model in zip(names, models, strict=True)}
        config = "tensorflow.config"
        monkeypatch.setattr(f"{config}.list_physical_devices", lambda _kind: names)
        monkeypatch.setattr(f"{config}.experimental.get_device_details", details.get)
        monkeypatch.setattr(f"{config}.experimental.get_memory_growth", self.grown.__contains__)
        monkeypatch.setattr(
            f"{config}.experimental.set_memory_growth", lambda gpu, _on: self.grown.append(gpu)
        )
        seen = tuple(nvml.Gpu(n, model, f"GPU-{n}", (80 + n) << 30) for n, model in enumerate(models))
        monkeypatch.setattr(nvml, "query", lambda: nvml.Nvml(seen, "580.1", ""))


def test_every_gpu_of_the_first_one_s_model_is_taken(monkeypatch) -> None:
    gpus = FakeGpus(monkeypatch, "NVIDIA H200", "NVIDIA T4", "NVIDIA H200")
    placement = devices.choose_devices("auto")
    assert placement.devices == ("/GPU:0", "/GPU:2")
    assert placement.description == "GPU:0,2 (NVIDIA H200)"
    assert placement.memory_bytes == 80 << 30
    assert "NVIDIA T4 would give other last digits" in placement.warning
    assert gpus.grown == ["gpu0", "gpu1", "gpu2"]


def test_gpus_by_number(monkeypatch) -> None:
    FakeGpus(monkeypatch, "NVIDIA H200", "NVIDIA T4", "NVIDIA H200")
    assert devices.choose_devices("gpu:2").devices == ("/GPU:2",)
    assert devices.choose_devices("gpu:1").description == "GPU:1 (NVIDIA T4)"
    with pytest.raises(DeviceError, match=r"GPU:0 is a NVIDIA H200, GPU:1 is a NVIDIA T4.*one model"):
        devices.choose_devices("gpu:0,1")
    with pytest.raises(DeviceError, match=r"sees 3 GPU\(s\)"):
        devices.choose_devices("gpu:0,3")


def test_logical_devices_after_tensorflow_has_begun_are_refused() -> None:
    tf.zeros(1)
    with pytest.raises(DeviceError, match="cpu:0,1: TensorFlow runs already"):
        devices.choose_devices("cpu:0,1")
