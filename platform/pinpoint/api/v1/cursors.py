"""Opaque cursors for keyset pagination.

A cursor encodes the sort key of the last row of a page and no data of other organizations. With
a cursor of another organization, a list contains the caller's own rows after that key.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request
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


def encode_time_cursor(created_at: datetime, row_id: UUID) -> str:
    """Encode a position in a list by time of creation and id as URL-safe text."""
    key = json.dumps([created_at.isoformat(), row_id.hex])
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_time_cursor(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Decode the position in a cursor; None without a cursor.

    Raises:
        BadRequestError: The text is not a cursor of a list by time.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        created_at, row_id = json.loads(text)
        position = datetime.fromisoformat(created_at), UUID(hex=row_id)
        if position[0].tzinfo is None:
            raise ValueError("a time without a zone")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadRequestError(
            "the cursor is not one of this list; take the `next` link of a page as it is"
        ) from error
    return position


def build_next_link(path: str, query: QueryParams, last: Image) -> str:
    """Build path and query string of the page after an image.

    Args:
        path: Path of the list.
        query: Query parameters of this page; the next page has the same filters.
        last: Last image of this page.
    """
    position = ImagePosition(file_name=last.file_name, image_id=last.id)
    return _build_cursor_link(path, query, encode_cursor(position))


def _build_cursor_link(path: str, query: QueryParams, cursor: str) -> str:
    """Build path and query string of the page after a cursor, with the filters of this page."""
    filters = [(name, value) for name, value in query.multi_items() if name != "cursor"]
    return f"{path}?{urlencode([*filters, ('cursor', cursor)])}"


def build_time_link(request: Request, last: tuple[datetime, UUID] | None) -> str | None:
    """Build path and query string of the page after a row with this time and id.

    Args:
        request: Request of this page.
        last: Time of creation and id of its last row; None if there is no next page.
    """
    if last is None:
        return None
    return _build_cursor_link(request.url.path, request.query_params, encode_time_cursor(*last))
