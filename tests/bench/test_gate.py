"""The gate around its decisions: looks, budget, trees, outputs and reports. No verdict here rests on a clock."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import bench.cases
from bench.gate import trees
from bench.gate.decision import Decision, Verdict, looks
from bench.gate.gate import _versions, features_changed, run_pairs
from bench.gate.pair import MOST_SAMPLES, both, in_turns, take_pair, unlike
from bench.gate.report import junit, markdown, to_dict
from bench.gate.side import prepare
from bench.gate.trees import GateError, Tree, head
from bench.measure import Case, Work
from bench.outputs import describe

NAMES = ("quick", "slow", "same")
TRUTH = {"quick": 0.7, "slow": 1.3, "same": 1.0}


def synthetic(seed: int = 0):
    """Pairs of known truth, and which cases were asked for."""
    rng, asked = np.random.default_rng(seed), []

    def pair(number: int, open_) -> dict[str, tuple[float, float]]:
        asked.append(tuple(open_))
        noise = np.exp(rng.normal(0, 0.01, (len(open_), 2)))
        return {name: (a, TRUTH[name] * b) for name, (a, b) in zip(open_, noise, strict=True)}

    return pair, asked


def never() -> bool:
    return False


def test_cases_are_decided_at_the_first_look_and_then_left_alone() -> None:
    pair, asked = synthetic()
    decisions, samples = run_pairs(pair, NAMES, never, 0.05)
    assert {name: d.verdict for name, d in decisions.items()} == {
        "quick": Verdict.FASTER,
        "slow": Verdict.SLOWER,
        "same": Verdict.SAME,
    }
    assert len(asked) == looks(len(NAMES))[0]
    assert {len(times["base"]) for times in samples.values()} == {len(asked)}


def test_what_is_unsure_gets_pairs_up_to_the_last_look() -> None:
    rng, asked = np.random.default_rng(0), []

    def pair(number: int, open_) -> dict[str, tuple[float, float]]:
        asked.append(tuple(open_))
        return {name: (1.0, 1.0 if name == "same" else float(np.exp(rng.normal(0, 0.6)))) for name in open_}

    decisions, _ = run_pairs(pair, ("same", "wild"), never, 0.05)
    assert (decisions["same"].verdict, decisions["wild"].verdict) == (Verdict.SAME, Verdict.UNSURE)
    assert "quieter machine" in decisions["wild"].reason
    assert len(asked) == looks(2)[-1]
    assert asked[-1] == ("wild",)


def test_a_spent_budget_leaves_cases_unsure() -> None:
    pair, asked = synthetic()
    decisions, _ = run_pairs(pair, NAMES, lambda: len(asked) >= 3, 0.05)
    assert {d.verdict for d in decisions.values()} == {Verdict.UNSURE}
    assert "budget" in decisions["slow"].reason


def scripted(name: str, times: list[float], order: list[str]):
    """A side that takes the given seconds, without waiting for them."""

    def sample() -> float:
        order.append(name)
        return times[order.count(name) - 1]

    return sample


@pytest.mark.parametrize(("number", "turns"), [(0, "ABBAAB"), (1, "BAABBA")])
def test_samples_take_turns(number, turns) -> None:
    order: list[str] = []
    found = in_turns(number, scripted("A", [0.4, 0.5, 0.9], order), scripted("B", [0.6, 0.7, 0.8], order))
    assert "".join(order) == turns
    assert found == (0.5, 0.7)


@pytest.mark.parametrize(("seconds", "count"), [(5.0, 1), (1e-4, MOST_SAMPLES), (0.0, MOST_SAMPLES)])
def test_a_long_case_is_sampled_once_and_a_short_one_often(seconds, count) -> None:
    order: list[str] = []
    times = [seconds] * MOST_SAMPLES
    in_turns(0, scripted("A", times, order), scripted("B", times, order))
    assert (order.count("A"), order.count("B")) == (count, count)


def test_features() -> None:
    before = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    assert features_changed(before, before.copy()) == (False, "Features are equal bit for bit.")
    changed, said = features_changed(before, before * np.float32(1 + 1e-6))
    assert not changed
    assert "within 1e-05" in said
    assert features_changed(before, before + 1e-3)[0]
    assert features_changed(before, before[:3])[0]
    assert features_changed(before, np.full_like(before, np.nan))[0]


def test_a_side_runs_its_own_tree_and_no_other(tmp_path) -> None:
    """Timed or not, the case has run with the packages of the tree that was named."""
    with head().side(tmp_path / "side") as side:
        assert side.answer()["modules"] == {
            "pool3": "engine/pool3/__init__.py",
            "pool3_kernels": "kernels/pool3_kernels/__init__.py",
        }
    elsewhere = Tree(tmp_path, "0" * 40, head().python)
    with pytest.raises(GateError, match=r"cannot run these cases: 0000.*not from"), both(head(), elsewhere):
        pytest.fail("the second tree has no engine")


def test_a_pair_in_two_processes() -> None:
    said: list[str] = []
    found = take_pair(0, head(), head(), ("hash/32x32", "gone"), said.append)
    assert found.pop("gone") == Decision(Verdict.INCOMPARABLE, reason="there is no such case")
    ((name, times),) = found.items()
    assert name == "hash/32x32"
    assert min(times) > 0
    assert said == ["starting both sides", "preparing both sides", "hash/32x32", "gone"]


def test_a_case_that_computes_something_else_is_not_timed() -> None:
    def side(array: np.ndarray | None, error: str = "") -> dict[str, dict]:
        return {
            "errors": {"x": error} if error else {},
            "outputs": {} if array is None else {"x": describe(array)},
        }

    ones = np.ones(1000, np.float32)
    other = ones.copy()
    other[1] = 2  # between the values that are kept: a projection tells
    assert unlike("x", side(ones), side(ones)) is None
    assert unlike("x", side(ones), side(ones * np.float32(1 + 1e-6))) is None
    assert unlike("x", side(None), side(None)) is None
    found = unlike("x", side(ones), side(other))
    assert found is not None
    assert found.verdict is Verdict.CHANGED
    assert "of the largest value" in found.reason
    assert unlike("x", side(ones), side(None, "gone")) == Decision(Verdict.INCOMPARABLE, reason="gone")


def test_a_tree_whose_interface_does_not_fit_is_said(tmp_path) -> None:
    for folder, package in (("engine", "pool3"), ("kernels", "pool3_kernels")):
        (tmp_path / folder / package).mkdir(parents=True)
        (tmp_path / folder / package / "__init__.py").write_text("")
    older = Tree(tmp_path.resolve(), "1" * 40, head().python)
    with (
        pytest.raises(GateError, match=r"cannot run these cases: 1111.*ModuleNotFoundError: .*pool3\."),
        both(older, head()),
    ):
        pytest.fail("the first tree has no runtime")


def test_a_ref_that_git_does_not_know(tmp_path) -> None:
    with pytest.raises(GateError, match="rev-parse"), trees.base("no-such-ref", tmp_path):
        pytest.fail("there is no such commit")


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A repository with one commit, in the place of this one."""
    root = tmp_path / "repository"
    root.mkdir()
    monkeypatch.setattr(trees, "ROOT", root)
    monkeypatch.setattr(trees.git, "__kwdefaults__", {"root": root})
    (root / "pyproject.toml").write_text('[project]\ndependencies = ["numpy"]\n')
    trees.git("init", "-q")
    trees.git("add", ".")
    trees.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    return root


