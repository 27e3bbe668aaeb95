"""Opaque cursors for keyset pagination, and the links to next pages of all lists.

A cursor encodes the sort key of the last row of a page and no data of other organizations. With
a cursor of another organization, a list contains the caller's own rows after that key. `next` in a
page and `rel="next"` in its header `Link` are the path and query string of the next page.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from pinpoint.errors import BadRequestError

MAX_CURSOR_CHARACTERS: Final = 4_000
CURSOR_DESCRIPTION: Final = "Value of `cursor` in the link `next` of the previous page."
Cursor = Annotated[
    str | None, Query(max_length=MAX_CURSOR_CHARACTERS, description=CURSOR_DESCRIPTION)
]
"""The query parameter `cursor` of a list."""


def encode_cursor(list_name: str, *key: str) -> str:
    """Encode the position after a row as URL-safe text.

    Args:
        list_name: Name of the list; a cursor of another list is refused.
        key: Sort key of the row.
    """
    text = json.dumps([list_name, *key], ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, list_name: str, length: int) -> list[str]:
    """Decode the sort key in a cursor.

    Args:
        cursor: Text from a request.
        list_name: Name of the list.
        length: Number of values of its sort key.

    Raises:
        BadRequestError: The text is not a cursor of this list.
    """
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        values: list[str] = json.loads(text)
        name, *key = values
        is_valid = name == list_name and len(key) == length
        # Half of a surrogate pair cannot be encoded, and is no text.
        if not is_valid or any(b"\x00" in part.encode() for part in key):
            raise ValueError("another list")
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise make_cursor_error() from error
    return key


def decode_time_cursor(cursor: str | None, list_name: str) -> tuple[datetime, UUID] | None:
    """Decode the position in a list by time of creation and id; None without a cursor.

    Raises:
        BadRequestError: The text is not a cursor of this list.
    """
    if cursor is None:
        return None
    created_at, row_id = decode_cursor(cursor, list_name, 2)
    try:
        position = datetime.fromisoformat(created_at), UUID(hex=row_id)
        if position[0].tzinfo is None:
            raise ValueError("a time without a zone")
    except ValueError as error:
        raise make_cursor_error() from error
    return position


def build_time_link(
    request: Request, list_name: str, last: tuple[datetime, UUID] | None
) -> str | None:
    """Build path and query string of the page after a row with this time and id.

    Args:
        request: Request of this page.
        list_name: Name of the list, as for `encode_cursor`.
        last: Time of creation and id of its last row; None if there is no next page.
    """
    if last is None:
        return None
    return build_next_link(request, encode_cursor(list_name, last[0].isoformat(), last[1].hex))


def make_cursor_error() -> BadRequestError:
    """Make the error of a cursor that is not one of its list."""
    return BadRequestError(
        "the cursor is not one of this list; take the `next` link of a page as it is"
    )


def build_next_link(request: Request, cursor: str) -> str:
    """Build path and query string of the next page, with the filters of this page."""
    filters = [
        (name, value) for name, value in request.query_params.multi_items() if name != "cursor"
    ]
    return f"{request.url.path}?{urlencode([*filters, ('cursor', cursor)])}"


def add_link_header(response: Response, next_link: str | None) -> None:
    """Add the header `Link` (RFC 8288) with the next page, unless the page is the last one."""
    if next_link is not None:
        response.headers["Link"] = f'<{next_link}>; rel="next"'
