from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pool3.backbones import EFFICIENTNET_LITE0
from pool3.commands.weights import app
from pool3.errors import WeightsError, WeightsNotFoundError
from pool3.weights import KNOWN_WEIGHTS, load_weights


@pytest.fixture(autouse=True)
def _offline(tmp_path, monkeypatch):
    monkeypatch.setenv("POOL3_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("POOL3_OFFLINE", "1")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_list(tmp_path):
    shown = json.loads(run("list", "--json").stdout)
    rows = {row["name"]: row for row in shown["weights"]}
    assert list(rows) == list(KNOWN_WEIGHTS)
    assert rows["inception_v3"]["state"] == "not fetched"
    assert rows["efficientnet_lite0"]["state"] == "here"
    assert shown["cache"] == str(tmp_path / "cache")
    text = run("list").stdout
    assert KNOWN_WEIGHTS["inception_v3"].sha256 in text
    assert "md5 9a0d58056eeedaa3f26cb7ebd46da564, the only hash published" in text
    assert "inception-2015-12-05.tgz" in text


def test_list_tells_of_damage(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / KNOWN_WEIGHTS["inception_v3"].filename).write_bytes(b"x")
    rows = json.loads(run("list", "--json").stdout)["weights"]
    assert rows[0]["state"].startswith("damaged")


def test_fetch():
    result = run("fetch", "efficientnet_lite0", "--json")
    assert Path(json.loads(result.stdout)["path"]).is_file()
    assert isinstance(run("fetch").exception, WeightsNotFoundError)
    assert isinstance(run("fetch", "nonsense").exception, WeightsNotFoundError)


def test_verify():
    result = json.loads(run("verify", "efficientnet_lite0", "--json").stdout)
    assert result["sha256"] == KNOWN_WEIGHTS["efficientnet_lite0"].sha256
    assert result["backbone"] == "efficientnet_lite0"
    assert result["classifier"] is True
    assert "tensor_digest: " + result["tensor_digest"] in run("verify", "efficientnet_lite0").stdout
    assert isinstance(run("verify", "inception_v3").exception, WeightsNotFoundError)


def test_convert(tmp_path):
    out = tmp_path / "lite.h5"
    assert run("convert", "efficientnet_lite0", str(out)).stdout.strip() == str(out)
    source = load_weights(EFFICIENTNET_LITE0)
    converted = load_weights(EFFICIENTNET_LITE0, str(out))
    assert (converted.format, converted.tensor_digest) == ("native", source.tensor_digest)
    before = out.read_bytes()
    again = run("convert", "random:1", str(out), "--backbone", "efficientnet_lite0")
    assert isinstance(again.exception, WeightsError)
    assert out.read_bytes() == before
    replaced = run(
        "convert", "random:1", str(out), "--backbone", "efficientnet_lite0", "--overwrite", "--json"
    )
    assert json.loads(replaced.stdout)["name"] == "random:1"
    assert out.read_bytes() != before


def test_the_module_imports_nothing_heavy():
    code = "import sys, pool3.commands.weights; print([m for m in ('tensorflow', 'numpy', 'h5py') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_package_imports_no_tensorflow():
    code = (
        "import sys, pool3.weights; print([m for m in ('tensorflow', 'h5py', 'keras') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
