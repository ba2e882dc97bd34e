"""The command line: arguments → one spec → one call.

Exit codes: 0 done; 1 a Pool3Error; 2 wrong usage; 3 more failures than allowed; 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pool3._version import __version__
from pool3.commands import (
    classify,
    doctor,
    experiments,
    export,
    extract,
    fid,
    info,
    interrupts,
    merge,
    project,
    report,
    search,
    tune,
    verify,
    weights,
)
from pool3.errors import Pool3Error

app = typer.Typer(
    name="pool3",
    help="Turns large sets of images into Inception-v3 pool_3 features: fast, exactly once, and provably.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"pool3 {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Turns large sets of images into Inception-v3 pool_3 features: fast, exactly once, and provably."""


app.command()(extract.extract)
app.command()(info.info)
app.command()(verify.verify)
app.command()(merge.merge)
app.command()(classify.classify)
app.command()(classify.predict)
app.command()(project.project)
app.command()(fid.fid)
app.command()(fid.inception_score)
app.command()(search.neighbours)
app.command()(search.dedup)
app.command()(report.report)
app.command()(export.export)
app.add_typer(weights.app, name="weights")
app.command()(doctor.doctor)
app.command()(tune.tune)
app.command()(experiments.demo)
app.command()(experiments.cifar10)
app.command()(experiments.cifar10_lite)


def main() -> None:
    """Run the command line; the entry point of the ``pool3`` script."""
    interrupts.install()
    try:
        app()
    except BaseException as error:
        if interrupts.happened():
            print("pool3: interrupted", file=sys.stderr)
            sys.exit(interrupts.EXIT_CODE)
        if isinstance(error, Pool3Error):
            print(f"pool3: {error}", file=sys.stderr)
            sys.exit(error.exit_code)
        raise


if __name__ == "__main__":
    main()
