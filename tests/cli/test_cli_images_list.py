"""`pinpoint images list`: filters, formats and pages; `--area` of all commands."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pyogrio
import pytest
import shapely
from pyproj import Transformer

from api import memory
from cli.test_cli_commands import picture, pinpoint
from pinpoint.cli.area_files import read_area
from pinpoint.errors import BadRequestError
from pinpoint.records import Box, Circle, Point

__all__ = ["pinpoint"]
SQUARE = shapely.Polygon(
    [(2, 48), (3, 48), (3, 49), (2, 49)], [[(2.1, 48.1), (2.2, 48.1), (2.2, 48.2)]]
)
FEATURES = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "properties": {"name": "x" * 300_000},
         "geometry": json.loads(shapely.to_geojson(SQUARE))}
    ],
}  # fmt: skip


@pytest.fixture
def images(api):
    """Five images, one of them with a line break in its creator."""
    source = api.rows().add_source("walk", "photo")
    for number in range(5):
        image = replace(memory.image(source), creator="a\n=b" if number == 2 else None)
        api.rows().all_images[image.id] = image
    return sorted(map(str, api.rows().all_images))


def write_layer(path, shapes, crs):
    pyogrio.raw.write(
        path, shapely.to_wkb(shapes), [], [], geometry_type="MultiPolygon", crs=crs
    )  # fmt: skip
    return path


def test_images_list_sends_every_filter(pinpoint, api, images, tmp_path):
    area = tmp_path / "area.geojson"
    area.write_text(json.dumps(FEATURES))
    pinpoint(
        "images", "list", "--in-source", "walk", "--source-kind", "photo",
        "--bbox", "170,-5,-170,5", "--center", "48.8,2.3", "--radius", "500", "--area", area,
        "--datetime", "2026-01-01T00:00:00Z/..", "--creator", "a", "--creator", "b,c",
        "--sequence", "s",
        "--camera", "c", "--attribute", "weather=rain", "--file-name", "IMG_*", "--state", "failed",
        "--page-size", "7",
    )  # fmt: skip
    query, limit, _ = api.rows().listed
    assert limit == 8
    assert query.source_kinds == ("photo",)
    assert query.box == Box(south=-5, west=170, north=5, east=-170)
    assert query.circle == Circle(center=Point(48.8, 2.3), radius_m=500)
    assert len(query.polygons[0].holes) == 1
    assert query.captured_after.year == 2026
    assert (query.creators, query.sequences, query.cameras) == (("a", "b,c"), ("s",), ("c",))
    assert (query.attributes, query.file_name) == ((("weather", "rain"),), "IMG_*")
    assert query.states == ("failed",)


def test_images_list_all_prints_one_document_in_each_format(pinpoint, images):
    pages = ("images", "list", "--all", "--page-size", "2")
    document = pinpoint(*pages, "--json")
    assert document["next"] is None
    assert [image["id"] for image in document["images"]] == images
    features = json.loads(pinpoint(*pages, "--geojson").out)
    assert features["type"] == "FeatureCollection"
    assert [feature["id"] for feature in features["features"]] == images
    rows = list(csv.DictReader(io.StringIO(pinpoint(*pages, "--csv").out, newline="")))
    assert [row["id"] for row in rows] == images
    assert sorted(row["creator"] for row in rows) == ["", "", "", "", "a\n=b"]
    table = pinpoint(*pages).out
    assert all(image_id in table for image_id in images)


def test_images_list_prints_one_page_and_its_cursor(pinpoint, images):
    listed = []
    cursor = []
    for _ in range(3):
        page = pinpoint("images", "list", "--csv", "--page-size", "2", *cursor)
        listed += [row["id"] for row in csv.DictReader(io.StringIO(page.out, newline=""))]
        cursor = ["--cursor", page.err.rpartition(" ")[2].strip()] if page.err else []
    assert (listed, cursor) == (images, [])
    assert "more:" not in pinpoint("images", "list", "--geojson").err
    assert "only one of" in pinpoint("images", "list", "--csv", "--geojson", code=64).err


def test_images_list_of_empty_gallery_prints_valid_documents(pinpoint, api):
    assert pinpoint("images", "list", "--all", "--json") == {"images": [], "next": None}
    assert json.loads(pinpoint("images", "list", "--all", "--geojson").out)["features"] == []
    assert pinpoint("images", "list", "--all", "--csv").out.count("\n") == 1


@pytest.mark.parametrize("command", ["locate", "similar"])
def test_area_option_of_queries_filters_the_search(pinpoint, search_calls, tmp_path, command):
    photo = picture(tmp_path / "photo.png")
    area = write_layer(tmp_path / "area.gpkg", [shapely.MultiPolygon([SQUARE])], "EPSG:4326")
    pinpoint(command, photo, "--area", area)
    (polygon,) = search_calls[0]["limits"].polygons
    assert {(point.lon, point.lat) for point in polygon.exterior} == set(SQUARE.exterior.coords)
    assert len(polygon.holes) == 1


@pytest.mark.parametrize("name", ["area.gpkg", "area.shp", "area.fgb", "area.geojson"])
def test_read_area_converts_each_format_to_wgs84(tmp_path, name):
    shape = shapely.MultiPolygon([SQUARE, shapely.box(10, 10, 11, 11)])
    crs = "EPSG:4326" if name.endswith("geojson") else "EPSG:3857"
    to_crs = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    projected = shapely.transform(shape, to_crs.transform, interleaved=False)
    path = write_layer(tmp_path / name, [projected], crs)
    area = shapely.from_geojson(read_area(path))
    if area.geom_type == "GeometryCollection":
        area = area.geoms[0]
    assert area.symmetric_difference(shape).area < 1e-9


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.geojson", "{", "not GeoJSON"),
        ("a.gpkg", "no database", "vector data"),
        ("missing.gpkg", None, "there is no"),
        ("missing.geojson", None, "there is no"),
    ],
)
def test_area_option_with_unusable_file_exits_64(pinpoint, tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    assert message in pinpoint("images", "list", "--area", path, code=64).err


def test_read_area_refuses_other_geometries_and_missing_reference_systems(tmp_path):
    no_crs = write_layer(tmp_path / "no.shp", [shapely.MultiPolygon([SQUARE])], "EPSG:4326")
    no_crs.with_suffix(".prj").unlink()
    with pytest.raises(BadRequestError, match="reference system"):
        read_area(no_crs)
    points = tmp_path / "points.gpkg"
    pyogrio.raw.write(
        points,
        shapely.to_wkb([shapely.Point(1, 2)]),
        [],
        [],
        geometry_type="Point",
        crs="EPSG:4326",
    )
    with pytest.raises(BadRequestError, match="must contain polygons"):
        read_area(points)


def test_images_list_with_an_area_too_long_for_a_url_exits_64(pinpoint, images, tmp_path):
    area = tmp_path / "area.geojson"
    circle = shapely.Point(2, 48).buffer(1, quad_segs=900)
    area.write_text(shapely.to_geojson(circle))
    assert "too long" in pinpoint("images", "list", "--area", area, code=64).err
