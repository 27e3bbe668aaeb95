"""Schemas of protected areas, which are GeoJSON Features (RFC 7946)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

import shapely
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pinpoint.api.v1.geojson_areas import AreaGeometry, check_num_positions, to_polygons
from pinpoint.api.v1.schemas.catalog import Text
from pinpoint.api.v1.schemas.posterior import list_polygon_coordinates
from pinpoint.records import Point, Polygon
from pinpoint.records.protected_areas import (
    MAX_AREA_RADIUS_M,
    MIN_AREA_RADIUS_M,
    AreaGranularity,
    NewProtectedArea,
    ProtectedArea,
)

_GRANULARITY_TEXT = (
    "Finest statement about a place in the area for keys that may not see it: a disc of at least "
    "`min_radius_m` (`radius`), the nearest city, its country, or none (`refuse`)."
)


class ProtectedAreaValues(BaseModel):
    """Values of a protected area."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[Text, Field(max_length=100, examples=["nesting site"])]
    granularity: AreaGranularity = Field(description=_GRANULARITY_TEXT, examples=["radius"])
    min_radius_m: float | None = Field(
        default=None,
        ge=MIN_AREA_RADIUS_M,
        le=MAX_AREA_RADIUS_M,
        strict=True,
        description="Minimum radius of the disc, meters; required for the granularity `radius`, "
        "and only for it.",
        examples=[5_000],
    )
    purpose: Text = Field(
        description="Why the area is protected, for those who manage it.",
        examples=["breeding season"],
    )
    whole_installation: bool = Field(
        default=False,
        description="Whether the area applies to all organizations; only the operator may set it.",
    )

    @model_validator(mode="after")
    def _check_radius(self) -> Self:
        if (self.granularity == "radius") != (self.min_radius_m is not None):
            raise ValueError(
                "min_radius_m is required for the granularity `radius`, and only for it"
            )
        return self


class ProtectedAreaIn(BaseModel):
    """A protected area as a GeoJSON Feature."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["Feature"]
    geometry: AreaGeometry
    properties: ProtectedAreaValues

    def to_record(self) -> NewProtectedArea:
        """Convert to a record; parts that overlap are united.

        Raises:
            ValueError: The outline intersects itself, or has too many positions.
        """
        values = self.properties
        polygons = to_polygons(self.geometry)
        check_num_positions(polygons)
        return NewProtectedArea(
            name=values.name,
            granularity=values.granularity,
            min_radius_m=values.min_radius_m,
            purpose=values.purpose,
            polygons=_unite_polygons(polygons),
        )


class ProtectedAreaProperties(BaseModel):
    """Properties of a protected area."""

    name: str
    granularity: AreaGranularity = Field(description=_GRANULARITY_TEXT)
    min_radius_m: float | None
    purpose: str
    whole_installation: bool
    created_at: datetime
    updated_at: datetime
    applied: bool = Field(
        description="Whether all gallery rows inside are hidden. Answers follow an area at once, "
        "rows of a large gallery within minutes."
    )


class AreaGeometryOut(BaseModel):
    """A GeoJSON MultiPolygon."""

    type: Literal["MultiPolygon"] = "MultiPolygon"
    coordinates: list[list[list[tuple[float, float]]]]


class ProtectedAreaOut(BaseModel):
    """A protected area as a GeoJSON Feature."""

    type: Literal["Feature"] = "Feature"
    id: UUID
    geometry: AreaGeometryOut
    properties: ProtectedAreaProperties

    @classmethod
    def of(cls, area: ProtectedArea) -> Self:
        """Convert one area."""
        shapes = [_to_shape(polygon) for polygon in area.polygons]
        return cls(
            id=area.id,
            geometry=AreaGeometryOut(coordinates=list_polygon_coordinates(shapes)),
            properties=ProtectedAreaProperties(
                name=area.name,
                granularity=area.granularity,
                min_radius_m=area.min_radius_m,
                purpose=area.purpose,
                whole_installation=area.organization_id is None,
                created_at=area.created_at,
                updated_at=area.updated_at,
                applied=area.applied,
            ),
        )


class ProtectedAreasOut(BaseModel):
    """A page of protected areas as a GeoJSON FeatureCollection."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[ProtectedAreaOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page."
    )


def _unite_polygons(polygons: Sequence[Polygon]) -> tuple[Polygon, ...]:
    shapes = [_to_shape(polygon) for polygon in polygons]
    for shape in shapes:
        if not shape.is_valid:
            raise ValueError(f"the area is no valid polygon: {shapely.is_valid_reason(shape)}")
    united = shapely.union_all(shapes)
    parts = [part for part in shapely.get_parts(united) if part.geom_type == "Polygon"]
    return tuple(
        Polygon(exterior=_to_ring(part.exterior), holes=tuple(map(_to_ring, part.interiors)))
        for part in parts
    )


def _to_shape(polygon: Polygon) -> shapely.Polygon:
    rings = [
        [(point.lon, point.lat) for point in ring] for ring in (polygon.exterior, *polygon.holes)
    ]
    return shapely.Polygon(rings[0], rings[1:])


def _to_ring(line: shapely.LinearRing) -> tuple[Point, ...]:
    return tuple(Point(lat, lon) for lon, lat in line.coords)
