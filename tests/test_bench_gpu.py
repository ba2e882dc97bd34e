"""``python -m bench.gpu`` on logical CPU devices: every row, and what NVML adds where there is one."""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pynvml
import pytest

from bench.gpu import Row, table
from bench.measure import Case, Work, measure
from bench.table import table as cases_table
from pool3.nvml import Usage, Watch


@pytest.mark.slow
def test_every_row_runs_on_logical_devices(tmp_path) -> None:
    options = {
        "devices": "cpu:0,1",
        "counts": 2,
        "batches": 1,
        "precisions": "float32",
        "rounds": 1,
        "images": 3,
        "photos": 2,
    }
    command = [sys.executable, "-m", "bench.gpu", "--output-dir", str(tmp_path)]
    command += [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no GPU" in done.stderr
    (path,) = tmp_path.glob("gpu-*.json")
    document = json.loads(path.read_text())
    assert document["machine"]["device"].startswith("CPU:0,1")
    rows = [(row["name"], row["devices"], row["batch_size"]) for row in document["rows"]]
    assert rows == [
        ("decode/500x375", 0, None),
        ("limit", 2, None),
        ("forward", 2, 1),
        ("end_to_end/32x32", 2, None),
        ("end_to_end/500x375", 2, None),
    ]
    assert all(rate > 0 for row in document["rows"] for rate in row["samples_per_second"])
    assert not any(row["usages"] for row in document["rows"])
    assert "images/J" not in done.stdout


def test_the_table_has_nvml_s_columns_where_there_is_one() -> None:
    usage = Usage(
        utilisation=0.91, memory_bytes=3 << 30, watts=600.0, joules=0.05, megahertz=1980.0, throttled=True
    )
    limit = Row("limit", 1, "float16", None, lambda: (1, 1.0), rates=[20_000.0])
    row = Row(
        "forward", 1, "float16", 64, lambda: (1, 1.0), rates=[9_000.0, 10_000.0, 11_000.0], usages=[usage]
    )
    line = table([limit, row]).splitlines()[-1].split()
    assert line == ["forward", "1", "float16", "64", "10,000.0", "9,400.0", "10,600.0", "300.0", "0.50",
                    "91%", "3.0", "600", "20.0", "throttled"]  # fmt: skip


@pytest.fixture
def driver(monkeypatch):
    """NVML of two GPUs of one model and one of another."""
    names = ["NVIDIA H200", "NVIDIA T4", "NVIDIA H200"]
    state = SimpleNamespace(reasons=0)
    answers = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 3,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": names.__getitem__,
        "nvmlDeviceGetUtilizationRates": lambda index: SimpleNamespace(gpu=[80, 1, 60][index]),
        "nvmlDeviceGetMemoryInfo": lambda index: SimpleNamespace(used=[10, 1, 20][index]),
        "nvmlDeviceGetPowerUsage": lambda index: [500_000, 1, 300_000][index],
        "nvmlDeviceGetClockInfo": lambda index, _clock: [1900, 1, 1700][index],
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda _: state.reasons,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)
    return state


def test_gpus_of_one_model_are_watched_together(driver) -> None:
    with Watch("NVIDIA H200", 2) as watch:
        time.sleep(0.12)
    assert watch.usage is not None
    assert watch.usage.utilisation == pytest.approx(0.7)
    assert watch.usage.memory_bytes == 30
    assert watch.usage.watts == pytest.approx(800)
    assert watch.usage.joules > 0
    assert watch.usage.megahertz == pytest.approx(1800)
    assert not watch.usage.throttled


def test_a_clock_that_heat_holds_down_is_told_and_idling_is_not(driver) -> None:
    for reasons, expected in (
        (pynvml.nvmlClocksThrottleReasonGpuIdle, False),
        (pynvml.nvmlClocksThrottleReasonSwThermalSlowdown, True),
    ):
        driver.reasons = reasons
        with Watch("NVIDIA H200", 1) as watch:
            time.sleep(0.01)
        assert watch.usage is not None
        assert watch.usage.throttled is expected


def test_a_gpu_that_does_not_tell_all_gives_no_figures(driver, monkeypatch) -> None:
    def refuse(_: int) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetPowerUsage", refuse)
    with Watch("NVIDIA H200", 1) as watch:
        time.sleep(0.01)
    assert watch.usage is None


def test_without_a_driver_there_is_nothing_to_watch() -> None:
    with Watch("NVIDIA H200", 1) as watch:
        time.sleep(0.01)
    assert watch.usage is None


def test_cases_are_watched_and_marked(driver) -> None:
    driver.reasons = pynvml.nvmlClocksThrottleReasonSwPowerCap
    case = Case("forward/8", "images", 64, lambda: Work(lambda: time.sleep(0.01)))
    (watched,) = measure([case], 2, lambda *_: None, lambda: Watch("NVIDIA H200", 2))
    (alone,) = measure([case], 2, lambda *_: None, lambda: Watch("NVIDIA B200", 1))
    facts = watched.to_dict({}, "blog_loop")
    assert facts["throttled"] is True
    assert facts["nvml"]["watts"] == 800
    assert facts["nvml"]["images_per_joule"] > 0
    assert "forward/8: GPU 70% busy" in cases_table([facts])
    assert "images (throttled)" in cases_table([facts])
    plain = alone.to_dict({}, "blog_loop")
    assert "nvml" not in plain
    assert "throttled" not in plain
    assert "GPU" not in cases_table([plain])
