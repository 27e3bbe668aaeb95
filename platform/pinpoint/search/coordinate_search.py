"""Search over the bundle's coordinate list instead of a gallery.

With the cosine s of a photo and a coordinate, and the temperature t of the bundle's training, a
coordinate has the weight softmax(t s) over all coordinates that pass the filter. The weight
compares coordinates of the list, so it depends on their density and is not a calibrated
probability. A coordinate listed twice counts twice, as in the published GeoCLIP.
Symbols: N coordinates in the list, M of them inside the filter, D dimensions of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.errors import InvalidRequestError
from pinpoint.geo.countries import list_country_polygons
from pinpoint.geo.points import LatLonArray
from pinpoint.geo.predicates import Mask, inside_box, inside_circle, inside_polygons
from pinpoint.records import (
    SCORE_DIGITS,
    CoordinateGallery,
    Point,
    RankedCoordinate,
    SearchFilter,
    Vector,
)

COORDINATE_RANKER: Final = "coordinates"
WARNING: Final = (
    "Answered from the coordinate list of the bundle, without gallery photos and therefore "
    "without evidence. Weights compare the coordinates of that list; they depend on its density."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCoordinates:
    """Coordinates `[M]`, best first, ties in the order of the list."""

    positions: LatLonArray
    score: NDArray[np.float64]
    """Cosine similarity, rounded to six digits."""
    weight: NDArray[np.float64]
    """Sums to 1."""


def require_coordinates(search_filter: SearchFilter) -> None:
    """Check that a filter applies to a coordinate list.

    Raises:
        InvalidRequestError: The filter uses source kinds, sources or times, which only images have.
    """
    inapplicable = {
        "source_kinds": search_filter.source_kinds,
        "sources": search_filter.source_ids,
        "datetime": search_filter.captured_after or search_filter.captured_before,
    }
    used_names = [name for name, value in inapplicable.items() if value]
    if used_names:
        raise InvalidRequestError(
            f"coordinates have no source kind, source or time: omit {', '.join(used_names)}, "
            "or search the gallery"
        )


def compare_coordinates(
    vector: Vector, coordinates: CoordinateGallery, search_filter: SearchFilter
) -> ComparedCoordinates:
    """Compute the weight of every coordinate inside the filter.

    Args:
        vector: Query `[D]`.
        coordinates: The coordinate list.
        search_filter: Only circle, box, polygons and countries; a coordinate must be inside of
            all that are given.
    """
    # Exact, and computed before filtering, so that the filter never changes a score.
    cosines = (coordinates.vectors @ vector).astype(np.float64)
    inside = np.flatnonzero(is_inside(coordinates.positions, search_filter))
    score = np.round(cosines[inside], SCORE_DIGITS)
    order = np.argsort(-score, kind="stable")
    score = score[order]
    exponentials = np.exp(coordinates.temperature * (score - score[:1]))
    return ComparedCoordinates(
        positions=coordinates.positions[inside[order]],
        score=score,
        weight=exponentials / (exponentials.sum() or 1.0),
    )


def select_best(compared: ComparedCoordinates, limit: int) -> tuple[RankedCoordinate, ...]:
    """The first `limit` coordinates as records."""
    rows = zip(
        compared.positions.tolist(), compared.score.tolist(), compared.weight.tolist(), strict=True
    )
    return tuple(
        RankedCoordinate(point=Point(*position), score=score, weight=weight)
        for position, score, weight in islice(rows, limit)
    )


def is_inside(positions: LatLonArray, search_filter: SearchFilter) -> Mask:
    """Whether each position `[N, 2]` is inside the areas of the filter: `[N]`."""
    inside = np.ones(len(positions), dtype=np.bool_)
    if search_filter.circle is not None:
        inside &= inside_circle(positions, search_filter.circle)
    if search_filter.box is not None:
        inside &= inside_box(positions, search_filter.box)
    if search_filter.polygons:
        inside &= inside_polygons(positions, search_filter.polygons)
    if search_filter.countries:
        inside &= inside_polygons(positions, list_country_polygons(search_filter.countries))
    return inside
