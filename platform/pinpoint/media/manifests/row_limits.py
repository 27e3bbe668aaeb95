"""The limit on the number of rows of a manifest."""

from __future__ import annotations

from pathlib import Path

from pinpoint.errors import TooLargeError
from pinpoint.settings import MediaSettings


def too_many_rows(path: Path, settings: MediaSettings) -> TooLargeError:
    """The error for a manifest with more rows than allowed."""
    return TooLargeError(
        f"{path.name} has more than {settings.max_manifest_rows} rows "
        "(PINPOINT_MEDIA_MAX_MANIFEST_ROWS); split it"
    )


def check_row_count(path: Path, settings: MediaSettings, count: int) -> None:
    """Raise `TooLargeError` for more rows than `max_manifest_rows`."""
    if count > settings.max_manifest_rows:
        raise too_many_rows(path, settings)
