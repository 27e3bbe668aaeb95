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

from starlette.datastructures import QueryParams

from pinpoint.errors import BadRequestError
from pinpoint.records import Image, ImagePosition

_VERSION: Final = 2


def encode_cursor(position: ImagePosition) -> str:
    """Encode a list position as URL-safe text."""
    key = [_VERSION, position.file_name, position.image_id.hex]
    text = json.dumps(key, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> ImagePosition:
    """Decode the list position in a cursor.

    Raises:
        BadRequestError: The text is not a cursor of this version.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        version, file_name, image_id = json.loads(text)
        if version != _VERSION or b"\x00" in file_name.encode():
            raise ValueError("unknown form")
        return ImagePosition(file_name=file_name, image_id=UUID(hex=image_id))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadRequestError(
            "the cursor is not one of this API; take the `next` link of a page as it is"
        ) from error


def build_next_link(path: str, query: QueryParams, last: Image) -> str:
    """Build path and query string of the page after an image.

    Args:
        path: Path of the list.
        query: Query parameters of this page; the next page has the same filters.
        last: Last image of this page.
    """
    position = ImagePosition(file_name=last.file_name, image_id=last.id)
    filters = [(name, value) for name, value in query.multi_items() if name != "cursor"]
    return f"{path}?{urlencode([*filters, ('cursor', encode_cursor(position))])}"
