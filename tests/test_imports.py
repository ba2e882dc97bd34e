"""One direction of imports, and light ones: what reads features never loads a network."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"tensorflow", "keras"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports anywhere, as written; type-checking blocks are left out."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


def test_kernels_import_nothing_of_pool3() -> None:
    for path in files("kernels"):
        assert not {m for m in imports(path) if m == "pool3" or m.startswith("pool3.")}, path


@pytest.mark.parametrize(
    "part",
    [
        "store",
        "sources",
        "classify",
        "comparable.py",
        "metrics",
        "pages",
        "projection",
        "reporting",
        "search",
        "texts.py",
    ],
)
def test_store_sources_and_evidence_use_no_network(part) -> None:
    banned = HEAVY | {f"pool3.{m}" for m in ("backbones", "weights", "pipeline", "runtime", "extractor")}
    place = ROOT / "engine" / "pool3" / part
    for path in [place] if place.is_file() else files(f"engine/pool3/{part}"):
        assert not {m for m in imports(path) if any(f"{m}.".startswith(f"{b}.") for b in banned)}, path


def test_nothing_below_the_commands_imports_them() -> None:
    for path in files("engine/pool3"):
        if path.name != "cli.py" and path.parent.name != "commands":
            assert not {m for m in imports(path) if m.startswith(("pool3.commands", "pool3.cli"))}, path


def test_nothing_but_the_commands_prints() -> None:
    for path in files("engine/pool3", "kernels"):
        if path.name != "cli.py" and path.parent.name != "commands":
            calls = [
                n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)
            ]
            assert not [n for n in calls if isinstance(n.func, ast.Name) and n.func.id == "print"], path


@pytest.mark.parametrize(
    "statement",
    [
        "import pool3",
        "from pool3 import open_features",
        "import pool3.classify",
        "import pool3.metrics",
        "import pool3.pages",
        "import pool3.projection",
        "import pool3.sklearn",
        "import pool3.reporting",
    ],
)
def test_reading_features_loads_no_tensorflow(statement) -> None:
    code = f"{statement}\nimport sys\nprint('tensorflow' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )


def test_public_names_exist() -> None:
    import pool3

    for name in pool3.__all__:
        assert getattr(pool3, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pool3.nothing
