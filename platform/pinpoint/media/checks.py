"""All error codes of rejected files, and the checks of positions and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

from pinpoint.media.metadata.raw_metadata import sanitize_text
from pinpoint.records import Rejected

Stage = Literal["find", "read", "check", "decode"]

REASONS: Final[Mapping[str, str]] = {
    "ambiguous_track": "GPX tracks that overlap in time could each place the photo; `--track` "
    "chooses one.",
    "bad_metadata_override": "The stored metadata override of the file cannot be decoded.",
    "bad_name": "The file's name is not UTF-8.",
    "bad_row": "A manifest row has a value that cannot be read.",
    "crop_outside_image": "The crop of the query photo reaches outside its upright image.",
    "decoder_crashed": "The file brought the decoding process down.",
    "empty_file": "The file holds no bytes.",
    "future_date": "The file says it was taken more than a day from now.",
    "incomplete_position": "Only one of latitude and longitude can be read, or a hemisphere is "
    "missing.",
    "metadata_too_large": "The EXIF, XMP or ICC block is larger than PINPOINT_MEDIA_MAX_METADATA_"
    "BYTES.",
    "missing_file": "There is no regular, readable file at that path.",
    "no_position": "Neither the file nor its manifest row nor a GPX track says where it was taken.",
    "not_storable": "A value is no text, number or time that the database holds.",
    "null_island": "The position is 0/0, which devices write without a position fix.",
    "out_of_memory": "Decoding the file needs more memory than PINPOINT_MEDIA_MEMORY_MB.",
    "out_of_range": "The latitude is beyond 90 degrees or the longitude beyond 180.",
    "outside_root": "A manifest row names a file outside the manifest's folder.",
    "text_too_long": "A text is longer than its column holds, or all attributes together are.",
    "timeout": "Reading the file takes longer than PINPOINT_MEDIA_TIMEOUT_S.",
    "time_zone_unknown": "The time has no offset from UTC, so a GPX track cannot place the photo; "
    "`--time-zone` says what it means.",
    "too_large": "The file is larger than PINPOINT_MEDIA_MAX_BYTES.",
    "too_many_frames": "The file holds more frames than PINPOINT_MEDIA_MAX_FRAMES.",
    "too_many_pixels": "The image has more pixels than PINPOINT_MEDIA_MAX_PIXELS.",
    "undecodable": "The file is damaged or cut short.",
    "unreadable_folder": "A folder cannot be opened; nothing below it was read.",
    "unsupported_format": "The file is not JPEG, HEIC, AVIF, WebP, PNG or TIFF.",
    "url_forbidden": "The server does not allow reading the URL.",
    "url_not_found": "There is no file at the URL.",
    "url_refused": "The URL, its host or one of its addresses is not allowed "
    "(PINPOINT_REMOTE_ALLOWED_HOSTS, PINPOINT_REMOTE_ALLOWED_BUCKETS).",
    "url_timeout": "The server of the URL did not finish within PINPOINT_REMOTE_TIMEOUT_S.",
    "url_too_large": "The file at the URL is larger than PINPOINT_MEDIA_MAX_BYTES.",
    "url_unavailable": "The server of the URL cannot be reached, or answers with an error.",
}
"""Stable error code → one line for users. Files, manifests and decoder use only these codes."""

STAGES: Final[Mapping[str, Stage]] = {
    "bad_name": "find",
    "bad_row": "find",
    "outside_root": "find",
    "unreadable_folder": "find",
    "empty_file": "read",
    "metadata_too_large": "read",
    "missing_file": "read",
    "too_large": "read",
    "too_many_frames": "read",
    "too_many_pixels": "read",
    "unsupported_format": "read",
    "url_forbidden": "read",
    "url_not_found": "read",
    "url_refused": "read",
    "url_timeout": "read",
    "url_too_large": "read",
    "url_unavailable": "read",
    "ambiguous_track": "check",
    "bad_metadata_override": "check",
    "crop_outside_image": "check",
    "future_date": "check",
    "incomplete_position": "check",
    "no_position": "check",
    "not_storable": "check",
    "null_island": "check",
    "out_of_range": "check",
    "text_too_long": "check",
    "time_zone_unknown": "check",
    "decoder_crashed": "decode",
    "out_of_memory": "decode",
    "timeout": "decode",
    "undecodable": "decode",
}
"""Stage that detects an error, unless a manifest detects it earlier (`find`)."""

POISON: Final = frozenset({"decoder_crashed", "out_of_memory", "timeout"})
"""Error codes that a file may have caused in its decoder. The machine may be the cause, so the item
is `failed`, which can be retried, and not `rejected`."""

RETRYABLE: Final = POISON | {"url_forbidden", "url_timeout", "url_unavailable"}
"""Error codes of items that are `failed`: another attempt may have another result."""

MODIFIED_SINCE_INDEXING: Final = "file_modified_since_indexing"
"""Reason for a stored file with other bytes or faces than those that were ingested."""

MAX_MESSAGE_CHARS: Final = 500
"""Maximum characters of an explanation."""

NULL_ISLAND_DEG: Final = 1e-6
MAX_FUTURE: Final = timedelta(days=1)


class RejectedFileError(Exception):
    """A rejection inside this package; callers outside get a `Rejected` record."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def rejected(
    file: str, error_code: str, error_message: str, *, error_stage: Stage | None = None
) -> Rejected:
    """Make a rejection with its default stage; its texts are sanitized for the database."""
    return Rejected(
        file=sanitize_text(file),
        error_stage=error_stage or STAGES[error_code],
        error_code=error_code,
        error_message=sanitize_text(error_message)[:MAX_MESSAGE_CHARS],
    )


