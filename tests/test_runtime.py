"""The choice of a device says why; TensorFlow's start-up chatter is held back, but never lost."""

import os
import subprocess
import sys

import numpy as np
import pynvml
import pytest

import pool3
from pool3 import devices, nvml, runtime, tuning
from pool3.backbones import EFFICIENTNET_LITE0, INCEPTION_V3
from pool3.devices import Placement, choose_devices
from pool3.errors import DeviceError
from pool3.runtime import Runner
from pool3.weights.random import random_tensors
from tests.graphs import waiting

SEEN = nvml.Nvml((nvml.Gpu(0, "NVIDIA H200", "GPU-1", 1 << 37),), "580.1", "")


@pytest.fixture
def no_tensorflow_gpu(monkeypatch) -> None:
    monkeypatch.setattr("tensorflow.config.list_physical_devices", lambda _kind=None: [])


@pytest.mark.usefixtures("no_tensorflow_gpu")
def test_auto_without_any_gpu_is_the_cpu_without_a_warning(monkeypatch) -> None:
    monkeypatch.setattr(nvml, "query", lambda: nvml.Nvml((), "", "NVML: Driver Not Loaded"))
    placement = devices.choose_devices("auto")
    assert placement.devices == ("/CPU:0",)
    assert placement.warning == ""


@pytest.mark.usefixtures("no_tensorflow_gpu")
def test_a_gpu_that_tensorflow_does_not_see_is_a_warning(monkeypatch) -> None:
    monkeypatch.setattr(nvml, "query", lambda: SEEN)
    assert "NVIDIA H200" in devices.choose_devices("auto").warning


@pytest.mark.usefixtures("no_tensorflow_gpu")
@pytest.mark.parametrize("asked", ["gpu", "gpu:1"])
def test_a_gpu_by_name_that_is_not_there_is_an_error_with_the_reason(monkeypatch, asked) -> None:
    monkeypatch.setattr(nvml, "query", lambda: nvml.Nvml((), "", "NVML: Driver Not Loaded"))
    with pytest.raises(DeviceError, match="Driver Not Loaded"):
        devices.choose_devices(asked)


@pytest.mark.usefixtures("no_tensorflow_gpu")
def test_the_reasons_tell_the_causes_apart(monkeypatch) -> None:
    monkeypatch.setattr(nvml, "query", lambda: SEEN)
    monkeypatch.setattr("tensorflow.test.is_built_with_cuda", lambda: False)
    assert "built without CUDA" in devices.why_no_gpu()
    monkeypatch.setattr("tensorflow.test.is_built_with_cuda", lambda: True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert "CUDA_VISIBLE_DEVICES" in devices.why_no_gpu()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert "pool3[gpu]" in devices.why_no_gpu()


def test_float32_means_float32() -> None:
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(True)
    devices.choose_devices("cpu")
    assert not tf.config.experimental.tensor_float_32_execution_enabled()


def test_nvml_without_a_driver_says_why(monkeypatch) -> None:
    def fail() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_DRIVER_NOT_LOADED)

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    answer = nvml.query()
    assert answer.gpus == ()
    assert "Driver Not Loaded" in answer.reason


def test_nvml_with_a_driver_lists_the_gpus(monkeypatch) -> None:
    class Memory:
        total = 1 << 37

    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda _: Memory,
        "nvmlDeviceGetName": lambda index: f"GPU {index}",
        "nvmlDeviceGetUUID": lambda index: f"GPU-{index}",
        "nvmlSystemGetDriverVersion": lambda: "580.1",
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    found = nvml.query()
    assert [gpu.name for gpu in found.gpus] == ["GPU 0", "GPU 1"]
    assert found.gpus[1].to_dict() == {"index": 1, "name": "GPU 1", "uuid": "GPU-1", "memory_bytes": 1 << 37}
    assert (found.driver, found.reason) == ("580.1", "")


