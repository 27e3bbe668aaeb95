"""Limits of the stores for every text, time and number.

Checked at every entry point (API, manifest, folder) and again by the worker that stores the value.
Texts are limited in bytes of UTF-8, because a b-tree entry of PostgreSQL has 2,704 bytes at most.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from pinpoint.records.metadata import CaptureMetadata, MetadataOverride

INDEXED_BYTES: Final = 2_048
"""Maximum bytes of a text in a b-tree with an id of 16 bytes."""
MAX_BYTES: Final[Mapping[str, int]] = {
    # Columns in b-trees.
    "name": INDEXED_BYTES,
    "external_id": INDEXED_BYTES,
    "creator": INDEXED_BYTES,
    "sequence": INDEXED_BYTES,
    # In the index payload, as the group of an image; preceded by the source's id.
    "panorama_id": INDEXED_BYTES,
    "license": INDEXED_BYTES,
    "attribution": INDEXED_BYTES,
    "camera": INDEXED_BYTES,
    # Paths: Linux allows 4,096 bytes, and a URI encodes each byte as three (`%E4`). The indexes
    # of URIs are hash indexes, which store no text.
    "file": 4_096,
    "track": 4_096,
    "sidecar": 4_096,
    "track_name": INDEXED_BYTES,
    "time_zone": 64,
    "root": 4_096,
    "uri": 3 * 4_096 + 64,
}
"""Column → maximum bytes of UTF-8."""
MAX_ATTRIBUTES_BYTES: Final = 65_536
"""Maximum bytes of all attributes of a file, as JSON."""
NOT_STORABLE: Final = "not_storable"
"""Reason of a value that cannot be stored: no valid text, finite number or calendar time."""
TOO_LONG: Final = "text_too_long"
"""Reason of a text over its limit in bytes."""
BAD_METADATA_OVERRIDE: Final = "bad_metadata_override"
"""Reason of a stored override that cannot be parsed."""


class UnstorableError(ValueError):
    """A value that the stores cannot hold.

    Args:
        reason: `not_storable`, `text_too_long` or `bad_metadata_override`.
        detail: The value and its problem, in words for a user.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def check_text(column: str, text: str | None) -> None:
    """Reject a text that does not fit its column.

    Raises:
        UnstorableError: The text is longer than `MAX_BYTES[column]`, or is not valid.
    """
    if text is None:
        return
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise UnstorableError(
            NOT_STORABLE, f"{column} contains half of a surrogate pair, which is not valid text"
        ) from error
    if "\x00" in text:
        raise UnstorableError(NOT_STORABLE, f"{column} contains a zero byte")
    if size > MAX_BYTES[column]:
        raise UnstorableError(
            TOO_LONG,
            f"{column} has {size} bytes in UTF-8; at most {MAX_BYTES[column]} can be stored",
        )


def check_number(column: str, number: float | None) -> None:
    """Reject a number that is not finite.

    Raises:
        UnstorableError: The number is NaN, infinite, or too large for a float.
    """
    try:
        finite = number is None or math.isfinite(number)
    except OverflowError:
        finite = False
    if not finite:
        raise UnstorableError(NOT_STORABLE, f"{column} is not a finite number")


def to_utc(column: str, moment: datetime) -> datetime:
    """Convert a time to UTC; a time without a zone is interpreted as UTC.

    Raises:
        UnstorableError: In UTC it is outside the years 1 to 9999.
    """
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise UnstorableError(
            NOT_STORABLE, f"{column} is outside the years 1 to 9999 in UTC"
        ) from error


def check_attributes(attributes: Mapping[str, object]) -> None:
    """Reject attributes that cannot be stored as JSON.

    Raises:
        UnstorableError: A value is nested or no valid text, or all of them exceed
            `MAX_ATTRIBUTES_BYTES`.
    """
    for name, value in attributes.items():
        if not isinstance(name, str) or not isinstance(value, str | int | float | bool | None):
            raise UnstorableError(
                NOT_STORABLE, "attributes contain a value that is no text or number"
            )
        for text in (name, value):
            if isinstance(text, str) and not _is_valid(text):
                raise UnstorableError(NOT_STORABLE, "attributes contain a text that is not valid")
    try:
        size = len(json.dumps(dict(attributes), ensure_ascii=False).encode())
    except ValueError as error:  # a number of thousands of digits
        raise UnstorableError(
            NOT_STORABLE, "attributes contain a number with too many digits"
        ) from error
    if size > MAX_ATTRIBUTES_BYTES:
        raise UnstorableError(
            TOO_LONG, f"attributes have {size} bytes; at most {MAX_ATTRIBUTES_BYTES} can be stored"
        )


def check_metadata_override(metadata_override: MetadataOverride) -> None:
    """Reject an override with a value that cannot be stored.

    Raises:
        UnstorableError: A value cannot be stored; the detail names the field.
    """
    for column in (
        "creator",
        "sequence",
        "license",
        "panorama_id",
        "track",
        "track_name",
        "time_zone",
    ):
        check_text(column, getattr(metadata_override, column))
    for path in metadata_override.sidecars:
        check_text("sidecar", path)
    for column in (
        "lat",
        "lon",
        "heading_deg",
        "field_of_view_deg",
        "altitude_m",
        "camera_clock_offset_s",
    ):
        check_number(column, getattr(metadata_override, column))
    if metadata_override.captured_at is not None:
        to_utc("captured_at", metadata_override.captured_at)
    check_attributes(metadata_override.attributes)


def check_item(
    external_id: str, file: str, uri: str, metadata_override: MetadataOverride | None
) -> None:
    """Reject a file of a batch whose names or override cannot be stored.

    Raises:
        UnstorableError: One of them cannot be stored; the detail names it.
    """
    check_text("external_id", external_id)
    check_text("file", file)
    check_text("uri", uri)
    if metadata_override is not None:
        check_metadata_override(metadata_override)


def check_capture(capture: CaptureMetadata) -> None:
    """Reject metadata of a file that cannot be stored.

    Raises:
        UnstorableError: A value cannot be stored; the detail names it.
    """
    for column in ("camera", "creator", "sequence", "license", "panorama_id"):
        text = getattr(capture, column)
        # Some cameras write zero bytes; they are removed when the row is built.
        check_text(column, None if text is None else text.replace("\x00", ""))
    for column in ("heading_deg", "field_of_view_deg", "altitude_m"):
        check_number(column, getattr(capture, column))
    check_number("lat", capture.point.lat)
    check_number("lon", capture.point.lon)
    if capture.captured_at is not None:
        to_utc("captured_at", capture.captured_at)


def _is_valid(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in text
