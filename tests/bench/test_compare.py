"""``bench compare``, ``accept`` and ``history`` on made-up results: verdicts, what is refused, what is drawn."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from bench.compare import compare_results, differences, main
from bench.gate.decision import Verdict
from bench.history import label, load, page
from bench.outputs import changed, describe
from bench.results import SCHEMA_FILE, ResultError, accept, read, write

ROOT = Path(__file__).parents[2]


def case(name: str, seconds, *, limit: str | None = None, ratio: float | None = None, **changes) -> dict:
    rates = sorted(100 / s for s in seconds)
    made = {
        "name": name, "unit": "images", "count": 100, "quantity": "seconds", "setup_seconds": 0.5,
        "first_seconds": 1.0, "limit_units": 1.0,
        "samples": list(map(float, seconds)), "median": float(np.median(rates)), "p20": rates[0], "p80": rates[-1],
        "blog_ratio": 1.0, "limit": limit, "limit_ratio": ratio, "blog_loop_ratio": None,
        "output": describe(np.arange(6, dtype=np.float32)),
    }  # fmt: skip
    return made | changes


def result(
    *cases: dict, cpu: str = "CPU A", commit: str = "a" * 40, dirty: bool = False, day: int = 1
) -> dict:
    return {
        "schema": 3,
        "created": f"2026-01-{day:02}T00:00:00+00:00",
        "repeats": 5,
        "machine": {
            "python": "3.11", "platform": "Linux", "cpu": {"model": cpu, "cores": 2, "usable": 2, "flags": ["avx2"]},
            "memory_bytes": 8 << 30, "nvml": {"driver": "", "gpus": []}, "libraries": {"tensorflow": "2.21.0"},
            "tensorflow": {
                "version": "2.21.0", "cuda_build": True, "cuda": "12.5.1", "cudnn": "9", "gpus": [],
                "onednn": "default",
            },
            "settings": {"TF_ENABLE_ONEDNN_OPTS": "1"}, "garbage_collection": "off",
            "threads": {"intra_op": 2, "inter_op": 2, "pools": {"blas openblas 0.3": 2}},
            "pool3": {"version": "0", "commit": commit, "dirty": dirty},
        },
        "cases": list(cases),
    }  # fmt: skip


def noisy(seed: int, factor: float = 1.0, count: int = 30) -> np.ndarray:
    return factor * np.exp(0.03 * np.random.default_rng(seed).standard_normal(count))


def verdicts(base: dict, head: dict, **options) -> dict[str, Verdict]:
    found = compare_results(base, head, normalised=options.pop("normalised", False), **options)
    return {name: decision.verdict for name, decision in found.items()}


def test_a_tenth_slower_is_found_and_no_change_is_not_accused() -> None:
    slower = accused = 0
    for seed in range(200):
        base = result(*(case(name, noisy(4 * seed + n)) for n, name in enumerate("ab")))
        head = result(case("a", noisy(4 * seed + 2, 1.1)), case("b", noisy(4 * seed + 3)))
        found = verdicts(base, head)
        slower += found["a"] is Verdict.SLOWER
        accused += found["b"] is Verdict.SLOWER
    assert slower >= 190
    assert accused <= 4


def test_other_machines_compare_by_their_limits_alone() -> None:
    def measured(machine: str, speed: float, efficiency: float) -> dict:
        limit = noisy(1, 1 / speed)
        return result(
            case("x", noisy(2, 1 / speed / efficiency), limit="limit", ratio=efficiency),
            case("limit", limit),
            cpu=machine,
        )

    base = measured("CPU A", 1.0, 0.9)
    assert set(verdicts(base, measured("CPU B", 3.0, 0.9)).values()) == {Verdict.INCOMPARABLE}
    found = verdicts(base, measured("CPU B", 3.0, 0.9), normalised=True)
    assert found == {"x": Verdict.SAME, "limit": Verdict.INCOMPARABLE}
    assert verdicts(base, measured("CPU B", 3.0, 0.7), normalised=True)["x"] is Verdict.SLOWER
    assert verdicts(base, measured("CPU B", 0.5, 0.99), normalised=True)["x"] is Verdict.FASTER


def test_faster_never_hides_different() -> None:
    base = result(case("x", noisy(1)))
    other = result(case("x", noisy(2, 0.5), output=describe(np.arange(6, dtype=np.float32) + 0.01)))
    (decision,) = compare_results(base, other, normalised=False).values()
    assert decision.verdict is Verdict.CHANGED
    assert "2.0e-03" in decision.reason
    close = result(
        case("x", noisy(2), output=describe(np.arange(6, dtype=np.float32) * np.float32(1 + 1e-6)))
    )
    assert verdicts(base, close)["x"] is Verdict.SAME


@pytest.mark.parametrize("change", [{"shape": (3, 2)}, {"dtype": "float64"}, {"precision": "bfloat16"}])
def test_outputs_of_another_kind_changed(change) -> None:
    array = np.arange(6, dtype=np.float32)
    other = array.reshape(change.get("shape", (6,))).astype(change.get("dtype", "float32"))
    assert changed(describe(array), describe(other, change.get("precision", "float32")))[0]
    assert changed(describe(array), describe(np.full(6, np.nan, np.float32)))[0]
    holes = np.where(np.arange(6) == 2, np.nan, array)
    assert changed(describe(holes), describe(holes + 1))[0]
    assert json.loads(json.dumps(describe(holes), allow_nan=False)) == describe(holes)
    assert changed(describe(array), describe(array)) == (False, "Outputs are equal bit for bit.")


def test_a_case_of_one_side_is_not_comparable_and_harms_no_other() -> None:
    base = result(case("x", noisy(1)), case("old", noisy(2)))
    head = result(case("x", noisy(3)), case("new", noisy(4)))
    found = compare_results(base, head, normalised=False)
    assert {name: str(d.verdict) for name, d in found.items()} == {
        "x": "same",
        "old": "not comparable",
        "new": "not comparable",
    }
    assert "the head has not measured it" in found["old"].reason
    throttled = result(case("x", noisy(1), throttled=True))
    assert "throttled" in compare_results(base, throttled, normalised=False)["x"].reason


def test_an_output_of_one_side_alone_is_not_comparable() -> None:
    base, head = (result(case("x", noisy(1), output=o)) for o in (describe(np.zeros(3)), None))
    (decision,) = compare_results(base, head, normalised=False).values()
    assert decision.verdict is Verdict.INCOMPARABLE
    assert "only one of the runs" in decision.reason


def test_software_that_is_not_alike_is_told() -> None:
    base, head = result(case("x", [1.0]))["machine"], result(case("x", [1.0]))["machine"]
    assert differences(base, head) == ""
    head["libraries"]["tensorflow"] = "2.22.0"
    head["settings"]["OMP_NUM_THREADS"] = "1"
    assert differences(base, head) == "Not alike: tensorflow 2.21.0 → 2.22.0, OMP_NUM_THREADS unset → 1."


def test_the_largest_and_the_kept_values_do_not_hide_what_lies_between() -> None:
    before = np.random.default_rng(0).standard_normal(20_000).astype(np.float32)
    other = before.copy()
    other[[101, 10_001]] += (0.3, -0.2)
    kept = [describe(array) for array in (before, other)]
    assert (kept[0]["values"], kept[0]["largest"]) == (kept[1]["values"], kept[1]["largest"])
    assert changed(*kept)[0]
    rounded = before * (1 + 1e-6 * np.sign(np.random.default_rng(1).standard_normal(20_000))).astype(
        np.float32
    )
    assert not changed(describe(before), describe(rounded))[0]
    assert describe(before)["sha256"] != describe(rounded)["sha256"]


def saved(folder: Path, name: str, made: dict) -> Path:
    path = folder / name
    write(made, path)
    return path


def test_the_command_line(tmp_path) -> None:
    base = saved(tmp_path, "a.json", result(case("x|y", noisy(1))))
    slow = saved(tmp_path, "b.json", result(case("x|y", noisy(2, 1.2))))

    def run(*arguments) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "bench", *map(str, arguments)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    done = run("compare", base, slow, "--json", tmp_path / "c" / "d.json", "--junit", tmp_path / "e.xml")
    assert done.returncode == 1, done.stderr
    assert "slower" in done.stdout
    assert json.loads((tmp_path / "c" / "d.json").read_text())["decisions"]["x|y"]["verdict"] == "slower"
    assert 'failures="1"' in (tmp_path / "e.xml").read_text()
    assert run("compare", base, base).returncode == 0
    assert run("compare", base, tmp_path / "none.json").returncode == 2
    assert "choose one of run, list" in run("walk").stderr


def test_undecided_exits_3_and_strictly_1(tmp_path, capsys) -> None:
    one = saved(tmp_path, "a.json", result(case("x", [1.0, 1.1])))
    assert main([str(one), str(one)]) == 3
    assert main([str(one), str(one), "--strict"]) == 1
    assert "unsure" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("no json", "is no JSON"),
        ('{"schema": 1}', "has schema 1"),
        ('{"schema": 3}', "is no result"),
        ("[]", "is no result"),
    ],
)
def test_what_is_no_result_is_said(tmp_path, content, said) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(ResultError, match=said):
        read(path)


def test_the_schema_is_a_schema_and_takes_what_there_is(tmp_path) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(SCHEMA_FILE.read_text()))
    made = result(case("x", [1.0]))
    assert read(saved(tmp_path, "r.json", made)) == made
    broken = copy.deepcopy(made)
    broken["cases"][0]["samples"] = [0.0]
    with pytest.raises(ResultError, match="cases/0/samples/0"):
        read(saved(tmp_path, "s.json", broken))


def test_accept_keeps_one_baseline_a_machine_and_refuses_what_is_not_clean(tmp_path, capsys) -> None:
    folder = tmp_path / "baselines"
    first = saved(tmp_path, "1.json", result(case("x", [1.0])))
    again = saved(tmp_path, "2.json", result(case("x", [2.0]), commit="b" * 40, day=2))
    dirty = saved(tmp_path, "3.json", result(case("x", [3.0]), dirty=True))
    throttled = saved(tmp_path, "4.json", result(case("x", [3.0], throttled=True), cpu="CPU B"))
    assert accept([str(first), "--baselines", str(folder)]) == 0
    assert accept([str(again), "--baselines", str(folder)]) == 0
    assert accept([str(dirty), "--baselines", str(folder)]) == 2
    assert accept([str(throttled), "--baselines", str(folder)]) == 2
    (path,) = folder.iterdir()
    assert read(path)["cases"][0]["samples"] == [2.0]
    assert re.fullmatch(r"[0-9a-f]{12}\.json", path.name)
    assert accept([str(throttled), "--baselines", str(folder), "--force"]) == 0
    assert len(list(folder.iterdir())) == 2
    assert "throttled" in capsys.readouterr().err


def test_history_draws_each_machine_and_takes_names_as_text(tmp_path) -> None:
    hostile = "<script>alert(1)</script>$x_"
    for day in (1, 2, 3):
        made = result(
            case("x", [1.0 / day], limit="limit", ratio=0.3 * day),
            case(hostile, [1.0]),
            commit=str(day) * 40,
            day=day,
        )
        saved(tmp_path, f"bench-{day}.json", made)
    other = result(case("_y", [1.0]), cpu="CPU <B>", dirty=True)
    saved(tmp_path, "bench-4.json", other)
    saved(tmp_path / "baselines", "0.json", result(case("x", [1.0]), commit="1" * 40))  # a copy of the first
    (tmp_path / "bench-5.json").write_text("broken")
    arguments = [
        "--results",
        str(tmp_path),
        "--baselines",
        str(tmp_path / "baselines"),
        "-o",
        str(tmp_path / "out"),
    ]
    command = [sys.executable, "-m", "bench", "history", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bench-5.json is no JSON" in done.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    text = (tmp_path / "out" / "history.html").read_text()
    assert text.count("<figure><svg") == 2
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "CPU &lt;B&gt;" in text
    assert not re.search(r'(src|href)="?https?:', text.replace('xlink:href="#', ""))
    found = load([tmp_path, tmp_path / "baselines"])
    assert [len(some) for some in found.values()] == [3, 1]
    assert label(other) == "aaaaaaa*"
    assert "aaaaaaa*" in page(found, dict.fromkeys(found, ""))


def test_history_of_nothing_says_so(tmp_path) -> None:
    command = [
        sys.executable,
        "-m",
        "bench",
        "history",
        "--results",
        str(tmp_path),
        "--baselines",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "run python -m bench" in done.stderr
