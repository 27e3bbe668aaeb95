"""Spatial neighbourhoods: geography and metres, never degrees.

`<->` orders by distance on the sphere and uses the GiST index; what is reported is `ST_Distance`
on the spheroid. `geometry` would be wrong at ±180° (measured: lon 0 as neighbour of 179.999).
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from pinpoint.geo.points import bearing_deg, lat_lon
from pinpoint.records import KINDS, Candidate, Evidence, Image, Point, SourceKind
from pinpoint.store.rows import group_of, unpack

_AROUND = text("""
    SELECT i.id, ST_Distance(i.geog, g.geog) AS distance_m
      FROM (SELECT ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography AS geog) g
      JOIN images i ON ST_DWithin(i.geog, g.geog, :radius_m)
     WHERE i.organization_id = :organization_id AND i.id <> :image_id
       AND i.state IN ('pending', 'indexed') AND i.kind = ANY(:kinds)
     ORDER BY i.geog <-> g.geog, i.id
     LIMIT :limit
""")

# LATERAL makes one side of `<->` constant in each loop, which is what lets GiST order by it.
# Ties end at the id, so that the same question always gets the same rows.
EVIDENCE = text("""
    SELECT c.id AS candidate_id, n.id, n.source_id, n.kind, n.panorama_id, n.sequence,
           n.captured_at, n.lat, n.lon, n.distance_m, e.vector
      FROM unnest(CAST(:ids AS uuid[]), CAST(:lats AS float8[]), CAST(:lons AS float8[]))
           WITH ORDINALITY AS c(id, lat, lon, place)
      CROSS JOIN unnest(CAST(:kinds AS text[])) AS k(kind)
      CROSS JOIN LATERAL (
            SELECT i.id, i.source_id, i.kind, i.panorama_id, i.sequence, i.captured_at,
                   ST_Y(i.geom) AS lat, ST_X(i.geom) AS lon,
                   ST_Distance(i.geog, ST_SetSRID(ST_MakePoint(c.lon, c.lat), 4326)::geography)
                       AS distance_m
              FROM images i
             WHERE ST_DWithin(i.geog, ST_SetSRID(ST_MakePoint(c.lon, c.lat), 4326)::geography,
                              :radius_m)
               AND i.organization_id = :organization_id AND i.kind = k.kind
               AND i.state = 'indexed' AND i.id <> c.id
             ORDER BY i.geog <-> ST_SetSRID(ST_MakePoint(c.lon, c.lat), 4326)::geography, i.id
             LIMIT :per_kind) n
      JOIN embeddings e ON e.image_id = n.id AND e.contract = :contract AND e.channel = 'image'
     ORDER BY c.place, n.kind, n.distance_m, n.id
""")


def around(
    connection: Connection,
    image: Image,
    organization_id: UUID,
    *,
    radius_m: float,
    kinds: Sequence[SourceKind],
    limit: int,
) -> list[tuple[UUID, float]]:
    """Ids and distances in metres of images near an image, nearest first."""
    rows = connection.execute(
        _AROUND,
        {
            "lat": image.point.lat,
            "lon": image.point.lon,
            "radius_m": radius_m,
            "organization_id": organization_id,
            "image_id": image.id,
            "kinds": list(kinds or KINDS),
            "limit": limit,
        },
    )
    return [(row.id, float(row.distance_m)) for row in rows]


def evidence(
    connection: Connection,
    candidates: Sequence[Candidate],
    organization_id: UUID,
    *,
    contract: str,
    radius_m: float,
    per_kind: int,
) -> list[Evidence]:
    """Neighbours of all candidates, in one round trip, in the candidates' order."""
    if not candidates or per_kind == 0:
        return []
    rows = connection.execute(
        EVIDENCE,
        evidence_parameters(
            candidates, organization_id, contract=contract, radius_m=radius_m, per_kind=per_kind
        ),
    ).all()
    places = {candidate.id: candidate.point for candidate in candidates}
    points = [Point(lat=row.lat, lon=row.lon) for row in rows]
    bearings = bearing_deg(lat_lon([places[row.candidate_id] for row in rows]), lat_lon(points))
    # A photo near several candidates comes several times; one decoding of it is enough.
    vectors = {row.id: row.vector for row in rows}
    unpacked = {image_id: unpack(data) for image_id, data in vectors.items()}
    return [
        Evidence(
            id=row.id,
            candidate_id=row.candidate_id,
            source_id=row.source_id,
            kind=row.kind,
            point=point,
            captured_at=row.captured_at,
            group=group_of(row.id, row.panorama_id, row.sequence),
            distance_m=float(row.distance_m),
            bearing_deg=float(bearing),
            vector=unpacked[row.id],
        )
        for row, point, bearing in zip(rows, points, bearings, strict=True)
    ]


def evidence_parameters(
    candidates: Sequence[Candidate],
    organization_id: UUID,
    *,
    contract: str,
    radius_m: float,
    per_kind: int,
) -> dict[str, object]:
    """Bound values of `EVIDENCE`."""
    return {
        "ids": [candidate.id for candidate in candidates],
        "lats": [candidate.point.lat for candidate in candidates],
        "lons": [candidate.point.lon for candidate in candidates],
        "kinds": list(KINDS),
        "radius_m": radius_m,
        "organization_id": organization_id,
        "contract": contract,
        "per_kind": per_kind,
    }
