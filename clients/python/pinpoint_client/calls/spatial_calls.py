"""Calls for positions instead of photos: neighbors of points, coverage and gaps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

from pinpoint_client import answers
from pinpoint_client.calls.call import Call, Flow, Page, list_call, read_entries
from pinpoint_client.parameters import Id, to_form, to_path_segment

_POINTS_PER_REQUEST: Final = 10_000
_NEIGHBORS_PER_REQUEST: Final = 200_000


def neighbors(
    image_id: Id, *, radius_m: float = 250.0, source_kinds: Sequence[str] = (), limit: int = 20
) -> Call[list[answers.Neighbor]]:
    """List images near an image with `distance_m`, nearest first."""
    return Call(
        method="GET",
        path=f"/v1/images/{to_path_segment(image_id)}/neighbors",
        read=read_entries(lambda: answers.Neighbor, "neighbors"),
        query={"radius_m": radius_m, "source_kind": list(source_kinds) or None, "limit": limit},
        is_repeatable=True,
    )


def neighbors_of_points(
    points: Iterable[tuple[float, float]],
    *,
    radius_m: float = 250.0,
    limit_per_kind: int = 5,
    source_kinds: Sequence[str] = (),
) -> Flow[list[answers.PointNeighbors]]:
    """Find the nearest images of points, for each source kind.

    Args:
        points: Latitude and longitude of each point, degrees; any number of points.
        radius_m: Maximum geodesic distance.
        limit_per_kind: Maximum number of images of each source kind for each point.
        source_kinds: Source kinds; empty for all.

    Returns:
        For each point `lat`, `lon` and `neighbors` with `distance_m` and `bearing_deg`.
    """
    size = max(1, min(_POINTS_PER_REQUEST, _NEIGHBORS_PER_REQUEST // limit_per_kind))
    remaining = iter(points)
    results: list[answers.PointNeighbors] = []
    while chunk := list(islice(remaining, size)):
        results += yield Call(
            method="POST",
            path="/v1/neighbors",
            read=read_entries(lambda: answers.PointNeighbors, "results"),
            body={
                "points": [{"lat": lat, "lon": lon} for lat, lon in chunk],
                "radius_m": radius_m,
                "limit_per_kind": limit_per_kind,
                "source_kinds": list(source_kinds),
            },
            is_repeatable=True,
        )
    return results


def coverage(**filters: Any) -> Call[Page[answers.Cell]]:
    """List H3 cells with their images by source kind.

    Args:
        filters: `resolution` (3 to 7), `bbox`, `polygon` (GeoJSON), `source` and `source_kind` (one
            or a list), `min_images`, `limit`, `cursor`.
    """
    return list_call("/v1/coverage", lambda: answers.Cell, "cells", to_form(filters))


def gaps(**filters: Any) -> Call[Page[answers.Cell]]:
    """List H3 cells with images of exactly one source kind.

    Args:
        filters: Those of `coverage` except `source_kind`; in addition `missing_kind`.
    """
    return list_call("/v1/gaps", lambda: answers.Cell, "cells", to_form(filters))
