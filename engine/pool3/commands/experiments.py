"""``pool3 demo``, ``pool3 cifar10`` and ``pool3 cifar10-lite``: a whole experiment each."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pool3.comparison import Comparison, Line

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


def cifar10_lite(
    data: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER", help="Holds train/CLASS/*.jpg and test/CLASS/*.jpg.", show_default=False
        ),
    ],
    output_dir: _Folder = Path("out"),
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH|random:SEED",
            help="Of inception_v3. Default: those of 2015-12-05, if they are in the cache.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Take N images of each set, evenly spread.", show_default=False),
    ] = None,
    folds: Annotated[int, typer.Option(help="Of the cross-validation, on training images alone.")] = 5,
    backend: Annotated[str, typer.Option(help="auto, cuml, intelex or sklearn.")] = "auto",
    overwrite: _Overwrite = False,
    json: _Json = False,
) -> None:
    """Compare HOG, EfficientNet-Lite0 and, with its weights, pool_3 by an SVM on CIFAR-10 as JPEG folders."""
    from pool3.commands.extract import run
    from pool3.commands.output import make_folder, print_json, progress, warnings_as_notes

    make_folder(output_dir)
    from pool3 import comparison

    with warnings_as_notes():
        result = comparison.cifar10_lite(
            output_dir,
            partial(run, overwrite=overwrite),
            data,
            weights=weights,
            limit=limit,
            folds=folds,
            backend=backend,
            watch=progress,
        )
    if json:
        print_json(result.to_dict())
    else:
        _show(result)


def _show(result: Comparison) -> None:
    from pool3.commands.output import print_table
    from pool3.experiments import BLOG_ACCURACY

    names = ("features", "SVM", "C", "accuracy", "95 %", "embed s", "fit s", "predict s", "images/s", "blog")
    print_table(names, [_cells(line) for line in result.lines], left=2)
    svm = result.lines[0].svm
    print()
    print(
        f"trained on {svm.n_train:,} images, tested on {svm.n_test:,}, by {svm.backend} {svm.backend_version}"
    )
    print(f"blog: pool_3 {BLOG_ACCURACY}, HOG about 0.59; of the original pixels, where these are of files")
    if result.missing:
        print(f"no line of pool_3: {result.missing} Or: pool3 weights fetch inception_v3")


def _cells(line: Line) -> list[str]:
    svm = line.svm
    low, high = svm.accuracy_interval
    features = (
        f"{line.features} ({line.weights})"
        if line.weights.startswith(("random", "custom"))
        else line.features
    )
    return [
        features,
        f"{svm.kernel}, best of {len(svm.grid.points)}" if svm.grid else svm.kernel,
        f"{svm.C:g}",
        f"{svm.accuracy:.4f}",
        f"{low:.4f} to {high:.4f}",
        "–" if line.embed_seconds is None else f"{line.embed_seconds:.1f}",
        f"{svm.fit_seconds:.2f}",
        f"{svm.predict_seconds:.2f}",
        "–" if line.images_per_second is None else f"{line.images_per_second:,.0f}",
        "–" if line.blog is None else f"{line.blog:g}",
    ]
