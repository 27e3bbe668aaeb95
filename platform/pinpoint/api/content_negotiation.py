"""Selects the media type of a response by the header `Accept` (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException

AcceptHeader = Annotated[list[str], Header(alias="accept", include_in_schema=False)]
"""Parameter of a route: all headers `Accept` of the request."""


def select_media_type(accept: Sequence[str], *offered: str) -> str:
    """Select the offered media type that a client prefers.

    The quality value decides. Among equal ones, a range that names the type precedes a wildcard,
    then the order of the header decides, then the order of the offer.

    Args:
        accept: Values of the headers `Accept`; without one, every type is acceptable.
        offered: Media types of the route, the default first.

    Raises:
        HTTPException: 406, because no offered type is acceptable.
    """
    ranges = _parse_ranges(",".join(accept)) or [("*/*", 1.0)]
    best_type, best_rank = "", (0.0, 0, 0)
    for media_type in offered:
        rank = _rank_media_type(media_type, ranges)
        if rank[0] > 0 and rank > best_rank:
            best_type, best_rank = media_type, rank
    if not best_type:
        raise HTTPException(
            406, f"this path returns {' or '.join(offered)}; `Accept` allows none of them"
        )
    return best_type


def _parse_ranges(accept: str) -> list[tuple[str, float]]:
    """Return the media ranges of a header with their quality values, 0 to 1, in its order."""
    ranges = []
    for entry in accept.split(","):
        name, parameters = parse_options_header(entry.strip())
        if name:
            quality = _parse_quality(parameters.get(b"q", b"1").decode("latin-1"))
            ranges.append((name.decode("latin-1").strip().lower(), quality))
    return ranges


def _parse_quality(text: str) -> float:
    """Return a quality value; one that is not a number from 0 to 1 counts as 1."""
    try:
        quality = float(text)
    except ValueError:
        return 1.0
    return quality if math.isfinite(quality) and 0 <= quality <= 1 else 1.0


def _rank_media_type(
    media_type: str, ranges: Sequence[tuple[str, float]]
) -> tuple[float, int, int]:
    """Return quality, precision and negative position of the most precise range of a type."""
    patterns = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
    matches = [
        (patterns.index(name), -position, quality)
        for position, (name, quality) in enumerate(ranges)
        if name in patterns
    ]
    if not matches:
        return 0.0, 0, 0
    precision, position, quality = max(matches)
    return quality, precision, position


def refer_to_schema(model: type[BaseModel]) -> dict[str, str]:
    """Return the OpenAPI reference to a model in `app.RESPONSE_MODELS`."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}
