"""Nearest images of many points in one statement.

As for evidence (`store/catalog/neighbors.py`), `<->` orders by distance on the sphere and uses the
GiST index; reported distances and bearings are geodesics on the ellipsoid. The order of images
whose distances differ by less than 0.6 % may therefore differ from that of the geodesics.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, TextClause, text

from pinpoint.records import SOURCE_KINDS, Point, PointNeighbor, SourceKind

# One branch for each kind, with the kind as a literal, so that a partial index applies; a plain
# `<->` as the only key, so that the index orders the rows; ties are cut by id.
_NEAREST: Final = """
            (SELECT * FROM (
                SELECT i.id, i.source, i.source_kind, i.file_name, i.lat, i.lon, i.captured_at,
                       i.heading_deg, i.license, i.attribution, i.geog,
                       i.geog <-> p.geog AS sphere_m
                  FROM layers.images i
                 WHERE ST_DWithin(i.geog, p.geog, :radius_m)
                   AND i.source_kind = '{kind}' AND i.state = 'indexed'
                 ORDER BY i.geog <-> p.geog
                 FETCH FIRST (:per_kind) ROWS WITH TIES) AS t
              ORDER BY t.sphere_m, t.id
              LIMIT :per_kind)"""

_NEIGHBORS: Final = """
    SELECT p.number, n.id, n.source, n.source_kind, n.file_name, n.lat, n.lon, n.captured_at,
           n.heading_deg, n.license, n.attribution,
           ST_Distance(p.geog, n.geog) AS distance_m,
           coalesce(degrees(ST_Azimuth(p.geog, n.geog)), 0) AS bearing_deg
      FROM (SELECT number, ST_SetSRID(ST_MakePoint(lon, lat), 4326)::geography AS geog
              FROM unnest(CAST(:lats AS float8[]), CAST(:lons AS float8[]))
                   WITH ORDINALITY AS u(lat, lon, number)
            OFFSET 0) p
      CROSS JOIN LATERAL ({nearest}) n
     ORDER BY p.number, distance_m, n.id
"""


def neighbors_statement(source_kinds: Sequence[SourceKind]) -> TextClause:
    """The statement with one branch for each kind."""
    nearest = "\n            UNION ALL".join(_NEAREST.format(kind=kind) for kind in source_kinds)
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
    rows = connection.execute(
        neighbors_statement(kinds),
        {
            "lats": [point.lat for point in points],
            "lons": [point.lon for point in points],
            "radius_m": radius_m,
            "per_kind": per_kind,
        },
    )
    neighbors: list[list[PointNeighbor]] = [[] for _ in points]
    for number, *values in rows:
        neighbors[number - 1].append(PointNeighbor(*values))
    return neighbors
