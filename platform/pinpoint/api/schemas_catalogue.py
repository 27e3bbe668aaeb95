"""Wire forms of sources, batches, items and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from pinpoint.api.schemas_basics import GeoPoint, NearestPlaceOut, name_places, thumbnail_url
from pinpoint.api.times import Time
from pinpoint.media.clocks import MAX_CLOCK_OFFSET_S, find_zone
from pinpoint.records import (
    MANUAL_FIELDS,
    Batch,
    BatchItem,
    Hint,
    Image,
    ImageFix,
    ImageLabel,
    ManualField,
    OriginalsPolicy,
    Point,
    Source,
    limits,
)

Finite = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
NAME_PATTERN: Final = r"^[^\x00-\x1f\x7f]+$"
Text = Annotated[str, Field(min_length=1, max_length=500, pattern=NAME_PATTERN)]
Cell = Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]
"""As much as a manifest's cell may hold."""


def _check_zone(text: str) -> str:
    if find_zone(text) is None:
        raise ValueError("not an IANA time zone such as Europe/Paris, or an offset such as +02:00")
    return text


Zone = Annotated[str, Field(max_length=64), AfterValidator(_check_zone)]
ClockOffset = Annotated[float, Field(ge=-MAX_CLOCK_OFFSET_S, le=MAX_CLOCK_OFFSET_S)]


def _check_column_bytes(text: str) -> str:
    # The columns of these texts have the same limit.
    limits.check_text("creator", text)
    return text


Stored = Annotated[Cell, AfterValidator(_check_column_bytes)]
"""A cell for a column with an index, so limited in bytes of UTF-8 as well."""


class _RequestModel(BaseModel):
    """A body somebody sends: unknown fields are mistakes."""

    model_config = ConfigDict(extra="forbid")


class _ResponseModel(BaseModel):
    """A row as it is shown; filled from the record's fields of the same names."""

    model_config = ConfigDict(from_attributes=True)


class SourceIn(_RequestModel):
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


class SourceOut(_ResponseModel):
    """A collection of images of one kind."""

    id: UUID
    name: str
    kind: str
    licence: str | None
    attribution: str | None
    originals: OriginalsPolicy
    roots: list[str] = Field(
        description="Names of the folders that were ingested on the stack's machine; ids of their "
        "files begin with them."
    )
    created_at: datetime
    images: int

    @classmethod
    def of(cls, source: Source) -> SourceOut:
        """One source; paths of its roots are for the operator only."""
        values = {name: getattr(source, name) for name in cls.model_fields if name != "roots"}
        return cls(**values, roots=[root.name for root in source.roots if root.name])


class SourcesOut(BaseModel):
    """All sources by name."""

    sources: list[SourceOut]


class ErasedOut(BaseModel):
    """What an erasure will remove; a worker carries it out."""

    images: int


class BatchIn(_RequestModel):
    """Opens an upload set."""

    source: Annotated[
        Text,
        Field(max_length=100, description="Name or id of the source.", examples=["paris-walk"]),
    ]


class BatchOut(_ResponseModel):
    """An upload set; `received + stored + indexed + … + canceled == items`."""

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
    canceled: int
    reasons: dict[str, int] | None = Field(
        default=None,
        description="Files that ended `rejected` or `failed`, by reason; only where one batch is "
        "asked for.",
        examples=[{"no_position": 3}],
    )

    @classmethod
    def of(cls, batch: Batch, reasons: Mapping[str, int] | None = None) -> BatchOut:
        """One batch."""
        batch_out = cls.model_validate(batch)
        return (
            batch_out
            if reasons is None
            else batch_out.model_copy(update={"reasons": dict(reasons)})
        )


class BatchesOut(BaseModel):
    """A page of batches, newest first."""

    batches: list[BatchOut]
    next: UUID | None = Field(description="Give it as `before` for the next page; null at the end.")


class ItemOut(_ResponseModel):
    """One file of a batch."""

    nearest_place: NearestPlaceOut | None = Field(
        default=None, description="Of its image; null where it has none."
    )

    id: UUID
    seq: int
    file: str
    state: str
    stage: str | None
    reason: str | None
    detail: str | None
    image_ids: list[UUID]
    attempts: int
    notes: list[str] = Field(
        description="What else there is to know about the file: bytes that were replaced, values "
        "that were set manually and kept."
    )

    @classmethod
    def all_of(cls, items: Sequence[BatchItem], names: Mapping[UUID, ImageLabel]) -> list[ItemOut]:
        """Items in order; `names` are those of their images."""
        first = {item.id: names.get(item.image_ids[0]) for item in items if item.image_ids}
        points = {id_: label.point for id_, label in first.items() if label is not None}
        nearest_places = dict(zip(points, name_places(list(points.values())), strict=True))
        return [
            cls.model_validate(item).model_copy(
                update={"nearest_place": nearest_places.get(item.id)}
            )
            for item in items
        ]


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


class CanceledOut(BaseModel):
    """How many items were given up; those under work go on to their verdict."""

    canceled: int
    batch: BatchOut


