"""GDAL of Debian, GDAL of pyogrio and QGIS on features, tiles and exports; counts equal SQL.

The collection `images` has more than ten pages of a thousand features. The programs of the system
(`ogr2ogr`, `ogrinfo`, QGIS) are called as their users call them; a missing one skips its tests.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import numpy as np
import pyogrio
import pytest
import shapely

from trials.gis.gallery_stack import (
    CAMERA,
    SPARSE_COLUMNS,
    GalleryStack,
    require_program,
    run_gallery_stack,
)

OPEN_LAYER = Path(__file__).parent / "gis" / "open_layer.py"
PAGE_SIZE = 1_000
BOX = (-15.0, 35.0, 30.0, 60.0)
"""West, south, east, north of a box with a part of the gallery."""
IN_BOX = "lon BETWEEN -15 AND 30 AND lat BETWEEN 35 AND 60"
FIELD_TYPES = {"heading_deg": "f", "altitude_m": "f", "width_px": "i", "camera": "O"}
"""Field to the kind of its NumPy type; the first two are null in the first page."""
PUBLIC_FIELDS = {
    *("id", "source", "source_kind", "file_name", "captured_at", "license", "attribution"),
    *SPARSE_COLUMNS,
}

pytestmark = pytest.mark.timeout(1_200)


@pytest.fixture(scope="module")
def stack() -> Iterator[GalleryStack]:
    with run_gallery_stack() as running:
        total = running.scalar("SELECT count(*) FROM gallery")
        assert total > 10 * PAGE_SIZE
        yield running


def count(stack: GalleryStack, condition: str = "true", *values: object) -> int:
    return int(stack.scalar(f"SELECT count(*) FROM gallery WHERE {condition}", *values))


def run_program(*words: str, timeout_s: float = 600, **environment: str) -> str:
    """Run a program of the system; returns its output."""
    clean = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
    result = subprocess.run(
        words,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert result.returncode == 0, (words, result.stdout[-2_000:], result.stderr[-2_000:])
    return result.stdout


def gdal_options(stack: GalleryStack) -> list[str]:
    return ["-oo", f"USERPWD=pinpoint:{stack.key}", "-oo", f"PAGE_SIZE={PAGE_SIZE}"]


# --- features ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        ([], "true"),
        (["-spat", *map(str, BOX)], IN_BOX),
        (["-where", "source_kind = 'street'"], "source_kind = 'street'"),
        (["-where", f"camera = '{CAMERA}'"], f"camera = '{CAMERA}'"),
    ],
    ids=["all pages", "bbox", "source kind", "camera"],
)
def test_gdal_of_debian_reads_as_many_features_as_sql(stack, tmp_path, options, condition):
    ogr2ogr = require_program("ogr2ogr", "gdal-bin")
    target = tmp_path / "images.gpkg"
    run_program(
        *(ogr2ogr, "-f", "GPKG", str(target), f"OAPIF:{stack.url}/ogc", "images"),
        *(*options, *gdal_options(stack)),
    )
    info = pyogrio.read_info(target, force_feature_count=True)
    assert info["features"] == count(stack, condition) > 0
    assert set(info["fields"]) >= PUBLIC_FIELDS - {"id"}


def test_gdal_of_debian_reads_pages_through_their_links(stack):
    ogrinfo = require_program("ogrinfo", "gdal-bin")
    stack.requests.clear()
    text = run_program(
        *(ogrinfo, "-ro", "-so", f"OAPIF:{stack.url}/ogc", "images", *gdal_options(stack))
    )
    assert "Geometry: Point" in text
    assert all(request.status == 200 for request in stack.requests), stack.requests


def test_gdal_without_key_is_refused(stack):
    ogrinfo = require_program("ogrinfo", "gdal-bin")
    result = subprocess.run(
        [ogrinfo, "-ro", f"OAPIF:{stack.url}/ogc", "images"], capture_output=True, text=True
    )
    assert result.returncode != 0
    assert "401" in result.stdout + result.stderr


def read_features(stack: GalleryStack, **arguments: Any) -> tuple[Any, ...]:
    return pyogrio.raw.read(
        f"OAPIF:{stack.api_url}/ogc",
        layer="images",
        USERPWD=f"pinpoint:{stack.key}",
        PAGE_SIZE=str(PAGE_SIZE),
        **arguments,
    )


@pytest.mark.parametrize(
    ("arguments", "condition"),
    [
        ({}, "true"),
        ({"bbox": BOX}, IN_BOX),
        ({"where": "source_kind = 'street'"}, "source_kind = 'street'"),
        ({"where": f"camera = '{CAMERA}'"}, f"camera = '{CAMERA}'"),
    ],
    ids=["all pages", "bbox", "source kind", "camera"],
)
def test_gdal_of_pyogrio_reads_as_many_features_as_sql(stack, arguments, condition):
    _meta, _ids, geometry, _fields = read_features(stack, **arguments)
    assert len(geometry) == count(stack, condition) > 0


def test_gdal_of_pyogrio_has_the_types_of_fields_that_are_null_in_the_first_page(stack):
    meta, _ids, geometry, columns = read_features(stack)
    fields = dict(zip(meta["fields"].tolist(), columns, strict=True))
    assert set(fields) >= PUBLIC_FIELDS - {"id"}
    assert {name: fields[name].dtype.kind for name in FIELD_TYPES} == FIELD_TYPES
    assert fields["captured_at"].dtype.kind == "M"
    for name in SPARSE_COLUMNS:
        values = fields[name]
        is_null = np.array([value is None or str(value) == "nan" for value in values])
        assert is_null[:PAGE_SIZE].all(), name
        assert (~is_null).sum() == count(stack, f"{name} IS NOT NULL") > 0
    points = shapely.get_coordinates(shapely.from_wkb(geometry))
    assert points[:, 0].mean() == pytest.approx(stack.scalar("SELECT avg(lon) FROM gallery"))
    assert points[:, 1].mean() == pytest.approx(stack.scalar("SELECT avg(lat) FROM gallery"))
    assert all(fields["license"])


def test_schema_describes_the_types_of_all_fields(stack):
    """Part 5: QGIS and GDAL take the fields from here instead of the first features."""
    with stack.http() as http:
        collection = http.get("/ogc/collections/images").json()
        (link,) = [
            link
            for link in collection["links"]
            if link["rel"] == "http://www.opengis.net/def/rel/ogc/1.0/schema"
        ]
        schema = http.get(link["href"]).json()
    types = {name: schema["properties"][name].get("type") for name in FIELD_TYPES}
    assert types == {
        "heading_deg": "number",
        "altitude_m": "number",
        "width_px": "integer",
        "camera": "string",
    }
    assert schema["properties"]["captured_at"]["format"] == "date-time"


# --- QGIS ----------------------------------------------------------------------------------------


def open_in_qgis(stack: GalleryStack, collection: str, *rectangle: float) -> dict[str, Any]:
    """Open a collection in QGIS without a display."""
    require_program("qgis", "qgis python3-qgis")
    output = run_program(
        *("/usr/bin/python3", str(OPEN_LAYER), f"{stack.url}/ogc", collection),
        *("pinpoint", stack.key, *map(str, rectangle)),
        QT_QPA_PLATFORM="offscreen",
    )
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def test_qgis_reads_all_features_in_pages_of_a_thousand(stack):
    require_program("qgis", "qgis python3-qgis")
    stack.requests.clear()
    result = open_in_qgis(stack, "images")
    assert result["valid"], result
    assert result["features"] == count(stack)
    assert all(request.status == 200 for request in stack.requests)
    # The first request reads a few features to find the fields.
    sizes = [size for size in stack.page_sizes("images") if size > 10]
    assert sizes
    assert min(sizes) >= PAGE_SIZE
    assert len(sizes) <= count(stack) / PAGE_SIZE + 2


def test_qgis_reads_the_features_of_a_rectangle(stack):
    stack.requests.clear()
    result = open_in_qgis(stack, "images", *BOX)
    assert result["features"] == count(stack, IN_BOX)
    assert any("bbox" in request.query for request in stack.requests)


@pytest.mark.parametrize("collection", ["coverage", "gaps", "queries"])
def test_qgis_opens_every_collection(stack, collection):
    result = open_in_qgis(stack, collection)
    assert result["valid"], result


# --- tiles ---------------------------------------------------------------------------------------


def fetch_tile(http: httpx.Client, zoom: int, column: int, row: int) -> bytes:
    """A tile of `images`, from the link of its tileset."""
    tileset = http.get("/ogc/collections/images/tiles/WebMercatorQuad").json()
    (template,) = [unquote(link["href"]) for link in tileset["links"] if link.get("templated")]
    names = {"tileMatrix": zoom, "tileRow": row, "tileCol": column}
    for name, number in (names | {"z": zoom, "x": column, "y": row}).items():
        template = template.replace(f"{{{name}}}", str(number))
    response = http.get(template)
    assert response.status_code == 200, response.text
    return response.content


def read_tile(tile: bytes, position: tuple[int, int, int], folder: Path) -> tuple[Any, ...]:
    """Features of a tile as GDAL decodes them."""
    path = folder / "tile.pbf"
    path.write_bytes(tile)
    options = dict(zip("ZXY", map(str, position), strict=True))
    return pyogrio.raw.read(f"MVT:{path}", CLIP="NO", **options)


@pytest.mark.parametrize("zoom", [14, 16])
def test_gdal_reads_the_points_of_tiles_as_sql_counts_them(stack, tmp_path, zoom):
    crowded = (
        "SELECT array[x, y]::int[] FROM (SELECT"
        "  floor((lon + 180) / 360 * 2 ^ {zoom}) AS x,"
        "  floor((1 - asinh(tan(radians(lat))) / pi()) / 2 * 2 ^ {zoom}) AS y"
        "  FROM gallery WHERE abs(lat) < 80) t GROUP BY x, y ORDER BY count(*) DESC, x, y LIMIT 1"
    )
    column, row = stack.scalar(crowded.format(zoom=zoom))
    inside = (
        f"floor((lon + 180) / 360 * 2 ^ {zoom}) = {column} AND"
        f" floor((1 - asinh(tan(radians(lat))) / pi()) / 2 * 2 ^ {zoom}) = {row}"
    )
    with stack.http() as http:
        tile = fetch_tile(http, zoom, column, row)
    _meta, _ids, geometry, _fields = read_tile(tile, (zoom, column, row), tmp_path)
    world_m = 2 * 20_037_508.342789244
    size_m = world_m / 2**zoom
    west, north = column * size_m - world_m / 2, world_m / 2 - row * size_m
    x, y = shapely.get_coordinates(shapely.from_wkb(geometry)).T
    # A tile has a buffer around its edges; a point on an edge is rounded to either side.
    in_tile = (x >= west) & (x < west + size_m) & (y > north - size_m) & (y <= north)
    assert abs(int(in_tile.sum()) - count(stack, inside)) <= 1
    assert in_tile.sum() > 0


def test_tiles_of_low_zoom_hold_the_whole_gallery(stack, tmp_path):
    """Cells with counts at low zoom: their sum is the number of images."""
    with stack.http() as http:
        tile = fetch_tile(http, 0, 0, 0)
    assert len(tile) <= 500_000
    meta, _ids, geometry, columns = read_tile(tile, (0, 0, 0), tmp_path)
    assert len(geometry) > 0
    counts = dict(zip(meta["fields"].tolist(), columns, strict=True))["images"]
    beyond = count(stack, "abs(lat) > 85.0511")
    assert counts.sum() == pytest.approx(count(stack) - beyond, abs=1)


# --- exports -------------------------------------------------------------------------------------


def count_rows(path: Path) -> int:
    """Number of rows of an export, as its usual reader counts them."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return int(parquet.ParquetFile(path).metadata.num_rows)
    return int(pyogrio.read_info(path, force_feature_count=True)["features"])


@pytest.mark.parametrize("suffix", ["parquet", "fgb", "gpkg", "geojsons", "csv"])
def test_every_export_has_as_many_rows_as_sql(stack, tmp_path, suffix):
    with stack.http() as http:
        for query, condition in ((None, "true"), ({"bbox": ",".join(map(str, BOX))}, IN_BOX)):
            response = http.get(f"/v1/exports/images.{suffix}", params=query, timeout=300)
            assert response.status_code == 200, response.text
            path = tmp_path / f"export-{condition == 'true'}.{suffix}"
            path.write_bytes(response.content)
            assert count_rows(path) == count(stack, condition) > 0
    if suffix not in ("parquet", "geojsons"):
        ogrinfo = require_program("ogrinfo", "gdal-bin")
        text = run_program(ogrinfo, "-ro", "-so", "-al", str(path))
        assert f"Feature Count: {count(stack, IN_BOX)}" in text
