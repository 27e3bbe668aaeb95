"""Query parameters of the Panoramax API, and the cursors of its pages."""

from __future__ import annotations

import base64
import json
import math
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from pinpoint.api.v1.times import IntervalField
from pinpoint.errors import BadRequestError
from pinpoint.records import Box, CollectionItem, ImageFilter, ItemPosition, LooksAt, Point

MAX_PAGE_ITEMS: Final = 1_000
MAX_IDS: Final = 200
MAX_PLACE_DISTANCE_M: Final = 10_000.0


def _split_ids(value: Any) -> Any:
    """Ids as commas, as a JSON list, or repeated."""
    texts = value if isinstance(value, list) else [value]
    return [
        piece
        for text in texts
        for part in str(text).strip().removeprefix("[").removesuffix("]").split(",")
        if (piece := part.strip().strip("\"'"))
    ]


Ids = Annotated[list[UUID], BeforeValidator(_split_ids), Field(max_length=MAX_IDS)]


class PageQuery(BaseModel):
    """Size and start of a page."""

    limit: int = Field(default=100, ge=1, le=MAX_PAGE_ITEMS, description="Maximum number per page.")
    cursor: str | None = Field(
        default=None, max_length=8_000, description="Cursor from the `next` link of a page."
    )


class SearchQuery(PageQuery):
    """Parameters of the search; conditions that this API does not have are errors."""

    ids: Ids = Field(default=[], description="Only these items, separated by commas.")
    collections: Ids = Field(
        default=[], description="Only items of these collections, separated by commas."
    )
    bbox: str | None = Field(
        default=None,
        max_length=300,
        description="Minimum longitude, minimum latitude, maximum longitude, maximum latitude. A "
        "minimum longitude above the maximum crosses the antimeridian.",
        examples=["2.2,48.8,2.5,48.9"],
    )
    datetime: IntervalField | None = Field(
        default=None,
        description="Capture time: a time, or `start/end` with both ends included and `..` as an "
        "open end.",
        examples=["2020-01-01T00:00:00Z/.."],
    )
    place_position: str | None = Field(
        default=None,
        max_length=100,
        description="Only items that look at this place: `lon,lat`. Panoramas always do.",
        examples=["2.2945,48.8584"],
    )
    place_distance: str = Field(
        default="3-15",
        max_length=50,
        description="Distance between the item and the place, meters: `min-max`, or a maximum.",
    )
    place_fov_tolerance: float = Field(
        default=30.0,
        ge=2,
        le=180,
        description="Maximum angle between the place and the edge of the field of view, degrees; "
        "an unknown field of view is a line.",
    )
    intersects: str | None = Field(default=None, max_length=0, description="Not supported.")
    query: str | None = Field(default=None, max_length=0, description="Not supported.")
    filter: str | None = Field(default=None, max_length=0, description="Not supported.")

    def image_filter(self) -> ImageFilter:
        """The conditions as a filter of images, without the minimum of `place_distance`.

        Raises:
            BadRequestError: `bbox`, `place_position` or `place_distance` is not valid.
        """
        interval = self.datetime
        return ImageFilter(
            ids=tuple(self.ids),
            box=None if self.bbox is None else parse_map_bbox(self.bbox),
            looks_at=self._looks_at(),
            captured_after=None if interval is None else interval.start,
            captured_before=None if interval is None else interval.before,
        )

    def min_distance_m(self) -> float:
        """Minimum of `place_distance`, meters.

        Raises:
            BadRequestError: `place_distance` is not valid.
        """
        return _parse_distances(self.place_distance)[0]

    def _looks_at(self) -> LooksAt | None:
        if self.place_position is None:
            return None
        try:
            lon, lat = (float(part) for part in self.place_position.split(","))
            point = Point(lat=lat, lon=lon)
        except ValueError as error:
            raise BadRequestError("place_position must be lon,lat in degrees") from error
        return LooksAt(
            point=point,
            distance_m=_parse_distances(self.place_distance)[1],
            tolerance_deg=self.place_fov_tolerance,
        )


def _parse_distances(text: str) -> tuple[float, float]:
    """Minimum and maximum of `place_distance`."""
    low, dash, high = text.partition("-")
    try:
        numbers = (float(low), float(high)) if dash else (0.0, float(low))
    except ValueError as error:
        raise _bad_distance() from error
    if not 0.0 <= numbers[0] <= numbers[1] <= MAX_PLACE_DISTANCE_M or numbers[1] == 0.0:
        raise _bad_distance()
    return numbers


def _bad_distance() -> BadRequestError:
    return BadRequestError(
        f"place_distance must be min-max in meters, at most {MAX_PLACE_DISTANCE_M:g}"
    )


def parse_map_bbox(text: str) -> Box:
    """Parse a bbox of two or three dimensions; map clients also send longitudes beyond ±180.

    Raises:
        BadRequestError: The text is not a bbox.
    """
    plain = text.strip().removeprefix("[").removesuffix("]")
    try:
        numbers = [float(part) for part in plain.split(",")]
    except ValueError as error:
        raise _bad_box() from error
    if len(numbers) not in (4, 6) or not all(map(math.isfinite, numbers)):
        raise _bad_box()
    half = len(numbers) // 2
    west, south, east, north = numbers[0], numbers[1], numbers[half], numbers[half + 1]
    if south > north or abs(west) > 540.0 or abs(east) > 540.0:
        raise _bad_box()
    south, north = max(south, -90.0), min(north, 90.0)
    if east - west >= 360.0:
        return Box(west=-180.0, south=south, east=180.0, north=north)
    return Box(west=_wrap_lon(west), south=south, east=_wrap_lon(east), north=north)


def _wrap_lon(lon: float) -> float:
    return lon if -180.0 <= lon <= 180.0 else (lon + 180.0) % 360.0 - 180.0


def _bad_box() -> BadRequestError:
    return BadRequestError("bbox must be min lon,min lat,max lon,max lat in degrees")


def encode_position(item: CollectionItem) -> str:
    """Cursor of the page after an item of a collection."""
    time = None if item.captured_at is None else item.captured_at.isoformat()
    text = json.dumps([time, item.external_id, item.id.hex], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_position(cursor: str) -> ItemPosition:
    """Position in a cursor.

    Raises:
        BadRequestError: The text is not a cursor of a collection.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        time, external_id, item_id = json.loads(text)
        captured_at = None if time is None else datetime.fromisoformat(time)
        if "\x00" in external_id or (captured_at is not None and captured_at.tzinfo is None):
            raise ValueError("unknown form")
        return ItemPosition(
            captured_at=captured_at, external_id=external_id, item_id=UUID(hex=item_id)
        )
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _bad_cursor() from error


def decode_id(cursor: str) -> UUID:
    """Id in a cursor of collections or of a search.

    Raises:
        BadRequestError: The text is not such a cursor.
    """
    try:
        return UUID(hex=cursor)
    except ValueError as error:
        raise _bad_cursor() from error


def _bad_cursor() -> BadRequestError:
    return BadRequestError(
        "the cursor is not one of this API; take the `next` link of a page as it is"
    )
