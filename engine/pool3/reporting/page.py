"""The page of a report: figures → the template's context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pool3._version import __version__
from pool3.classify import ClassifyResult
from pool3.experiments import BLOG_ACCURACY
from pool3.pages import Picture, Sprites, render
from pool3.provenance import now
from pool3.reporting.matrix import drawn
from pool3.reporting.result import ReportResult
from pool3.telemetry import BLOG_IMAGES_PER_SECOND
from pool3.texts import printable

if TYPE_CHECKING:
    from pool3.reporting.mapping import Mapped

IN_TURN = {
    "scan": "listing the images",
    "startup": "TensorFlow and the weights",
    "precision": "checking the precision",
    "compile": "compiling the network",
    "wait": "the network waiting for images",
    "forward": "the network",
    "seal": "writing the sealed file",
}
"""Stages that follow one another → what they are."""

BESIDE = {"read": "reading and hashing images", "write": "committing rows"}
"""Stages that pass beside the others."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Row → its picture: of the mistakes' file, and of the examples'."""

    mistakes: Mapping[int, Picture]
    examples: Mapping[int, Picture]


def rendered(
    result: ReportResult,
    answers: ClassifyResult | None,
    pictures: Pictures,
    on_map: Mapped | None,
    sprites: Sprites | None,
) -> str:
    """Render the page; whatever text it is given, it shows and never obeys."""
    facts = shown(
        {
            "files": [file | _spent(file) for file in result.files],
            "classification": result.classification,
            "no_classification": result.no_classification,
            "mistakes": [asdict(mistake) for mistake in result.mistakes],
            "examples": [asdict(some) for some in result.examples],
            "projection": result.projection,
            "no_projection": result.no_projection,
            "picture_notes": result.picture_notes,
            "matrix": asdict(drawn(answers.label_names, answers.confusion_matrix)) if answers else None,
        }
    )
    names = " and ".join(file["path"].replace("\\", "/").rsplit("/", 1)[-1] for file in facts["files"])
    return render(
        "report.html",
        title=f"pool3 report: {names}",
        styles=["report.css", *(["scatter.css"] if on_map else [])],
        scripts=["scatter.js"] if on_map else [],
        names=names,
        pictures=pictures,
        scatter_data=shown(on_map.data(sprites)) if on_map else None,
        failed=sum(file["failures"] for file in result.files),
        blog_accuracy=BLOG_ACCURACY,
        blog_rate=BLOG_IMAGES_PER_SECOND,
        version=__version__,
        made=now(),
        **facts,
    )


def shown(value: Any) -> Any:
    """A JSON-able value with all of its text made fit to be shown, see `printable`."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {shown(name): shown(item) for name, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list | tuple) else value


def _spent(file: Mapping[str, Any]) -> dict[str, Any]:
    """Where the time of a file went: stages in turn, with what is left of the wall time, and those beside them."""
    timing = file["timing"]
    if not timing:
        return {"in_turn": [], "beside": []}
    wall, stages = timing["seconds"] or 1.0, timing["stages"]

    def stage(name: str, seconds: float) -> dict[str, Any]:
        return {"name": name, "seconds": seconds, "share": seconds / wall}

    in_turn = [stage(what, stages[name]) for name, what in IN_TURN.items() if name in stages]
    rest = wall - sum(entry["seconds"] for entry in in_turn)
    return {
        "in_turn": [*in_turn, stage("anything else", max(0.0, rest))],
        "beside": [stage(what, stages[name]) for name, what in BESIDE.items() if name in stages],
    }
