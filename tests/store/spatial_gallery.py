"""A gallery of 5,000 positions for spatial queries: poles, ±180°, identical positions."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from sqlalchemy import text

from pinpoint.geo.cells import cells_of
from pinpoint.records import ImageState, Point, SourceKind

SOURCES: tuple[tuple[str, SourceKind], ...] = (
    ("photos", "photo"),
    ("more photos", "photo"),
    ("street", "street"),
)
START = datetime(2020, 1, 1, tzinfo=UTC)
CENTERS = [(48.85, 2.35), (-17.0, 179.99), (90.0, 0.0), (-90.0, 0.0), (0.0, 0.0), (65.0, -180.0)]

INSERT = text(
    "INSERT INTO images (id, organization_id, source_id, source_kind, external_id, geog,"
    " position_source, sha256, size_bytes, format, width_px, height_px, cell_r5, cell_r7, cell_r9,"
    " state, version, captured_at, heading_deg, field_of_view_deg)"
    " SELECT u.id, :org, u.source, u.kind, u.id::text,"
    " ST_SetSRID(ST_MakePoint(u.lon, u.lat), 4326)::geography, 'exif', 'x', 1, 'jpeg', 8, 8,"
    " u.r5, u.r7, u.r9, u.state, 1, u.captured_at, u.heading, u.fov"
    " FROM unnest(CAST(:ids AS uuid[]), CAST(:sources AS uuid[]), CAST(:kinds AS text[]),"
    " CAST(:lats AS float8[]), CAST(:lons AS float8[]), CAST(:r5 AS bigint[]),"
    " CAST(:r7 AS bigint[]), CAST(:r9 AS bigint[]), CAST(:states AS text[]),"
    " CAST(:times AS timestamptz[]), CAST(:headings AS float8[]), CAST(:fovs AS float8[]))"
    " AS u(id, source, kind, lat, lon, r5, r7, r9, state, captured_at, heading, fov)"
)


@dataclass(frozen=True)
class GalleryRow:
    id: UUID
    source_id: UUID
    kind: SourceKind
    point: Point
    state: ImageState
    captured_at: datetime | None
    heading_deg: float | None
    field_of_view_deg: float | None

    @property
    def live(self) -> bool:
        return self.state in ("pending", "indexed")


def draw_point(rng: random.Random, earlier: list[Point]) -> Point:
    """A position near one of the centers or anywhere, or an earlier one again."""
    if earlier and rng.random() < 0.2:
        return rng.choice(earlier)
    if rng.random() < 0.1:
        return Point(rng.choice((90.0, -90.0, 12.0, -16.9)), rng.choice((180.0, -180.0)))
    if rng.random() < 0.2:
        return Point(rng.uniform(-90, 90), rng.uniform(-180, 180))
    lat, lon = rng.choice(CENTERS)
    lat = max(-90.0, min(90.0, rng.gauss(lat, 0.02)))
    spread = 60.0 if abs(lat) > 80 else 0.02
    return Point(lat, (rng.gauss(lon, spread) + 180.0) % 360.0 - 180.0)


def draw_rows(rng: random.Random, sources: list[tuple[UUID, SourceKind]], count: int):
    """Rows of one organization."""
    rows: list[GalleryRow] = []
    points: list[Point] = []
    for _ in range(count):
        source_id, kind = rng.choice(sources)
        points.append(draw_point(rng, points))
        timed = rng.random() < 0.8
        rows.append(
            GalleryRow(
                id=UUID(int=rng.getrandbits(128)),
                source_id=source_id,
                kind=kind,
                point=points[-1],
                state=rng.choice(("indexed",) * 6 + ("pending", "failed", "deleted")),
                captured_at=START + timedelta(hours=rng.randrange(50_000)) if timed else None,
                heading_deg=rng.choice((None, 0.0, 359.5, rng.uniform(0, 360))),
                field_of_view_deg=rng.choice((None, 90.0, 360.0, rng.uniform(10, 120))),
            )
        )
    return rows


def insert_rows(connection, organization_id: UUID, rows: list[GalleryRow]) -> None:
    cells = [cells_of(row.point) for row in rows]
    connection.execute(
        INSERT,
        {
            "org": organization_id,
            "ids": [row.id for row in rows],
            "sources": [row.source_id for row in rows],
            "kinds": [row.kind for row in rows],
            "lats": [row.point.lat for row in rows],
            "lons": [row.point.lon for row in rows],
            "r5": [cell.r5 for cell in cells],
            "r7": [cell.r7 for cell in cells],
            "r9": [cell.r9 for cell in cells],
            "states": [row.state for row in rows],
            "times": [row.captured_at for row in rows],
            "headings": [row.heading_deg for row in rows],
            "fovs": [row.field_of_view_deg for row in rows],
        },
    )


def add_organization(connection, name: str) -> tuple[UUID, list[tuple[UUID, SourceKind]]]:
    """An organization with three sources."""
    organization_id = uuid4()
    connection.execute(
        text("INSERT INTO organizations (id, name) VALUES (:id, :name)"),
        {"id": organization_id, "name": name},
    )
    sources: list[tuple[UUID, SourceKind]] = []
    for source, kind in SOURCES:
        sources.append((uuid4(), kind))
        connection.execute(
            text(
                "INSERT INTO sources (id, organization_id, name, kind, originals, license)"
                " VALUES (:id, :org, :name, :kind, 'reference', :license)"
            ),
            {"id": sources[-1][0], "org": organization_id, "name": source, "kind": kind}
            | {"license": f"license of {source}"},
        )
    return organization_id, sources
