"""``pool3 demo`` and ``pool3 cifar10``: a whole experiment each."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

_Folder = Annotated[Path, typer.Option("-o", "--output-dir", help="Where the files go.")]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Discard existing outputs.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def demo(output_dir: _Folder = Path("out"), overwrite: _Overwrite = False, json: _Json = False) -> None:
    """Do the main job on the digit images that scikit-learn ships: features, a linear SVM, its accuracy."""
    from pool3.commands.extract import run, speed
    from pool3.commands.output import make_folder, note, print_json

    make_folder(output_dir)
    note("1,797 digit images → efficientnet_lite0 → features → linear SVM")
    from pool3 import experiments

    result = experiments.digits(output_dir, partial(run, overwrite=overwrite))
    if json:
        print_json(result.to_dict())
        return
    (extraction,), svm = result.extractions, result.svm
    print(f"accuracy   {svm.accuracy:.4f} on {svm.n_test:,} images, trained on {svm.n_train:,} others")
    print(f"speed      {speed(extraction)}")
    print(f"device     {', '.join(extraction.devices)}")
    print(f"features   {extraction.output}  (look inside: pool3 info {extraction.output})")


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
    overwrite: _Overwrite = False,
    json: _Json = False,
) -> None:
    """Repeat the blog's experiment: CIFAR-10, Inception-v3 of 2015-12-05, a linear SVM, beside its 0.8741."""
    from pool3.commands.extract import run, speed
    from pool3.commands.output import make_folder, print_json, progress
    from pool3.errors import Pool3Error

    make_folder(output_dir)
    from pool3 import experiments

    try:
        with progress("fetching", "bytes") as fetching:
            images = experiments.fetch_cifar10(data, weights, offline=offline, fetching=fetching)
    except Pool3Error as error:
        files = "pool3 cifar10 --weights FILE --data FILE, or make cifar10 WEIGHTS=FILE CIFAR10=FILE"
        raise Pool3Error(f"{error}\nWith files of your own: {files}.") from error
    result = experiments.cifar10(
        output_dir, partial(run, overwrite=overwrite), images, weights=weights, limit=limit
    )
    if json:
        print_json(result.to_dict() | {"blog_accuracy": experiments.BLOG_ACCURACY})
        return
    train, test = result.extractions
    svm = result.svm
    published = train.weights == "inception_v3" and limit is None
    remark = "" if published else "  (not the published file of weights, or fewer images: no comparison)"
    print(f"accuracy   {svm.accuracy:.4f}, the blog's {experiments.BLOG_ACCURACY}{remark}")
    print(f"trained    on {svm.n_train:,} images, tested on {svm.n_test:,}")
    print(f"speed      {speed(test)}")
    print(f"device     {', '.join(test.devices)}")
    print(f"features   {train.output}, {test.output}")
