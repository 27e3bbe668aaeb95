"""Reads the query photos of a request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pinpoint_client.calls.call import FilePart
from pinpoint_client.errors import BadRequestError
from pinpoint_client.problems import describe_cause

Photo = str | Path | bytes
"""Path or bytes of an image."""


def read_photos(photo: Photo | Sequence[Photo]) -> list[FilePart]:
    """Read one or several photos as parts of a form.

    Raises:
        BadRequestError: A file cannot be read (`unreadable`).
    """
    photos = [photo] if isinstance(photo, str | Path | bytes) else photo
    return [("photo", _read_photo(entry)) for entry in photos]


def read_file(path: Path) -> bytes:
    """Read a file.

    Raises:
        BadRequestError: It cannot be read (`unreadable`).
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise BadRequestError(f"there is no file or folder {path}", reason="unreadable") from error
    except OSError as error:
        raise BadRequestError(
            f"{path} cannot be read: {describe_cause(error)}", reason="unreadable"
        ) from error


def _read_photo(photo: Photo) -> tuple[str, bytes]:
    if isinstance(photo, bytes):
        return "photo", photo
    path = Path(photo)
    return path.name, read_file(path)
