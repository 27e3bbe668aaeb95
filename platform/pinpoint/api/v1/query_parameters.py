"""Form fields of `locate` and `similar`, and their conversion to a search filter."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from pinpoint.api.forms import parse_json
from pinpoint.api.problems import list_field_errors
from pinpoint.api.v1.times import IntervalField
from pinpoint.errors import BadRequestError
from pinpoint.ports import CatalogReader
from pinpoint.records import (
    MIN_CROP_PX,
    Box,
    Circle,
    Crop,
    Point,
    SearchFilter,
    SourceKind,
)

MAX_RADIUS_M: Final = 20_100_000.0
MAX_QUERY_PHOTOS: Final = 8
"""Maximum number of photos of one query."""
MAX_RING_POSITIONS: Final = 1_000


def _split_list(value: Any) -> Any:
    """Split a comma-separated value or a repeated field into a list."""
    items = value if isinstance(value, list) else [value]
    return [piece.strip() for item in items for piece in str(item).split(",") if piece.strip()]


Names = Annotated[list[str], BeforeValidator(_split_list), Field(max_length=100)]


class SearchFilterParameters(BaseModel):
    """Search filter fields; all are optional."""

    model_config = ConfigDict(extra="forbid")

    source_kinds: Annotated[
        list[SourceKind],
        BeforeValidator(_split_list),
        Field(
            default_factory=list,
            max_length=2,
            description="Only these source kinds: `photo,street`.",
        ),
    ]
    sources: Annotated[
        Names, Field(default_factory=list, description="Only these sources, by name or id.")
    ]
    lat: float | None = Field(
        default=None,
        ge=-90,
        le=90,
        description="Latitude of a circle's center; needs `lon` and `radius_m`.",
        examples=[48.8566],
    )
    lon: float | None = Field(default=None, ge=-180, le=180, examples=[2.3522])
    radius_m: float | None = Field(default=None, gt=0, le=MAX_RADIUS_M, examples=[5000])
    bbox: str | None = Field(
        default=None,
        max_length=200,
        description="Minimum longitude, minimum latitude, maximum longitude, maximum latitude, "
        "separated by commas. A minimum longitude above the maximum crosses the antimeridian.",
        examples=["2.2,48.8,2.5,48.9"],
    )
    polygon: str | None = Field(
        default=None,
        max_length=200_000,
        description="A GeoJSON Polygon with one ring.",
        examples=['{"type":"Polygon","coordinates":[[[2,48],[3,48],[3,49],[2,48]]]}'],
    )
    datetime: IntervalField | None = Field(
        default=None,
        description="Capture time as in OGC API - Features: a time, or `start/end` with both ends "
        "included and `..` as an open end. Times are RFC 3339. Images without a time do not match.",
        examples=["2020-01-01T00:00:00Z/.."],
    )


def _to_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


CropField = Annotated[
    Crop,
    BeforeValidator(lambda value: Crop.parse(value) if isinstance(value, str) else value),
    WithJsonSchema({"type": "string", "examples": ["120,80,640,480"]}),
]
Crops = Annotated[
    list[CropField],
    BeforeValidator(_to_list),
    Field(
        default_factory=list,
        max_length=MAX_QUERY_PHOTOS,
        description="Region of the photo that is the query: `x,y,w,h` in pixels of the upright "
        f"image, from its top left corner; each side has at least {MIN_CROP_PX} pixels. With "
        "several photos, repeated once for each photo, in the order of the photos.",
    ),
]


class LocateForm(SearchFilterParameters):
    """Form fields that may accompany a query photo to locate."""

    crop: Crops
    query_kind: SourceKind | None = Field(default=None, description="Kind of the query photo.")
    top: int = Field(
        default=10, ge=1, le=100, description="Maximum number of candidates or coordinates."
    )
    search_space: Literal["gallery", "coordinates"] = Field(
        default="gallery",
        description="Search space. `coordinates` ranks the coordinates that the bundle lists, "
        "without gallery and evidence; it supports only the filters circle, bbox and polygon.",
    )

    verify: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="Number of candidates that are compared with the photo by local features; 0 "
        "disables it. Default: `PINPOINT_SEARCH_VERIFY_CANDIDATES`.",
    )
    include: Annotated[
        list[Literal["matches"]],
        BeforeValidator(_split_list),
        Field(
            default_factory=list,
            max_length=1,
            description="`matches`: also return the positions of the inliers in both images.",
        ),
    ]
    keep: bool = Field(
        default=False,
        description="Keep the answer for a limited time: point, radius, probability, bundle and "
        "time, never the photo. Allowed by `PINPOINT_SEARCH_KEPT_QUERY_RETENTION_DAYS`.",
    )


class SimilarForm(SearchFilterParameters):
    """Form fields that may accompany or replace a query photo."""

    crop: Crops
    image_id: UUID | None = Field(
        default=None, description="Use a gallery image as the query instead of a photo."
    )
    limit: int = Field(default=20, ge=1, le=200, description="Maximum number of groups.")
    per_group: int = Field(
        default=3, ge=1, le=20, description="Maximum number of images per group."
    )
    query_kind: SourceKind | None = Field(default=None, description="Kind of the query photo.")
    include_self: bool = Field(
        default=False, description="With image_id: include the image itself in the hits."
    )
    exclude_group: bool = Field(
        default=False, description="With image_id: exclude all images of its panorama or sequence."
    )


def to_search_filter(parameters: SearchFilterParameters, catalog: CatalogReader) -> SearchFilter:
    """Convert form fields to a search filter.

    Raises:
        BadRequestError: Fields contradict each other, or a shape is invalid.
        NotFoundError: A source does not exist.
    """
    interval = parameters.datetime
    return SearchFilter(
        source_kinds=tuple(parameters.source_kinds),
        source_ids=tuple(catalog.source(_name_or_id(name)).id for name in parameters.sources),
        circle=_parse_circle(parameters),
        box=None if parameters.bbox is None else _parse_bbox(parameters.bbox),
        polygon=() if parameters.polygon is None else _parse_polygon(parameters.polygon),
        captured_after=None if interval is None else interval.start,
        captured_before=None if interval is None else interval.before,
    )


def _name_or_id(text: str) -> str | UUID:
    try:
        return UUID(text)
    except ValueError:
        return text


def _parse_circle(parameters: SearchFilterParameters) -> Circle | None:
    circle_fields = (parameters.lat, parameters.lon, parameters.radius_m)
    if all(field is None for field in circle_fields):
        return None
    if parameters.lat is None or parameters.lon is None or parameters.radius_m is None:
        raise BadRequestError("a circle needs lat, lon and radius_m together")
    return Circle(center=Point(parameters.lat, parameters.lon), radius_m=parameters.radius_m)


def _parse_bbox(text: str) -> Box:
    try:
        west, south, east, north = (float(part) for part in text.split(","))
        low, high = Point(south, west), Point(north, east)
    except ValueError as error:
        raise BadRequestError(
            "bbox must be min lon,min lat,max lon,max lat in degrees; longitude must be within "
            "±180, latitude within ±90"
        ) from error
    if low.lat > high.lat:
        raise BadRequestError(
            "bbox must be min lon,min lat,max lon,max lat with min lat <= max lat"
        )
    return Box(south=low.lat, west=low.lon, north=high.lat, east=high.lon)


def _parse_polygon(text: str) -> tuple[Point, ...]:
    try:
        shape = Polygon.model_validate(parse_json(text, "polygon"))
    except ValidationError as error:
        raise RequestValidationError(
            [
                {**field_error, "loc": ("body", "polygon", *field_error["loc"])}
                for field_error in list_field_errors(error)
            ]
        ) from error
    # Positions may carry an altitude; GeoJSON puts longitude first.
    ring = tuple(Point(position[1], position[0]) for position in shape.coordinates[0])
    if len(set(ring)) < 3:
        raise BadRequestError("polygon must have at least three different corners")
    if any(abs(a.lon - b.lon) > 180 for a, b in itertools.pairwise(ring)):
        raise BadRequestError(
            "polygon may not cross the antimeridian; use bbox with min lon > max lon"
        )
    return ring


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


RingPosition = Annotated[list[float], BeforeValidator(_check_position)]


class Polygon(BaseModel):
    """A GeoJSON polygon without holes."""

    type: Literal["Polygon"]
    coordinates: Annotated[
        list[Annotated[list[RingPosition], Field(min_length=3, max_length=MAX_RING_POSITIONS)]],
        Field(min_length=1, max_length=1),
    ]
