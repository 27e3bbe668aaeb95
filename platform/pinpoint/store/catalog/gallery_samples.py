"""Draws gallery images as queries, and finds the images that belong to the same capture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, text

from pinpoint.records import SOURCE_KINDS, GallerySample, Point, SourceKind

# Round n takes the n-th image of every stratum (source, sequence, cell), so that no drive and no
# square dominates the sample. MD5 of id and seed is the random order: the same on every machine.
_SAMPLE = text("""
    WITH live AS MATERIALIZED (
        SELECT i.id, i.source_id, i.source_kind, i.creator, i.sequence, i.cell_r5, i.cell_r7,
               md5(i.id::text || :seed) AS draw
          FROM images i
         WHERE i.organization_id = :organization_id AND i.state = 'indexed'
           AND i.source_kind = ANY(:kinds)
           AND (:all_sources OR i.source_id = ANY(CAST(:source_ids AS uuid[])))),
    rounds AS (
        SELECT id, source_kind, draw,
               row_number() OVER (PARTITION BY source_id, sequence, cell_r7 ORDER BY draw) AS round
          FROM live),
    positions AS (
        SELECT id, row_number() OVER (PARTITION BY source_kind ORDER BY round, draw) AS position
          FROM rounds),
    cells AS (
        SELECT cell_r5, source_kind, count(*) AS images FROM live
         GROUP BY cell_r5, source_kind),
    creators AS (
        SELECT cell_r5, source_kind, creator, count(*) AS images FROM live
         WHERE creator IS NOT NULL GROUP BY cell_r5, source_kind, creator),
    sequences AS (
        SELECT cell_r5, source_kind, sequence, count(*) AS images FROM live
         WHERE sequence IS NOT NULL GROUP BY cell_r5, source_kind, sequence)
    SELECT i.id, i.source_id, s.name AS source, i.source_kind, ST_Y(i.geom) AS lat,
           ST_X(i.geom) AS lon, i.creator, i.sequence, i.sha256,
           cells.images AS images_in_cell,
           coalesce(creators.images, 0) AS creator_images_in_cell,
           coalesce(sequences.images, 0) AS sequence_images_in_cell
      FROM positions p
      JOIN images i ON i.id = p.id AND i.organization_id = :organization_id
      JOIN sources s ON s.id = i.source_id
      JOIN cells ON (cells.cell_r5, cells.source_kind) = (i.cell_r5, i.source_kind)
      LEFT JOIN creators
        ON (creators.cell_r5, creators.source_kind, creators.creator)
         = (i.cell_r5, i.source_kind, i.creator)
      LEFT JOIN sequences
        ON (sequences.cell_r5, sequences.source_kind, sequences.sequence)
         = (i.cell_r5, i.source_kind, i.sequence)
     WHERE p.position <= :per_kind
     ORDER BY p.position, i.source_kind
""")

# The distance bounds the search to a spatial index: time alone has no index.
_SAME_CAPTURE = text("""
    SELECT o.id
      FROM images i
      JOIN images o ON ST_DWithin(o.geog, i.geog, :radius_m, false)
     WHERE i.id = :image_id AND i.organization_id = :organization_id
       AND o.organization_id = :organization_id
       AND (o.id = i.id
            OR o.panorama_id = i.panorama_id
            OR (o.source_id = i.source_id
                AND o.creator IS NOT DISTINCT FROM i.creator
                AND o.sequence IS NOT DISTINCT FROM i.sequence
                AND o.captured_at BETWEEN i.captured_at - make_interval(secs => :seconds)
                                      AND i.captured_at + make_interval(secs => :seconds)))
     ORDER BY o.id
""")
_SAME_CAPTURE_RADIUS_M: Final = 1_000.0


class GallerySampleReader:
    """Part of the catalog reader: queries drawn from the gallery."""

    _connection: Connection
    _organization_id: UUID

    def sample_images(
        self,
        *,
        per_kind: int,
        seed: int,
        source_kinds: Sequence[SourceKind] = (),
        source_ids: Sequence[UUID] = (),
    ) -> list[GallerySample]:
        """Draw up to `per_kind` indexed images of each kind; the same ones for the same seed."""
        rows = self._connection.execute(
            _SAMPLE,
            {
                "organization_id": self._organization_id,
                "seed": f"/{seed}",
                "kinds": list(source_kinds or SOURCE_KINDS),
                "all_sources": not source_ids,
                "source_ids": list(source_ids),
                "per_kind": per_kind,
            },
        )
        return [
            GallerySample(
                image_id=row.id,
                source_id=row.source_id,
                source=row.source,
                source_kind=row.source_kind,
                point=Point(lat=row.lat, lon=row.lon),
                creator=row.creator,
                sequence=row.sequence,
                sha256=row.sha256.hex(),
                images_in_cell=row.images_in_cell,
                creator_images_in_cell=row.creator_images_in_cell,
                sequence_images_in_cell=row.sequence_images_in_cell,
            )
            for row in rows
        ]

    def same_capture_ids(self, image_id: UUID, seconds: float) -> list[UUID]:
        """Ids of the image, of its panorama, and of its neighbors in time, in order.

        A neighbor in time has the same source, creator and sequence (or also none), was captured at
        most `seconds` before or after, and at most 1 km away.
        """
        rows = self._connection.execute(
            _SAME_CAPTURE,
            {
                "image_id": image_id,
                "organization_id": self._organization_id,
                "radius_m": _SAME_CAPTURE_RADIUS_M,
                "seconds": seconds,
            },
        )
        return list(rows.scalars())
