"""Wire schemas of images: one image, lists of images, neighbors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.api.v1.cursors import CURSOR_DESCRIPTION, MAX_CURSOR_CHARACTERS
from pinpoint.api.v1.image_filter_parameters import ImageFilterParameters
from pinpoint.api.v1.schemas.basics import (
    GeoPoint,
    NearestPlaceOut,
    find_nearest_places,
    make_thumbnail_url,
)
from pinpoint.records import Image


class ImageOut(BaseModel):
    """A gallery row."""

    id: UUID
    source_id: UUID
    source: str
    source_kind: str
    external_id: str
    file_name: str = Field(description="Last part of `external_id`.")
    cubemap_face: str | None
    panorama_id: str | None
    lat: float
    lon: float
    geometry: GeoPoint
    nearest_place: NearestPlaceOut
    captured_at: datetime | None
    heading_deg: float | None
    field_of_view_deg: float | None = Field(
        description="Horizontal field of view in degrees; null unless known."
    )
    altitude_m: float | None
    camera: str | None
    creator: str | None
    sequence: str | None
    license: str | None
    attribution: str | None
    sha256: str
    format: str
    width_px: int
    height_px: int
    uri: str | None
    state: str
    error_message: str | None
    version: int
    attributes: dict[str, object]
    created_at: datetime
    updated_at: datetime
    thumbnail_url: str
    position_source: str = Field(
        description="Origin of the position: `manual`, `manifest`, `caller` (upload fields), a tag "
        "of the file, or `gpx`."
    )
    time_source: str | None = Field(description="Origin of captured_at; null without a time.")
    field_sources: dict[str, str] = Field(
        description="Field → origin of its value, for each field that has one.",
        examples=[{"position": "manual", "captured_at": "exif", "creator": "manifest"}],
    )
    warnings: list[str] = Field(
        description="One sentence for each value that overrode another one or was ignored."
    )

    @classmethod
    def of(cls, image: Image, *, paths: bool = False) -> ImageOut:
        """Convert one image; `paths` includes the path of a file on this machine."""
        return cls.all_of([image], paths=paths)[0]

    @classmethod
    def all_of(cls, images: Sequence[Image], *, paths: bool = False) -> list[ImageOut]:
        """Convert several images in order, with one lookup of their nearest cities."""
        nearest_places = find_nearest_places([image.point for image in images])
        return [
            cls._from_image(image, nearest_place, paths=paths)
            for image, nearest_place in zip(images, nearest_places, strict=True)
        ]

    @classmethod
    def _from_image(cls, image: Image, nearest_place: NearestPlaceOut, *, paths: bool) -> ImageOut:
        values = {
            name: getattr(image, name) for name in _IMAGE_FIELDS if name not in _CONTAINER_FIELDS
        }
        if not paths and (image.image_access != "full" or str(image.uri).startswith("file:")):
            values["uri"] = None
        return cls(
            **values,
            file_name=image.file_name,
            nearest_place=nearest_place,
            lat=image.point.lat,
            lon=image.point.lon,
            geometry=GeoPoint.of(image.point),
            attributes=dict(image.attributes),
            field_sources=dict(image.field_sources),
            warnings=list(image.warnings),
            thumbnail_url=make_thumbnail_url(image.id),
        )


_CONTAINER_FIELDS: Final = ("attributes", "field_sources", "warnings")
_IMAGE_FIELDS = tuple(name for name in ImageOut.model_fields if name in Image.__dataclass_fields__)


class ImageQuery(ImageFilterParameters):
    """Query parameters of the image list; unknown parameters are errors."""

    limit: int = Field(
        default=100, ge=1, le=1_000, description="Maximum number of images per page."
    )
    cursor: str | None = Field(
        default=None,
        max_length=MAX_CURSOR_CHARACTERS,
        description=CURSOR_DESCRIPTION,
    )


class ImagesOut(BaseModel):
    """A page of images by file name and id."""

    images: list[ImageOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page. Concurrent "
        "inserts and deletions neither repeat nor hide other images."
    )


class ImageFeature(BaseModel):
    """An image as a GeoJSON Feature."""

    type: Literal["Feature"] = "Feature"
    id: UUID
    geometry: GeoPoint
    properties: dict[str, Any] = Field(
        description="The fields of an image except `id`, `lat`, `lon` and `geometry`."
    )


class PageLink(BaseModel):
    """A link to the next page."""

    rel: Literal["next"] = "next"
    type: Literal["application/geo+json"] = "application/geo+json"
    href: str = Field(description="Path and query string.")


class ImageFeatures(BaseModel):
    """A page of images as a GeoJSON FeatureCollection."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[ImageFeature]
    links: list[PageLink] = Field(description="Empty on the last page.")


class NeighborOut(BaseModel):
    """An image near another image."""

    image: ImageOut
    distance_m: float


class NeighborsOut(BaseModel):
    """Images near an image, nearest first."""

    neighbors: list[NeighborOut]
