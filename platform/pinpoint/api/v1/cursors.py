"""Opaque cursors for keyset pagination.

A cursor encodes the sort key of the last row of a page and no data of other organizations. With
a cursor of another organization, a list contains the caller's own rows after that key.
"""

from __future__ import annotations

import base64
import json
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from pydantic import BaseModel

from pinpoint.errors import BadRequestError
from pinpoint.records import Image, ImagePosition

_VERSION: Final = 1
_MIN_DIGITS: Final = 6


def encode_cursor(position: ImagePosition) -> str:
    """Encode a list position as URL-safe text."""
    key = [_VERSION, position.source, position.file_name, position.image_id.hex]
    text = json.dumps(key, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> ImagePosition:
    """Decode the list position in a cursor.

    Raises:
        BadRequestError: The text is not a cursor of this version.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, source, file_name, image_id = json.loads(text)
        if version != _VERSION or b"\x00" in (source + file_name).encode():
            raise ValueError("unknown form")
        return ImagePosition(source=source, file_name=file_name, image_id=UUID(hex=image_id))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadRequestError(
            "the cursor is not one of this API; take the `next` link of a page as it is"
        ) from error


def build_next_link(query: BaseModel, last: Image) -> str:
    """Return path and query string of the page after an image, with the same filters."""
    position = ImagePosition(source=last.source, file_name=last.file_name, image_id=last.id)
    parameters = query.model_dump(exclude_defaults=True, exclude={"cursor"})
    return f"/v1/images?{urlencode({**parameters, 'cursor': encode_cursor(position)}, doseq=True)}"


def normalize_id_prefix(text: str | None) -> str | None:
    """Normalize an id prefix: no dashes, lower case.

    Raises:
        BadRequestError: The prefix has fewer than six digits, or more than an id.
    """
    if text is None:
        return None
    digits = text.replace("-", "").lower()
    if not _MIN_DIGITS <= len(digits) <= 32:
        raise BadRequestError(f"id_prefix needs {_MIN_DIGITS} to 32 hex digits")
    return digits
