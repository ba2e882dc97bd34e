"""The CI configurations of docs/ci.md: valid by their own schemas, and calling the gate with options that it has."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gate import gate

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"
SCHEMAS = {"GitHub Actions": "vendor.github-workflows", "GitLab": "vendor.gitlab-ci"}


def block(title: str) -> str:
    """The one YAML block of a section."""
    section = re.search(
        rf"^## {title}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert section
    (found,) = re.findall(r"^```yaml\n(.*?)^```", section[1], re.DOTALL | re.MULTILINE)
    return found


def check(schema: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "ci.yml"
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("title", SCHEMAS)
def test_the_page_holds_to_the_schema(title: str, tmp_path: Path) -> None:
    text = block(title)
    done = check(SCHEMAS[title], text, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    # The check itself bites: a number is neither a list of steps nor a script.
    broken, changed = re.subn(
        r"^( *)(steps|script):\n", r"\1\2: 7\n\1other:\n", text, count=1, flags=re.MULTILINE
    )
    assert changed
    assert check(SCHEMAS[title], broken, tmp_path).returncode == 1


@pytest.mark.parametrize("title", SCHEMAS)
def test_the_page_calls_the_gate_with_options_that_it_has(title: str) -> None:
    call = re.search(r"-m bench gate (.*?gate\.json)", block(title).replace("\\\n", " "), re.DOTALL)
    assert call
    options = gate._options(shlex.split(call[1]))
    assert options.budget == 15
    assert {options.markdown, options.junit, options.json} == {
        Path("out/gate") / f"gate.{kind}" for kind in ("md", "xml", "json")
    }
