"""``pool3 demo`` and ``pool3 cifar10``: a whole experiment each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_Folder = Annotated[Path, typer.Option("-o", "--output-dir", help="Where the files go.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def demo(output_dir: _Folder = Path("out"), json: _Json = False) -> None:
    """Do the main job on the digit images that scikit-learn ships: features, a linear SVM, its accuracy."""
    from pool3.commands.extract import run
    from pool3.commands.output import note, print_json

    output_dir.mkdir(parents=True, exist_ok=True)
    note("1,797 digit images → efficientnet_lite0 → features → linear SVM")
    from pool3 import experiments

    result = experiments.digits(output_dir, run)
    if json:
        print_json(result.to_dict())
        return
    (extraction,), svm = result.extractions, result.svm
    print(f"accuracy      {svm.accuracy:.4f} on {svm.n_test:,} images, trained on {svm.n_train:,} others")
    print(
        f"speed         {extraction.steady_images_per_second:.1f} images/s on {', '.join(extraction.devices)}"
    )
    print(f"              {extraction.blog_ratio:.2f} × the blog's 33.3 images/s")
    print(f"features      {extraction.output}  (look inside: pool3 info {extraction.output})")


def cifar10(
    output_dir: _Folder = Path("out"),
    data: Annotated[
        str | None, typer.Option(help="CIFAR-10's python version, folder or .tar.gz. Default: fetched.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH|random:SEED", help="Default: those of 2015-12-05, fetched."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take the first N images of each batch.", show_default=False)
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Fetch nothing.")] = False,
    json: _Json = False,
) -> None:
    """Repeat the blog's experiment: CIFAR-10, Inception-v3 of 2015-12-05, a linear SVM, beside its 0.8741."""
    from pool3.commands.extract import run
    from pool3.commands.output import print_json, progress

    output_dir.mkdir(parents=True, exist_ok=True)
    from pool3 import experiments

    with progress("fetching", "bytes") as fetching:
        result = experiments.cifar10(
            output_dir, run, data=data, weights=weights, limit=limit, offline=offline, fetching=fetching
        )
    if json:
        print_json(result.to_dict() | {"blog_accuracy": experiments.BLOG_ACCURACY})
        return
    train, test = result.extractions
    svm = result.svm
    note = (
        ""
        if train.weights == "inception_v3" and limit is None
        else "  (other weights or fewer images: no comparison)"
    )
    print(f"accuracy      {svm.accuracy:.4f}, the blog's {experiments.BLOG_ACCURACY}{note}")
    print(f"trained on    {svm.n_train:,} images, tested on {svm.n_test:,}")
    print(f"speed         {test.steady_images_per_second:.1f} images/s on {', '.join(test.devices)}")
    print(f"              {test.blog_ratio:.2f} × the blog's 33.3 images/s")
    print(f"features      {train.output}, {test.output}")
