"""The two whole experiments, as a user runs them."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.sources.builders import cifar_files
from tests.test_cli import pool3


@pytest.mark.slow
def test_demo_reaches_97_percent(tmp_path) -> None:
    done = pool3("demo", "--output-dir", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    accuracy = float(words[words.index("accuracy") + 1])
    assert accuracy >= 0.97
    assert "images/s" in done.stdout
    assert "33.3" in done.stdout
    assert str(tmp_path / "out" / "digits.h5") in done.stdout
    again = pool3("demo", "--output-dir", tmp_path / "out", "--json")
    assert json.loads(again.stdout)["svm"]["accuracy"] == pytest.approx(accuracy, abs=1e-4)


@pytest.fixture
def cifar(tmp_path) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, content in cifar_files(20).items():
        (folder / name).write_bytes(content)
    return folder


def test_cifar10_prints_its_accuracy_beside_the_blogs(cifar, tmp_path) -> None:
    arguments = ["cifar10", "--data", cifar, "--weights", "random:0", "--output-dir", tmp_path / "out"]
    done = pool3(*arguments)
    assert done.returncode == 0, done.stderr
    assert "the blog's 0.8741" in done.stdout
    assert "no comparison" in done.stdout
    result = json.loads(pool3(*arguments, "--json").stdout)
    assert result["blog_accuracy"] == 0.8741
    assert [e["rows"] for e in result["extractions"]] == [20, 20]
    assert result["svm"]["kernel"] == "linear"
    assert result["svm"]["C"] == 0.1


def test_cifar10_without_a_network_says_all_that_is_missing(tmp_path) -> None:
    cache = tmp_path / "cache"
    done = pool3("cifar10", "--offline", "--output-dir", tmp_path / "out", POOL3_CACHE=str(cache))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    for part in (
        "pt_inception-2015-12-05-6726825d.pth", "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        "https://github.com/", "kriz/cifar-10-python.tar.gz", str(cache),
    ):  # fmt: skip
        assert part in done.stderr


def test_make_cifar10_passes_its_variables_on(cifar, tmp_path) -> None:
    root = Path(__file__).parents[1]
    command = [
        "make",
        "--dry-run",
        "cifar10",
        f"CIFAR10={cifar}",
        "WEIGHTS=my weights.pth",
        f"OUT={tmp_path}",
    ]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    assert f"--data '{cifar}'" in shown
    assert "--weights 'my weights.pth'" in shown
