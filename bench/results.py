"""Result files of ``python -m bench``: written whole, read with care, kept as baselines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench.machine import fingerprint_id
from pool3.commands.output import note
from pool3.store.disk import written_aside

SCHEMA = 3
SCHEMA_FILE = Path(__file__).with_name("result.schema.json")
BASELINES = Path(__file__).with_name("baselines")

Result = dict[str, Any]


class ResultError(Exception):
    """A file is no result that can be used; the message says what to do."""


def write(result: Result, path: Path) -> None:
    """Write a result aside, then into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as file:
        file.write((json.dumps(result, indent=1) + "\n").encode())


def read(path: Path) -> Result:
    """Read a result.

    Raises:
        ResultError: there is none, or it is not of this schema.
    """
    try:
        import jsonschema
    except ImportError as error:
        raise ResultError(
            f"results are checked by jsonschema ({error}): pip install 'pool3[bench]'"
        ) from error
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ResultError(f"{path} is no JSON: {error}") from error
    if isinstance(document, dict) and document.get("schema") not in (None, SCHEMA):
        raise ResultError(f"{path} has schema {document['schema']}, this bench has {SCHEMA}; measure again")
    wrong = next(iter(jsonschema.Draft202012Validator(_schema()).iter_errors(document)), None)
    if wrong is not None:
        where = "/".join(map(str, wrong.absolute_path)) or "the whole"
        raise ResultError(f"{path} is no result of python -m bench ({where}: {wrong.message[:200]})")
    return document  # type: ignore[no-any-return]


@cache
def _schema() -> dict[str, Any]:
    return json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def accept(arguments: Sequence[str]) -> int:
    """``python -m bench accept RESULT.json``: keep a result as the reviewed baseline of its machine."""
    parser = argparse.ArgumentParser(prog="python -m bench accept", description=accept.__doc__)
    parser.add_argument("result", type=Path, help="a result file that someone has looked at")
    parser.add_argument("--baselines", type=Path, default=BASELINES, help="folder (default: bench/baselines)")
    parser.add_argument("--force", action="store_true", help="also of a dirty tree or a throttled run")
    options = parser.parse_args(arguments)
    try:
        result = read(options.result)
        if not options.force:
            _check(result, options.result)
    except ResultError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    path = options.baselines / f"{fingerprint_id(result['machine'])}.json"
    replaced = path.exists()
    write(result, path)
    note(f"{'replaced' if replaced else 'wrote'} {path}: review it and commit it")
    return 0


def _check(result: Result, path: Path) -> None:
    if result["machine"]["pool3"]["dirty"]:
        raise ResultError(
            f"{path} was measured on a tree with uncommitted changes; commit them and measure again"
        )
    if throttled := [case["name"] for case in result["cases"] if case.get("throttled")]:
        raise ResultError(
            f"{path} was measured while the GPU was throttled ({', '.join(throttled)}); measure again"
        )
