"""Wire forms of sources, batches, items and images."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pinpoint.api.schemas_basics import GeoPoint, thumbnail_url
from pinpoint.api.times import Time
from pinpoint.records import Batch, BatchItem, Hint, Image, ImageFix, OriginalsPolicy, Point, Source

Finite = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
NAME_PATTERN: Final = r"^[^\x00-\x1f\x7f]+$"
Text = Annotated[str, Field(min_length=1, max_length=500, pattern=NAME_PATTERN)]
Cell = Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]
"""As much as a manifest's cell may hold."""


class _Sent(BaseModel):
    """A body somebody sends: unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid")


class _Row(BaseModel):
    """A row as it is shown; filled from the record's fields of the same names."""

    model_config = ConfigDict(from_attributes=True)


class SourceIn(_Sent):
    """A new source."""

    name: Annotated[Text, Field(max_length=100, examples=["paris-walk"])]
    kind: Literal["photo", "street"] = Field(examples=["photo"])
    licence: Text | None = Field(default=None, examples=["CC-BY-SA-4.0"])
    attribution: Text | None = Field(default=None, examples=["Jane Doe"])
    originals: OriginalsPolicy = Field(
        default="copy",
        description="What is kept of a file: its bytes, a reduced picture, or only where it lies.",
        examples=["copy"],
    )


class SourceOut(_Row):
    """A collection of images of one kind."""

    id: UUID
    name: str
    kind: str
    licence: str | None
    attribution: str | None
    originals: OriginalsPolicy
    root: str | None
    created_at: datetime
    images: int

    @classmethod
    def of(cls, source: Source, *, paths: bool = False) -> SourceOut:
        """One source; its folder only for who may see paths of this machine."""
        shown = cls.model_validate(source)
        return shown if paths else shown.model_copy(update={"root": None})


class SourcesOut(BaseModel):
    """All sources by name."""

    sources: list[SourceOut]


class ErasedOut(BaseModel):
    """What an erasure will remove; a worker carries it out."""

    images: int


class BatchIn(_Sent):
    """Opens an upload set."""

    source: Annotated[
        Text,
        Field(max_length=100, description="Name or id of the source.", examples=["paris-walk"]),
    ]


class BatchOut(_Row):
    """An upload set; `received + stored + indexed + … + failed == items`."""

    id: UUID
    source_id: UUID
    source: str
    state: Literal["open", "closed"]
    complete: bool = Field(description="Closed, and every item has its verdict.")
    created_at: datetime
    closed_at: datetime | None
    items: int
    received: int
    stored: int
    indexed: int
    updated: int
    duplicate: int
    rejected: int
    failed: int

    @classmethod
    def of(cls, batch: Batch) -> BatchOut:
        """One batch."""
        return cls.model_validate(batch)


class BatchesOut(BaseModel):
    """A page of batches, newest first."""

    batches: list[BatchOut]
    next: UUID | None = Field(description="Give it as `before` for the next page; null at the end.")


class ItemOut(_Row):
    """One file of a batch."""

    id: UUID
    seq: int
    file: str
    state: str
    stage: str | None
    reason: str | None
    detail: str | None
    image_ids: list[UUID]
    attempts: int

    @classmethod
    def of(cls, item: BatchItem) -> ItemOut:
        """One item."""
        return cls.model_validate(item)


class ItemsOut(BaseModel):
    """A page of items in order of arrival."""

    items: list[ItemOut]
    next: int | None = Field(description="Give it as `after` for the next page; null at the end.")


class UploadedOut(BaseModel):
    """The items that an upload became, in the order of its files."""

    items: list[UUID]
    batch: BatchOut


class RetriedOut(BaseModel):
    """How many items were sent again."""

    retried: int
    batch: BatchOut


class HintIn(_Sent):
    """What a caller knows of a file; wins over what the file says of itself."""

    lat: Finite | None = None
    lon: Finite | None = None
    captured_at: Time | None = None
    heading_deg: Finite | None = None
    altitude_m: Finite | None = None
    creator: Cell | None = None
    sequence: Cell | None = None
    licence: Cell | None = None
    panorama_id: Cell | None = None
    attributes: dict[Text, Cell | Finite | Whole | bool | None] = Field(
        default_factory=dict, max_length=256
    )

    def record(self) -> Hint:
        """The same as the flows know it."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return Hint(position_source="caller", **fields)


class FixIn(_Sent):
    """A correction; what is left out stays as it is."""

    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)] | None = Field(
        default=None, description="Goes together with lon.", examples=[48.8566]
    )
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)] | None = Field(
        default=None, description="Goes together with lat.", examples=[2.3522]
    )
    captured_at: Time | None = Field(default=None, examples=["2026-05-01T12:00:00Z"])
    heading_deg: Annotated[float, Field(ge=0, lt=360, allow_inf_nan=False)] | None = None
    creator: Text | None = None
    sequence: Text | None = None
    licence: Text | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.lat is None) != (self.lon is None):
            raise ValueError("lat and lon go together")
        if self.lat == 0 and self.lon == 0:
            raise ValueError("0/0 is no position that a photo has")
        if all(getattr(self, name) is None for name in type(self).model_fields):
            raise ValueError("nothing to correct; give at least one field")
        return self

    def record(self) -> ImageFix:
        """The same as the catalogue knows it."""
        point = None
        if self.lat is not None and self.lon is not None:
            point = Point(self.lat, self.lon)
        return ImageFix(
            point=point,
            captured_at=self.captured_at,
            heading_deg=self.heading_deg,
            creator=self.creator,
            sequence=self.sequence,
            licence=self.licence,
        )


class ImageOut(BaseModel):
    """A gallery row."""

    id: UUID
    source_id: UUID
    source: str
    kind: str
    external_id: str
    face: str | None
    panorama_id: str | None
    lat: float
    lon: float
    geometry: GeoPoint
    captured_at: datetime | None
    heading_deg: float | None
    altitude_m: float | None
    camera: str | None
    creator: str | None
    sequence: str | None
    licence: str | None
    attribution: str | None
    sha256: str
    format: str
    width_px: int
    height_px: int
    locator: str | None
    state: str
    failure: str | None
    version: int
    attributes: dict[str, object]
    created_at: datetime
    updated_at: datetime
    thumbnail_url: str

    @classmethod
    def of(cls, image: Image, *, paths: bool = False) -> ImageOut:
        """One image; where its file is only for who may see paths of this machine."""
        own = {name: getattr(image, name) for name in _SAME if name != "attributes"}
        if not paths and str(image.locator).startswith("file:"):
            own["locator"] = None
        return cls(
            **own,
            lat=image.point.lat,
            lon=image.point.lon,
            geometry=GeoPoint.of(image.point),
            attributes=dict(image.attributes),
            thumbnail_url=thumbnail_url(image.id),
        )


_SAME = tuple(name for name in ImageOut.model_fields if name in Image.__dataclass_fields__)


class NeighbourOut(BaseModel):
    """An image near another."""

    image: ImageOut
    distance_m: float


class NeighboursOut(BaseModel):
    """Images near an image, nearest first."""

    neighbours: list[NeighbourOut]
