"""Nearest images of many points in one statement.

As for evidence (`store/catalog/neighbors.py`), `<->` orders by distance on the sphere and uses the
GiST index; reported distances and bearings are geodesics on the ellipsoid. The selection of images
whose distances differ by less than 0.6 % may therefore differ from that of the geodesics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, TextClause, text
from sqlalchemy.exc import InternalError

from pinpoint.geo.points import lat_lon
from pinpoint.records import SOURCE_KINDS, Point, PointNeighbor, SourceKind

# One branch for each kind, with the kind as a literal, so that a partial index applies; a plain
# `<->` as the only key, so that the index orders the rows; ties are cut by id.
_NEAREST: Final = """
            (SELECT * FROM (
                SELECT i.id, i.source, i.source_kind, i.file_name, i.lat, i.lon, i.captured_at,
                       i.heading_deg, i.license, i.attribution, i.geog, {order} AS sphere_m
                  FROM layers.images i
                 WHERE ST_DWithin(i.geog, p.geog, :radius_m)
                   AND i.source_kind = '{kind}' AND i.state = 'indexed'
                 ORDER BY {order}
                 FETCH FIRST (:per_kind) ROWS WITH TIES) AS t
              ORDER BY t.sphere_m, t.id
              LIMIT :per_kind)"""

# Bearings of equal positions are 0, also if their longitudes differ (at a pole, or 180 and -180).
_NEIGHBORS: Final = """
    SELECT p.number, n.id, n.source, n.source_kind, n.file_name, n.lat, n.lon, n.captured_at,
           n.heading_deg, n.license, n.attribution, d.distance_m,
           CASE WHEN d.distance_m = 0 THEN 0.0
                ELSE degrees(ST_Azimuth(p.geog, n.geog)) + 0.0 END AS bearing_deg
      FROM (SELECT number, ST_SetSRID(ST_MakePoint(lon, lat), 4326)::geography AS geog
              FROM unnest(CAST(:lats AS float8[]), CAST(:lons AS float8[]))
                   WITH ORDINALITY AS u(lat, lon, number)
            OFFSET 0) p
      CROSS JOIN LATERAL ({nearest}) n
      CROSS JOIN LATERAL (SELECT ST_Distance(p.geog, n.geog) AS distance_m OFFSET 0) d
     ORDER BY p.number, d.distance_m, n.id
"""
_INDEX_ORDER: Final = "i.geog <-> p.geog"
_SORT_ORDER: Final = "(i.geog <-> p.geog) + 0.0"
_WRONG_ORDER: Final = "index returned tuples in wrong order"


def neighbors_statement(source_kinds: Sequence[SourceKind], *, by_index: bool = True) -> TextClause:
    """The statement with one branch for each kind.

    Args:
        source_kinds: Kinds, at least one.
        by_index: Whether the index orders the rows; otherwise all rows of the circle are sorted.
    """
    order = _INDEX_ORDER if by_index else _SORT_ORDER
    nearest = "\n            UNION ALL".join(
        _NEAREST.format(kind=kind, order=order) for kind in source_kinds
    )
    return text(_NEIGHBORS.format(nearest=nearest))


def read_neighbors(
    connection: Connection,
    points: Sequence[Point],
    *,
    radius_m: float,
    per_kind: int,
    source_kinds: Sequence[SourceKind] = (),
) -> list[list[PointNeighbor]]:
    """Read the nearest indexed images of each point.

    Args:
        connection: Connection with the role `pinpoint_reader`, in one organization.
        points: The points, 1 to 10,000.
        radius_m: Maximum geodesic distance.
        per_kind: Maximum number of images of each source kind for each point.
        source_kinds: Source kinds; empty for all.

    Returns:
        For each point, its images by distance and id.
    """
    # Only known kinds, because they become a part of the statement.
    kinds = [kind for kind in SOURCE_KINDS if not source_kinds or kind in source_kinds]
    limits = {"radius_m": radius_m, "per_kind": per_kind}
    neighbors: list[list[PointNeighbor]] = [[] for _ in points]
    for start, rows in _read_parts(connection, points, kinds, limits):
        for row in rows:
            neighbors[start + row[0] - 1].append(PointNeighbor(*row[1:]))
    return neighbors


def _read_parts(
    connection: Connection,
    points: Sequence[Point],
    kinds: Sequence[SourceKind],
    limits: dict[str, Any],
    start: int = 0,
) -> list[tuple[int, Sequence[Row[Any]]]]:
    """Rows of all points, in parts with the index of their first point.

    The index computes distances to boxes of 32-bit numbers; `<->` rounds to 10 nanometers. For
    positions that are nearer to each other, such as 180 and -180 degrees, these can contradict each
    other, and PostgreSQL ends the statement. Halves of the points are then read again, until one
    point remains, whose rows are sorted without the index.
    """
    try:
        with connection.begin_nested():
            return [(start, _read_rows(connection, points, kinds, limits))]
    except InternalError as error:
        if _WRONG_ORDER not in str(error.orig):
            raise
    if len(points) == 1:
        return [(start, _read_rows(connection, points, kinds, limits, by_index=False))]
    middle = len(points) // 2
    return [
        *_read_parts(connection, points[:middle], kinds, limits, start),
        *_read_parts(connection, points[middle:], kinds, limits, start + middle),
    ]


def _read_rows(
    connection: Connection,
    points: Sequence[Point],
    kinds: Sequence[SourceKind],
    limits: dict[str, Any],
    *,
    by_index: bool = True,
) -> Sequence[Row[Any]]:
    # As an array of floats: psycopg refuses lists of integers and floats.
    positions = lat_lon(points)
    return connection.execute(
        neighbors_statement(kinds, by_index=by_index),
        {"lats": positions[:, 0].tolist(), "lons": positions[:, 1].tolist(), **limits},
    ).all()