class HintIn(_RequestModel):
    """What a caller knows of a file; counts as a manifest does, before the file itself."""

    lat: Finite | None = None
    lon: Finite | None = None
    captured_at: Time | None = None
    heading_deg: Finite | None = None
    altitude_m: Finite | None = None
    creator: Stored | None = None
    sequence: Stored | None = None
    licence: Stored | None = None
    panorama_id: Stored | None = None
    time_zone: Zone | None = Field(
        default=None,
        description="What a time of the file without an offset means: an IANA name or an offset.",
        examples=["Europe/Paris"],
    )
    camera_clock_offset_s: ClockOffset | None = Field(
        default=None,
        description="Seconds to add to times of the camera's clock.",
        examples=[200.0],
    )
    attributes: dict[Text, Cell | Finite | Whole | bool | None] = Field(
        default_factory=dict, max_length=256
    )

    @field_validator("attributes")
    @classmethod
    def _check_attributes(cls, value: dict[str, object]) -> dict[str, object]:
        limits.check_attributes(value)
        return value

    def record(self) -> Hint:
        """The same as the flows know it."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return Hint(position_source="caller", **fields)


class FixIn(_RequestModel):
    """A correction; what is left out stays as it is, and null clears the manual value."""

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
    clear: list[ManualField] = Field(
        default_factory=list,
        max_length=len(MANUAL_FIELDS),
        description="Fields whose manual value is removed; the value with the next precedence "
        "comes back. A field given as null is cleared as well.",
        examples=[["position"]],
    )

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if (self.lat is None) != (self.lon is None):
            raise ValueError("lat and lon go together")
        if self.lat == 0 and self.lon == 0:
            raise ValueError("0/0 is no position that a photo has")
        set_fields = self._list_set_fields()
        if not set_fields and not self._list_cleared_fields():
            raise ValueError("nothing to correct; give at least one field")
        if both := set_fields & self._list_cleared_fields():
            raise ValueError(f"{sorted(both)[0]} is given and cleared at once; do one of them")
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

    def record(self) -> ImageFix:
        """The same as the catalogue knows it."""
        point = None
        if self.lat is not None and self.lon is not None:
            point = Point(self.lat, self.lon)
        return ImageFix(
            clear=frozenset(self._list_cleared_fields()),
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
    file_name: str = Field(description="Last part of `external_id`.")
    face: str | None
    panorama_id: str | None
    lat: float
    lon: float
    geometry: GeoPoint
    nearest_place: NearestPlaceOut
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
        description="One sentence for each value that was chosen over another one or ignored."
    )

    @classmethod
    def of(cls, image: Image, *, paths: bool = False) -> ImageOut:
        """One image; where its file is only for who may see paths of this machine."""
        return cls.all_of([image], paths=paths)[0]

    @classmethod
    def all_of(cls, images: Sequence[Image], *, paths: bool = False) -> list[ImageOut]:
        """Several images, in order; their nearest places are looked up at once."""
        nearest_places = name_places([image.point for image in images])
        return [
            cls._from_image(image, nearest_place, paths=paths)
            for image, nearest_place in zip(images, nearest_places, strict=True)
        ]

    @classmethod
    def _from_image(cls, image: Image, nearest_place: NearestPlaceOut, *, paths: bool) -> ImageOut:
        values = {
            name: getattr(image, name) for name in _IMAGE_FIELDS if name not in _CONTAINER_FIELDS
        }
        if not paths and str(image.locator).startswith("file:"):
            values["locator"] = None
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
            thumbnail_url=thumbnail_url(image.id),
        )


_CONTAINER_FIELDS: Final = ("attributes", "field_sources", "warnings")
_IMAGE_FIELDS = tuple(name for name in ImageOut.model_fields if name in Image.__dataclass_fields__)


class ImageQuery(BaseModel):
    """What a list of images may be narrowed to; unknown parameters are mistakes."""

    model_config = ConfigDict(extra="forbid")

    source: list[Annotated[Text, Field(max_length=100)]] = Field(
        default=[], max_length=100, description="Only these sources, by name or id; repeatable."
    )
    source_kind: list[Literal["photo", "street"]] = Field(
        default=[], max_length=2, description="Only sources of these kinds; repeatable."
    )
    file_name: Annotated[Text, Field(max_length=255)] | None = Field(
        default=None,
        description="Last part of the path: exact, or with `*` for any text and `?` for one "
        "character. A name that begins with `*` makes the whole list be read.",
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
        description="Only images whose id begins so; at least 6 hex digits, dashes as in the id.",
        examples=["6a7997"],
    )
    limit: int = Field(default=100, ge=1, le=1_000, description="Images of a page.")
    cursor: str | None = Field(
        default=None, max_length=4_000, description="Of the `next` link of the page before."
    )


class ImagesOut(BaseModel):
    """A page of images by source name, file name and id."""

    images: list[ImageOut]
    next: str | None = Field(
        description="Path and query of the next page; null at the end. Images that come or go "
        "between two pages neither repeat nor hide others."
    )


class NeighbourOut(BaseModel):
    """An image near another."""

    image: ImageOut
    distance_m: float


class NeighboursOut(BaseModel):
    """Images near an image, nearest first."""

    neighbours: list[NeighbourOut]
