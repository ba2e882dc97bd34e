"""The command line as a user runs it: subprocesses, exit codes, what stands on stdout and what on stderr."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.images import write_folder

NETWORK = ("--backbone", "efficientnet_lite0", "--devices", "cpu")


def pool3(
    *arguments: object, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pool3.cli", *map(str, arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | environment,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_folder(folder, 70, suffix=".jpg")
    return folder


@pytest.fixture(scope="module")
def extracted(images, tmp_path_factory) -> tuple[Path, dict]:
    output = tmp_path_factory.mktemp("features") / "out.h5"
    done = pool3("extract", images, "-o", output, *NETWORK, "--json")
    assert done.returncode == 0, done.stderr
    return output, json.loads(done.stdout)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['pool3', '--help']\n"
        "from pool3.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({m.partition('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "extract" in done.stdout
    loaded = set(eval(done.stderr))
    assert not loaded & {"tensorflow", "keras", "numpy", "h5py", "sklearn", "scipy", "pynvml", "rich"}


def test_version() -> None:
    from pool3 import __version__

    assert pool3("--version").stdout == f"pool3 {__version__}\n"


def test_extract_json_is_one_object_with_the_promised_keys(extracted) -> None:
    output, result = extracted
    assert result["output"] == str(output)
    assert (result["inputs"], result["rows"], result["failures"], result["computed"]) == (70, 70, 0, 70)
    assert result["backbone"] == "efficientnet_lite0"
    assert result["weights_sha256"].startswith("57934424")
    assert result["precision"] == "float32"
    assert result["devices"][0].startswith("CPU")
    assert result["steady_images_per_second"] > result["images_per_second"] > 0
    assert result["blog_ratio"] == pytest.approx(result["steady_images_per_second"] * 0.03, abs=0.002)
    assert set(result["stages"]) >= {
        "startup",
        "precision",
        "compile",
        "read",
        "wait",
        "forward",
        "write",
        "seal",
    }
    alone = {name: s for name, s in result["stages"].items() if name not in ("read", "write")}
    assert sum(alone.values()) <= result["seconds"] + 0.1


def test_others_read_the_file(extracted) -> None:
    output, _ = extracted
    with h5py.File(output) as file:
        assert file["features"].shape == (70, 1280)
        assert file["features"].dtype == np.float32
        assert file["features"].fletcher32
        ids = file["ids"].asstr()[:]
        assert ids[0] == "a/0000.jpg"
        assert len(set(ids)) == 70
        assert file["source_index"][:].tolist() == list(range(70))
        assert file["labels"][:].tolist() == [0] * 35 + [1] * 35
        assert file.attrs["sealed"]
        assert file.attrs["inputs"] == file.attrs["rows"] + file.attrs["failures"] == 70
        assert np.isfinite(file["features"][:]).all()
        assert file["features"][:].std(axis=0).max() > 0.01


def test_a_finished_output_is_left_alone(extracted, images) -> None:
    output, _ = extracted
    before = output.read_bytes()
    done = pool3("extract", images, "-o", output, *NETWORK)
    assert done.returncode == 0
    assert "complete already" in done.stderr
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--feature", "softmax"], "feature"),
        (["--weights", "random:1"], "tensor_digest"),
        (["--limit", "5"], "source_manifest_sha256"),
    ],
)
def test_other_settings_are_refused_by_name(extracted, images, change, named) -> None:
    output, _ = extracted
    before = output.read_bytes()
    done = pool3("extract", images, "-o", output, *NETWORK, *change)
    assert done.returncode == 1
    assert named in done.stderr
    assert "→" in done.stderr
    assert "--overwrite" in done.stderr
    assert output.read_bytes() == before


def test_overwrite_starts_again(extracted, images, tmp_path) -> None:
    output = tmp_path / "copy.h5"
    output.write_bytes(extracted[0].read_bytes())
    done = pool3("extract", images, "-o", output, *NETWORK, "--limit", 5, "--overwrite", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 5


def test_an_output_that_is_an_image_is_left_alone(tmp_path) -> None:
    """Whatever was asked for: pool3 replaces feature files, and nothing else."""
    (image,) = write_folder(tmp_path, 1)
    before = image.read_bytes()
    done = pool3("extract", image, "-o", image, *NETWORK, "--overwrite")
    assert done.returncode == 1
    assert "left alone" in done.stderr
    assert image.read_bytes() == before


def test_failures_are_rows_of_failures(tmp_path) -> None:
    paths = write_folder(tmp_path / "images", 10)
    paths[3].write_bytes(b"broken")
    paths[7].write_bytes(b"")
    done = pool3("extract", tmp_path / "images", "-o", tmp_path / "out.h5", *NETWORK, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["rows"], result["failures"]) == (8, 2)
    assert "2 of 10 images failed" in done.stderr
    shown = json.loads(pool3("info", tmp_path / "out.h5", "--json").stdout)
    assert (shown["rows"], shown["failures"]) == (8, 2)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["source_index"][:].tolist() == [0, 1, 2, 4, 5, 6, 8, 9]
        assert file["failures"]["index"].tolist() == [3, 7]
        assert {stage.decode() for stage in file["failures"]["stage"]} == {"decode"}
        messages = [message.decode() for message in file["failures"]["message"]]
        assert messages[0].startswith("Unknown image file format.")
        assert messages[1] == "Input is empty."


def test_all_images_broken(tmp_path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"broken")
    done = pool3("extract", tmp_path / "x.jpg", "-o", tmp_path / "out.h5", *NETWORK, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 0


def test_missing_weights_offline_is_one_clear_sentence(images, tmp_path) -> None:
    done = pool3(
        "extract", images, "-o", tmp_path / "out.h5", "--offline", POOL3_CACHE=str(tmp_path / "cache")
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    named = ("pt_inception-2015-12-05-6726825d.pth", "https://", "6726825d0af5f729", "--weights")
    for part in (*named, str(tmp_path / "cache")):
        assert part in done.stderr
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["extract", "nowhere", "-o", "x.h5", *NETWORK], 1, "nowhere"),
        (["extract", ".", "-o", "x.h5", *NETWORK], 1, "no image"),
        (["extract", ".", "-o", "x.h5", "--backbone", "resnet"], 1, "resnet"),
        (["extract", ".", "-o", "x.h5", "--feature", "pool_9"], 1, "mixed_10"),
        (["extract", ".", "-o", "x.h5", "--precision", "int4"], 1, "float32"),
        (["extract", ".", "-o", "x.h5", "--batch-size", "0"], 1, "batch-size"),
        (["extract", ".", "-o", "x.h5", "--devices", "tpu"], 1, "tpu"),
        (["extract", "."], 2, "--output"),
        (["extract", ".", "-o", "x.h5", "--limit", "0"], 2, "--limit"),
        (["info", "nowhere.h5"], 1, "nowhere.h5"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_bad_input_gets_a_clear_error(tmp_path, arguments, code, named) -> None:
    done = pool3(*arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_explicit_gpu_that_is_not_there_is_an_error(images, tmp_path) -> None:
    done = pool3("extract", images, "-o", tmp_path / "x.h5", "--backbone", "efficientnet_lite0", "--devices", "gpu",
                 CUDA_VISIBLE_DEVICES="-1")  # fmt: skip
    assert done.returncode == 1
    assert "--devices gpu" in done.stderr
    assert "--devices cpu" in done.stderr


def test_several_sources_of_different_kinds(images, tmp_path) -> None:
    np.save(tmp_path / "arrays.npy", np.zeros((3, 9, 9, 3), np.uint8))
    done = pool3("extract", images, tmp_path / "arrays.npy", "-o", tmp_path / "out.h5", *NETWORK, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 73


def test_doctor() -> None:
    facts = json.loads(pool3("doctor", "--json").stdout)
    assert facts["device"]
    assert facts["nvml"]["gpus"] or facts["nvml"]["reason"]
    assert facts["weights"]["efficientnet_lite0"].endswith(".pth")
    text = pool3("doctor")
    assert text.returncode == 0
    assert "tensorflow" in text.stdout