def test_the_base_is_checked_out_and_removed_again(repository, tmp_path) -> None:
    with trees.base("HEAD", tmp_path / "environments") as tree:
        assert (tree.root / "pyproject.toml").exists()
        assert tree.python == head().python  # the same dependencies
        root = tree.root
    assert not root.exists()
    assert str(root) not in trees.git("worktree", "list")
    assert not (tmp_path / "environments").exists()


def wheel(folder: Path, name: str) -> str:
    """A requirement of an empty package, without an index to ask."""
    path, info = folder / f"{name}-1-py3-none-any.whl", f"{name}-1.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        file.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{info}/RECORD", "")
    return f"{name} @ {path.as_uri()}"


def test_other_dependencies_get_an_environment_that_is_kept(repository, tmp_path, capsys) -> None:
    (repository / "pyproject.toml").write_text(
        f"[project]\ndependencies = {json.dumps([wheel(tmp_path, 'tiny')])}\n"
    )
    trees.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "other dependencies")
    (repository / "pyproject.toml").write_text('[project]\ndependencies = ["numpy"]\n')
    said = []
    for _ in range(2):
        with trees.base("HEAD", tmp_path / "environments") as tree:
            assert tree.python != head().python
            subprocess.run([tree.python, "-c", "import tiny"], check=True)
        said.append(capsys.readouterr().err)
    assert "installing them" in said[0]
    assert said[1] == ""  # it is there


def test_dependencies_that_cannot_be_installed_are_said(repository, tmp_path) -> None:
    missing = f"gone @ {(tmp_path / 'gone-1-py3-none-any.whl').as_uri()}"
    (repository / "pyproject.toml").write_text(f"[project]\ndependencies = {json.dumps([missing])}\n")
    trees.git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "what there is not")
    (repository / "pyproject.toml").write_text('[project]\ndependencies = ["numpy"]\n')
    with (
        pytest.raises(GateError, match="cannot be installed"),
        trees.base("HEAD", tmp_path / "environments"),
    ):
        pytest.fail("there is no such wheel")
    assert "tree" not in trees.git("worktree", "list")


DECISIONS = {
    "forward/8": Decision(Verdict.SLOWER, 0.112, 0.1, 0.12, 14),
    "a|b": Decision(Verdict.UNSURE, 0.01, -0.1, 0.1, 56, "<noise> | more"),
    "sink": Decision(Verdict.SAME, 0.0, -0.01, 0.01, 14),
    "gone": Decision(Verdict.INCOMPARABLE, reason="no such case"),
}


