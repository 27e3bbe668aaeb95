"""Points from CSV and GeoJSON files."""

from __future__ import annotations

import json

import pytest

from pinpoint.cli.point_files import read_points
from pinpoint.errors import BadRequestError
from pinpoint.records import Point

POINTS = [Point(48.5, 2.25), Point(-17.0, 180.0)]
POSITIONS = [[2.25, 48.5], [180, -17, 12]]


@pytest.mark.parametrize(
    "content",
    [
        "lat,lon\n48.5,2.25\n-17,180\n",
        "\ufeffid;Longitude;Latitude\na;2.25;48.5\nb;180;-17\n",
        "GPSLatitude\tGPSLongitude\r\n48.5\t2.25\r\n-17\t180",
    ],
)
def test_read_points_of_csv_finds_the_columns(tmp_path, content):
    path = tmp_path / "points.csv"
    path.write_text(content, encoding="utf-8")
    assert read_points(path) == POINTS


@pytest.mark.parametrize(
    "document",
    [
        {"type": "MultiPoint", "coordinates": POSITIONS},
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "properties": {},
                    "geometry": {"type": "Point"} | {"coordinates": p},
                }
                for p in POSITIONS
            ],
        },
    ],
)
def test_read_points_of_geojson_has_longitude_first(tmp_path, document):
    path = tmp_path / "points.json"
    path.write_text(json.dumps(document))
    assert read_points(path) == POINTS


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("name,x\na,1\n", "no columns lat and lon"),
        ("lat,lon\n1,2\n91,0\n", "line 3"),
        ("lat,lon\n1\n", "line 2"),
        ("lat,lon\n", "no points"),
        ('{"type": "LineString", "coordinates": [[0, 0], [1, 1]]}', "no GeoJSON of points"),
        ('{"type": "Point", "coordinates": [48.5, 200]}', "no GeoJSON of points"),
        ('{"type": "Feature", "geometry": null}', "no GeoJSON of points"),
        ("{", "no GeoJSON of points"),
    ],
)
def test_read_points_of_invalid_file_is_rejected(tmp_path, content, message):
    path = tmp_path / "points.txt"
    path.write_text(content)
    with pytest.raises(BadRequestError, match=message):
        read_points(path)
    with pytest.raises(BadRequestError, match="cannot be read"):
        read_points(tmp_path / "absent.csv")
