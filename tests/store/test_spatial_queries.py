"""Neighbors, looks-at, coverage and gaps against slow oracles on 5,000 positions."""

from __future__ import annotations

import random
import uuid
from collections import defaultdict
from types import SimpleNamespace

import h3
import numpy as np
import pytest
import shapely
from geographiclib.geodesic import Geodesic
from shapely.affinity import translate
from sqlalchemy import select, text

from conftest import TEMPLATE
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import lat_lon
from pinpoint.records import (
    COVERAGE_RESOLUTIONS,
    SOURCE_KINDS,
    Box,
    CellFilter,
    ImageFilter,
    LooksAt,
    Point,
    Polygon,
)
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.db.views import layer_images
from pinpoint.store.gallery import point_neighbors
from pinpoint.store.gallery.gallery_database import GalleryDatabase
from pinpoint.store.gallery.image_conditions import image_conditions
from store.spatial_gallery import CENTERS, add_organization, draw_point, draw_rows, insert_rows

# Longest difference between the sphere and the ellipsoid, 0.56 %, with a margin.
SPHERE = 1.008
METER_DIGITS = 4


@pytest.fixture(scope="module")
def gallery(postgres, server_paths):
    """Two organizations at the same places; the questions come from the first."""
    name = f"g_{uuid.uuid4().hex[:16]}"
    postgres.clone(TEMPLATE, name)
    owner = Transactions(owner_engine(server_paths.owner_url(name)))
    as_api = Transactions(api_engine(server_paths.api_url(name), own_login=True))
    rng = random.Random(23)
    with owner.begin() as unit:
        alder, sources = add_organization(unit.connection, "alder")
        birch, other_sources = add_organization(unit.connection, "birch")
        rows = draw_rows(rng, sources, 5_000)
        insert_rows(unit.connection, alder, rows)
        insert_rows(unit.connection, birch, draw_rows(rng, other_sources, 500))
        unit.connection.execute(text("ANALYZE"))
    yield SimpleNamespace(
        rows=rows, alder=alder, sources=sources, database=GalleryDatabase(as_api), as_api=as_api
    )
    as_api.close()
    owner.close()
    postgres.drop(name)


def geodesic(a, b):
    """Distance in m and initial bearing in [0, 360)."""
    line = Geodesic.WGS84.Inverse(a.lat, a.lon, b.lat, b.lon)
    return line["s12"], line["azi1"] % 360.0


def rows_near(rows, point, radius_m):
    """Rows within a radius with their geodesic and sphere distances."""
    sphere_m = haversine_m(lat_lon([row.point for row in rows]), lat_lon([point])[0])
    near = [
        (row, *geodesic(point, row.point), far)
        for row, far in zip(rows, sphere_m.tolist(), strict=True)
        if far <= radius_m * SPHERE
    ]
    return [entry for entry in near if entry[1] <= radius_m]


def query_points(seed, count):
    rng = random.Random(seed)
    fixed = [Point(lat, lon) for lat, lon in CENTERS] + [Point(90, 120), Point(-16.9, 180)]
    return fixed + [draw_point(rng, []) for _ in range(count - len(fixed))]


@pytest.mark.parametrize(
    ("radius_m", "per_kind", "kinds"),
    [(2_000.0, 3, ()), (300_000.0, 7, ()), (20_000.0, 50, ("street",))],
)
def test_neighbors_of_points_equal_oracle(gallery, radius_m, per_kind, kinds):
    points = query_points(3, 60)
    with gallery.database.read(gallery.alder) as reader:
        answers = reader.neighbors(points, radius_m=radius_m, per_kind=per_kind, source_kinds=kinds)
    assert len(answers) == len(points)
    rows = [row for row in gallery.rows if row.state == "indexed"]
    for point, neighbors in zip(points, answers, strict=True):
        keys = [(neighbor.distance_m, neighbor.id) for neighbor in neighbors]
        assert keys == sorted(keys)
        for kind in SOURCE_KINDS:
            near = rows_near([row for row in rows if row.kind == kind], point, radius_m)
            wanted = {} if kinds and kind not in kinds else {entry[0].id: entry for entry in near}
            got = [neighbor for neighbor in neighbors if neighbor.source_kind == kind]
            assert len(got) == min(per_kind, len(wanted))
            check_nearest(got, wanted)


def check_nearest(got, wanted):
    """The neighbors of one kind: nearest on the sphere, ties by id, geodesic numbers."""
    sphere_m = sorted(round(entry[3], METER_DIGITS) for entry in wanted.values())
    assert np.allclose(
        sorted(wanted[neighbor.id][3] for neighbor in got), sphere_m[: len(got)], atol=1e-3
    )
    ids_by_point = defaultdict(list)
    for row, *_ in wanted.values():
        ids_by_point[row.point].append(row.id)
    taken = defaultdict(list)
    for neighbor in got:
        row, distance_m, bearing_deg, _ = wanted[neighbor.id]
        taken[row.point].append(neighbor.id)
        assert neighbor.distance_m == pytest.approx(distance_m, abs=1e-3)
        if distance_m > 1 and abs(row.point.lat) < 90:
            turn = (neighbor.bearing_deg - bearing_deg + 180) % 360 - 180
            assert abs(turn) < 1e-3
        assert (neighbor.lat, neighbor.lon) == pytest.approx((row.point.lat, row.point.lon))
        assert (neighbor.captured_at, neighbor.heading_deg) == (row.captured_at, row.heading_deg)
        assert neighbor.license == f"license of {neighbor.source}"
    for point, ids in taken.items():
        assert sorted(ids) == sorted(ids_by_point[point])[: len(ids)]


