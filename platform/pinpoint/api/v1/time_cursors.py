"""Cursors of lists that are ordered by creation time and id, newest first."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from uuid import UUID

from pinpoint.errors import BadRequestError


def encode_time_cursor(created_at: datetime, row_id: UUID) -> str:
    """Encode the position of a row as URL-safe text."""
    key = json.dumps([created_at.isoformat(), row_id.hex])
    return base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")


def decode_time_cursor(cursor: str) -> tuple[datetime, UUID]:
    """Decode the position in a cursor.

    Raises:
        BadRequestError: The text is not a cursor of such a list.
    """
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
