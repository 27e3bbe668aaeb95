"""Reads the query photos of a request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pinpoint.errors import BadRequestError, describe_cause

Photo = str | Path | bytes
"""Path or bytes of an image."""


def read_photos(photo: Photo | Sequence[Photo]) -> list[tuple[str, tuple[str, bytes]]]:
    """Read one or several photos as parts of a form.

    Raises:
        BadRequestError: A file cannot be read (`unreadable`).
    """
    photos = [photo] if isinstance(photo, str | Path | bytes) else photo
    return [("photo", _read_photo(entry)) for entry in photos]


def _read_photo(photo: Photo) -> tuple[str, bytes]:
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
