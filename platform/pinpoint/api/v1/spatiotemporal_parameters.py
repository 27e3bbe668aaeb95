"""Parameters for space and time that all filters share: circle, bbox, GeoJSON area, interval."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from pinpoint.api.v1.geojson_areas import MAX_AREA_POSITIONS, parse_polygons
from pinpoint.api.v1.times import IntervalField
from pinpoint.errors import BadRequestError
from pinpoint.records import Box, Circle, Point, Polygon

MAX_RADIUS_M: Final = 20_100_000.0
MAX_AREA_CHARACTERS: Final = 200_000
_BBOX_ORDER: Final = "min lon,min lat,max lon,max lat"


def parse_bbox(text: str) -> Box:
    """Parse the parameter `bbox` of OGC API - Features (17-069r4, 7.15.3).

    Args:
        text: Four numbers, or six with heights, which are ignored: minimum longitude, minimum
            latitude(, minimum height), maximum longitude, maximum latitude(, maximum height).

    Raises:
        BadRequestError: The text is not four or six numbers.
        ValueError: A number is out of range, or the minimum latitude is above the maximum.
    """
    try:
        numbers = [float(part) for part in text[:200].split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 6:
        numbers = [*numbers[:2], *numbers[3:5]]
    if len(numbers) != 4:
        raise BadRequestError(f"bbox must be {_BBOX_ORDER} in degrees, or six numbers with heights")
    west, south, east, north = numbers
    try:
        low, high = Point(south, west), Point(north, east)
    except ValueError as error:
        raise ValueError(
            f"bbox must be {_BBOX_ORDER}; longitude must be within ±180, latitude within ±90"
        ) from error
    if low.lat > high.lat:
        raise ValueError(f"bbox must be {_BBOX_ORDER} with min lat <= max lat")
    return Box(south=low.lat, west=low.lon, north=high.lat, east=high.lon)


def _parse_box_field(value: Any) -> Any:
    return parse_bbox(value) if isinstance(value, str) else value


def _parse_area_field(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 1:
        # FastAPI reads a parameter whose type is a sequence as a list.
        (value,) = value
    if not isinstance(value, str):
        raise ValueError("only one area is possible; a FeatureCollection holds several polygons")
    if len(value) > MAX_AREA_CHARACTERS:
        raise ValueError(f"an area has at most {MAX_AREA_CHARACTERS:,} characters")
    return parse_polygons(value)


BoxField = Annotated[Box, BeforeValidator(_parse_box_field), WithJsonSchema({"type": "string"})]
"""A request field with a bounding box."""
AreaField = Annotated[
    tuple[Polygon, ...],
    BeforeValidator(_parse_area_field),
    WithJsonSchema({"type": "string", "maxLength": MAX_AREA_CHARACTERS}),
]
"""A request field with a GeoJSON area."""


class SpatiotemporalParameters(BaseModel):
    """Filter parameters for space and time; all are optional, unknown parameters are errors."""

    model_config = ConfigDict(extra="forbid")

    lat: float | None = Field(
        default=None,
        ge=-90,
        le=90,
        description="Latitude of a circle's center; needs `lon` and `radius_m`.",
        examples=[48.8566],
    )
    lon: float | None = Field(default=None, ge=-180, le=180, examples=[2.3522])
    radius_m: float | None = Field(default=None, gt=0, le=MAX_RADIUS_M, examples=[5000])
    bbox: BoxField | None = Field(
        default=None,
        description="Minimum longitude, minimum latitude, maximum longitude, maximum latitude, "
        "separated by commas; edges are included. A minimum longitude above the maximum crosses "
        "the antimeridian. Six numbers contain heights, which are ignored.",
        examples=["2.2,48.8,2.5,48.9"],
    )
    polygon: AreaField | None = Field(
        default=None,
        description="GeoJSON Polygon, MultiPolygon, Feature or FeatureCollection with polygons, "
        "holes included; a position must be inside one of them. Rings are closed, planar in "
        f"degrees, and have at most {MAX_AREA_POSITIONS:,} positions together.",
        examples=['{"type":"Polygon","coordinates":[[[2,48],[3,48],[3,49],[2,48]]]}'],
    )
    datetime: IntervalField | None = Field(
        default=None,
        description="Capture time as in OGC API - Features: a time, or `start/end` with both ends "
        "included and `..` as an open end. Times are RFC 3339. Images without a time do not match.",
        examples=["2020-01-01T00:00:00Z/.."],
    )

    @model_validator(mode="after")
    def _check_circle(self) -> Self:
        numbers = (self.lat, self.lon, self.radius_m)
        if None in numbers and any(number is not None for number in numbers):
            raise ValueError("a circle needs lat, lon and radius_m together")
        return self

    @property
    def circle(self) -> Circle | None:
        """The circle of `lat`, `lon` and `radius_m`."""
        if self.lat is None or self.lon is None or self.radius_m is None:
            return None
        return Circle(center=Point(self.lat, self.lon), radius_m=self.radius_m)
