"""The workflows that docs/ci.md offers are ones that GitHub and GitLab accept."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "ci.md"


@pytest.mark.parametrize(
    ("heading", "schema"),
    [("GitHub Actions", "vendor.github-workflows"), ("GitLab", "vendor.gitlab-ci")],
)
def test_the_workflow_fits_its_schema(tmp_path, heading, schema) -> None:
    found = re.search(rf"## {heading}\n\n```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    path = tmp_path / "workflow.yml"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    path.write_text(found[1], encoding="utf-8")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    path.write_text(found[1].replace("script:", "scrpit:").replace("runs-on:", "run-on:"), encoding="utf-8")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0
