"""What is measured, declared once. Every case works on seeded data of its own: speed does not depend on the values."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.cases import input as reading
from bench.cases import network, store, whole
from bench.cases.images import folder_of_jpegs
from bench.cases.kernels import kernel_cases
from bench.cases.store import provenance
from bench.measure import Case
from pool3.spec import CPU_BATCH_SIZE, SHARD_ROWS

__all__ = ["BLOG_LOOP", "cases", "folder_of_jpegs", "provenance"]

BLOG_LOOP = "blog_loop"
FORWARD_BATCHES = (1, 8, 32)
END_TO_END_IMAGES = 128
SMALL = ("32x32", 512, 32, 32)
PHOTOS = ("500x375", 64, 375, 500)
SVM = (2000, 1280)
"""Rows and width: ten times as many rows take a hundred times as long."""
SVM_LARGE = "svm/both/10000"
"""The case of the blog's size, which runs only where it is named."""


def cases(scratch: Path, prefixes: Sequence[str] = ()) -> list[Case]:
    """The cases whose names start with one of the prefixes; all where there are none."""
    every = [*_networks(), *kernel_cases(), *_inputs(scratch), *_stores(scratch), *_wholes(scratch)]
    if any(prefix.startswith(SVM_LARGE) for prefix in prefixes):
        # By its name alone: a round of it takes half a minute.
        every += _svms(10_000, SVM[1], SVM_LARGE.removeprefix("svm/both"))
    return [case for case in every if not prefixes or case.name.startswith(tuple(prefixes))]


def _networks() -> list[Case]:
    images = network.IMAGES

    def forward(name: str, backbone: str, batch_size: int, precision: str, limit: str = "") -> Case:
        setup = network.forward(backbone, batch_size, precision)
        about = f"{backbone} alone in {precision}, batch {batch_size}"
        return Case(f"forward/{name}", "images", images, setup, limit=limit, about=about)

    return [
        Case(
            BLOG_LOOP, "images", 16, partial(network.blog_loop, 16), about="the loop of 2016, image by image"
        ),
        *(forward(str(b), "inception_v3", b, "float32", "limit/float32") for b in FORWARD_BATCHES),
        forward("bfloat16", "inception_v3", CPU_BATCH_SIZE, "bfloat16", "limit/bfloat16"),
        forward("efficientnet_lite0", "efficientnet_lite0", CPU_BATCH_SIZE, "float32"),
        *(
            Case(
                f"limit/{precision}",
                "images",
                images,
                network.limit(precision),
                about=f"the best matrix product in {precision}, in images of Inception-v3",
            )
            for precision in ("float32", "bfloat16")
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
        setup = partial(reading.hashing, scratch / name, count, height, width)
        found.append(Case(f"hash/{name}", "images", count, setup, about="SHA-256 of files in memory"))
    setup = partial(reading.preprocess, 64, CPU_BATCH_SIZE)
    return [*found, Case("preprocess", "images", 64, setup, about="32² uint8 → 299² normalised, in a graph")]


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
        *_svms(*SVM, ""),
        *(
            Case(
                f"memory/{count}",
                "bytes",
                1,
                partial(whole.memory, count),
                quantity="bytes",
                about=f"peak of pipeline and store over {count:,} images",
            )
            for count in (2_000, 20_000)
        ),
    ]


def _svms(rows: int, width: int, suffix: str) -> list[Case]:
    """The blog's SVM, and the same by plain scikit-learn as its limit."""
    return [
        Case(
            f"svm/{what}{suffix}{'/plain' if backend == 'plain' else ''}",
            "rows",
            rows,
            partial(whole.classifier, rows, width, what=what, backend=backend),
            limit="" if backend == "plain" else f"svm/{what}{suffix}/plain",
            about=f"{what} of the blog's SVM, {rows:,} × {width:,}"
            + (", scikit-learn alone" if backend == "plain" else ""),
        )
        for what in (("both",) if suffix else ("fit", "predict"))
        for backend in ("auto", "plain")
    ]