def test_neighbors_statement_reads_partial_spatial_indexes(gallery):
    points = [p for p in query_points(4, 96) if abs(p.lat) < 90 and abs(p.lon) < 180][:64]
    statement = point_neighbors.neighbors_statement(SOURCE_KINDS)
    values = {
        "lats": lat_lon(points)[:, 0].tolist(),
        "lons": lat_lon(points)[:, 1].tolist(),
        "radius_m": 5_000.0,
        "per_kind": 5,
    }
    with gallery.as_api.begin(gallery.alder, read_only=True, role="pinpoint_reader") as unit:
        plan = unit.connection.execute(
            text(f"EXPLAIN (ANALYZE, FORMAT TEXT) {statement.text}"), values
        ).scalars()
        lines = "\n".join(plan)
    for kind in SOURCE_KINDS:
        assert f"Index Scan using ix_images_near_{kind}" in lines
    assert "Seq Scan on images" not in lines


@pytest.mark.parametrize(
    ("distance_m", "min_distance_m", "tolerance_deg"),
    [(300.0, 0.0, 0.0), (5_000.0, 200.0, 30.0), (200_000.0, 0.0, 10.0), (500.0, 0.0, 180.0)],
)
def test_looks_at_equals_oracle(gallery, distance_m, min_distance_m, tolerance_deg):
    rows = [row for row in gallery.rows if row.live]
    num_images = 0
    for point in query_points(5, 25):
        looks_at = LooksAt(
            point=point,
            distance_m=distance_m,
            min_distance_m=min_distance_m,
            tolerance_deg=tolerance_deg,
        )
        conditions = image_conditions(layer_images.c, ImageFilter(looks_at=looks_at))
        with gallery.as_api.begin(gallery.alder, read_only=True, role="pinpoint_reader") as unit:
            ids = set(
                unit.connection.execute(select(layer_images.c.id).where(*conditions)).scalars()
            )
        wanted = set()
        for row, distance, *_ in rows_near(rows, point, distance_m):
            if distance >= min_distance_m and sees_point(row, point, tolerance_deg):
                wanted.add(row.id)
        assert ids == wanted
        num_images += len(wanted)
    assert num_images > 5


def sees_point(row, point, tolerance_deg):
    if row.field_of_view_deg == 360:
        return True
    distance_m, bearing_deg = geodesic(row.point, point)
    if row.heading_deg is None or distance_m == 0:
        return False
    turn_deg = abs((bearing_deg - row.heading_deg + 180) % 360 - 180)
    return turn_deg <= (row.field_of_view_deg or 0) / 2 + tolerance_deg


def count_cells(rows, resolution):
    """Counts in a loop: `{cell: {kind: rows}}`."""
    cells = defaultdict(lambda: defaultdict(list))
    for row in rows:
        finest = h3.latlng_to_cell(row.point.lat, row.point.lon, 7)
        cells[h3.cell_to_parent(finest, resolution)][row.kind].append(row)
    return cells


def read_all(gallery, cell_filter, limit=400):
    """All cells, page by page."""
    cells = []
    with gallery.database.read(gallery.alder) as reader:
        while True:
            after = cells[-1].cell if cells else None
            page = reader.coverage_cells(cell_filter, limit=limit, after_cell=after)
            cells += page
            if len(page) < limit:
                return cells


def check_cells(cells, wanted):
    assert [cell.cell for cell in cells] == sorted(wanted)
    for cell in cells:
        kinds = wanted[cell.cell]
        assert [count.source_kind for count in cell.counts] == [
            kind for kind in SOURCE_KINDS if kind in kinds
        ]
        for count in cell.counts:
            times = [row.captured_at for row in kinds[count.source_kind] if row.captured_at]
            assert count.images == len(kinds[count.source_kind])
            assert count.first_captured_at == min(times, default=None)
            assert count.last_captured_at == max(times, default=None)
        members = [row for rows in kinds.values() for row in rows]
        assert cell.images == len(members)
        licenses = cell.license.split("; ")
        assert licenses == sorted(set(licenses))
        # The center of one position is that position.
        if len({row.point for row in members}) == 1:
            far = haversine_m(lat_lon([cell.center]), lat_lon([members[0].point]))
            assert far < 0.01


