"""The comparison with peers: statistics on known samples, workers that misbehave, the exported network; untimed."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.peers import coordinator
from bench.peers.contender import Measure, quickest
from bench.peers.coordinator import BOUNDS, REFERENCE, Entry, entries, measure
from bench.peers.environment import WITHOUT_DEPENDENCIES, requirements
from bench.peers.ratios import difference, ratio
from bench.peers.report import rate_table, ratio_table, ratios, wanted
from bench.protocol import Worker, WorkerError

WORKER = """
import json, sys
import numpy as np
name, count, shift, dies = sys.argv[1], 0, float(sys.argv[2]), int(sys.argv[3])
print(json.dumps({"ready": {"measures": [name + "/a"], "features": True, "facts": {}, "versions": {}}}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "features" in request:
        np.save(request["features"], np.ones((2, 4), np.float32) + shift)
        print("{}", flush=True)
        continue
    count += 1
    if count == dies:
        sys.exit("out of luck")
    print(json.dumps({"rate": 10.0 + count}), flush=True)
"""


def silent(done: int, total: int | None, remark: str = "") -> None:
    """Take a report and show nothing."""


def worker(tmp_path: Path, code: str, *arguments: str, name: str = "fake", patience: float = 30.0) -> Worker:
    command = [sys.executable, "-c", code, *arguments]
    return Worker(name, command, log=tmp_path / f"{name.replace('/', '-')}.log", patience=patience)


def run(tmp_path: Path, *contenders: tuple[str, float, int], rounds: int = 3) -> coordinator.Outcome:
    """Measure fake contenders: name, how far their features are off, the sample at which they die (0: never)."""
    started = (
        (Entry(name, ""), worker(tmp_path, WORKER, name, str(shift), str(dies), name=name))
        for name, shift, dies in contenders
    )
    return measure(started, tmp_path, rounds, silent, len(contenders))


def test_a_ratio_is_that_of_the_medians_and_lies_in_its_interval() -> None:
    found = ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.low == found.high == 2.0  # the drift is common to both, round by round
    one = ratio([3.0], [2.0])
    assert (one.low, one.value, one.high) == (1.5, 1.5, 1.5)


def test_the_interval_covers_a_known_ratio_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        drift = random.normal(1, 0.1, 25)  # of the machine, the same for both
        a, b = (rate * drift * random.normal(1, 0.05, 25) for rate in (30.0, 20.0))
        found = ratio(a.tolist(), b.tolist(), resamples=500)
        covered += found.low <= 1.5 <= found.high
    assert 0.88 <= covered / 200 <= 1.0


def test_pairing_by_round_takes_common_drift_out() -> None:
    drift = np.linspace(1, 2, 9)
    paired = ratio((3 * drift).tolist(), (2 * drift).tolist())
    apart = ratio((3 * drift).tolist(), (2 * drift[::-1]).tolist())
    assert paired.high - paired.low < 1e-9
    assert apart.high - apart.low > 0.1


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0])])
def test_samples_that_do_not_pair_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="one sample of each a round"):
        ratio(a, b)


def test_difference_is_relative_and_infinite_where_nothing_compares() -> None:
    reference = np.array([[1.0, -4.0]], np.float32)
    assert difference(reference + 1, reference) == 0.25
    assert difference(reference[:, :1], reference) == float("inf")
    assert difference(reference * np.nan, reference) == float("inf")


def test_the_quickest_of_interleaved_trials_is_kept() -> None:
    calls: list[str] = []

    def candidate(name: str, seconds: float) -> Measure:
        def call() -> float:
            calls.append(name)
            return seconds

        return Measure(10, call)

    best, medians = quickest({"slow": candidate("slow", 2.0), "fast": candidate("fast", 1.0)}, 2)
    assert (best, medians) == ("fast", {"slow": 5.0, "fast": 10.0})
    assert calls == ["slow", "fast"] * 3


def test_a_worker_that_dies_is_named_with_its_last_words(tmp_path) -> None:
    code = "import sys; print('starting', file=sys.stderr); sys.exit('no memory left')"
    with (
        worker(tmp_path, code) as dead,
        pytest.raises(WorkerError, match=r"fake ended .*status 1: .*no memory left"),
    ):
        dead.answer()


def test_asking_a_dead_worker_is_an_error(tmp_path) -> None:
    with worker(tmp_path, "pass") as dead:
        dead._process.wait()
        with pytest.raises(WorkerError, match="fake ended"):
            dead.ask({"sample": "a"})


@pytest.mark.parametrize("junk", ["Loading…", "[1, 2]", "{"])
def test_junk_where_an_answer_is_due_is_an_error(tmp_path, junk: str) -> None:
    code = f"print({junk!r}, flush=True); input()"
    with worker(tmp_path, code) as noisy, pytest.raises(WorkerError, match="where a line of JSON was due"):
        noisy.answer()


def test_a_silent_worker_is_ended(tmp_path) -> None:
    with (
        worker(tmp_path, "input()", patience=0.2) as silent_one,
        pytest.raises(WorkerError, match=r"within 0\.2 s"),
    ):
        silent_one.answer()


def test_samples_are_taken_in_rounds_and_features_compared(tmp_path) -> None:
    outcome = run(tmp_path, (REFERENCE, 0.0, 0), ("peer", 5e-4, 0))
    assert outcome.samples == {f"{REFERENCE}/a": [11.0, 12.0, 13.0], "peer/a": [11.0, 12.0, 13.0]}
    assert outcome.differences == {"peer/a": pytest.approx(5e-4, rel=1e-3)}
    assert not outcome.left_out


def test_one_that_dies_between_samples_leaves_the_others_whole(tmp_path, capsys) -> None:
    outcome = run(tmp_path, (REFERENCE, 0.0, 0), ("peer", 0.0, 2))
    assert list(outcome.samples) == [f"{REFERENCE}/a"]
    assert len(outcome.samples[f"{REFERENCE}/a"]) == 3
    assert "out of luck" in outcome.left_out["peer"]
    assert "peer is left out" in capsys.readouterr().err


def test_wrong_features_are_left_out_however_fast(tmp_path) -> None:
    outcome = run(tmp_path, (REFERENCE, 0.0, 0), ("peer", 2 * BOUNDS["float32"], 0))
    assert "its features are wrong" in outcome.left_out["peer"]
    assert "peer/a" not in outcome.samples


def test_without_the_reference_nothing_counts_as_compared(tmp_path) -> None:
    outcome = run(tmp_path, ("peer", 0.0, 0))
    assert "no features of" in outcome.left_out["peer"]


@pytest.mark.parametrize("said", ["{}", '{"ready": 1}', '{"ready": {"measures": ["a"]}}'])
def test_one_that_does_not_say_it_is_ready_is_left_out(tmp_path, said: str) -> None:
    started = [(Entry("fake", ""), worker(tmp_path, f"print({said!r}, flush=True); input()"))]
    outcome = measure(started, tmp_path, 1, silent, 1)
    assert "said that it is ready" in outcome.left_out["fake"]


def test_a_package_that_is_missing_is_a_reason(tmp_path) -> None:
    entry = Entry("peer", "nothing_of_the_name", peer=True)
    started = [(entry, coordinator.start(entry, Path(sys.executable), tmp_path, quick=True))]
    outcome = measure(started, tmp_path, 1, silent, 1)
    assert "nothing_of_the_name" in outcome.left_out["peer"]


def test_tables_have_every_measure_and_a_dash_for_what_is_missing() -> None:
    samples = {"ours/forward/float32": [2.0, 4.0], "openvino/forward/float32": [1.0, 2.0]}
    lines = rate_table(samples, {"openvino/forward/float32": 1e-5}).splitlines()
    assert lines[2].split() == ["ours/forward/float32", "3.00", "2.40", "3.60", "–"]
    assert lines[3].split()[-1] == "1e-05"
    found = ratios(samples, "float32")
    text = ratio_table(found)
    assert len(text.splitlines()) == 2 + len(found)
    assert "2.000" in text
    assert found["ours/forward/bfloat16", "openvino/forward/bfloat16"] is None


def test_the_reference_is_first_and_every_ratio_is_of_contenders() -> None:
    every = entries("auto")
    assert every[0].name == REFERENCE
    processes = {entry.name.split("/")[0] for entry in every} | {"ours"}
    for pair in wanted("float32"):
        assert {name.split("/")[0] for name in pair} <= processes
    json.dumps([dict(entry.settings) for entry in every])


def test_requirements_are_pinned() -> None:
    lines = requirements()
    assert all("==" in line for line in lines)
    assert set(WITHOUT_DEPENDENCIES) <= {line.partition("==")[0] for line in lines}


def test_the_exported_network_is_pool3s() -> None:
    onnx = pytest.importorskip(
        "onnx", reason="onnx is of the environment of make bench-peers, whose run compares the features too"
    )
    from bench.peers.onnx_network import OUTPUT, build
    from pool3.backbones import INCEPTION_V3
    from pool3.weights import random_tensors

    model = onnx.load_from_string(build(random_tensors(INCEPTION_V3, 0), 2))
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    (output,) = inferred.graph.output
    assert [d.dim_value for d in output.type.tensor_type.shape.dim] == [2, 2048]
    assert output.name == OUTPUT
    assert sum(node.op_type == "Conv" for node in model.graph.node) == len(INCEPTION_V3.layers)
