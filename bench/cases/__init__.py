"""What is measured, declared once. Every case works on seeded data of its own: speed does not depend on the values."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.cases import input as reading
from bench.cases import maps, network, store, whole
from bench.cases.images import folder_of_jpegs
from bench.cases.kernels import kernel_cases
from bench.cases.store import provenance
from bench.measure import Case
from pool3.spec import CPU_BATCH_SIZE, SHARD_ROWS

__all__ = ["BLOG_LOOP", "cases", "folder_of_jpegs", "provenance"]

BLOG_LOOP = "blog_loop"
BATCHES = (1, 8, 32)
PRECISIONS = ("float32", "bfloat16", "float16")
END_TO_END_IMAGES = 128
SMALL = ("32x32", 512, 32, 32)
PHOTOS = ("500x375", 64, 375, 500)
SVM = (2000, 1280)
"""Rows and width: ten times as many rows take a hundred times as long."""
SVM_LARGE = 10_000
"""Rows of the blog's training set; run only where they are named, since a round takes half a minute."""
TSNE = "tsne/10000"
"""The blog's picture; run only where it is named too."""


def cases(scratch: Path, prefixes: Sequence[str] = ()) -> list[Case]:
    """All cases whose names start with one of the prefixes.

    Args:
        scratch: folder for their files.
        prefixes: none: all.
    """
    every = [*_networks(), *kernel_cases(), *_inputs(scratch), *_stores(scratch), *_wholes(scratch)]
    every += _maps(scratch)
    return [case for case in every if not prefixes or case.name.startswith(tuple(prefixes))]


def chosen(scratch: Path, prefixes: Sequence[str] = ()) -> list[Case]:
    """Those that are named, with the limits they stand beside; where none is, those that run by default."""
    every = cases(scratch)
    if not prefixes:
        return [case for case in every if case.default]
    named = [case for case in every if case.name.startswith(tuple(prefixes))]
    beside = {case.limit for case in named} if named else set()
    beside |= {BLOG_LOOP for case in named if case.unit == "images"}
    return [case for case in every if case in named or case.name in beside]


def _networks() -> list[Case]:
    quick = network.quick_precisions()

    def forward(backbone: str, precision: str, batch_size: int, *, default: bool) -> Case:
        return Case(
            f"forward/{backbone}/{precision}/{batch_size}",
            "images",
            network.images(batch_size),
            network.forward(backbone, batch_size, precision),
            limit=f"limit/{precision}",
            limit_units=network.OPERATIONS[backbone] / network.OPERATIONS["inception_v3"],
            about=f"{backbone} alone in {precision}, batch {batch_size}",
            default=default and precision in quick,
        )

    return [
        Case(
            BLOG_LOOP,
            "images",
            16,
            partial(network.blog_loop, 16),
            limit="limit/float32",
            about="the loop of 2016, image by image",
        ),
        *(forward("inception_v3", p, b, default=True) for p in PRECISIONS for b in BATCHES),
        *(
            forward("efficientnet_lite0", p, b, default=b == CPU_BATCH_SIZE)
            for p in PRECISIONS
            for b in BATCHES
        ),
        *(
            Case(
                f"limit/{precision}",
                "images",
                network.LIMIT_IMAGES,
                network.limit(precision),
                about=f"the best matrix product in {precision}, in images of Inception-v3",
                default=precision in quick,
            )
            for precision in PRECISIONS
        ),
    ]