@pytest.mark.parametrize("resolution", COVERAGE_RESOLUTIONS)
def test_coverage_and_gaps_equal_oracle(gallery, resolution):
    live = [row for row in gallery.rows if row.live]
    wanted = count_cells(live, resolution)
    check_cells(read_all(gallery, CellFilter(resolution=resolution)), wanted)
    for missing_kind in (None, *SOURCE_KINDS):
        for min_images in (1, 3):
            gaps = {
                cell: kinds
                for cell, kinds in wanted.items()
                if len(kinds) == 1
                and missing_kind not in kinds
                and sum(map(len, kinds.values())) >= min_images
            }
            cell_filter = CellFilter(
                resolution=resolution,
                only_gaps=True,
                missing_kind=missing_kind,
                min_images=min_images,
            )
            check_cells(read_all(gallery, cell_filter), gaps)


def test_coverage_by_source_and_kind_equals_oracle(gallery):
    live = [row for row in gallery.rows if row.live]
    source_id = gallery.sources[0][0]
    check_cells(
        read_all(gallery, CellFilter(resolution=5, source_ids=(source_id,))),
        count_cells([row for row in live if row.source_id == source_id], 5),
    )
    check_cells(
        read_all(gallery, CellFilter(resolution=5, source_kinds=("street",))),
        count_cells([row for row in live if row.kind == "street"], 5),
    )


def outline(cell):
    """Boundary without jumps of longitude, in degrees; None for a cell with a pole."""
    vertices = h3.cell_to_boundary(cell)
    lons = np.unwrap([lon for _, lon in [*vertices, vertices[0]]], period=360)
    if abs(lons[-1] - lons[0]) > 180:
        return None
    return shapely.Polygon(list(zip(lons, [lat for lat, _ in vertices], strict=False)))


def reaches(cell, area):
    shape = outline(cell)
    return shape is not None and any(
        shapely.intersects(translate(area, turn), shape) for turn in (-360, 0, 360)
    )


BOXES = [
    Box(south=48.0, west=2.0, north=49.0, east=3.0),
    Box(south=-18.0, west=179.5, north=-16.0, east=-179.5),
    Box(south=-60.0, west=-180.0, north=60.0, east=180.0),
    Box(south=48.85, west=2.35, north=48.85, east=2.35),
    Box(south=0.0, west=100.0, north=1.0, east=-100.0),
]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("resolution", [3, 5, 7])
def test_coverage_in_box_equals_oracle(gallery, box, resolution):
    wanted = count_cells([row for row in gallery.rows if row.live], resolution)
    east = box.east + 360 if box.west > box.east else box.east
    area = shapely.envelope(shapely.MultiPoint([(box.west, box.south), (east, box.north)]))
    cells = [cell.cell for cell in read_all(gallery, CellFilter(resolution=resolution, box=box))]
    assert cells == sorted(cell for cell in wanted if reaches(cell, area))


@pytest.mark.parametrize("lat", [89.5, -89.5])
def test_coverage_at_poles_includes_the_cell_of_the_pole(gallery, lat):
    south, north = (lat, 90.0) if lat > 0 else (-90.0, lat)
    box = Box(south=south, west=10, north=north, east=11)
    cells = {cell.cell for cell in read_all(gallery, CellFilter(resolution=3, box=box))}
    assert h3.latlng_to_cell(round(lat), 0, 3) in cells


def test_coverage_in_polygon_equals_oracle(gallery):
    ring = [Point(48.8, 2.3), Point(48.8, 2.4), Point(48.9, 2.35), Point(48.8, 2.3)]
    wanted = count_cells([row for row in gallery.rows if row.live], 7)
    area = shapely.Polygon([(point.lon, point.lat) for point in ring])
    cell_filter = CellFilter(resolution=7, polygons=(Polygon(exterior=tuple(ring)),))
    cells = [cell.cell for cell in read_all(gallery, cell_filter, limit=3)]
    assert cells == sorted(cell for cell in wanted if reaches(cell, area))
    assert cells


def test_layers_of_cells_equal_read_cells(gallery):
    """The views for GIS clients count the same images."""
    cells = read_all(gallery, CellFilter(resolution=4))
    gaps = read_all(gallery, CellFilter(resolution=4, only_gaps=True))
    with gallery.as_api.begin(gallery.alder, read_only=True, role="pinpoint_reader") as unit:
        rows = unit.connection.execute(
            text("SELECT * FROM layers.coverage WHERE resolution = 4")
        ).all()
        gap_rows = unit.connection.execute(
            text("SELECT * FROM layers.gaps WHERE resolution = 4")
        ).all()
    assert {(row.cell, row.source_kind, row.images) for row in rows} == {
        (cell.cell, count.source_kind, count.images) for cell in cells for count in cell.counts
    }
    assert {(row.cell, row.source_kind, row.images) for row in gap_rows} == {
        (cell.cell, cell.counts[0].source_kind, cell.images) for cell in gaps
    }
    centers = {cell.cell: cell.center for cell in gaps}
    for row in gap_rows:
        assert haversine_m(lat_lon([centers[row.cell]]), np.array([row.lat, row.lon])) < 0.01
