"""Verifies a feature file: all that is stored, and against its source the images and a sample of features made anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import inf, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.errors import Pool3Error, SpecError, StoreError
from pool3.extractor import Extractor
from pool3.repeating import spec_of
from pool3.sources import SelectionSource, Source, Unreadable, content_sha256, open_source
from pool3.spec import ExtractSpec
from pool3.store import FeatureFile, open_features
from pool3.store.checks import Check, listed
from pool3.store.verify import verify_file
from pool3.watching import Watch, unwatched

SAMPLE = 64
"""Rows computed anew unless told: where one row in twenty is wrong, 64 find it in 96 of 100 cases."""

BOUNDS = {"float32": 1e-5, "bfloat16": 5e-2, "float16": 5e-3}
"""Precision → the most that a row computed anew may differ by: max|new − old| by max|old| of the row.

float32: another processor, thread count or batch size adds the same products in another order. Across batch sizes that
makes less than 1e-6 (`tests/test_extractor.py`); ten times as much leaves room for other machines and libraries, and
is far below the 1e-2 that already another JPEG decoder makes. bfloat16 and float16: sums in another order round
another way in every layer. With seeded weights, Inception-v3 in bfloat16 is up to 8e-2 from float32, in TensorFlow and
in OpenVINO alike, so two implementations may be as far from each other; float16 has three bits more.
"""

ROUNDING = {"float32": 0.0, "float16": 2.0**-11}
"""Storage → what it adds to the bound: half of the last of float16's 11 bits."""

_STEPS = 4
"""Batches computed at a time, so that reading and computing overlap."""