def _inputs(scratch: Path) -> list[Case]:
    found = []
    for name, suffix, (_, count, height, width) in (
        (SMALL[0], ".jpg", SMALL),
        (PHOTOS[0], ".jpg", PHOTOS),
        (f"{PHOTOS[0]}/png", ".png", PHOTOS),
    ):
        size = (scratch / name, count, height, width, suffix)
        plain = f"decode/{name}/plain"
        found += [
            Case(
                f"decode/{name}",
                "images",
                count,
                partial(reading.decode, *size),
                limit=plain,
                about="read, hash, decode, resize to 299², batch",
            ),
            Case(
                plain,
                "images",
                count,
                partial(reading.plain_decode, *size),
                about="TensorFlow's decoder, one by one",
            ),
        ]
    for name, count, height, width in (SMALL, PHOTOS):
        files = (scratch / name, count, height, width)
        plain = f"hash/{name}/plain"
        found += [
            Case(
                f"hash/{name}",
                "images",
                count,
                partial(reading.hashing, *files),
                limit=plain,
                about="the pipeline's digests of files in memory",
            ),
            Case(
                plain,
                "images",
                count,
                partial(reading.plain_hash, *files),
                about="SHA-256 of as many bytes at once",
            ),
        ]
    setups = (
        partial(reading.preprocess, 64, CPU_BATCH_SIZE),
        partial(reading.plain_resize, 64, CPU_BATCH_SIZE),
    )
    plain = "preprocess/plain"
    return [
        *found,
        Case(
            "preprocess",
            "images",
            64,
            setups[0],
            limit=plain,
            about="32² uint8 → 299² normalised, in a graph",
        ),
        Case(plain, "images", 64, setups[1], about="TensorFlow's resize alone"),
    ]


def _stores(scratch: Path) -> list[Case]:
    shards = 8
    rows = shards * SHARD_ROWS
    plain = "sink/plain_write"
    return [
        Case(
            "sink",
            "rows",
            rows,
            partial(store.sink, scratch / "sink", shards),
            limit=plain,
            about="durable commits",
        ),
        Case(
            "sink/seal",
            "rows",
            rows,
            partial(store.seal, scratch / "seal", shards),
            limit=plain,
            about="the seal",
        ),
        Case(
            plain,
            "rows",
            rows,
            partial(store.plain_write, scratch / "plain", shards),
            about="the same bytes, plain",
        ),
    ]


def _wholes(scratch: Path) -> list[Case]:
    return [
        Case(
            "end_to_end",
            "images",
            END_TO_END_IMAGES,
            partial(whole.end_to_end, scratch / "end", END_TO_END_IMAGES),
            limit="limit/float32",
            about="a folder of 32² JPEGs to a sealed file, start-up and compilation left out",
        ),
        Case("start/help", "starts", 1, whole.command_help, about="pool3 --help in a fresh process"),
        Case(
            "start/first_features",
            "starts",
            1,
            partial(whole.first_features, scratch / "start"),
            about="a fresh process to its first batch of features",
        ),
        *_svms(SVM[0], ""),
        *_svms(SVM_LARGE, f"/{SVM_LARGE}"),
        *(
            Case(
                f"memory/{count}",
                "bytes",
                1,
                partial(whole.memory, count),
                quantity="bytes",
                about=f"peak of pipeline and store over {count:,} images",
                default=sys.platform == "linux",  # whose kernel tells
                most=2,
            )
            for count in (2_000, 20_000)
        ),
    ]


def _svms(rows: int, suffix: str) -> list[Case]:
    """The blog's SVM as ``pool3 classify`` runs it; the fraction of its limit is how often as quick as scikit-learn."""
    width = SVM[1]
    return [
        Case(
            f"svm/{what}{suffix}{'/plain' if backend == 'plain' else ''}",
            "rows",
            rows,
            partial(whole.classifier, rows, width, what=what, backend=backend),
            limit="" if backend == "plain" else f"svm/{what}{suffix}/plain",
            about=f"{what} of the blog's SVM, {rows:,} × {width:,}"
            + (", scikit-learn alone" if backend == "plain" else ""),
            default=not suffix,
        )
        for what in ("fit", "predict")
        for backend in ("auto", "plain")
    ]


def _maps(scratch: Path) -> list[Case]:
    """A projection with all that belongs to it, and PCA and openTSNE alone as its limit."""
    rows = 10_000
    return [
        Case(
            TSNE,
            "rows",
            rows,
            partial(maps.project, scratch / "map", rows),
            limit=f"{TSNE}/plain",
            about="pool3.project: features read, PCA to 50, openTSNE, judged; 10,000 × 1,280",
            default=False,
        ),
        Case(
            f"{TSNE}/plain",
            "rows",
            rows,
            partial(maps.plain, rows),
            about="PCA to 50 and openTSNE alone, in memory",
            default=False,
        ),
    ]
