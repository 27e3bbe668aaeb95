"""Places in place of a gallery: how well a photo fits each place that the bundle itself knows.

With the cosine s of the photo and a place, and the temperature t that the bundle was trained with,
a place has the mass softmax(t s) over all places that the caller's limits let through. It says how
one place compares with the others of the list, so it depends on how densely they stand and is no
calibrated probability; a place that the list has twice counts twice, as in the published GeoCLIP.
Letters: N places of the list, M of them within the limits, D width of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.errors import BadRequest
from pinpoint.geo.points import LatLon
from pinpoint.geo.shapes import Mask, in_box, in_circle, in_polygon
from pinpoint.records import SCORE_DIGITS, Limits, PlaceList, Point, RankedPlace, Vector

NAME: Final = "places"
NOTE: Final = (
    "Answered from the list of places of the bundle, without any photo of the gallery and so "
    "without evidence. Masses compare the places of that list with each other; they depend on how "
    "densely its places stand."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Places `[M]`, best first, ties in the order of the list."""

    positions: LatLon
    score: NDArray[np.float64]
    """Cosine similarity to six digits."""
    mass: NDArray[np.float64]
    """Sums to 1."""


def check(limits: Limits) -> None:
    """Whether these limits mean anything to a list of places.

    Raises:
        BadRequest: They speak of source kinds, sources or times, which only images have.
    """
    said = {
        "kinds": limits.kinds,
        "sources": limits.source_ids,
        "since": limits.since,
        "until": limits.until,
    }
    given = [name for name, value in said.items() if value]
    if given:
        raise BadRequest(
            f"places have neither source kind nor source nor time: leave out {', '.join(given)}, "
            "or ask over the gallery"
        )


def compare(vector: Vector, known: PlaceList, limits: Limits) -> Compared:
    """Give every place within the limits its mass.

    Args:
        vector: Query `[D]`.
        known: The list.
        limits: Only circle, box and polygon; a place must lie in each that is given.
    """
    # Exact, and the same product whatever the limits: they never change a score.
    cosines = (known.vectors @ vector).astype(np.float64)
    inside = np.flatnonzero(_within(known.positions, limits))
    score = np.round(cosines[inside], SCORE_DIGITS)
    order = np.argsort(-score, kind="stable")
    score = score[order]
    weight = np.exp(known.temperature * (score - score[:1]))
    return Compared(
        positions=known.positions[inside[order]], score=score, mass=weight / (weight.sum() or 1.0)
    )


def best(compared: Compared, limit: int) -> tuple[RankedPlace, ...]:
    """The first `limit` places as records."""
    rows = zip(
        compared.positions.tolist(), compared.score.tolist(), compared.mass.tolist(), strict=True
    )
    return tuple(
        RankedPlace(point=Point(*position), score=score, mass=mass)
        for position, score, mass in islice(rows, limit)
    )


def _within(positions: LatLon, limits: Limits) -> Mask:
    inside = np.ones(len(positions), dtype=np.bool_)
    if limits.circle is not None:
        inside &= in_circle(positions, limits.circle)
    if limits.box is not None:
        inside &= in_box(positions, limits.box)
    if limits.polygon:
        inside &= in_polygon(positions, limits.polygon)
    return inside
