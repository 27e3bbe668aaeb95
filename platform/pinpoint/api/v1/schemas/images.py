"""Wire schemas of images: one image, lists of images, neighbors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pinpoint.api.v1.schemas.basics import (
    GeoPoint,
    NearestPlaceOut,
    find_nearest_places,
    make_thumbnail_url,
)
from pinpoint.api.v1.schemas.catalog import Text
from pinpoint.records import (
    Image,
    SourceKind,
)


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
        if not paths and str(image.uri).startswith("file:"):
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


class ImageQuery(BaseModel):
    """Query parameters of the image list; unknown parameters are errors."""

    model_config = ConfigDict(extra="forbid")

    source: list[Annotated[Text, Field(max_length=100)]] = Field(
        default=[], max_length=100, description="Only these sources, by name or id; repeatable."
    )
    source_kind: list[SourceKind] = Field(
        default=[], max_length=2, description="Only sources of these kinds; repeatable."
    )
    file_name: Annotated[Text, Field(max_length=255)] | None = Field(
        default=None,
        description="Last part of the path: exact, or with `*` for any text and `?` for one "
        "character. A leading `*` requires a scan of all images.",
        examples=["IMG_20*.jpg"],
    )
    state: list[Literal["pending", "indexed", "failed"]] = Field(
        default=[], max_length=3, description="Only images in these states; repeatable."
    )
    id_prefix: str | None = Field(
        default=None,
        pattern=r"^[0-9a-fA-F-]*$",
        min_length=6,
        max_length=36,
        description="Only images whose id has this prefix; at least 6 hex digits, dashes allowed.",
        examples=["6a7997"],
    )
    limit: int = Field(
        default=100, ge=1, le=1_000, description="Maximum number of images per page."
    )
    cursor: str | None = Field(
        default=None,
        max_length=4_000,
        description="Cursor from the `next` link of the previous page.",
    )


class ImagesOut(BaseModel):
    """A page of images by source name, file name and id."""

    images: list[ImageOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page. Concurrent "
        "inserts and deletions neither repeat nor hide other images."
    )


class NeighborOut(BaseModel):
    """An image near another image."""

    image: ImageOut
    distance_m: float


class NeighborsOut(BaseModel):
    """Images near an image, nearest first."""

    neighbors: list[NeighborOut]
