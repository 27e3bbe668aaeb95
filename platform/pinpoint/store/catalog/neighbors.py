"""Spatial neighbors and evidence: geography and meters, never degrees.

`<->` orders by distance on the sphere and uses the GiST index; the returned distance is
`ST_Distance` on the spheroid. `geometry` would be wrong at ±180° (measured: lon 0 as neighbor of
179.999). One radius serves dense and sparse regions: rows come nearest first, so the first m within
10 km equal the first m within 0.5 km if m images are that near. Increasing radii would return the
same rows.

The GiST index of geographies contains boxes of 32-bit floats. The distance of a box can exceed
`<->` if positions are almost equal and one of their coordinates in space is near 0: at 180 and -180
degrees, at a pole, on the equator, on the prime meridian. PostgreSQL then raises "index returned
tuples in wrong order". `(i.geog <-> here) + 0` is the same distance, but rows are sorted by it and
the order of the index is not used.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, Row, TextClause, text
from sqlalchemy.exc import InternalError

from pinpoint.geo.points import bearing_deg, lat_lon
from pinpoint.records import SOURCE_KINDS, Candidate, Circle, Evidence, Image, Point, SourceKind
from pinpoint.store.db.rows import content_key, dedup_group, unpack_vector

_AROUND = text("""
    SELECT i.id, ST_Distance(i.geog, g.geog) AS distance_m
      FROM (SELECT ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography AS geog) g
      JOIN visible_images i ON ST_DWithin(i.geog, g.geog, :radius_m)
     WHERE i.organization_id = :organization_id AND i.id <> :image_id
       AND i.state IN ('pending', 'indexed') AND i.source_kind = ANY(:kinds)
     ORDER BY (i.geog <-> g.geog) + 0, i.id
     LIMIT :limit
""")

_WRONG_ORDER = "index returned tuples in wrong order"
"""Message of PostgreSQL; its SQLSTATE, XX000, is that of all internal errors."""

_CANDIDATE_POINT = "ST_SetSRID(ST_MakePoint(c.lon, c.lat), 4326)::geography"

# One branch per kind, with the kind as a literal: a partial index of that kind applies, and a
# region full of one kind is not scanned for the other. WITH TIES replaces a second sort key: only a
# plain `<->` lets the index order and stop. PostgreSQL 15 gives up both as soon as the id is added.
# The ties are then cut by content and id, so that the same query always gets the same rows, in
# every installation with the same images.
_NEAREST = """
            (SELECT * FROM (
                SELECT i.id, i.source_id, i.source_kind, i.panorama_id, i.sequence, i.captured_at,
                       i.sha256, i.cubemap_face,
                       ST_Y(i.geom) AS lat, ST_X(i.geom) AS lon, i.geog <-> {here} AS sphere_m,
                       ST_Distance(i.geog, {here}) AS distance_m
                  FROM images i
                 WHERE ST_DWithin(i.geog, {here}, :radius_m)
                   AND i.organization_id = :organization_id AND i.source_kind = '{kind}'
                   AND i.state = 'indexed' AND i.id <> c.id
                   AND i.id <> ALL (CAST(:excluded AS uuid[])){excluded_area}
                 ORDER BY {order}
                 FETCH FIRST (:per_kind) ROWS WITH TIES) AS t
              ORDER BY t.sphere_m, t.sha256, t.cubemap_face COLLATE "C" NULLS FIRST, t.id
              LIMIT :per_kind)"""

# On the sphere, as the circles of the index.
_OUTSIDE_CIRCLE = """
                   AND NOT ST_DWithin(
                       i.geog,
                       ST_SetSRID(ST_MakePoint(:circle_lon, :circle_lat), 4326)::geography,
                       :circle_radius_m, false)"""

# LATERAL makes one side of `<->` constant in each loop. A photo is often near several candidates,
# so it is returned once, with all of them: reading rows is most of the work.
_EVIDENCE = """
    WITH near AS (
        SELECT n.id, n.source_id, n.source_kind, n.panorama_id, n.sequence, n.captured_at,
               n.lat, n.lon, array_agg(c.rank) AS ranks, array_agg(n.distance_m) AS distances_m,
               n.sha256, n.cubemap_face
          FROM unnest(CAST(:ids AS uuid[]), CAST(:lats AS float8[]), CAST(:lons AS float8[]))
               WITH ORDINALITY AS c(id, lat, lon, rank)
          CROSS JOIN LATERAL ({nearest}) n
         GROUP BY n.id, n.source_id, n.source_kind, n.panorama_id, n.sequence, n.captured_at,
                  n.lat, n.lon, n.sha256, n.cubemap_face)
    SELECT near.*, e.vector
      FROM near
      JOIN embeddings e
        ON e.image_id = near.id AND e.contract = :contract AND e.channel = 'image'
     ORDER BY near.sha256, near.cubemap_face COLLATE "C" NULLS FIRST, near.id