def check_position(
    lat: float | None, lon: float | None, note: str = "", *, partial: bool = False
) -> tuple[float, float]:
    """Return the position if it is complete, in range and not 0/0.

    Args:
        lat: Degrees, or None.
        lon: Degrees, or None.
        note: Why a part cannot be read, for users.
        partial: A part of a position exists, even if neither coordinate is usable.

    Raises:
        RejectedFileError: `incomplete_position`, `no_position`, `out_of_range` or `null_island`.
    """
    suffix = f": {note}" if note else ""
    if lat is None and lon is None and partial:
        raise RejectedFileError("incomplete_position", f"only part of a position{suffix}")
    if lat is None and lon is None:
        raise RejectedFileError(
            "no_position", f"no position in the file, a manifest or a track{suffix}"
        )
    if lat is None or lon is None:
        present, missing = ("longitude", "latitude") if lat is None else ("latitude", "longitude")
        raise RejectedFileError(
            "incomplete_position", f"a {present} without a usable {missing}{suffix}"
        )
    if not abs(lat) <= 90:
        swapped = "; are latitude and longitude swapped?" if abs(lat) <= 180 else ""
        raise RejectedFileError("out_of_range", f"latitude {lat:.6g} is beyond 90 degrees{swapped}")
    if not abs(lon) <= 180:
        raise RejectedFileError("out_of_range", f"longitude {lon:.6g} is beyond 180 degrees")
    if abs(lat) < NULL_ISLAND_DEG and abs(lon) < NULL_ISLAND_DEG:
        raise RejectedFileError(
            "null_island", "the position is 0/0, what devices write without a fix"
        )
    return lat, lon


def check_time(captured_at: datetime | None, now: datetime) -> None:
    """Check that a time is not in the future; one day is allowed for clocks without an offset.

    Raises:
        RejectedFileError: `future_date`.
    """
    if captured_at is not None and captured_at - now > MAX_FUTURE:
        raise RejectedFileError(
            "future_date", f"taken {captured_at:%Y-%m-%d %H:%M} UTC, and now is {now:%Y-%m-%d}"
        )