_NEEDED = {"file", "attributes", "datasets", "counts", "indices", "labels"}
"""Checks of the file without which it cannot be compared with a source."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found.

    Attributes:
        path: the feature file.
        checks: all that were made, in order.
    """

    path: Path
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check holds."""
        return all(check.ok for check in self.checks)

    @property
    def summary(self) -> str:
        """The result in a sentence."""
        failed = [check.name for check in self.checks if not check.ok]
        if not failed:
            return f"{self.path} passed {len(self.checks)} checks"
        return (
            f"{self.path} failed {len(failed)} of {len(self.checks)} checks ({', '.join(failed)}): "
            "restore what is damaged or changed, or extract it again"
        )

    def to_dict(self) -> dict[str, Any]:
        """``path``, ``ok`` and ``checks`` (``name``, ``ok``, ``detail``), JSON-able."""
        return {"path": str(self.path), "ok": self.ok, "checks": [asdict(check) for check in self.checks]}


def verify(
    path: str | os.PathLike[str],
    source: Any = None,
    *,
    sample: int = SAMPLE,
    seed: int = 0,
    weights: str | None = None,
    devices: str = "auto",
    watch: Watch | None = None,
) -> Verification:
    """Check a sealed feature file, and where a source is given, that the file is what the source gives.

    With a source, the ids and labels are compared, then the SHA-256 of every row's image; then a sample of the rows
    whose images are unchanged is computed anew with the recorded settings and compared within `BOUNDS`.

    Args:
        path: the feature file.
        source: anything that `open_source` takes: what the file was made from, all of it if it was made with a limit.
        sample: rows to compute anew; 0: none, and TensorFlow is not loaded.
        seed: of the choice of these rows, which is evenly random.
        weights: the file that ``custom`` weights were read from; None: those that are recorded by name.
        devices: ``auto``, ``cpu``, ``gpu`` or ``gpu:N``.
        watch: told of each task, and how far it has come.

    Raises:
        SpecError: a setting is unknown, or needs a source.
        StoreNotFoundError: there is no feature file. A damaged one is a failed check, not an error.
        SourceError: the source cannot be read at all.
    """
    if sample < 0 or seed < 0:
        raise SpecError(f"the sample and its seed are counted from 0; received {sample} and {seed}")
    if weights is not None and source is None:
        raise SpecError("weights are for computing features anew: name the source of the images too")
    watch = watch or unwatched
    ExtractSpec(devices=devices)  # an unknown device should not have to wait for all that comes before it
    images = None if source is None else open_source(source)
    with watch("checking", "rows") as report:
        checks = verify_file(path, progress=report)
    if images is not None:
        needed = [check.name for check in checks if not check.ok and check.name in _NEEDED]
        try:
            if needed:
                raise StoreError(f"{path} is damaged ({', '.join(needed)})")
            with open_features(path) as file:
                against = _Against(file, images, watch)
                checks.extend(against.compare())
                if sample:
                    checks.extend(against.compute(sample, seed, weights, devices))
        except StoreError as error:
            checks.append(Check("source", False, f"it could not be compared further: {error}"))
    return Verification(Path(path), tuple(checks))


class _Against:
    """A feature file and the source that it is compared with."""

    def __init__(self, file: FeatureFile, source: Source, watch: Watch) -> None:
        self._file = file
        self._source = source
        self._watch = watch
        ids = [""] * file.inputs
        for index, id_ in zip(file.source_index.tolist(), file.ids, strict=True):
            ids[index] = id_
        for failure in file.failures:
            ids[failure.index] = failure.id
        place = {id_: i for i, id_ in enumerate(source.ids)}
        self._ids = ids  # of all images of the file, by their index
        self._places = np.array([place.get(id_, -1) for id_ in ids], np.int64)  # in the source; -1: not there
        self._row_places = self._places[file.source_index]
        self._unchanged = np.zeros(0, np.int64)  # rows whose images are what they were, in the source's order

    def compare(self) -> Iterator[Check]:
        """Compare ids, labels and contents."""
        yield self._compare_ids()
        yield self._compare_labels()
        if not self._file.parts:  # of a merged file, the digest is one over its parts' digests
            yield self._compare_manifest()
        yield self._compare_contents()

    def _compare_ids(self) -> Check:
        ids, source = self._ids, self._source
        there = np.flatnonzero(self._places >= 0)
        places = self._places[there]
        # A longer source may go on after the file's last image: the file was made with a limit.
        end = len(source) if len(source) <= len(ids) else int(places.max(initial=-1)) + 1
        known = set(ids)
        missing = [ids[i] for i in np.flatnonzero(self._places < 0)]
        additional = [id_ for id_ in source.ids[:end] if id_ not in known]
        problems = [
            f"{len(some):,} {what}: {listed(some, len(some))}"
            for some, what in ((missing, "not in the source"), (additional, "in the source alone"))
            if some
        ]
        turns = there[1:][np.diff(places) <= 0]
        if len(turns):
            problems.append(f"in another order from {ids[turns[0]]} on")
        left = f"; {len(source) - end:,} after them were left out" if end < len(source) else ""
        return Check.of("source ids", problems, f"all {len(ids):,} images are there, in order{left}")

    def _compare_labels(self) -> Check:
        file, source = self._file, self._source
        rows = np.flatnonzero(self._row_places >= 0)
        places = self._row_places[rows]
        number = {name: i for i, name in enumerate(file.label_names)}
        # By name, since one more class gives others another number; the last entry answers for -1.
        table = np.array([*(number.get(name, -2) for name in source.label_names), -1])
        wrong = np.flatnonzero(table[source.labels[places]] != file.labels[rows])
        changes = (
            f"{file.ids[rows[i]]} ({_name(file.label_names, file.labels[rows[i]])} → "
            f"{_name(source.label_names, source.labels[places[i]])})"
            for i in wrong
        )
        problems = [f"{len(wrong):,} changed: {listed(changes, len(wrong))}"] if len(wrong) else []
        return Check.of("source labels", problems, f"those of {len(rows):,} rows are the same")

    def _compare_manifest(self) -> Check:
        recorded = self._file.provenance.source_manifest_sha256
        source = open_source(self._source, limit=max(1, len(self._ids)))
        problem = "the ids, labels, label names or the common shape are not those recorded"
        problems = [] if source.manifest_sha256() == recorded else [problem]
        return Check.of("source manifest", problems, recorded)

    def _compare_contents(self) -> Check:
        """Read the image of each row that is in the source."""
        file = self._file
        rows = np.flatnonzero(self._row_places >= 0)
        rows = rows[np.argsort(self._row_places[rows], kind="stable")]
        changed, unreadable, unchanged = [], [], []
        contents = SelectionSource(self._source, self._row_places[rows]).read(0, len(rows))
        with self._watch("reading", "images") as report:
            for done, (row, content) in enumerate(zip(rows.tolist(), contents, strict=True), 1):
                if isinstance(content, Unreadable):
                    unreadable.append(f"{file.ids[row]} ({content.message})")
                elif content_sha256(content) != file.content_sha256[row].tobytes():
                    changed.append(file.ids[row])
                else:
                    unchanged.append(row)
                report(done, len(rows))
        self._unchanged = np.array(unchanged, np.int64)
        problems = [
            f"{len(some):,} {what}: {listed(some, len(some))}"
            for some, what in ((changed, "changed"), (unreadable, "cannot be read"))
            if some
        ]
        return Check.of("images", problems, f"{len(rows):,} read, each with the SHA-256 of its row")

    def compute(self, sample: int, seed: int, weights: str | None, devices: str) -> Iterator[Check]:
        """Compute some rows anew, with the recorded settings."""
        file, recorded = self._file, self._file.provenance
        if not len(file):
            return
        count = min(sample, len(self._unchanged))
        if not count:
            yield Check("features", False, "no image is what it was, so that none was computed anew")
            return
        try:
            spec = spec_of(recorded, weights=weights, devices=devices)
            with self._watch("fetching weights", "bytes") as fetching:
                extractor = Extractor(spec, fetching=fetching)
        except Pool3Error as error:
            yield Check(
                "weights", False, f"the network cannot be made again: {error}; --sample 0 leaves this out"
            )
            return
        loaded = extractor.weights.tensor_digest
        problem = f"those of {extractor.weights.name} are {loaded}, but {recorded.tensor_digest} is recorded"
        yield Check.of("weights", [] if loaded == recorded.tensor_digest else [problem], loaded)
        if loaded == recorded.tensor_digest:
            places = np.random.default_rng(seed).choice(len(self._unchanged), count, replace=False)
            yield self._compute(extractor, self._unchanged[np.sort(places)], seed)

    def _compute(self, extractor: Extractor, rows: NDArray[np.int64], seed: int) -> Check:
        file, recorded = self._file, self._file.provenance
        if prod(extractor.backbone.features[recorded.feature]) != file.features.shape[1]:
            return Check("features", False, f"{recorded.feature} of {recorded.backbone} is of another width")
        if recorded.precision not in BOUNDS:
            return Check("features", False, f"no bound is known for the precision {recorded.precision}")
        bound = BOUNDS[recorded.precision] + ROUNDING[recorded.storage]
        step = _STEPS * max(1, extractor.spec.batch_size)
        problems: list[str] = []
        found: list[tuple[float, str]] = []
        identical = 0
        with self._watch("computing", "images") as report:
            for first in range(0, len(rows), step):
                some = rows[first : first + step]
                try:
                    old = file.features[some]
                    new = extractor.embed(SelectionSource(self._source, self._row_places[some]))
                except Pool3Error as error:
                    problems.append(f"{len(some)} rows could not be compared: {error}")
                    continue
                found += zip(difference(new, old), (file.ids[row] for row in some), strict=True)
                identical += _identical(new, old)
                report(first + len(some), len(rows))
        found.sort(reverse=True)
        wrong = [f"{id_} ({most:.2g})" for most, id_ in found if not most <= bound]
        here = f"the bound of {bound:.2g} ({recorded.precision}, stored as {recorded.storage})"
        if wrong:
            made = f"made on {recorded.device}, computed on {extractor.placement.description}"
            problems.append(f"{len(wrong):,} differ by more than {here}: {listed(wrong, len(wrong))}; {made}")
        compared = f"{len(found):,} of {len(file):,} rows computed anew (seed {seed}), {identical:,} equal bit for bit"
        if not found:
            return Check("features", False, "; ".join(problems))
        fine = f"largest difference {found[0][0]:.2g} ({found[0][1]}), within {here}"
        return Check("features", not problems, f"{compared}; {'; '.join(problems) or fine}")


def difference(new: NDArray[np.float32], old: NDArray[Any]) -> list[float]:
    """max|new − old| by max|old| of each row; infinity where one of them is no number.

    Args:
        new: (n, D).
        old: (n, D) float32 or float16.
    """
    before = old.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        most = np.abs(new - before).max(axis=1)
        relative = np.where(most == 0, 0.0, most / np.abs(before).max(axis=1))
    found: list[float] = np.nan_to_num(relative, nan=inf, posinf=inf).tolist()
    return found


def _identical(new: NDArray[np.float32], old: NDArray[Any]) -> int:
    """Rows that are stored with the same bits."""
    with np.errstate(over="ignore"):
        stored = new.astype(old.dtype)
    return int((stored.view(np.uint8) == old.view(np.uint8)).all(axis=1).sum())


def _name(names: tuple[str, ...], label: int) -> str:
    return names[label] if label >= 0 else "none"
