"""Range requests for files in memory (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from fastapi import Request, Response

from pinpoint.api import problems

RANGE_NOT_SATISFIABLE: Final = "range_not_satisfiable"

_RANGE: Final = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.ASCII | re.IGNORECASE)
_MAX_DIGITS: Final = 18


def make_range_response(
    request: Request, content: bytes, etag: str, headers: Mapping[str, str], media_type: str
) -> Response:
    """Respond with the whole file (200), one range of it (206), or 416.

    A request for several ranges, an invalid one, and one whose `If-Range` is not `etag` get the
    whole file, as section 14.2 allows.

    Args:
        request: The request.
        content: The file.
        etag: Its strong entity tag, with its quotes.
        headers: Further headers.
        media_type: Media type of the file.
    """
    headers = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
    requested = request.headers.get("range")
    condition = request.headers.get("if-range")
    if requested is None or request.method != "GET" or condition not in (None, etag):
        return Response(content, media_type=media_type, headers=headers)
    bounds = _RANGE.fullmatch(requested)
    if bounds is None or bounds[0].endswith("=-") or max(map(len, bounds.groups())) > _MAX_DIGITS:
        return Response(content, media_type=media_type, headers=headers)
    selected = _select_range(bounds[1], bounds[2], len(content))
    if selected is None:
        return problems.problem_response(
            request,
            RANGE_NOT_SATISFIABLE,
            416,
            f"the file has {len(content)} bytes, and the requested range has none of them",
            headers={"Content-Range": f"bytes */{len(content)}", "ETag": etag},
        )
    first, last = selected
    if last < first:  # an invalid range
        return Response(content, media_type=media_type, headers=headers)
    return Response(
        content[first : last + 1],
        status_code=206,
        media_type=media_type,
        headers={**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"},
    )


def _select_range(first: str, last: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a range; None if it has no byte of the file."""
    if not first:
        length = min(int(last), size)
        return (size - length, size - 1) if length else None
    if last and int(last) < int(first):
        return int(first), int(last)
    return (int(first), min(int(last or size), size - 1)) if int(first) < size else None
