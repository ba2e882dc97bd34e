"""The command line: arguments → one spec → one call. Exit codes: 0, 1 (a Pool3Error), 2 (usage), 130 (interrupted)."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from pool3._version import __version__
from pool3.commands import classify, doctor, experiments, export, extract, info, weights
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
app.command()(classify.classify)
app.command()(export.export)
app.add_typer(weights.app, name="weights")
app.command()(doctor.doctor)
app.command()(experiments.demo)
app.command()(experiments.cifar10)


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM. Not a KeyboardInterrupt, which the argument parser would report in its own way."""


_interrupted = False


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - a signal handler's signature
    global _interrupted
    # An impatient second Ctrl-C must not cut short what the first one has begun to wind up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _interrupted = True
    raise Interrupted


def main() -> None:
    """Run the command line; the entry point of the ``pool3`` script."""
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except BaseException as error:
        # Libraries that were interrupted while they loaded raise something of their own.
        if _interrupted:
            print(
                "pool3: interrupted; an extraction goes on from its last commit when run again",
                file=sys.stderr,
            )
            sys.exit(130)
        if isinstance(error, Pool3Error):
            print(f"pool3: {error}", file=sys.stderr)
            sys.exit(1)
        raise


if __name__ == "__main__":
    main()
