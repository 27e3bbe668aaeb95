"""Request and response schemas of sources, batches, items and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from pinpoint.api.v1.cursors import CURSOR_DESCRIPTION, MAX_CURSOR_CHARACTERS
from pinpoint.api.v1.schemas.basics import NearestPlaceOut, find_nearest_places
from pinpoint.api.v1.times import Time
from pinpoint.media.metadata.clocks import MAX_CLOCK_OFFSET_S, find_zone
from pinpoint.records import (
    MANUAL_FIELDS,
    Batch,
    BatchItem,
    ImageLabel,
    ImageUpdate,
    ManualField,
    MetadataOverride,
    OriginalsPolicy,
    Point,
    Source,
    SourceKind,
    limits,
)
from pinpoint.records.protected_areas import ImageAccess

FiniteFloat = Annotated[float, Field(allow_inf_nan=False)]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
NAME_PATTERN: Final = r"^[^\x00-\x1f\x7f]+$"
Text = Annotated[str, Field(min_length=1, max_length=500, pattern=NAME_PATTERN)]
CellText = Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]
"""Text with the size limit of a manifest cell."""


def _check_zone(text: str) -> str:
    if find_zone(text) is None:
        raise ValueError("not an IANA time zone such as Europe/Paris, or an offset such as +02:00")
    return text


Zone = Annotated[str, Field(max_length=64), AfterValidator(_check_zone)]
ClockOffset = Annotated[float, Field(ge=-MAX_CLOCK_OFFSET_S, le=MAX_CLOCK_OFFSET_S)]


def _check_column_bytes(text: str) -> str:
    # All columns of this type have the same limit.
    limits.check_text("creator", text)
    return text


IndexedText = Annotated[CellText, AfterValidator(_check_column_bytes)]
"""Text for an indexed column, which is also limited in UTF-8 bytes."""


class _RequestModel(BaseModel):
    """Base class of request bodies; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid")


class _ResponseModel(BaseModel):
    """Base class of response rows, filled from record fields of the same names."""

    model_config = ConfigDict(from_attributes=True)


_IMAGE_ACCESS_TEXT: Final = (
    "What API keys may see of its images: nothing (`none`), the thumbnail, or the whole file "
    "(`full`). Images are served as they were ingested, faces and number plates included."
)


class SourceIn(_RequestModel):
    """A new source."""

    name: Annotated[Text, Field(max_length=100, examples=["paris-walk"])]
    kind: SourceKind = Field(examples=["photo"])
    license: Text | None = Field(default=None, examples=["CC-BY-SA-4.0"])
    attribution: Text | None = Field(default=None, examples=["Jane Doe"])
    originals: OriginalsPolicy = Field(
        default="copy",
        description="Stored form of each file: its bytes, a reduced image, or only its path.",
        examples=["copy"],
    )
    image_access: ImageAccess = Field(default="full", description=_IMAGE_ACCESS_TEXT)


class SourceUpdateIn(_RequestModel):
    """A change of a source."""

    image_access: ImageAccess = Field(description=_IMAGE_ACCESS_TEXT, examples=["thumbnail"])


class SourceOut(_ResponseModel):
    """A collection of images of one kind."""

    id: UUID
    name: str
    kind: str
    license: str | None
    attribution: str | None
    originals: OriginalsPolicy
    image_access: ImageAccess = Field(description=_IMAGE_ACCESS_TEXT)
    roots: list[str] = Field(
        description="Names of the folders that were ingested on the stack's machine; they are "
        "prefixes of their files' ids."
    )
    created_at: datetime
    images: int

    @classmethod
    def of(cls, source: Source) -> SourceOut:
        """Convert one source, without the paths of its roots, which only the operator may see."""
        values = {name: getattr(source, name) for name in cls.model_fields if name != "roots"}
        return cls(**values, roots=[root.name for root in source.roots if root.name])


class SourcesOut(BaseModel):
    """A page of sources by name."""

    sources: list[SourceOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page.",
        examples=["/v1/sources?limit=100&cursor=WyJzb3VyY2VzIiwid2FsayJd"],
    )


