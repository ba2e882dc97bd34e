"""Starts the contenders, compares their features, and asks them in turn, round by round."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers.ratios import difference
from bench.protocol import Worker, WorkerError
from pool3.commands.output import Report, note

REFERENCE = "ours/float32"
"""Whose features the others are compared with."""

BOUNDS = {"float32": 1e-3, "bfloat16": 1e-1}
"""Largest difference of features, relative to the largest of the reference's, by precision.

Float32 implementations are within 2e-5 of each other. Bfloat16 is at 8e-2 in pool3 and OpenVINO alike, with these
random weights: rounding the weights alone, with sums in float32, makes 7e-2. The mildest mistake tried, Keras'
normalisation, makes 1.4e-1 in float32; swapped channels, an average for the last max pool or rows out of order 2e-1
and more.
"""

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Entry:
    """A contender to start.

    Attributes:
        name: of the process.
        module: in `bench.peers`.
        function: there, which makes the contender.
        settings: what the function takes.
        peer: whether it lives in the peers' environment.
    """

    name: str
    module: str
    function: str = "contender"
    settings: Mapping[str, Any] = field(default_factory=dict)
    peer: bool = False

    @property
    def bound(self) -> float:
        """How far its features may be from the reference."""
        return BOUNDS[self.settings.get("precision", "float32")]


@dataclass(slots=True)
class Outcome:
    """What a run found.

    Attributes:
        samples: measure → images a second, one a round.
        differences: measure → how far its features were from the reference.
        facts: contender → what it said of itself.
        left_out: contender → why.
    """

    samples: dict[str, list[float]] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def entries(precision: str) -> list[Entry]:
    """All contenders, the reference first.

    Args:
        precision: of the end to end.
    """
    both: list[dict[str, Any]] = [{"precision": "float32"}, {"precision": "bfloat16"}]
    return [
        *(Entry(f"ours/{p['precision']}", "ours", "network", p) for p in both),
        *(
            Entry(f"single/{p['precision']}/{threads}", "ours", "single", p | {"threads": threads})
            for p in both
            for threads in (0, 1)
        ),
        *(Entry(f"openvino/{p['precision']}", "peer_openvino", settings=p, peer=True) for p in both),
        Entry("onnxruntime", "peer_onnxruntime", peer=True),
        Entry("torch_fidelity", "peer_torch_fidelity", peer=True),
        *(Entry(f"limit/{p['precision']}", "limit", settings=p) for p in both),
        Entry("blog_loop", "ours", "blog_loop"),
        Entry("end_to_end", "ours", "end_to_end", {"precision": precision}),
    ]


def start(entry: Entry, python: Path, folder: Path, *, quick: bool) -> Worker:
    """Start the process of a contender; it prepares itself.

    Args:
        entry: which.
        python: interpreter of its environment.
        folder: of the shared inputs; what it prints goes there too.
        quick: take small samples.
    """
    settings = json.dumps({**entry.settings, "quick": quick})
    command = [str(python), "-m", "bench.peers.worker", entry.module, entry.function, str(folder), settings]
    # The peers' environment has no pool3: its table of modules is read from here, with NumPy alone.
    paths = os.pathsep.join(str(ROOT / part) for part in ("", "engine", "kernels"))
    log = folder / f"{entry.name.replace('/', '-')}.log"
    return Worker(entry.name, command, log=log, env={**os.environ, "PYTHONPATH": paths}, cwd=ROOT)


def measure(
    workers: Iterable[tuple[Entry, Worker]], folder: Path, rounds: int, report: Report, total: int
) -> Outcome:
    """Wait for each worker to be prepared, compare features, then take `rounds` samples of each measure, interleaved.

    A worker that fails is left out, and what it gave so far is dropped.

    Args:
        workers: started one after the other as they are taken, so that none prepares while another does.
        folder: of the shared inputs.
        rounds: samples of each measure.
        report: is told of progress.
        total: count of workers.
    """
    outcome = Outcome()
    ready: dict[str, tuple[Worker, list[str]]] = {}
    with ExitStack() as stack:
        for number, (entry, worker) in enumerate(workers):
            report(number, total, f"preparing {entry.name}")
            stack.enter_context(worker)
            try:
                measures = _prepare(entry, worker, folder, outcome)
            except WorkerError as error:
                _leave_out(entry.name, str(error), outcome, [])
                worker.close()
            else:
                ready[entry.name] = worker, measures
        done, steps = 0, rounds * sum(len(measures) for _, measures in ready.values())
        for _ in range(rounds):
            for name, (worker, measures) in list(ready.items()):
                for measure in measures:
                    report(done, steps, measure)
                    done += 1
                    try:
                        outcome.samples[measure].append(_rate(worker, measure))
                    except WorkerError as error:
                        _leave_out(name, str(error), outcome, measures)
                        del ready[name]
                        break
        report(steps, steps)
    return outcome


def _prepare(entry: Entry, worker: Worker, folder: Path, outcome: Outcome) -> list[str]:
    """Wait until a worker is ready and its features are compared; return its measures."""
    said = worker.answer()
    if "unavailable" in said:
        raise WorkerError(said["unavailable"])
    try:
        facts: dict[str, Any] = said["ready"]
        measures, has_features = list(facts.pop("measures")), bool(facts.pop("features"))
    except (KeyError, TypeError, AttributeError):
        raise WorkerError(
            f"{entry.name} said {str(said)[:80]} where it should have said that it is ready"
        ) from None
    reference = folder / "reference.npy"
    if has_features:
        path = reference if entry.name == REFERENCE else folder / "features.npy"
        worker.ask({"features": str(path)})
        if not reference.exists():
            raise WorkerError(f"there are no features of {REFERENCE} to compare it with")
        facts["difference"] = found = difference(np.load(path), np.load(reference))
        if found > entry.bound:
            raise WorkerError(
                f"its features are wrong: {found:.1e} from {REFERENCE}, more than {entry.bound:.0e}"
            )
        if entry.name != REFERENCE:
            outcome.differences |= dict.fromkeys(measures, found)
    outcome.facts[entry.name] = facts
    outcome.samples |= {measure: [] for measure in measures}
    return measures


def _rate(worker: Worker, measure: str) -> float:
    said = worker.ask({"sample": measure})
    rate = said.get("rate")
    if not isinstance(rate, float) or rate <= 0:
        raise WorkerError(f"{worker.name} answered {str(said)[:80]} where a rate of {measure} was due")
    return rate


def _leave_out(name: str, reason: str, outcome: Outcome, measures: Sequence[str]) -> None:
    note(f"{name} is left out: {reason}")
    outcome.left_out[name] = reason
    outcome.facts.pop(name, None)
    for measure in measures:
        outcome.samples.pop(measure, None)
        outcome.differences.pop(measure, None)
