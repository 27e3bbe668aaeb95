"""Wire forms that all others are made of: positions, and where pictures are."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.records import Point


def thumbnail_url(image_id: UUID) -> str:
    """Where an image's thumbnail is, relative to the API's address."""
    return f"/v1/images/{image_id}/thumbnail"


class GeoPoint(BaseModel):
    """A GeoJSON point: longitude first."""

    type: Literal["Point"] = "Point"
    coordinates: tuple[float, float] = Field(examples=[(2.3522, 48.8566)])

    @classmethod
    def of(cls, point: Point) -> GeoPoint:
        """Flip to GeoJSON's order."""
        return cls(coordinates=(point.lon, point.lat))


class Place(BaseModel):
    """A position in degrees (WGS84)."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