class ErasedOut(BaseModel):
    """Number of images that a worker will erase."""

    images: int


class BatchIn(_RequestModel):
    """Request to open a batch."""

    source: Annotated[
        Text,
        Field(max_length=100, description="Name or id of the source.", examples=["paris-walk"]),
    ]


class BatchOut(_ResponseModel):
    """A batch; `received + stored + indexed + … + canceled == items`."""

    id: UUID
    source_id: UUID
    source: str
    state: Literal["open", "closed"]
    is_processed: bool = Field(
        description="Whether the batch is closed and each item has a final status."
    )
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
    canceled: int
    error_counts: dict[str, int] | None = Field(
        default=None,
        description="Number of files `rejected` or `failed`, by error code; only in responses for "
        "a single batch.",
        examples=[{"no_position": 3}],
    )

    @classmethod
    def of(cls, batch: Batch, error_counts: Mapping[str, int] | None = None) -> BatchOut:
        """Convert one batch, with the counts of its rejected and failed files by error code."""
        batch_out = cls.model_validate(batch)
        if error_counts is None:
            return batch_out
        return batch_out.model_copy(update={"error_counts": dict(error_counts)})


class BatchesOut(BaseModel):
    """A page of batches, newest first."""

    batches: list[BatchOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page.",
        examples=["/v1/batches?limit=50&cursor=WyJiYXRjaGVzIiwiN2ZjZmVmYmI"],
    )


class ItemQuery(_RequestModel):
    """Query parameters of the files of a batch."""

    status: (
        Literal[
            "received",
            "stored",
            "indexed",
            "updated",
            "duplicate",
            "rejected",
            "failed",
            "canceled",
        ]
        | None
    ) = Field(default=None, description="Only files with this status.")
    after_position: int = Field(
        default=0, ge=0, le=2**62, description="Only files after this position in the batch."
    )
    limit: int = Field(default=200, ge=1, le=1_000, description="Maximum number of files per page.")
    cursor: str | None = Field(
        default=None, max_length=MAX_CURSOR_CHARACTERS, description=CURSOR_DESCRIPTION
    )


class ItemOut(_ResponseModel):
    """One file of a batch."""

    nearest_place: NearestPlaceOut | None = Field(
        default=None, description="City nearest to its first image; null without an image."
    )

    id: UUID
    position: int = Field(description="Ordinal of the file in its batch, from 1.")
    file: str
    status: str
    error_stage: str | None
    error_code: str | None
    error_message: str | None
    image_ids: list[UUID]
    attempts: int
    notes: list[str] = Field(
        description="Remarks on the file: bytes that were replaced, manual values that were "
        "preserved."
    )

    @classmethod
    def all_of(cls, items: Sequence[BatchItem], names: Mapping[UUID, ImageLabel]) -> list[ItemOut]:
        """Convert items in order; `names` are the labels of their images."""
        first = {item.id: names.get(item.image_ids[0]) for item in items if item.image_ids}
        points = {id_: label.point for id_, label in first.items() if label is not None}
        nearest_places = dict(zip(points, find_nearest_places(list(points.values())), strict=True))
        return [
            cls.model_validate(item).model_copy(
                update={"nearest_place": nearest_places.get(item.id)}
            )
            for item in items
        ]


class ItemsOut(BaseModel):
    """A page of items in order of arrival."""

    items: list[ItemOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page.",
        examples=["/v1/batches/7fcfefbb-6cf6-48f0-8d5d-853426d0ee9f/items?cursor=WyJpdGVtcyJd"],
    )


class UploadedOut(BaseModel):
    """Ids of the created items, in the order of the uploaded files."""

    items: list[UUID]
    batch: BatchOut


class RetriedOut(BaseModel):
    """Number of items that were queued again."""

    retried: int
    batch: BatchOut


class CanceledOut(BaseModel):
    """Number of canceled items; items in progress continue to their final status."""

    canceled: int
    batch: BatchOut


