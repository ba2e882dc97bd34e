"""``python -m bench precision``: how far features of a reduced precision are from those of float32.

Makes the figures of `pool3.backbones.Contract`: the smallest cosine of any row, and the change of the accuracy of a
linear SVM, trained and tested on features of the one precision and of the other.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.machine import fingerprint
from pool3.backbones import BACKBONES, Contract, get_backbone
from pool3.commands.output import Report, note, progress
from pool3.runtime import start_tensorflow
from pool3.sources import Source, open_source

_PRECISIONS = ("bfloat16", "float16")


def main(arguments: Sequence[str]) -> int:
    """Measure one backbone in some precisions, and print each contract as a JSON object."""
    parser = argparse.ArgumentParser(prog="python -m bench precision", description=__doc__)
    parser.add_argument(
        "train", help="labelled images to train on, such as CIFAR-10's first 10,000 as a folder"
    )
    parser.add_argument("test", help="labelled images to test on")
    parser.add_argument("--backbone", default="inception_v3", choices=list(BACKBONES))
    parser.add_argument("--weights", default=None, help="as for pool3 extract")
    parser.add_argument("--precision", action="append", choices=_PRECISIONS, help="may be given again")
    parser.add_argument("--limit", type=int, default=None, help="take so many images of each, evenly spread")
    parser.add_argument("--data", default="", help="what to call the images in the contract")
    chosen = parser.parse_args(arguments)

    start_tensorflow()
    train, test = (_spread(open_source(given), chosen.limit) for given in (chosen.train, chosen.test))
    data = chosen.data or f"{train.description}, {test.description}"
    with tempfile.TemporaryDirectory(prefix="pool3-bench-") as scratch:
        full = _Features(Path(scratch), train, test, chosen.backbone, chosen.weights, "float32")
        for precision in chosen.precision or _PRECISIONS:
            reduced = _Features(Path(scratch), train, test, chosen.backbone, chosen.weights, precision)
            contract = Contract(
                cosine=round(min(_cosine(a, b) for a, b in zip(reduced.files, full.files, strict=True)), 6),
                accuracy=round(100 * (reduced.accuracy() - full.accuracy()), 2),
                images=len(train) + len(test),
                weights=chosen.weights or chosen.backbone,
                data=data,
            )
            facts: dict[str, Any] = {
                "backbone": chosen.backbone,
                "precision": precision,
                "holds": contract.holds,
            }
            accuracies = {"float32": full.accuracy(), precision: reduced.accuracy()}
            print(json.dumps(facts | asdict(contract) | {"accuracies": accuracies, "machine": fingerprint()}))
    return 0


def _spread(source: Source, limit: int | None) -> Source:
    """Evenly spread images of a source, so that all classes of a folder are among them."""
    import numpy as np

    from pool3.sources import SelectionSource

    if limit is None or limit >= len(source):
        return source
    return SelectionSource(source, np.linspace(0, len(source) - 1, limit).astype(np.int64))


class _Features:
    """The feature files of both sets in one precision."""

    def __init__(
        self, folder: Path, train: Source, test: Source, backbone: str, weights: str | None, precision: str
    ) -> None:
        from pool3.extractor import Extractor
        from pool3.spec import ExtractSpec

        extractor = Extractor(
            ExtractSpec(backbone=get_backbone(backbone).name, weights=weights, precision=precision)
        )
        self.files = [folder / f"{name}-{precision}.h5" for name in ("train", "test")]
        self._accuracy: float | None = None
        for source, path in zip((train, test), self.files, strict=True):
            with progress(path.stem) as report:

                def step(done: int, total: int, _failures: int, report: Report = report) -> None:
                    report(done, total)

                extractor.extract(source, path, progress=step)

    def accuracy(self) -> float:
        """Of a linear SVM, C = 0.1 as in the blog post."""
        from pool3.classify import classify

        if self._accuracy is None:
            note(f"training on {self.files[0].stem}")
            self._accuracy = classify(*self.files, C=0.1).accuracy
        return self._accuracy


def _cosine(reduced: Path, full: Path) -> float:
    from pool3.precision import smallest_cosine
    from pool3.store import open_features

    with open_features(reduced) as a, open_features(full) as b:
        return smallest_cosine(a.features[:], b.features[:])
