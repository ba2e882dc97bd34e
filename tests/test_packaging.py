"""The wheel and the checkout both import, both packages, typed; what is not shipped is not in the wheel."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # Without isolation: the build backend is among the development dependencies, so no network is needed.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_both_packages_and_nothing_else(wheel) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"pool3", "pool3_kernels"}
    assert {"pool3/py.typed", "pool3_kernels/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    shipped = [
        path for path in (ROOT / "engine/pool3/pages").rglob("*") if path.suffix in (".html", ".css", ".js")
    ]
    assert len(shipped) >= 5
    assert {path.relative_to(ROOT / "engine").as_posix() for path in shipped} <= set(names)


def test_the_installed_wheel_imports_and_runs(wheel, tmp_path) -> None:
    target = tmp_path / "site"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
    ]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    code = (
        "import pool3, pool3_kernels.fold\n"
        "from pool3.cli import app\n"
        "print(pool3.__file__, pool3_kernels.__file__, pool3.__version__)"
    )
    installed = {"PYTHONPATH": str(target)}

    def output_of(*command: object) -> str:
        return subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=tmp_path, env=installed
        ).stdout

    pool3_file, kernels_file, version = output_of(sys.executable, "-c", code).split()
    assert Path(pool3_file).is_relative_to(target)
    assert Path(kernels_file).is_relative_to(target)
    assert wheel.name.startswith(f"pool3-{version}-")
    assert "extract" in output_of(target / "bin" / "pool3", "--help")


def test_the_checkout_is_installed_in_place() -> None:
    import pool3
    import pool3_kernels

    assert Path(pool3.__file__).is_relative_to(ROOT / "engine")
    assert Path(pool3_kernels.__file__).is_relative_to(ROOT / "kernels")


def test_make_help_lists_every_public_target() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "bench", "cifar10", "lint", "types", "help"):
        assert f"make {target} " in listed