class MetadataOverrideIn(_RequestModel):
    """Metadata from the caller; like manifest values, it overrides the file's own metadata."""

    lat: FiniteFloat | None = None
    lon: FiniteFloat | None = None
    captured_at: Time | None = None
    heading_deg: FiniteFloat | None = None
    field_of_view_deg: Annotated[float, Field(gt=0, le=360)] | None = Field(
        default=None, description="Horizontal field of view in degrees.", examples=[65.5]
    )
    altitude_m: FiniteFloat | None = None
    creator: IndexedText | None = None
    sequence: IndexedText | None = None
    license: IndexedText | None = None
    panorama_id: IndexedText | None = None
    time_zone: Zone | None = Field(
        default=None,
        description="Time zone of file times without an offset: an IANA name or an offset.",
        examples=["Europe/Paris"],
    )
    camera_clock_offset_s: ClockOffset | None = Field(
        default=None,
        description="Seconds to add to times from the camera clock.",
        examples=[200.0],
    )
    attributes: dict[Text, CellText | FiniteFloat | Int64 | bool | None] = Field(
        default_factory=dict,
        max_length=256,
        # Pydantic states the pattern of the names as that of some properties only.
        json_schema_extra={
            "propertyNames": {
                "minLength": 1,
                "maxLength": 500,
                "pattern": r"^[^\x00-\x1f\x7f]+$",
            }
        },
    )

    @field_validator("attributes")
    @classmethod
    def _check_attributes(cls, value: dict[str, object]) -> dict[str, object]:
        limits.check_attributes(value)
        return value

    def record(self) -> MetadataOverride:
        """Convert to the internal record."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return MetadataOverride(position_source="caller", **fields)


class ImageUpdateIn(_RequestModel):
    """A correction; omitted fields remain unchanged, and null clears the manual value."""

    lat: Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False, strict=True)] | None = Field(
        default=None, description="Latitude; requires lon.", examples=[48.8566]
    )
    lon: Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False, strict=True)] | None = Field(
        default=None, description="Longitude; requires lat.", examples=[2.3522]
    )
    captured_at: Time | None = Field(default=None, examples=["2026-05-01T12:00:00Z"])
    heading_deg: Annotated[float, Field(ge=0, lt=360, allow_inf_nan=False, strict=True)] | None = (
        None
    )
    creator: Text | None = None
    sequence: Text | None = None
    license: Text | None = None
    clear: list[ManualField] = Field(
        default_factory=list,
        max_length=len(MANUAL_FIELDS),
        description="Fields whose manual value is removed; the value with the next precedence "
        "applies again. A null field is cleared as well.",
        examples=[["sequence"]],
    )

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if (self.lat is None) != (self.lon is None):
            raise ValueError("lat and lon must be given together")
        if self.lat == 0 and self.lon == 0:
            raise ValueError("0/0 is not a valid photo position")
        set_fields = self._list_set_fields()
        if not set_fields and not self._list_cleared_fields():
            raise ValueError("nothing to correct; give at least one field")
        if both := set_fields & self._list_cleared_fields():
            raise ValueError(f"{sorted(both)[0]} is both set and cleared; do only one of these")
        return self

    def _list_set_fields(self) -> set[ManualField]:
        values = {name: getattr(self, name) for name in MANUAL_FIELDS if name != "position"}
        set_fields: set[ManualField] = {name for name, value in values.items() if value is not None}
        return set_fields | ({"position"} if self.lat is not None else set())

    def _list_cleared_fields(self) -> set[ManualField]:
        cleared: set[ManualField] = set(self.clear)
        for name in MANUAL_FIELDS:
            request_names = {"lat", "lon"} if name == "position" else {name}
            if request_names <= self.model_fields_set and name not in self._list_set_fields():
                cleared.add(name)
        return cleared

    def record(self) -> ImageUpdate:
        """Convert to the catalog's record."""
        point = None
        if self.lat is not None and self.lon is not None:
            point = Point(self.lat, self.lon)
        return ImageUpdate(
            clear=frozenset(self._list_cleared_fields()),
            point=point,
            captured_at=self.captured_at,
            heading_deg=self.heading_deg,
            creator=self.creator,
            sequence=self.sequence,
            license=self.license,
        )
