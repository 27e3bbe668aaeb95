"""Spatial neighbourhoods: geography and metres, never degrees.

`<->` orders by distance on the sphere and uses the GiST index; what is reported is `ST_Distance`
on the spheroid. `geometry` would be wrong at ±180° (measured: lon 0 as neighbour of 179.999).
One radius serves dense and sparse places: rows come nearest first, so the first m within 10 km are
those within 0.5 km wherever m stand so near, and steps of radius would bring the same rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, Row, text

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

_HERE = "ST_SetSRID(ST_MakePoint(c.lon, c.lat), 4326)::geography"

# One branch for each kind, with the kind as a literal: so a partial index of that kind fits, and a
# town full of one kind is not walked through in search of the other. WITH TIES instead of a second
# sort key, because `<->` alone is what lets the index order and stop (PostgreSQL 15 gives up both
# as soon as the id is added); the ties are then cut by id, so that the same question always gets
# the same rows.
_NEAREST = """
            (SELECT * FROM (
                SELECT i.id, i.source_id, i.kind, i.panorama_id, i.sequence, i.captured_at,
                       ST_Y(i.geom) AS lat, ST_X(i.geom) AS lon, i.geog <-> {here} AS sphere_m,
                       ST_Distance(i.geog, {here}) AS distance_m
                  FROM images i
                 WHERE ST_DWithin(i.geog, {here}, :radius_m)
                   AND i.organization_id = :organization_id AND i.kind = '{kind}'
                   AND i.state = 'indexed' AND i.id <> c.id
                   AND i.id <> ALL (CAST(:excluded AS uuid[]))
                 ORDER BY i.geog <-> {here}
                 FETCH FIRST (:per_kind) ROWS WITH TIES) AS t
              ORDER BY t.sphere_m, t.id LIMIT :per_kind)"""

# LATERAL makes one side of `<->` constant in each loop. A photo near several candidates comes
# several times, its vector only once.
EVIDENCE = text(
    """
    WITH near AS MATERIALIZED (
        SELECT c.place, n.*, row_number() OVER (PARTITION BY n.id ORDER BY c.place) AS turn
          FROM unnest(CAST(:ids AS uuid[]), CAST(:lats AS float8[]), CAST(:lons AS float8[]))
               WITH ORDINALITY AS c(id, lat, lon, place)
          CROSS JOIN LATERAL ("""
    + "\n            UNION ALL".join(_NEAREST.format(here=_HERE, kind=kind) for kind in KINDS)
    + """) n)
    SELECT near.place, near.id, near.source_id, near.kind, near.panorama_id, near.sequence,
           near.captured_at, near.lat, near.lon, near.distance_m,
           CASE near.turn WHEN 1 THEN e.vector END AS vector
      FROM near
      JOIN embeddings e
        ON e.image_id = near.id AND e.contract = :contract AND e.channel = 'image'
     ORDER BY near.place, near.kind, near.distance_m, near.id
"""
)


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
    excluded: Collection[UUID] = (),
) -> list[Evidence]:
    """Neighbours of all candidates, in one round trip, in the candidates' order."""
    if not candidates or per_kind == 0:
        return []
    rows = connection.execute(
        EVIDENCE,
        evidence_parameters(
            candidates,
            organization_id,
            contract=contract,
            radius_m=radius_m,
            per_kind=per_kind,
            excluded=excluded,
        ),
    ).all()
    return _read(rows, candidates)


def _read(rows: Sequence[Row[Any]], candidates: Sequence[Candidate]) -> list[Evidence]:
    """Rows of `EVIDENCE` as records."""
    if not rows:
        return []
    # By columns: asking each of a thousand rows for its fields by name took as long as all else.
    places, ids, sources, kinds, panoramas, sequences, times, lats, lons, away_m, vectors = zip(
        *rows, strict=True
    )
    # A photo near several candidates comes several times; one reading of it is enough.
    photos = {
        id_: (Point(lat=lat, lon=lon), group_of(id_, panorama, sequence), unpack(vector))
        for id_, lat, lon, panorama, sequence, vector in zip(
            ids, lats, lons, panoramas, sequences, vectors, strict=True
        )
        if vector is not None
    }
    origins = lat_lon([each.point for each in candidates])[np.array(places) - 1]
    bearings = bearing_deg(origins, np.column_stack([lats, lons])).tolist()
    found = []
    for place, id_, source_id, kind, captured_at, distance_m, bearing in zip(
        places, ids, sources, kinds, times, away_m, bearings, strict=True
    ):
        point, group, vector = photos[id_]
        found.append(
            Evidence(
                id=id_,
                candidate_id=candidates[place - 1].id,
                source_id=source_id,
                kind=kind,
                point=point,
                captured_at=captured_at,
                group=group,
                distance_m=distance_m,
                bearing_deg=bearing,
                vector=vector,
            )
        )
    return found


def evidence_parameters(
    candidates: Sequence[Candidate],
    organization_id: UUID,
    *,
    contract: str,
    radius_m: float,
    per_kind: int,
    excluded: Collection[UUID] = (),
) -> dict[str, object]:
    """Bound values of `EVIDENCE`."""
    return {
        "ids": [candidate.id for candidate in candidates],
        "lats": [candidate.point.lat for candidate in candidates],
        "lons": [candidate.point.lon for candidate in candidates],
        "radius_m": radius_m,
        "organization_id": organization_id,
        "contract": contract,
        "per_kind": per_kind,
        "excluded": list(excluded),
    }
