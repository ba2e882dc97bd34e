"""``pool3 extract``: images in, one feature file out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pool3.result import ExtractResult
    from pool3.spec import ExtractSpec


def extract(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Folder, image, quoted glob, CIFAR-10 batches, .npy, .npz, tar or zip of images, "
            "or sklearn:digits. Several are taken in the order given.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="OUT.h5", help="Feature file to write.", show_default=False),
    ],
    backbone: Annotated[
        str, typer.Option(help="inception_v3, inception_v3_keras or efficientnet_lite0.")
    ] = "inception_v3",
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH|random:SEED", help="Default: the backbone's own, fetched if need be."
        ),
    ] = None,
    feature: Annotated[
        str, typer.Option(help="Named feature, such as mixed_10 or softmax. Default: the pooled one.")
    ] = "",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    storage: Annotated[
        str, typer.Option(help="Dtype of the stored features: float32, or float16 for half the space.")
    ] = "float32",
    batch_size: Annotated[str, typer.Option(metavar="auto|N", help="Images a step.")] = "auto",
    workers: Annotated[str, typer.Option(metavar="auto|N", help="Batches decoded at a time.")] = "auto",
    resize: Annotated[
        str,
        typer.Option(
            help="tf1-bilinear, bilinear, or clean (clean-fid's, by Pillow); recorded. Default: the backbone's.",
            show_default=False,
        ),
    ] = "",
    fast_decode: Annotated[
        bool,
        typer.Option(
            "--fast-decode",
            help="Decode large JPEGs at 1/2, 1/4 or 1/8 of their size: quicker, with other features; recorded.",
        ),
    ] = False,
    resize_on: Annotated[
        str, typer.Option(help="Where images are resized: auto (on a GPU, if there is one), host or device.")
    ] = "auto",
    devices: Annotated[str, typer.Option(help="auto, cpu, gpu or gpu:0,1: one replica each.")] = "auto",
    xla: Annotated[str, typer.Option(help="Compile by XLA: auto (on a GPU), on or off.")] = "auto",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take the first N images.", show_default=False)
    ] = None,
    max_failures: Annotated[
        str | None,
        typer.Option(
            metavar="N|P%",
            help="Stop past so many failed images, or a share of all, with exit code 3; what was computed is kept.",
            show_default=False,
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try just the failed images again, also of a finished output."),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Discard an existing output.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Never fetch weights.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Turn images into features: one row an image, in order, or one recorded failure.

    Run it again after a crash and it goes on where it stopped; on a finished output it says so.
    """
    from pool3.commands.output import note, print_json
    from pool3.spec import ExtractSpec, parse_count

    spec = ExtractSpec(
        backbone=backbone,
        weights=weights,
        feature=feature,
        precision=precision,
        storage=storage,
        batch_size=parse_count(batch_size, "--batch-size"),
        workers=parse_count(workers, "--workers"),
        resize=resize,
        fast_decode=fast_decode,
        resize_on=resize_on,
        devices=devices,
        xla=xla,
        offline=offline,
    )
    result = run(
        spec,
        list(sources),
        output,
        limit=limit,
        overwrite=overwrite,
        retry_failed=retry_failed,
        max_failures=max_failures,
    )
    if json:
        print_json(result.to_dict())
        return
    print(summary(result))
    if result.advice:
        note(result.advice)


def run(
    spec: ExtractSpec,
    source: Any,
    output: Path,
    *,
    limit: int | None = None,
    overwrite: bool = False,
    retry_failed: bool = False,
    max_failures: str | None = None,
) -> ExtractResult:
    """Extract with progress and remarks on stderr."""
    from pool3.commands.output import counted, note, progress, warnings_as_notes
    from pool3.runtime import start_tensorflow
    from pool3.sources import open_source
    from pool3.spec import failure_limit
    from pool3.telemetry import StageClock

    clock = StageClock()
    with clock.stage("scan"):
        # First, since a mistyped path should not have to wait for TensorFlow.
        images = open_source(source, limit=limit)
        if max_failures is not None:
            failure_limit(max_failures, len(images))
    if images.ignored:
        note(f"{images.description}: {images.ignored:,} other files are no images and were left out")
    with clock.stage("startup"):
        start_tensorflow()
        from pool3.extractor import Extractor
    with warnings_as_notes(), progress("fetching weights", "bytes") as fetching:
        extractor = Extractor(spec, fetching=fetching, clock=clock)
    with _said_when_interrupted(output), warnings_as_notes(), progress("extracting") as report:

        def step(done: int, total: int, failures: int) -> None:
            report(done, total, f"{failures:,} failed" if failures else "")

        result = extractor.extract(
            images,
            output,
            overwrite=overwrite,
            retry_failed=retry_failed,
            max_failures=max_failures,
            progress=step,
        )
    if result.computed:
        note(precision_line(result))
    if result.retried:
        note(f"tried {counted(result.retried, 'failed image')} again; rows now: {result.recovered:,}")
    elif retry_failed:
        note("no image had failed: nothing to try again")
    before = result.inputs - (result.computed - result.retried)
    if not result.computed:
        note(f"{output} is complete already: nothing to do (--overwrite starts again)")
    elif before and before < result.inputs:
        note(f"went on after {before:,} images that were committed before")
    if result.failures:
        note(f"{result.failures:,} of {result.inputs:,} images failed; their reasons: pool3 info {output}")
    return result


@contextmanager
def _said_when_interrupted(output: Path) -> Iterator[None]:
    """Say how much is committed where Ctrl-C or SIGTERM ends the block."""
    from pool3.commands.interrupts import happened
    from pool3.commands.output import note
    from pool3.store import progress

    try:
        yield
    except BaseException:
        if happened():
            done, inputs = progress(output)
            note(
                f"{done:,} of {inputs:,} images are committed for {output}; the same command goes on from there"
            )
        raise


def precision_line(result: ExtractResult) -> str:
    """The precision, and why that one."""
    checked = ""
    if result.precision != "float32":
        checked = f"; smallest cosine with float32 on the first images {result.precision_cosine:.6f}"
    return f"{result.precision} ({result.precision_reason}{checked})"


def summary(result: ExtractResult) -> str:
    """The result in a few lines for people."""
    from pool3.commands.output import counted

    lines = [
        f"{result.output}: {counted(result.rows, 'row')}, {counted(result.failures, 'failure')} "
        f"({result.backbone} {result.feature}, {result.precision}, {', '.join(result.devices)})"
    ]
    if result.computed:
        lines.append(f"{counted(result.computed, 'image')} in {result.seconds:.1f} s; {speed(result)}")
    return "\n".join(lines)


def speed(result: ExtractResult) -> str:
    """How quick a run was, beside the blog post."""
    rate, ratio = result.steady_images_per_second, result.blog_ratio
    if rate is None or ratio is None:
        return "nothing to compute: the features were there already"
    return f"{rate:.1f} images/s once started, {ratio:.2f} × the blog's 33.3 images/s"