"""


_INDEX_ORDER = f"i.geog <-> {_CANDIDATE_POINT}"
_SORTED_ORDER = f"({_INDEX_ORDER}) + 0"


def _evidence_statement(excluded_area: str, order: str = _INDEX_ORDER) -> TextClause:
    """The statement with one branch for each kind, all with the same condition and order."""
    nearest = "\n            UNION ALL".join(
        _NEAREST.format(here=_CANDIDATE_POINT, kind=kind, excluded_area=excluded_area, order=order)
        for kind in SOURCE_KINDS
    )
    return text(_EVIDENCE.format(nearest=nearest))


EVIDENCE = _evidence_statement("")
_SORTED_EVIDENCE = _evidence_statement("", _SORTED_ORDER)
EVIDENCE_OUTSIDE_CIRCLE = _evidence_statement(_OUTSIDE_CIRCLE)
"""Only for evaluation; serving keeps a statement without the condition."""
_SORTED_EVIDENCE_OUTSIDE_CIRCLE = _evidence_statement(_OUTSIDE_CIRCLE, _SORTED_ORDER)


def neighbors_of(
    connection: Connection,
    image: Image,
    organization_id: UUID,
    *,
    radius_m: float,
    source_kinds: Sequence[SourceKind],
    limit: int,
) -> list[tuple[UUID, float]]:
    """Ids and distances in meters of images near an image, nearest first."""
    rows = connection.execute(
        _AROUND,
        {
            "lat": image.point.lat,
            "lon": image.point.lon,
            "radius_m": radius_m,
            "organization_id": organization_id,
            "image_id": image.id,
            "kinds": list(source_kinds or SOURCE_KINDS),
            "limit": limit,
        },
    )
    return [(row.id, float(row.distance_m)) for row in rows]


def fetch_evidence_rows(
    connection: Connection,
    candidates: Sequence[Candidate],
    parameters: Mapping[str, object],
    exclude_circle: Circle | None,
) -> list[Evidence]:
    """Neighbors of all candidates in one statement: by candidate, nearest first, ties by content.

    Args:
        connection: Open transaction.
        candidates: Candidates, as in the parameters.
        parameters: Result of `evidence_parameters`.
        exclude_circle: Images inside it are no evidence.
    """
    if not candidates or parameters["per_kind"] == 0:
        return []
    statement, sorted_statement = EVIDENCE, _SORTED_EVIDENCE
    if exclude_circle is not None:
        statement, sorted_statement = EVIDENCE_OUTSIDE_CIRCLE, _SORTED_EVIDENCE_OUTSIDE_CIRCLE
        parameters = {
            **parameters,
            "circle_lat": exclude_circle.center.lat,
            "circle_lon": exclude_circle.center.lon,
            "circle_radius_m": exclude_circle.radius_m,
        }
    rows = _execute_in_order(connection, statement, sorted_statement, parameters)
    return _to_evidence(rows, candidates)


def _execute_in_order(
    connection: Connection,
    statement: TextClause,
    sorted_statement: TextClause,
    parameters: Mapping[str, object],
) -> Sequence[Row[Any]]:
    """Rows of a statement, or of its sorted form if the index contradicts the order."""
    try:
        with connection.begin_nested():  # an error would abort the transaction
            return connection.execute(statement, parameters).all()
    except InternalError as error:
        if _WRONG_ORDER not in str(error.orig):
            raise
    return connection.execute(sorted_statement, parameters).all()


def _to_evidence(rows: Sequence[Row[Any]], candidates: Sequence[Candidate]) -> list[Evidence]:
    """Convert rows of `EVIDENCE` to records."""
    if not rows:
        return []
    # By columns: reading fields by name from each of a thousand rows took as long as all else.
    ids, sources, kinds, panoramas, sequences, times, lats, lons, *remaining_columns = zip(
        *rows, strict=True
    )
    candidate_numbers, distances_m, hashes, faces, vectors = remaining_columns
    keys = list(map(content_key, hashes, faces))
    points = [Point(lat=lat, lon=lon) for lat, lon in zip(lats, lons, strict=True)]
    groups = list(map(dedup_group, ids, panoramas, sequences))
    vectors_by_row = unpack_vector(b"".join(vectors)).reshape(len(ids), -1)
    row_index = np.repeat(np.arange(len(ids)), [len(numbers) for numbers in candidate_numbers])
    candidate_index = np.fromiter(chain.from_iterable(candidate_numbers), dtype=np.intp) - 1
    pair_distance_m = np.fromiter(chain.from_iterable(distances_m), dtype=np.float64)
    order = np.lexsort((row_index, pair_distance_m, candidate_index))  # rows come by content
    row_index, candidate_index, pair_distance_m = (
        row_index[order],
        candidate_index[order],
        pair_distance_m[order],
    )
    origins = lat_lon([candidate.point for candidate in candidates])[candidate_index]
    bearings = bearing_deg(origins, np.column_stack([lats, lons])[row_index])
    return [
        Evidence(
            id=ids[row],
            candidate_id=candidates[candidate_number].id,
            source_id=sources[row],
            source_kind=kinds[row],
            point=points[row],
            captured_at=times[row],
            group=groups[row],
            distance_m=distance_m,
            bearing_deg=bearing,
            vector=vectors_by_row[row],
            content_key=keys[row],
        )
        for row, candidate_number, distance_m, bearing in zip(
            row_index.tolist(),
            candidate_index.tolist(),
            pair_distance_m.tolist(),
            bearings.tolist(),
            strict=True,
        )
    ]


def evidence_parameters(
    candidates: Sequence[Candidate],
    organization_id: UUID,
    *,
    contract: str,
    radius_m: float,
    per_kind: int,
    excluded: Collection[UUID] = (),
) -> dict[str, object]:
    """Bound parameters of `EVIDENCE`."""
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
