"""Files with points: CSV with latitude and longitude columns, and GeoJSON points."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import BadRequestError, describe_cause
from pinpoint.media.manifests.columns import find_column
from pinpoint.records import Point

_DELIMITERS: Final = ",;\t|"


def read_points(path: Path) -> list[Point]:
    """Read the points of a file.

    Args:
        path: CSV with a header line and columns such as `lat` and `lon`, or GeoJSON (Point,
            MultiPoint, Feature, FeatureCollection); chosen by its first character.

    Raises:
        BadRequestError: The file cannot be read, or has no point, or an invalid one.
    """
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequestError(
            f"{path} cannot be read: {describe_cause(error)}", reason="unreadable"
        ) from error
    is_geojson = content.lstrip().startswith("{")
    points = _parse_geojson(path, content) if is_geojson else list(_parse_csv(path, content))
    if not points:
        raise BadRequestError(f"{path} has no points")
    return points


def _parse_csv(path: Path, content: str) -> Iterator[Point]:
    header = content.partition("\n")[0]
    delimiter = max(_DELIMITERS, key=header.count)
    rows = csv.DictReader(content.splitlines(), delimiter=delimiter)
    columns = {find_column(name): name for name in rows.fieldnames or ()}
    if "latitude" not in columns or "longitude" not in columns:
        raise BadRequestError(f"{path} has no columns lat and lon in its first line")
    for row in rows:
        texts = (row[columns["latitude"]], row[columns["longitude"]])
        try:
            lat, lon = (float(text or "") for text in texts)
            yield Point(lat, lon)
        except ValueError as error:
            raise BadRequestError(
                f"{path}, line {rows.line_num}: {texts[0]!r}, {texts[1]!r} is no position in "
                "degrees"
            ) from error


def _parse_geojson(path: Path, content: str) -> list[Point]:
    try:
        return [Point(lat, lon) for lon, lat, *_ in _list_coordinates(json.loads(content))]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadRequestError(
            f"{path} is no GeoJSON of points, with longitude before latitude in degrees"
        ) from error


def _list_coordinates(document: Any) -> list[Any]:
    """Coordinates of all points of a GeoJSON object.

    Raises:
        ValueError: It has another geometry.
    """
    match document["type"]:
        case "FeatureCollection":
            return [
                position
                for feature in document["features"]
                for position in _list_coordinates(feature)
            ]
        case "Feature":
            return _list_coordinates(document["geometry"])
        case "Point":
            return [document["coordinates"]]
        case "MultiPoint":
            return list(document["coordinates"])
    raise ValueError("not a point")
