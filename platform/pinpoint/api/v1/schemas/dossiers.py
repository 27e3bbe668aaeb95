"""Schema of `dossier.json`, the document of a dossier."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.records import SourceKind

FORMAT_VERSION: Final = 1

OmissionReason = Literal[
    "not_permitted", "no_read_scope", "photo_not_included", "limit", "unavailable"
]
ClaimOrigin = Literal["metadata", "c2pa"]
ClaimPlace = Literal["claim", "answer"]
_OMISSION: Final = (
    "Why it is not in the dossier. `not_permitted`: the source of the image does not show it to "
    "this key. `no_read_scope`: the key lacks the scope `read`. `photo_not_included`: it would "
    "show the query photo, and `include_photo` is not set. `limit`: the dossier has enough of "
    "them. `unavailable`: the file cannot be read any more."
)


class DossierPhotoOut(BaseModel):
    """A query photo, which the server does not store."""

    photo: int = Field(description="Number of the photo in the query, from 0.")
    file_name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of its bytes.")
    size_bytes: int
    crop: str | None = Field(
        description="Region that is the query: `x,y,w,h` in pixels of the upright photo.",
        examples=["120,80,640,480"],
    )
    path: str | None = Field(
        description="Its file in the dossier; null unless `include_photo` is set."
    )


class DossierQueryOut(BaseModel):
    """Parameters of the query; its filters are those of the answer."""

    query_kind: SourceKind | None
    top: int
    search_space: Literal["gallery", "coordinates"]
    verify: int = Field(description="Number of candidates compared by local features.")
    include_photo: bool


class SunPositionOut(BaseModel):
    """Where the sun was at the claimed time, at the claimed place or at that of the answer."""

    photo: int = Field(description="Number of the photo with the claim, from 0.")
    origin: ClaimOrigin = Field(
        description="What claims the time: EXIF or XMP, or the C2PA manifest."
    )
    place: ClaimPlace
    lat: float
    lon: float
    time: datetime
    time_assumed_utc: bool = Field(
        description="The claimed time has no offset from UTC and may be wrong by hours."
    )
    elevation_deg: float = Field(
        description="Elevation of the sun's center above the horizon, without refraction."
    )
    azimuth_deg: float = Field(description="Clockwise from true north.")


class DossierImageOut(BaseModel):
    """Files of the dossier that show a gallery image."""

    image_id: UUID
    thumbnail: str | None = Field(description="Its file in the dossier.")
    thumbnail_omission: OmissionReason | None = Field(description=_OMISSION)
    match_picture: str | None = Field(
        description="File of the match picture; null also without a match."
    )
    match_picture_omission: OmissionReason | None = Field(
        description="As `thumbnail_omission`; null without a match."
    )


class DossierOut(BaseModel):
    """An answer, and what another person needs to check it."""

    model_config = ConfigDict(title="Dossier")

    format_version: Literal[1]
    created_at: datetime
    code_version: str = Field(description="Version of the server.", examples=["0.1.0"])
    photos: list[DossierPhotoOut]
    query: DossierQueryOut
    settings: dict[str, float | int | None] = Field(
        description="Settings of the search: `PINPOINT_SEARCH_…` of the server."
    )
    answer: AnswerOut = Field(
        description="As `POST /v1/locate` returns it with `include=matches,explain`, without "
        "timings."
    )
    sun_positions: list[SunPositionOut]
    images: list[DossierImageOut] = Field(description="Images whose files were to be included.")
    missing: list[str] = Field(
        description="What the gallery lacks for an answer; empty unless the answer abstains."
    )
    method_limits: list[str] = Field(description="What the method cannot do, in sentences.")
