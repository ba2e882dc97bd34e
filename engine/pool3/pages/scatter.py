"""The data of the map of points that ``templates/scatter.html`` and ``assets/scatter.js`` draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pool3.pages.colours import colour, shape
from pool3.pages.sprites import Sprites

GRID = 1 << 16
"""Steps of the longer side that places are rounded to: a hundredth of a pixel on a screen, also zoomed in 10 times."""

NO_CLASS = "no label"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scatter:
    """Points of a map.

    In a template: ``{% from "scatter.html" import scatter %}{{ scatter(data, "tsne", "t-SNE of …") }}``, with the
    style ``scatter.css`` and the script ``scatter.js``; as many in a page as it likes, each with an id of its own.

    Attributes:
        places: (n, 2) finite; both axes have the same unit.
        ids: n texts.
        classes: (n,) indices into `class_names`, -1: none.
        class_names: of all classes; those without a point are left out of the legend.
        sprites: the points' pictures, or None.
        details: n texts that are shown below the ids, or None.
    """

    places: NDArray[Any]
    ids: Sequence[str]
    classes: NDArray[Any]
    class_names: Sequence[str]
    sprites: Sprites | None = None
    details: Sequence[str] | None = None

    def data(self) -> dict[str, Any]:
        """For the template; JSON-able."""
        places = np.asarray(self.places, np.float64)
        low, high = places.min(axis=0, initial=np.inf), places.max(axis=0, initial=-np.inf)
        span = float((high - low).max(initial=0.0)) if len(places) else 0.0
        steps = np.rint((places - low) * ((GRID - 1) / span if span > 0 else 0.0)).astype(int)
        steps[:, 1] = steps[:, 1].max(initial=0) - steps[:, 1]  # a screen counts downwards
        present = [number for number in range(len(self.class_names)) if (self.classes == number).any()]
        legend = [(number, self.class_names[number]) for number in present]
        if (np.asarray(self.classes) < 0).any():
            legend.append((-1, NO_CLASS))
        return {
            "x": steps[:, 0].tolist(),
            "y": steps[:, 1].tolist(),
            "ids": list(self.ids),
            "classes": np.asarray(self.classes).tolist(),
            "legend": [
                {"number": number, "name": name, "colour": colour(number), "shape": shape(number)}
                for number, name in legend
            ],
            "details": None if self.details is None else list(self.details),
            "sprites": None if self.sprites is None else self.sprites.data(),
        }
