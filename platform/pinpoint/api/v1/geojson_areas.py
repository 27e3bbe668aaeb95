"""Areas in requests as GeoJSON (RFC 7946): Polygon, MultiPolygon, Feature or FeatureCollection."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Discriminator,
    FailFast,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

from pinpoint.api.forms import parse_json
from pinpoint.records import Point, Polygon, Ring

MAX_AREA_POSITIONS: Final = 5_000
"""Maximum number of positions of one area, over all its rings."""
_CRS_NAMES: Final = ("CRS84", "EPSG::4326", "EPSG:4326")
"""Ends of the names of WGS84 in files of the GeoJSON draft of 2008, in longitude, latitude."""


def parse_polygons(text: str) -> tuple[Polygon, ...]:
    """Parse an area; a position is in the area if it is inside at least one of the polygons.

    Args:
        text: GeoJSON. Altitudes, properties and foreign members are ignored.

    Raises:
        BadRequestError: The text is not JSON.
        ValueError: It is not an area: another geometry, a ring that is not closed or has fewer
            than three corners, an edge across the antimeridian, a position out of range, another
            reference system, or more than `MAX_AREA_POSITIONS` positions.
    """
    document = parse_json(text, "polygon")
    _check_reference_system(document)
    try:
        area = _AREA.validate_python(document)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_context=False, include_input=False)
        if first["type"] not in ("value_error", "too_short"):
            raise ValueError(
                "an area is a GeoJSON Polygon, MultiPolygon, or a Feature or FeatureCollection "
                "with these geometries"
            ) from error
        path = ".".join(str(part) for part in first["loc"] if not isinstance(part, str))
        raise ValueError(f"{path}: {first['msg'].removeprefix('Value error, ')}") from error
    polygons = to_polygons(area)
    check_num_positions(polygons)
    return polygons


def check_num_positions(polygons: Sequence[Polygon]) -> None:
    """Check the size of an area.

    Raises:
        ValueError: It has more than `MAX_AREA_POSITIONS` positions.
    """
    rings = [ring for polygon in polygons for ring in (polygon.exterior, *polygon.holes)]
    if sum(map(len, rings)) > MAX_AREA_POSITIONS:
        raise ValueError(
            f"an area has at most {MAX_AREA_POSITIONS:,} positions; simplify its outline"
        )


def _check_reference_system(document: Any) -> None:
    """Refuse the member `crs` of old files, unless it names WGS84.

    Raises:
        ValueError: The document names another reference system.
    """
    if not isinstance(document, dict) or document.get("crs") is None:
        return
    crs = document["crs"]
    properties = crs.get("properties") if isinstance(crs, dict) else None
    name = properties.get("name") if isinstance(properties, dict) else None
    if not str(name).endswith(_CRS_NAMES):
        raise ValueError("GeoJSON is in WGS84, longitude first (RFC 7946, 4); convert the area")


def _check_position(value: Any) -> Any:
    if not (isinstance(value, list) and 2 <= len(value) <= 3):
        raise ValueError("a position is [lon, lat]")
    lon, lat = value[0], value[1]
    if not all(type(number) in (int, float) for number in value):
        raise ValueError("a position is [lon, lat] in degrees")
    # Compared without conversion, because an integer of 400 digits does not fit a float.
    if not (abs(lat) <= 90 and abs(lon) <= 180 and all(abs(number) < 1e9 for number in value)):
        raise ValueError("longitude must be within ±180, latitude within ±90")
    return value


def _check_ring(ring: list[list[float]]) -> list[list[float]]:
    """Check a ring of positions.

    Raises:
        ValueError: It is not closed, has no area, or crosses the antimeridian.
    """
    if ring[0] != ring[-1]:
        raise ValueError(
            "the ring is not closed: its last position must equal its first one (RFC 7946, 3.1.6)"
        )
    if len({(lon, lat) for lon, lat, *_ in ring}) < 3:
        raise ValueError("a ring must have at least three different corners")
    if any(abs(a[0] - b[0]) > 180 for a, b in itertools.pairwise(ring)):
        raise ValueError(
            "an edge may not cross the antimeridian: cut the area there into a MultiPolygon "
            "(RFC 7946, 3.1.9), or use bbox with min lon > max lon"
        )
    return ring


_Position = Annotated[
    list[float],
    BeforeValidator(_check_position),
    WithJsonSchema(
        {
            "type": "array",
            "minItems": 2,
            "maxItems": 3,
            "prefixItems": [
                {"type": "number", "minimum": -180, "maximum": 180},
                {"type": "number", "minimum": -90, "maximum": 90},
            ],
            "items": {"type": "number", "exclusiveMinimum": -1e9, "exclusiveMaximum": 1e9},
        }
    ),
]
_RingJson = Annotated[list[_Position], FailFast(), Field(min_length=4), AfterValidator(_check_ring)]
_Rings = Annotated[list[_RingJson], FailFast(), Field(min_length=1)]


class _PolygonJson(BaseModel):
    """A GeoJSON Polygon: the outer ring, then the holes."""

    type: Literal["Polygon"]
    coordinates: _Rings


class _MultiPolygonJson(BaseModel):
    """A GeoJSON MultiPolygon."""

    type: Literal["MultiPolygon"]
    coordinates: Annotated[list[_Rings], FailFast(), Field(min_length=1)]


AreaGeometry = Annotated[_PolygonJson | _MultiPolygonJson, Discriminator("type")]
"""A Polygon or MultiPolygon; its rings are closed and do not cross the antimeridian."""


class _AreaFeature(BaseModel):
    """A GeoJSON Feature with an area."""

    type: Literal["Feature"]
    geometry: AreaGeometry


class _AreaCollection(BaseModel):
    """A GeoJSON FeatureCollection of areas."""

    type: Literal["FeatureCollection"]
    features: Annotated[list[_AreaFeature], FailFast(), Field(min_length=1)]


_Area = _PolygonJson | _MultiPolygonJson | _AreaFeature | _AreaCollection
_AREA: Final[TypeAdapter[_Area]] = TypeAdapter(Annotated[_Area, Discriminator("type")])


def to_polygons(area: _Area) -> tuple[Polygon, ...]:
    """Convert a checked area to polygons."""
    return tuple(
        Polygon(exterior=exterior, holes=tuple(holes))
        for exterior, *holes in (
            [_to_ring(ring) for ring in rings] for rings in _list_coordinates(area)
        )
    )


def _list_coordinates(area: _Area) -> Sequence[list[list[list[float]]]]:
    """Rings of each polygon of an area."""
    match area:
        case _PolygonJson():
            return [area.coordinates]
        case _MultiPolygonJson():
            return area.coordinates
        case _AreaFeature():
            return _list_coordinates(area.geometry)
        case _AreaCollection():
            return [rings for feature in area.features for rings in _list_coordinates(feature)]


def _to_ring(ring: Sequence[Sequence[float]]) -> Ring:
    # Positions may carry an altitude; GeoJSON puts longitude first.
    return tuple(Point(position[1], position[0]) for position in ring)
