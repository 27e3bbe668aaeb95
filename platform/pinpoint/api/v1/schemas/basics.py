"""Basic response schemas: positions, image labels and thumbnail links."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.geo.gazetteer import nearest_places
from pinpoint.records import ImageLabel, Point


def make_thumbnail_url(image_id: UUID) -> str:
    """Return the path of an image's thumbnail, relative to the API's base URL."""
    return f"/v1/images/{image_id}/thumbnail"


class GeoPoint(BaseModel):
    """A GeoJSON point: longitude first."""

    type: Literal["Point"] = "Point"
    coordinates: tuple[float, float] = Field(examples=[(2.3522, 48.8566)])

    @classmethod
    def of(cls, point: Point) -> GeoPoint:
        """Convert to GeoJSON's axis order."""
        return cls(coordinates=(point.lon, point.lat))


class NearestPlaceOut(BaseModel):
    """The GeoNames city (population of 1,000 or more) that is nearest to a position."""

    name: str = Field(examples=["Paris"])
    region: str = Field(description="First administrative level; may be empty.")
    country: str = Field(description="ISO 3166 code.", examples=["FR"])
    distance_m: float = Field(description="Great-circle distance from the city's center.")


def find_nearest_places(points: Sequence[Point]) -> list[NearestPlaceOut]:
    """Look up the nearest city of each position."""
    return [
        NearestPlaceOut(
            name=place.name,
            region=place.region,
            country=place.country,
            distance_m=place.distance_m,
        )
        for place in nearest_places(points)
    ]


class Labels:
    """Human-readable labels of images by id: file name, source and nearest city.

    Args:
        names: Labels from the catalog, without images that were deleted since the search.
        points: Positions of all images in the response.
    """

    def __init__(self, names: Mapping[UUID, ImageLabel], points: Mapping[UUID, Point]) -> None:
        self._names = names
        self._places = dict(zip(points, find_nearest_places(list(points.values())), strict=True))

    def fields(self, image_id: UUID) -> dict[str, Any]:
        """Return the label fields of one image for its response schema."""
        label = self._names.get(image_id)
        return {
            "file_name": None if label is None else label.file_name,
            "source": None if label is None else label.source,
            "license": None if label is None else label.license,
            "attribution": None if label is None else label.attribution,
            "nearest_place": self._places.get(image_id),
        }


class LabeledOut(BaseModel):
    """An image of an answer with human-readable labels next to its id."""

    file_name: str | None = Field(
        description="Last part of the file's path in its source; null if the image was deleted "
        "since the search."
    )
    source: str | None = Field(description="Name of its source; null like `file_name`.")
    license: str | None
    attribution: str | None
    nearest_place: NearestPlaceOut | None


class LatLon(BaseModel):
    """A position in degrees (WGS84)."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
