"""Form fields of `locate` and `similar`, and their conversion to a search filter."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from pinpoint.api.v1.image_filter_parameters import find_source_ids
from pinpoint.api.v1.spatiotemporal_parameters import AreaField, SpatiotemporalParameters
from pinpoint.geo.countries import find_country
from pinpoint.ports import CatalogReader
from pinpoint.records import MIN_CROP_PX, Crop, Polygon, SearchFilter, SourceKind

MAX_QUERY_PHOTOS: Final = 8
"""Maximum number of photos of one query."""
MAX_QUERY_COUNTRIES: Final = 16
"""Maximum number of countries of one query."""
MAX_QUERY_AREA_POSITIONS: Final = 1_000
"""Maximum number of positions of a query's area. The index compares each image in its bounds with
all edges: 5,000 edges around 5,000 images take 0.3 s, during which other queries wait."""


def _split_list(value: Any) -> Any:
    """Split a comma-separated value or a repeated field into a list."""
    items = value if isinstance(value, list) else [value]
    return [name for item in items for piece in str(item).split(",") if (name := piece.strip(" "))]


_COUNTRIES_SCHEMA: Final = {"type": "string", "pattern": "^[A-Za-z, ]*$"}

Names = Annotated[list[str], BeforeValidator(_split_list), Field(max_length=100)]


def _check_area_size(polygons: tuple[Polygon, ...]) -> tuple[Polygon, ...]:
    positions = sum(
        len(ring) for polygon in polygons for ring in (polygon.exterior, *polygon.holes)
    )
    if positions > MAX_QUERY_AREA_POSITIONS:
        raise ValueError(
            f"the area of a query has at most {MAX_QUERY_AREA_POSITIONS:,} positions; simplify its "
            "outline"
        )
    return polygons


def _check_countries(codes: list[str]) -> list[str]:
    """Unique codes in upper case, in their order.

    Raises:
        ValueError: A code is unknown, or their areas together have too many positions.
    """
    countries = {code.upper(): find_country(code) for code in codes}
    positions = sum(country.num_positions for country in countries.values())
    if positions > MAX_QUERY_AREA_POSITIONS:
        raise ValueError(
            f"the areas of these countries have {positions:,} positions together, and a query at "
            f"most {MAX_QUERY_AREA_POSITIONS:,}; give fewer countries, or a bbox"
        )
    return list(countries)


class SearchFilterParameters(SpatiotemporalParameters):
    """Search filter fields; all are optional."""

    polygon: Annotated[AreaField, AfterValidator(_check_area_size)] | None = Field(
        default=None,
        description="GeoJSON Polygon, MultiPolygon, Feature or FeatureCollection with polygons, "
        "holes included; a position must be inside one of them. Rings are closed, planar in "
        f"degrees, and have at most {MAX_QUERY_AREA_POSITIONS:,} positions together.",
        examples=['{"type":"Polygon","coordinates":[[[2,48],[3,48],[3,49],[2,48]]]}'],
    )
    country: Annotated[
        list[Annotated[str, WithJsonSchema(_COUNTRIES_SCHEMA)]],
        BeforeValidator(_split_list),
        AfterValidator(_check_countries),
        Field(
            default_factory=list,
            max_length=MAX_QUERY_COUNTRIES,
            description="Only inside one of these countries: ISO 3166-1 alpha-2 codes, `FR,BE`. "
            "Areas: Natural Earth 1:10m, widened by 5 km and simplified outward; disputed parts "
            "are inside the areas of all countries that claim them.",
        ),
    ]
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
        list[Literal["matches", "explain"]],
        BeforeValidator(_split_list),
        Field(
            default_factory=list,
            max_length=2,
            description="`matches`: also return the positions of the inliers in both images. "
            "`explain`: also return why each image was kept or dropped.",
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
        NotFoundError: A source does not exist.
    """
    interval = parameters.datetime
    return SearchFilter(
        source_kinds=tuple(parameters.source_kinds),
        source_ids=find_source_ids(parameters.sources, catalog),
        circle=parameters.circle,
        box=parameters.bbox,
        polygons=parameters.polygon or (),
        countries=tuple(parameters.country),
        captured_after=None if interval is None else interval.start,
        captured_before=None if interval is None else interval.before,
    )
