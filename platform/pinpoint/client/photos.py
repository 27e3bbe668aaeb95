"""Photos of a query as parts of a form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pinpoint.errors import BadRequestError, describe_cause

Photo = str | Path | bytes


def read_photos(photo: Photo | Sequence[Photo]) -> list[tuple[str, tuple[str, bytes]]]:
    """Parts `photo` of a form, one for each photo, in order."""
    photos = [photo] if isinstance(photo, str | Path | bytes) else photo
    return [("photo", read_photo(entry)) for entry in photos]


def read_photo(photo: Photo) -> tuple[str, bytes]:
    """File name and bytes of a photo.

    Raises:
        BadRequestError: The file is missing or cannot be read.
    """
    if isinstance(photo, bytes):
        return "photo", photo
    path = Path(photo)
    try:
        return path.name, path.read_bytes()
    except FileNotFoundError as error:
        raise BadRequestError(f"there is no file or folder {path}", reason="unreadable") from error
    except OSError as error:
        raise BadRequestError(
            f"{path} cannot be read: {describe_cause(error)}", reason="unreadable"
        ) from error
