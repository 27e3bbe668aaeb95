"""Nearest images of many points in one statement.

Images are selected by distance on the sphere; reported distances and bearings are geodesics on the
ellipsoid. The selection of images whose distances differ by less than 0.6 % may therefore differ
from that of the geodesics.

The planar index in degrees reads half of the pages of the index of geographies, which has three
dimensions. Degrees do not order by distance, so the index is used twice for each point and kind:
the nearest images in degrees give an upper limit of the distance, and all images in the box of this
distance are sorted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, TextClause, text

from pinpoint.geo.points import EARTH_RADIUS_M, lat_lon
from pinpoint.records import SOURCE_KINDS, Point, PointNeighbor, SourceKind

_SPHERE_RATIO: Final = 1.006
"""Upper limit of the ratio of a distance on the sphere to the geodesic, and of its inverse."""
_ROUNDING: Final = "* 1.0000001 + 1e-9"
"""Makes a box in degrees larger than its rounding errors."""

# Half of the sides of the box of a circle; source: the widest longitude of a circle on the sphere
# is asin(sin r / cos lat). OFFSET 0 keeps the planner from expanding the expressions.
_BOX: Final = f"""
                    SELECT {{reach_m}} AS reach_m, lat_deg,
                           CASE WHEN abs(p.lat) + lat_deg >= 90 THEN 180
                                ELSE degrees(asin(least(1, sin(radians(lat_deg))
                                                           / cos(radians(p.lat))))) {_ROUNDING}
                           END AS lon_deg
                      FROM (SELECT degrees({{reach_m}} / {EARTH_RADIUS_M}) {_ROUNDING} AS lat_deg
                            OFFSET 0) a
                    OFFSET 0"""

# One branch for each kind, with the kind as a literal, so that a partial index applies. The box is
# repeated at the other side of the antimeridian if it crosses it. `ST_DWithin` instead of the
# comparison of distances would add a scan of another index.
_NEAREST: Final = f"""
            (SELECT i.id, i.source, i.source_kind, i.file_name, i.lat, i.lon, i.captured_at,
                    i.heading_deg, i.license, i.attribution, i.geog,
                    ST_Distance(i.geog, p.geog, false) AS sphere_m
               FROM (SELECT CASE WHEN count(*) = :per_kind
                                 THEN least(max(ST_Distance(t.geog, p.geog, false))
                                            * {_SPHERE_RATIO**2}, p.reach_m)
                                 ELSE p.reach_m END AS reach_m
                       FROM (SELECT i.geog
                               FROM layers.images i
                              WHERE i.source_kind = '{{kind}}' AND i.state = 'indexed'
                                AND i.geom && p.area
                              ORDER BY i.geom <-> p.geom
                              LIMIT :per_kind) t) bound
               CROSS JOIN LATERAL ({_BOX.format(reach_m="bound.reach_m")}) r
               CROSS JOIN LATERAL (
                    SELECT ST_MakeEnvelope(p.lon + turn_deg - r.lon_deg, p.lat - r.lat_deg,
                                           p.lon + turn_deg + r.lon_deg, p.lat + r.lat_deg,
                                           4326) AS area
                      FROM (VALUES (0.0), (360.0), (-360.0)) AS v(turn_deg)
                     WHERE r.lon_deg < 180 AND p.lon + turn_deg - r.lon_deg <= 180
                       AND p.lon + turn_deg + r.lon_deg >= -180
                    UNION ALL
                    SELECT ST_MakeEnvelope(-180, p.lat - r.lat_deg, 180, p.lat + r.lat_deg, 4326)
                     WHERE r.lon_deg >= 180
                    OFFSET 0) b
               JOIN layers.images i ON i.geom && b.area
              WHERE ST_Distance(i.geog, p.geog) <= :radius_m
                AND i.source_kind = '{{kind}}' AND i.state = 'indexed'
              ORDER BY sphere_m, i.id
              LIMIT :per_kind)"""

# Bearings of equal positions are 0, also if their longitudes differ (at a pole, or 180 and -180).
_NEIGHBORS: Final = f"""
    SELECT p.number, n.id, n.source, n.source_kind, n.file_name, n.lat, n.lon, n.captured_at,
           n.heading_deg, n.license, n.attribution, d.distance_m,
           CASE WHEN d.distance_m = 0 THEN 0.0
                ELSE degrees(ST_Azimuth(p.geog, n.geog)) + 0.0 END AS bearing_deg
      FROM (SELECT p.*, r.reach_m,
                   ST_MakeEnvelope(p.lon - r.lon_deg, p.lat - r.lat_deg, p.lon + r.lon_deg,
                                   p.lat + r.lat_deg, 4326) AS area
              FROM (SELECT number, lat, lon, ST_SetSRID(ST_MakePoint(lon, lat), 4326) AS geom,
                           ST_SetSRID(ST_MakePoint(lon, lat), 4326)::geography AS geog
                      FROM unnest(CAST(:lats AS float8[]), CAST(:lons AS float8[]))
                           WITH ORDINALITY AS u(lat, lon, number)) p
              CROSS JOIN LATERAL ({_BOX.format(reach_m=f":radius_m * {_SPHERE_RATIO}")}) r
            OFFSET 0) p
      CROSS JOIN LATERAL ({{nearest}}) n
      CROSS JOIN LATERAL (SELECT ST_Distance(p.geog, n.geog) AS distance_m OFFSET 0) d
     ORDER BY p.number, d.distance_m, n.id
"""


def neighbors_statement(source_kinds: Sequence[SourceKind]) -> TextClause:
    """The statement with one branch for each kind, at least one."""
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
    # As arrays of floats: psycopg refuses lists of integers and floats.
    positions = lat_lon(points)
    rows = connection.execute(
        neighbors_statement(kinds),
        {
            "lats": positions[:, 0].tolist(),
            "lons": positions[:, 1].tolist(),
            "radius_m": radius_m,
            "per_kind": per_kind,
        },
    )
    neighbors: list[list[PointNeighbor]] = [[] for _ in points]
    for row in rows:
        neighbors[row[0] - 1].append(PointNeighbor(*row[1:]))
    return neighbors
