"""SQL conditions of image filters against slow loops, with the API role."""

from __future__ import annotations

import fnmatch
import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import h3
import numpy as np
import pytest
from sqlalchemy import select, text

from pinpoint.geo import predicates
from pinpoint.records import Box, Circle, ImageFilter, Point, Polygon
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.db.views import visible_images
from pinpoint.store.gallery.image_conditions import image_conditions

COUNT = 5_000
START = datetime(2025, 1, 1, tzinfo=UTC)
EDGES = [
    (90.0, 0.0), (90.0, -180.0), (90.0, 77.0), (-90.0, 0.0), (-90.0, 180.0),
    (0.0, 180.0), (0.0, -180.0), (45.0, 180.0), (45.0, -180.0), (-60.0, 180.0),
    (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (48.8566, 2.3522), (48.8566, 2.3522),
    (10.0, 20.0), (10.0, 30.0), (-30.0, -20.0), (40.0, 60.0), (89.999999, 179.999999),
]  # fmt: skip
ATTRIBUTES = [{}, {"weather": "rain"}, {"weather": "rain", "hdr": True}, {"speed": 3.5},
              {"speed": "3.5"}, {"hdr": "true"}, {"a=b": "c"}, {"weather": "Rain"}]  # fmt: skip


@dataclass(frozen=True)
class Row:
    id: UUID
    source: UUID
    kind: str
    name: str
    point: Point
    captured_at: datetime | None
    creator: str | None
    sequence: str | None
    camera: str | None
    state: str
    attributes: dict


def make_rows(sources) -> list[Row]:
    rng = random.Random(23)
    # Uniform on the sphere, some on a grid so that positions repeat and lie on edges.
    positions = list(EDGES)
    while len(positions) < COUNT:
        lat = float(np.degrees(np.arcsin(rng.uniform(-1, 1))))
        lon = rng.uniform(-180, 180)
        positions.append((lat, lon) if rng.random() < 0.7 else (round(lat, -1), round(lon, -1)))
    return [
        Row(
            id=UUID(int=rng.getrandbits(128)),
            source=sources[kind],
            kind=kind,
            name=f"{rng.choice(('', 'deep/'))}IMG_{number % 1_000}.jpg",
            point=Point(*position),
            captured_at=rng.choice((None, START + timedelta(hours=rng.randrange(2_000)))),
            creator=rng.choice((None, "ada", "bob", "O'Hara, Äöü")),
            sequence=rng.choice((None, "s1", "s2", "s3")),
            camera=rng.choice((None, "Canon EOS", "Pixel 8")),
            state=rng.choice(("indexed", "indexed", "pending", "failed", "deleted")),
            attributes=rng.choice(ATTRIBUTES),
        )
        for number, position in enumerate(positions)
        for kind in (rng.choice(("photo", "street")),)
    ]


@pytest.fixture
def database(api_database_url):
    transactions = Transactions(api_engine(api_database_url, own_login=True))
    yield transactions
    transactions.close()


def to_json(row: Row) -> dict:
    captured_at = None if row.captured_at is None else row.captured_at.isoformat()
    return {
        **vars(row), "id": str(row.id), "source": str(row.source), "captured_at": captured_at,
        "lat": row.point.lat, "lon": row.point.lon, "point": None,
        "r7": h3.str_to_int(h3.latlng_to_cell(row.point.lat, row.point.lon, 7)),
    }  # fmt: skip


@pytest.fixture
def gallery(database_url, database):
    """5,000 images of one organization, and one image of another at each edge."""
    transactions = Transactions(owner_engine(database_url))
    catalog_database = CatalogDatabase(transactions, 32)
    organizations = [uuid4(), uuid4()]
    rows_by_organization = {}
    for organization, limit in zip(organizations, (COUNT, len(EDGES)), strict=True):
        with transactions.begin() as unit:
            unit.connection.execute(
                text("INSERT INTO organizations (id, name) VALUES (:id, :name)"),
                {"id": organization, "name": str(organization)},
            )
        with catalog_database.write(organization) as catalog:
            sources = {kind: catalog.add_source(kind, kind).id for kind in ("photo", "street")}
        rows = make_rows(sources)[:limit]
        if limit < COUNT:
            rows = [Row(**{**vars(row), "id": uuid4()}) for row in rows]
        rows_by_organization[organization] = rows
        with transactions.begin() as unit:
            unit.connection.execute(text("ALTER TABLE images DISABLE TRIGGER USER"))
            unit.connection.execute(
                text(
                    "INSERT INTO images (id, organization_id, source_id, source_kind, external_id,"
                    " geog, captured_at, creator, sequence, camera, state, attributes,"
                    " position_source, sha256, size_bytes, format, width_px, height_px, cell_r5,"
                    " cell_r7, cell_r9, version) SELECT id, :org, source, kind, name,"
                    " ST_SetSRID(ST_MakePoint(lon, lat), 4326)::geography, captured_at, creator,"
                    " sequence, camera, state, attributes, 'exif', 'x', 1, 'jpeg', 8, 8, 1, r7, 1,"
                    " 1 FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(id uuid, source uuid,"
                    " kind text, name text, lat float8, lon float8, captured_at timestamptz,"
                    " creator text, sequence text, camera text, state text, attributes jsonb, r7"
                    " bigint)"
                ),
                {"org": organization, "rows": json.dumps(list(map(to_json, rows)))},
            )
            unit.connection.execute(text("ALTER TABLE images ENABLE TRIGGER USER"))
            unit.connection.execute(text("ANALYZE images"))
    transactions.close()
    return organizations[0], rows_by_organization[organizations[0]]


def equals_text(value, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == ("true" if value else "false")
    return wanted == str(value) if value is not None else False


def select_by_loop(rows: list[Row], where: ImageFilter) -> set[UUID]:
    """The slow oracle: ids of all rows that match."""
    positions = np.array([(row.point.lat, row.point.lon) for row in rows])
    inside = np.ones(len(rows), dtype=bool)
    if where.box is not None:
        inside &= predicates.inside_box(positions, where.box)
    if where.polygons:
        inside &= predicates.inside_polygons(positions, where.polygons)
    if where.circle is not None:
        inside &= predicates.inside_circle(positions, where.circle)
    return {
        row.id
        for row, is_inside in zip(rows, inside, strict=True)
        if is_inside and has_values(row, where)
    }


def find_cells(point):
    """The cell of resolution 7 of a position, and its parents."""
    cell = h3.latlng_to_cell(point.lat, point.lon, 7)
    return {h3.cell_to_parent(cell, resolution) for resolution in range(8)}


def has_values(row: Row, where: ImageFilter) -> bool:
    """Whether a row matches all conditions but those on its position."""
    taken = row.captured_at
    return all(
        (
            row.state != "deleted",
            not where.ids or row.id in where.ids,
            where.id_prefix is None or row.id.hex.startswith(where.id_prefix),
            not where.source_ids or row.source in where.source_ids,
            not where.source_kinds or row.kind in where.source_kinds,
            not where.cells or not find_cells(row.point).isdisjoint(where.cells),
            where.file_name is None
            or fnmatch.fnmatchcase(row.name.rpartition("/")[2], where.file_name),
            not where.states or row.state in where.states,
            where.captured_after is None or (taken is not None and taken >= where.captured_after),
            where.captured_before is None or (taken is not None and taken < where.captured_before),
            not where.creators or row.creator in where.creators,
            not where.sequences or row.sequence in where.sequences,
            not where.cameras or row.camera in where.cameras,
            *(equals_text(row.attributes.get(name), value) for name, value in where.attributes),
        )
    )


def box(south, west, north, east):
    return {"box": Box(south=south, west=west, north=north, east=east)}


def circle(lat, lon, radius_m):
    return {"circle": Circle(center=Point(lat, lon), radius_m=radius_m)}


def ring(*corners):
    return tuple(Point(lat, lon) for lat, lon in (*corners, corners[0]))


# Corners and edges off the grid of the positions: a position on an edge has no defined result.
AREA = Polygon(
    exterior=ring((-40.1, -60.1), (50.3, -70.2), (60.1, 80.3), (-30.3, 50.1)),
    holes=(ring((0.1, 0.3), (30.1, 0.2), (30.3, 40.1), (0.2, 40.3)),),
)
FILTERS = {
    "none": {},
    "box": box(-30, -20, 40, 60),
    "box over the antimeridian": box(-60, 150, 60, -150),
    "thin box at the antimeridian": box(-10, 179.9, 10, -179.9),
    "box to 180": box(-5, 90, 45, 180),
    "box from -180": box(-60, -180, 45, -90),
    "the meridian itself": box(-90, 180, 90, 180),
    "the meridian from both sides": box(-90, 180, 90, -180),
    "north cap": box(80, -180, 90, 180),
    "the pole alone": box(90, -180, 90, 180),
    "the whole world": box(-90, -180, 90, 180),
    "all but a sliver": box(-90, 0, 90, -0.5),
    "one position": box(48.8566, 2.3522, 48.8566, 2.3522),
    "circle": circle(45, 7, 3_000_000),
    "circle over the antimeridian": circle(1, 179.9999, 2_000_000),
    "circle on -180": circle(0, -180, 600_000),
    "one meter on 180": circle(0, 180, 1),
    "one meter on the pole": circle(90, 33, 1),
    "over the pole": circle(85, 20, 2_500_000),
    "south pole": circle(-90, -120, 1_000_000),
    "half the world": circle(3, 5, 9_900_000),
    "circle of the whole world": circle(10, 10, 20_100_000),
    "polygon": {"polygons": (Polygon(exterior=AREA.exterior),)},
    "polygon with a hole": {"polygons": (AREA,)},
    "overlapping polygons": {
        "polygons": (AREA, Polygon(exterior=ring((-5.1, -5.2), (55.2, -5.3), (55.1, 95.3))))
    },
    "polygons that cross themselves": {
        "polygons": (Polygon(exterior=ring((-50.1, 100.1), (50.2, 150.3), (50.1, 100.3),
                                           (-50.3, 150.1))),)
    },
    "polygon to the pole": {
        "polygons": (Polygon(exterior=ring((60.1, -179.9), (60.1, 179.9), (89.9, 179.8),
                                           (89.9, -179.8))),)
    },
    "after": {"captured_after": START + timedelta(hours=1_000)},
    "before": {"captured_before": START + timedelta(hours=1_000)},
    "period": {
        "captured_after": START + timedelta(hours=10),
        "captured_before": START + timedelta(hours=50),
    },
    "from year 1": {"captured_after": datetime(1, 1, 1, tzinfo=UTC)},
    "kind": {"source_kinds": ("street",)},
    "both kinds": {"source_kinds": ("street", "photo")},
    "creators": {"creators": ("ada", "O'Hara, Äöü")},
    "no such creator": {"creators": ("Ada",)},
    "sequence": {"sequences": ("s2",)},
    "camera": {"cameras": ("Pixel 8",)},
    "states": {"states": ("failed", "pending")},
    "attribute": {"attributes": (("weather", "rain"),)},
    "two attributes": {"attributes": (("weather", "rain"), ("hdr", "true"))},
    "attribute as number or text": {"attributes": (("speed", "3.5"),)},
    "attribute as Boolean or text": {"attributes": (("hdr", "true"),)},
    "attribute with an equals sign": {"attributes": (("a=b", "c"),)},
    "no such attribute": {"attributes": (("weather", "null"),)},
    "file name": {"file_name": "IMG_7.jpg"},
    "file names": {"file_name": "IMG_?4*.jpg"},
    "end of a file name": {"file_name": "*9.jpg"},
    "all at once": {
        **box(-60, -100, 80, 100), **circle(10, 10, 9_000_000), "polygons": (AREA,),
        "source_kinds": ("photo",), "creators": ("ada", "bob"), "states": ("indexed",),
        "captured_after": START, "file_name": "IMG_*",
    },
}  # fmt: skip


def test_image_conditions_equal_loop(database, gallery):
    organization, rows = gallery
    ids = tuple(row.id for row in rows[:9])
    filters = {
        **{name: ImageFilter(**fields) for name, fields in FILTERS.items()},
        "ids": ImageFilter(ids=ids),
        "id prefix": ImageFilter(id_prefix=ids[0].hex[:3]),
        "cell": ImageFilter(cells=(h3.latlng_to_cell(48.8566, 2.3522, 7),)),
        "large cells": ImageFilter(
            cells=tuple(h3.cell_to_parent(h3.latlng_to_cell(0, lon, 7), 1) for lon in (0, 180))
        ),
        "pentagon": ImageFilter(cells=(sorted(h3.get_pentagons(0))[0],)),
        "source": ImageFilter(source_ids=(rows[0].source,)),
        "no such source": ImageFilter(source_ids=(uuid4(),)),
    }
    sizes = {}
    with database.begin(organization, read_only=True) as unit:
        for name, where in filters.items():
            statement = select(visible_images.c.id).where(
                *image_conditions(visible_images.c, where)
            )
            selected = list(unit.connection.execute(statement).scalars())
            expected = select_by_loop(rows, where)
            assert set(selected) == expected, name
            assert len(selected) == len(expected), name
            sizes[name] = len(expected)
    empty = {name for name, size in sizes.items() if size == 0}
    assert empty == {"no such creator", "no such attribute", "no such source"}