def test_markdown() -> None:
    text = markdown(DECISIONS, "abc", "def")
    assert "| `forward/8` | ❌ slower | +11.2% | +10.0% – +12.0% | 14 |" in text
    assert "<noise> \\| more" in text
    assert "| `gone` | ❔ not comparable | – | – | – | no such case |" in text


@pytest.mark.parametrize(("strict", "failures", "skipped"), [(False, 1, 2), (True, 3, 0)])
def test_junit(strict, failures, skipped) -> None:
    suite = ElementTree.fromstring(junit(DECISIONS, strict=strict).encode())
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
        "4",
        str(failures),
        str(skipped),
    )
    assert len(suite.findall(".//failure")) == failures
    assert len(suite.findall(".//skipped")) == skipped
    assert "+11.2%" in suite.find(".//failure").get("message")


def test_json_has_no_number_that_was_not_measured() -> None:
    found = json.loads(json.dumps({name: to_dict(d) for name, d in DECISIONS.items()}, allow_nan=False))
    assert found["gone"]["effect"] is None
    assert found["forward/8"]["effect"] == 0.112
    assert Path(trees.ROOT / "engine").is_dir()


def test_the_pairs_after_a_look_are_looked_at_when_the_budget_ends() -> None:
    rng, asked = np.random.default_rng(0), []
    first = looks(1)[0]

    def pair(number: int, open_) -> dict[str, tuple[float, float]]:
        """No difference to see at first, and then a clear one."""
        asked.append(number)
        change = rng.normal(0, 0.6) if number < first else 5.0
        return {name: (1.0, float(np.exp(change))) for name in open_}

    decisions, _ = run_pairs(pair, ("late",), lambda: len(asked) == looks(1)[1] - 1, 0.05)
    assert decisions["late"].verdict is Verdict.SLOWER
    assert decisions["late"].pairs == looks(1)[1] - 1


def test_a_case_that_one_side_cannot_run_harms_no_other() -> None:
    pair, asked = synthetic()

    cannot = Decision(Verdict.INCOMPARABLE, reason="ImportError: no such kernel")

    def without(number: int, open_) -> dict[str, tuple[float, float] | Decision]:
        return {name: cannot if name == "slow" else times for name, times in pair(number, open_).items()}

    decisions, samples = run_pairs(without, NAMES, never, 0.05)
    assert decisions["slow"].verdict is Verdict.INCOMPARABLE
    assert "no such kernel" in decisions["slow"].reason
    assert samples["slow"] == {"base": [], "head": []}
    assert all("slow" not in open_ for open_ in asked[1:])
    assert Verdict.INCOMPARABLE not in {decisions[name].verdict for name in NAMES if name != "slow"}


def test_a_side_says_which_cases_it_cannot_run(tmp_path, monkeypatch) -> None:
    def broken() -> Work:
        raise ImportError("no such kernel")

    def of_a_base(_scratch, _names) -> list[Case]:
        works = Case("works", "images", 1, lambda: Work(lambda: 0.5, lambda: np.ones(3, np.float32)))
        return [Case("broken", "images", 1, broken), works]

    monkeypatch.setattr(bench.cases, "cases", of_a_base)
    calls, errors, outputs = prepare(tmp_path, ("works", "broken", "gone"))
    assert [call() for call in calls.values()] == [0.5]
    assert list(calls) == ["works"]
    assert outputs == {}
    assert prepare(tmp_path, ("works",), compute=True)[2] == {"works": describe(np.ones(3, np.float32))}
    assert errors == {"broken": "ImportError: no such kernel", "gone": "there is no such case"}


def bench_gate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "gate", *arguments]
    return subprocess.run(command, cwd=trees.ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command_as_a_ci_calls_it(tmp_path) -> None:
    """A budget of one pair decides nothing: the verdict does not depend on this machine's clock."""
    reports = {kind: tmp_path / "out" / f"gate.{kind}" for kind in ("markdown", "junit", "json")}
    options = [f"--{kind}={path}" for kind, path in reports.items()]
    done = bench_gate("--base", "HEAD", "--case", "hash/32x32", "--budget", "0.001", *options)
    assert done.returncode == 3, done.stderr
    assert "the budget ended before the first look" in done.stdout
    assert reports["markdown"].read_text() == done.stdout.removesuffix("\n")
    assert ElementTree.parse(reports["junit"]).getroot().get("skipped") == "1"
    document = json.loads(reports["json"].read_text())
    assert document["output"] == "Features are equal bit for bit."
    assert document["machine"]["cpu"]["model"]
    assert document["decisions"]["hash/32x32"]["verdict"] == "unsure"
    assert "bench.gate" not in done.stderr  # no traceback


def test_a_base_that_there_is_not_is_wrong_usage() -> None:
    done = bench_gate("--base", "no-such-ref")
    assert done.returncode == 2
    assert "no-such-ref" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_versions_on_one_side_are_named() -> None:
    assert _versions({"numpy": "1", "h5py": "3"}, {"numpy": "1", "keras": "3"}) == ""
    assert (
        _versions({"numpy": "1", "h5py": "3"}, {"numpy": "2", "h5py": "3"})
        == " Libraries differ: numpy 1 → 2."
    )
