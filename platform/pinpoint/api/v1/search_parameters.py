"""Form fields of `search`."""

from __future__ import annotations

from typing import Annotated, Any, Final, cast
from uuid import UUID

from pydantic import BeforeValidator, Field, WithJsonSchema

from pinpoint.api.v1.query_parameters import Crops, SearchFilterParameters
from pinpoint.records import Point, SourceKind
from pinpoint.search.query_vector import QUERY_PARTS, QueryPart

MAX_TEXTS: Final = 8
MAX_TEXT_CHARACTERS: Final = 1_000
MAX_QUERY_IMAGES: Final = 16
_MAX_WEIGHT: Final = 1_000.0


def _to_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _split_list(value: Any) -> Any:
    return [piece.strip() for item in _to_list(value) for piece in str(item).split(",") if piece]


def _parse_point(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        lat, lon = map(float, value[:100].split(","))
        return Point(lat, lon)
    except ValueError as error:
        raise ValueError("a point is LAT,LON in degrees") from error


def _parse_weights(value: Any) -> Any:
    """Parse `text=0.7,photo=0.3`.

    Raises:
        ValueError: The text is written otherwise, or a weight is out of range.
    """
    if isinstance(value, dict):
        return value
    weights: dict[QueryPart, float] = {}
    for piece in _split_list(value):
        name, _, number = piece.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if name not in QUERY_PARTS or name in weights or not 0 <= weight <= _MAX_WEIGHT:
            raise ValueError(
                f"weights are {', '.join(QUERY_PARTS)}, each once, as NAME=NUMBER with a number "
                f"from 0 to {_MAX_WEIGHT:,.0f}: text=0.7,photo=0.3"
            )
        weights[cast(QueryPart, name)] = weight
    return weights


class SearchForm(SearchFilterParameters):
    """Form fields of a search: parts of the query, their weights, filters and the page."""

    text: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)]],
        BeforeValidator(_to_list),
        Field(
            default_factory=list,
            max_length=MAX_TEXTS,
            description="What the images show, for a bundle with a text encoder.",
            examples=[["a red phone box"]],
        ),
    ]
    crop: Crops
    image_id: Annotated[
        list[UUID],
        BeforeValidator(_split_list),
        Field(
            default_factory=list,
            max_length=MAX_QUERY_IMAGES,
            description="Gallery images that are part of the query.",
        ),
    ]
    point: Annotated[
        Point | None,
        BeforeValidator(_parse_point),
        WithJsonSchema({"type": "string"}),
        Field(
            default=None,
            description="Latitude and longitude in degrees. A bundle with a location encoder finds "
            "images that look as if they were there; without one, a point alone finds the nearest "
            "images.",
            examples=["48.8566,2.3522"],
        ),
    ]
    weights: Annotated[
        dict[QueryPart, float],
        BeforeValidator(_parse_weights),
        WithJsonSchema({"type": "string"}),
        Field(
            default_factory=dict,
            description="Weights of the parts text, photo, image and point, 1 each by default. The "
            "query is the normalized sum of their vectors, each times its weight; several photos, "
            "images or texts are one part, the normalized mean of their vectors.",
            examples=["text=0.7,photo=0.3"],
        ),
    ]
    limit: int = Field(default=20, ge=1, le=200, description="Maximum number of groups.")
    per_group: int = Field(
        default=3, ge=1, le=20, description="Maximum number of images per group."
    )
    query_kind: SourceKind | None = Field(default=None, description="Kind of the query photos.")
    include_self: bool = Field(
        default=False, description="With image_id: include these images in the hits."
    )
    exclude_group: bool = Field(
        default=False, description="With image_id: exclude all images of their groups."
    )
