"""The bench measures what it says: statistics on known samples, then the command itself on quick cases."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.measure import Case, Result, Work, measure
from bench.results import read
from bench.table import table
from bench.threads import cores

ROOT = Path(__file__).parents[1]


def silent(done: int, total: int | None, remark: str = "") -> None:
    """Take a report and show nothing."""


def test_statistics_are_of_rates() -> None:
    result = Result("x", "images", 10, 0.0, "", [1.0, 2.0, 4.0, 5.0, 10.0])
    assert result.rates == [1.0, 2.0, 2.5, 5.0, 10.0]
    assert result.median == 2.5
    assert result.percentile(20) == pytest.approx(1.8)
    assert result.percentile(80) == pytest.approx(6.0)
    facts = result.to_dict({"x": 2.5, "loop": 5.0}, "loop")
    assert facts["blog_ratio"] == pytest.approx(2.5 * 0.03)
    assert facts["blog_loop_ratio"] == 0.5
    assert facts["limit_ratio"] is None
    facts = Result("x", "starts", 10, 0.0, "plain", [1.0]).to_dict({"plain": 40.0}, "loop")
    assert (facts["blog_ratio"], facts["limit"], facts["limit_ratio"]) == (None, "plain", 0.25)
    rows = Result("x", "rows", 10, 0.0, "plain", [1.0], limit_units=0.5).to_dict({"plain": 40.0}, "loop")
    assert (rows["blog_ratio"], rows["limit_ratio"]) == (pytest.approx(0.3), 0.125)


def test_cases_are_warmed_up_and_interleaved() -> None:
    calls: list[str] = []

    def setup(name: str):
        def call() -> float:
            calls.append(name)
            return 0.5

        return lambda: Work(call)

    cases = [Case(name, "images", 1, setup(name)) for name in "ab"]
    results = measure(cases, 3, silent)
    assert calls == [*"ab", *"ab", *"ba", *"ab"]  # warm-up, then rounds that go forth and back
    assert [r.samples for r in results] == [[0.5] * 3] * 2


def test_a_dear_case_is_sampled_less() -> None:
    seen: list[tuple[int, int | None]] = []

    def report(done: int, total: int | None, remark: str = "") -> None:
        seen.append((done, total))

    cases = [
        Case("dear", "images", 1, lambda: Work(lambda: 1.0), most=2),
        Case("x", "images", 1, lambda: Work(lambda: 1.0)),
    ]
    dear, other = measure(cases, 3, report)
    assert (len(dear.samples), len(other.samples)) == (2, 3)
    assert seen[-1] == (7, 7)


def test_a_call_that_does_not_time_itself_is_timed() -> None:
    (result,) = measure([Case("x", "images", 1, lambda: Work(lambda: None))], 2, silent)
    assert len(result.samples) == 2
    assert all(0 <= seconds < 1 for seconds in result.samples)


def test_table_has_a_line_a_case() -> None:
    results = [
        Result("blog_loop", "images", 10, 0.0, "", [1.0]),
        Result("sink", "rows", 10_000, 0.0, "plain", [1.0]),
    ]
    medians = {"blog_loop": 10.0, "plain": 20_000.0}
    lines = table([result.to_dict(medians, "blog_loop") for result in results]).splitlines()
    assert len(lines) == 4
    assert lines[2].split() == ["blog_loop", "10.00", "10.00", "10.00", "0.30", "1.00", "–", "images"]
    assert lines[3].split() == ["sink", "10,000", "10,000", "10,000", "300.00", "1000.00", "0.50", "rows"]


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_json(tmp_path) -> None:
    command = [sys.executable, "-m", "bench", "--output-dir", str(tmp_path), "--repeat", "1"]
    for case in ("decode/32", "sink", "end_to_end"):
        command += ["--case", case]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("bench-*.json")
    document = json.loads(path.read_text(encoding="utf-8"))
    cases = {case["name"]: case for case in document["cases"]}
    sink = {"sink", "sink/seal", "sink/plain_write"}
    named = {"decode/32x32", "end_to_end"}
    assert set(cases) == {"blog_loop", "limit/float32", "decode/32x32/plain"} | named | sink
    assert all(case["median"] > 0 for case in cases.values())
    assert cases["blog_loop"]["blog_loop_ratio"] == 1
    assert read(path) == document
    machine = document["machine"]
    assert machine["cpu"]["model"]
    assert machine["libraries"]["tensorflow"]
    assert machine["cpu"]["usable"] == cores()
    assert min(machine["threads"]["intra_op"], machine["threads"]["inter_op"]) > 0
    assert set(machine["threads"]["pools"].values()) == {cores()}
    # Each throughput has all of its references, but the references themselves.
    plain = {name for name in cases if name.endswith(("/plain", "plain_write")) or name.startswith("limit/")}
    for name, case in cases.items():
        assert case["blog_ratio"], name
        assert case["blog_loop_ratio"], name
        assert (case["limit_ratio"] is None) is (name in plain), name
    for name in cases:
        assert name in done.stdout


def test_an_unknown_case_is_an_error(tmp_path) -> None:
    command = [sys.executable, "-m", "bench", "--case", "nothing", "--output-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "nothing" in done.stderr