@pytest.mark.parametrize(("fails", "shown"), [(False, False), (True, True)])
def test_what_was_held_back_comes_out_when_the_start_fails(fails, shown) -> None:
    code = (
        "import os\nfrom pool3.runtime import quiet_start\n"
        "with quiet_start():\n"
        "    os.write(2, b'chatter')\n"
        f"    if {fails}: raise SystemExit(3)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == (3 if fails else 0)
    assert ("chatter" in done.stderr) is shown


def threads_recorded(tmp_path, **environment: str) -> int:
    """What a run of the command line records as the threads of a step."""
    np.save(tmp_path / "images.npy", np.zeros((2, 8, 8, 3), np.uint8))
    command = [
        "extract",
        tmp_path / "images.npy",
        "-o",
        tmp_path / "out.h5",
        "--backbone",
        "efficientnet_lite0",
    ]
    subprocess.run(
        [sys.executable, "-m", "pool3.cli", *map(str, command), "--devices", "cpu"],
        check=True,
        env=os.environ | environment,
        capture_output=True,
    )
    with pool3.open_features(tmp_path / "out.h5") as file:
        return file.provenance.threads


def test_the_command_line_gives_each_step_one_thread(tmp_path) -> None:
    assert threads_recorded(tmp_path) == 1


def test_threads_that_the_user_set_stay(tmp_path) -> None:
    assert threads_recorded(tmp_path, TF_NUM_INTRAOP_THREADS="2") == 2


@pytest.mark.parametrize(
    ("threads", "cores", "streams"), [(1, 8, 8), (4, 8, 2), (3, 8, 2), (0, 8, 2), (1, 1, 2), (16, 8, 2)]
)
def test_steps_at_a_time_fill_the_cores(monkeypatch, threads, cores, streams) -> None:
    monkeypatch.setattr(tuning, "cores", lambda: cores)
    monkeypatch.setattr(tuning, "step_threads", lambda: threads)
    assert tuning.default_shape(Placement(("/CPU:0",), "CPU (one)")).streams == streams
    assert cores in tuning.stream_candidates()


def test_a_program_that_a_quiet_one_starts_is_quiet_too(monkeypatch) -> None:
    for name in ("TF_CPP_MIN_LOG_LEVEL", "POOL3_SET_TF_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    start = "from pool3.runtime import start_tensorflow; start_tensorflow()"
    parent = f"import subprocess, sys; {start}; subprocess.run([sys.executable, '-c', {start!r}], check=True)"
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_starting_tensorflow_leaves_keras_for_who_asks_for_it() -> None:
    code = (
        "import sys; from pool3.runtime import start_tensorflow; start_tensorflow(); "
        "before = 'keras' in sys.modules; import tensorflow as tf; tf.keras.layers.Dense; "
        "print(before, 'keras' in sys.modules, sys.modules['keras.src.optimizers'] is not None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "True"]


def test_a_network_is_compiled_once(monkeypatch) -> None:
    runner = Runner(
        EFFICIENTNET_LITE0,
        random_tensors(EFFICIENTNET_LITE0, 0),
        EFFICIENTNET_LITE0.main_feature,
        choose_devices("cpu"),
        batch_size=1,
        image_shape=None,
    )
    runs = []
    run = runner.run
    monkeypatch.setattr(runner, "run", lambda batches: runs.append(batches) or run(batches))
    runner.compile()
    runner.compile()
    assert runs == [[]]


@pytest.mark.parametrize(
    ("threads", "cores", "batch_size", "given", "lanes"),
    [
        (1, 2, 1, ["/CPU:0"], True),
        (1, 2, 8, ["/CPU:0"], False),  # steps side by side
        (0, 2, 1, ["/CPU:0"], False),  # threads that share an operation
        (1, 1, 1, ["/CPU:0"], False),
        (1, 2, 1, ["/GPU:0"], False),
    ],
)
def test_one_image_alone_has_all_cores(monkeypatch, threads, cores, batch_size, given, lanes) -> None:
    monkeypatch.setattr(runtime, "step_threads", lambda: threads)
    monkeypatch.setattr(runtime, "cores", lambda: cores)
    placement = Placement(tuple(given), "made up")
    tensors = random_tensors(INCEPTION_V3, 0)
    runner = Runner(INCEPTION_V3, tensors, "pool_3", placement, batch_size=batch_size, image_shape=None)
    network = runner._step.get_concrete_function(runner.input_spec)
    assert bool(waiting(network.graph)) is lanes
