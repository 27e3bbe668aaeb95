"""Wire schemas of spatial queries: neighbors of points, coverage, gaps."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator

from pinpoint.api.v1.cursors import CURSOR_DESCRIPTION, MAX_CURSOR_CHARACTERS
from pinpoint.api.v1.schemas.basics import LatLon
from pinpoint.api.v1.schemas.catalog import Text
from pinpoint.api.v1.schemas.images import PageLink
from pinpoint.api.v1.spatiotemporal_parameters import AreaField, BoxField
from pinpoint.records import COVERAGE_RESOLUTIONS, SourceKind

MIN_RADIUS_M: Final = 0.001
"""Shorter distances are below the resolution of stored positions."""
MAX_NEIGHBOR_POINTS: Final = 10_000
MAX_NEIGHBORS: Final = 200_000
"""Maximum of points times `limit_per_kind`."""


class PointIn(LatLon):
    """A position in degrees (WGS84) as JSON numbers; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", strict=True)


class NeighborsIn(BaseModel):
    """Points whose neighbors are wanted."""

    model_config = ConfigDict(extra="forbid")

    points: Annotated[list[PointIn], FailFast()] = Field(
        min_length=1, max_length=MAX_NEIGHBOR_POINTS, examples=[[{"lat": 48.8566, "lon": 2.3522}]]
    )
    radius_m: float = Field(
        default=250.0,
        ge=MIN_RADIUS_M,
        le=50_000,
        strict=True,
        description="Maximum geodesic distance in meters.",
    )
    limit_per_kind: int = Field(
        default=5,
        ge=1,
        le=100,
        strict=True,
        description="Maximum number of images of each source kind for each point; multiplied by "
        f"the number of points at most {MAX_NEIGHBORS:,}.",
    )
    source_kinds: list[SourceKind] = Field(
        default=[], max_length=2, description="Only images of these kinds."
    )

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        if len(self.points) * self.limit_per_kind > MAX_NEIGHBORS:
            raise ValueError(
                f"{len(self.points):,} points with {self.limit_per_kind} images each are more "
                f"than {MAX_NEIGHBORS:,}; send fewer points or a lower limit_per_kind"
            )
        return self


class PointNeighborOut(BaseModel):
    """An image near a point."""

    id: UUID
    source: str
    source_kind: SourceKind
    file_name: str
    lat: float
    lon: float
    captured_at: datetime | None
    heading_deg: float | None
    license: str | None
    attribution: str | None
    distance_m: float = Field(description="Length of the geodesic on the WGS84 ellipsoid.")
    bearing_deg: float = Field(
        description="Direction from the point to the image, degrees clockwise from north in "
        "[0, 360); 0 if both have the same position."
    )


class PointNeighborsOut(BaseModel):
    """A point of the request, and the images near it, nearest first."""

    lat: float
    lon: float
    neighbors: list[PointNeighborOut]


class NeighborResultsOut(BaseModel):
    """Results in the order of the points. The text has one line for each result."""

    results: list[PointNeighborsOut]


class CellQuery(BaseModel):
    """Query parameters that coverage and gaps share; unknown parameters are errors."""

    model_config = ConfigDict(extra="forbid")

    resolution: int = Field(
        default=5,
        ge=COVERAGE_RESOLUTIONS[0],
        le=COVERAGE_RESOLUTIONS[-1],
        description="H3 resolution: cells of 12,393 km² (3) to 5.2 km² (7), mean area.",
    )
    bbox: BoxField | None = Field(
        default=None,
        description="Only cells that intersect this box: minimum longitude, minimum latitude, "
        "maximum longitude, maximum latitude. A minimum longitude above the maximum crosses the "
        "antimeridian.",
        examples=["2.2,48.8,2.5,48.9"],
    )
    polygon: AreaField | None = Field(
        default=None,
        description="Only cells that intersect this area: GeoJSON Polygon, MultiPolygon, Feature "
        "or FeatureCollection with polygons.",
    )
    source: list[Annotated[Text, Field(max_length=100)]] = Field(
        default=[],
        max_length=100,
        description="Count only images of these sources, by name or id; repeatable.",
    )
    min_images: int = Field(
        default=1, ge=1, description="Only cells with at least this number of images."
    )
    limit: int = Field(
        default=10_000, ge=1, le=50_000, description="Maximum number of cells per page."
    )
    cursor: str | None = Field(
        default=None,
        max_length=MAX_CURSOR_CHARACTERS,
        description=CURSOR_DESCRIPTION,
    )


class CoverageQuery(CellQuery):
    """Query parameters of the coverage."""

    source_kind: list[SourceKind] = Field(
        default=[], max_length=2, description="Count only images of these kinds; repeatable."
    )


class GapQuery(CellQuery):
    """Query parameters of the gaps."""

    missing_kind: SourceKind | None = Field(
        default=None, description="Only cells without images of this kind."
    )


class CellCountOut(BaseModel):
    """Images of one source kind in a cell."""

    source_kind: SourceKind
    images: int
    first_captured_at: datetime | None
    last_captured_at: datetime | None


class CellOut(BaseModel):
    """An H3 cell with images."""

    cell: str = Field(description="H3 id.", examples=["831fb4fffffffff"])
    resolution: int
    lat: float = Field(description="Latitude of the center of its images.")
    lon: float = Field(description="Longitude of the center of its images.")
    images: int
    first_captured_at: datetime | None
    last_captured_at: datetime | None
    counts: list[CellCountOut] = Field(description="For each source kind with images.")
    license: str | None = Field(description="Licenses of its sources, separated by semicolons.")
    attribution: str | None = Field(
        description="Attributions of its sources, separated by semicolons."
    )


class CellsOut(BaseModel):
    """A page of cells by id."""

    cells: list[CellOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page."
    )


class CellFeature(BaseModel):
    """A cell as a GeoJSON Feature."""

    type: Literal["Feature"] = "Feature"
    id: str
    geometry: dict[str, Any] = Field(
        description="Polygon, or MultiPolygon cut at the antimeridian (RFC 7946, 3.1.9)."
    )
    properties: dict[str, Any] = Field(
        description="The fields of a cell; for each source kind, `counts` become fields such as "
        "`photo_images`, `photo_first_captured_at` and `photo_last_captured_at`."
    )


class CellFeatures(BaseModel):
    """A page of cells as a GeoJSON FeatureCollection."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[CellFeature]
    links: list[PageLink] = Field(description="Empty on the last page.")
