"""Query parameters that select gallery images: lists, exports and coverage share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from pinpoint.api.v1.parsing_errors import make_parsing_error
from pinpoint.api.v1.schemas.catalog import IndexedText, Text
from pinpoint.api.v1.spatiotemporal_parameters import SpatiotemporalParameters
from pinpoint.geo.cells import child_range, parse_cell
from pinpoint.ports import CatalogReader
from pinpoint.records import ImageFilter, LooksAt, Point, SourceKind

_MIN_ID_DIGITS: Final = 6
_MAX_VALUES: Final = 100
MAX_CELL_RESOLUTION: Final = 7
"""Finest H3 resolution of a filter on cells."""


def parse_attribute(text: str) -> tuple[str, str]:
    """Parse `NAME=VALUE`; the value may contain further equals signs.

    Raises:
        ValueError: The text has no equals sign, or no name.
    """
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise ValueError("an attribute is NAME=VALUE")
    return name, value


def normalize_id_prefix(text: str) -> str:
    """Normalize the first digits of an id: no dashes, lower case.

    Raises:
        ValueError: The text has other characters, or too few or too many digits.
    """
    digits = text.replace("-", "").lower()
    if not set(digits) <= set("0123456789abcdef"):
        raise ValueError("an id has only hex digits and dashes")
    if not _MIN_ID_DIGITS <= len(digits) <= 32:
        raise ValueError(f"the beginning of an id has {_MIN_ID_DIGITS} to 32 hex digits")
    return digits


def _parse_attribute_field(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_attribute(value)
    except ValueError as error:
        raise make_parsing_error(str(error)) from error


def normalize_cell(text: str) -> str:
    """Normalize the id of an H3 cell: 15 hex digits, lower case.

    Raises:
        ValueError: The text is no id of a cell, or the cell is finer than `MAX_CELL_RESOLUTION`.
    """
    cell = f"{parse_cell(text):015x}"
    child_range(parse_cell(text), MAX_CELL_RESOLUTION)
    return cell


IdPrefix = Annotated[
    str,
    Field(max_length=36),
    AfterValidator(normalize_id_prefix),
    WithJsonSchema({"type": "string", "maxLength": 36, "pattern": "^(?:-*[0-9a-fA-F]){6,32}-*$"}),
]
"""A request field with the first digits of an id."""
CellField = Annotated[
    str, Field(pattern="^0?[0-9A-Fa-f]{15}$", max_length=16), AfterValidator(normalize_cell)
]
"""A request field with the id of an H3 cell."""
SourceNames = Annotated[list[Annotated[Text, Field(max_length=100)]], Field(max_length=_MAX_VALUES)]
"""A request field with names or ids of sources."""
Creators = Annotated[list[IndexedText], Field(max_length=_MAX_VALUES)]
"""A request field with creators."""
AttributeField = Annotated[
    tuple[Text, Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]],
    BeforeValidator(_parse_attribute_field),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": 1_501,
            "pattern": r"^[^=\x00-\x1f\x7f]{1,500}=[^\x00]{0,1000}$",
        }
    ),
]
"""A request field with name and value of an attribute."""


class ImageFilterParameters(SpatiotemporalParameters):
    """Filter of gallery images: values of one parameter are alternatives, all parameters must hold.

    Unknown parameters are errors.
    """

    source: SourceNames = Field(
        default=[],
        description="Only these sources, by name or id; repeatable.",
    )
    source_kind: list[SourceKind] = Field(
        default=[], max_length=2, description="Only sources of these kinds; repeatable."
    )
    creator: Creators = Field(default=[], description="Only these creators; repeatable.")
    sequence: list[IndexedText] = Field(
        default=[], max_length=_MAX_VALUES, description="Only these sequences; repeatable."
    )
    camera: list[Text] = Field(
        default=[], max_length=_MAX_VALUES, description="Only these cameras; repeatable."
    )
    cell: list[CellField] = Field(
        default=[],
        max_length=_MAX_VALUES,
        description="Only images in these H3 cells, by id, resolution 0 to "
        f"{MAX_CELL_RESOLUTION}; repeatable. The cells of `/v1/coverage` and of vector tiles hold "
        "these images.",
        examples=[["851fb467fffffff"]],
    )
    state: list[Literal["pending", "indexed", "failed"]] = Field(
        default=[], max_length=3, description="Only images in these states; repeatable."
    )
    attribute: list[AttributeField] = Field(
        default=[],
        max_length=20,
        description="Only images with this value of an attribute, as `NAME=VALUE`; if repeated, "
        "all must be equal. A number or Boolean equals its text.",
        examples=[["weather=rain"]],
    )
    file_name: Annotated[Text, Field(max_length=255)] | None = Field(
        default=None,
        description="Last part of the path: exact, or with `*` for any text and `?` for one "
        "character. A leading `*` requires a scan of all images.",
        examples=["IMG_20*.jpg"],
    )
    looks_at_lat: float | None = Field(
        default=None,
        ge=-90,
        le=90,
        description="Only images that look at a point, with this latitude: the bearing of the "
        "point is within half of the field of view plus a tolerance of the heading. Images of "
        "360° always match; other images without a heading never do. Needs `looks_at_lon`.",
        examples=[48.8584],
    )
    looks_at_lon: float | None = Field(default=None, ge=-180, le=180, examples=[2.2945])
    looks_at_distance_m: float = Field(
        default=50.0,
        gt=0,
        le=50_000,
        description="Maximum geodesic distance of images that look at the point.",
    )
    looks_at_tolerance_deg: float = Field(
        default=30.0,
        ge=0,
        le=180,
        description="Tolerance of the direction to the point, degrees.",
    )
    id_prefix: IdPrefix | None = Field(
        default=None,
        description="Only images whose id has this prefix; at least 6 hex digits, dashes allowed.",
        examples=["6a7997"],
    )

    @model_validator(mode="after")
    def _check_looks_at(self) -> Self:
        if (self.looks_at_lat is None) != (self.looks_at_lon is None):
            raise ValueError("looks_at_lat and looks_at_lon must be given together")
        return self

    @property
    def looks_at(self) -> LooksAt | None:
        """The condition of the parameters `looks_at_…`; None without a point."""
        if self.looks_at_lat is None or self.looks_at_lon is None:
            return None
        return LooksAt(
            point=Point(self.looks_at_lat, self.looks_at_lon),
            distance_m=self.looks_at_distance_m,
            tolerance_deg=self.looks_at_tolerance_deg,
        )


def to_image_filter(parameters: ImageFilterParameters, catalog: CatalogReader) -> ImageFilter:
    """Convert parameters to a filter record.

    Raises:
        NotFoundError: A source does not exist.
    """
    interval = parameters.datetime
    return ImageFilter(
        id_prefix=parameters.id_prefix,
        source_ids=find_source_ids(parameters.source, catalog),
        source_kinds=tuple(parameters.source_kind),
        file_name=parameters.file_name,
        states=tuple(parameters.state),
        cells=tuple(parameters.cell),
        box=parameters.bbox,
        polygons=parameters.polygon or (),
        circle=parameters.circle,
        looks_at=parameters.looks_at,
        captured_after=None if interval is None else interval.start,
        captured_before=None if interval is None else interval.before,
        creators=tuple(parameters.creator),
        sequences=tuple(parameters.sequence),
        cameras=tuple(parameters.camera),
        attributes=tuple(parameters.attribute),
    )


def find_source_ids(names: Sequence[str], catalog: CatalogReader) -> tuple[UUID, ...]:
    """Find the ids of sources by names or ids.

    Raises:
        NotFoundError: A source does not exist.
    """
    return tuple(catalog.source(name).id for name in names)
