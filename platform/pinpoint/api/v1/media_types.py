"""Choice of the media type of an answer by the header `Accept`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException

JSON: Final = "application/json"
GEOJSON: Final = "application/geo+json"
CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"
PNG: Final = "image/png"
EVENT_STREAM: Final = "text/event-stream"
ZIP: Final = "application/zip"


def choose_media_type(accept: str, offered: Sequence[str]) -> str:
    """Choose one of the media types that a route offers (RFC 9110, 12.5.1).

    Args:
        accept: Value of the header `Accept`; empty accepts every type.
        offered: Media types; the first one is the default.

    Returns:
        The type with the highest weight; among equal weights the one that a range names most
        precisely, then the one that the header names first, then the first one offered.

    Raises:
        HTTPException: 406, because the header accepts none of them.
    """
    ranges = [_parse_range(entry) for entry in accept.split(",") if entry.strip()]
    best, best_rank = "", (0.0, 0, 0)
    for media_type in offered:
        rank = _rank_media_type(media_type, ranges or [("*/*", 1.0)])
        if rank[0] > 0 and (not best or rank > best_rank):
            best, best_rank = media_type, rank
    if not best:
        raise HTTPException(
            406, f"this path returns {' or '.join(offered)}; `Accept` allows none of them"
        )
    return best


def refer_to_schema(model: type[BaseModel]) -> dict[str, str]:
    """Return the OpenAPI reference to a model in `openapi_schema.RESPONSE_MODELS`."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _parse_range(entry: str) -> tuple[str, float]:
    """Parse one entry of the header: media range and weight, 1 if it is no number from 0 to 1."""
    name, options = parse_options_header(entry.strip())
    try:
        weight = float(options.get(b"q", b"1"))
    except ValueError:
        weight = 1.0
    is_valid = math.isfinite(weight) and 0 <= weight <= 1
    return name.decode("latin-1").lower(), weight if is_valid else 1.0


def _rank_media_type(
    media_type: str, ranges: Sequence[tuple[str, float]]
) -> tuple[float, int, int]:
    """Weight, precision and negative position of the most precise range of a type."""
    patterns = ("*/*", f"{media_type.partition('/')[0]}/*", media_type)
    matches = [
        (patterns.index(name), -position, weight)
        for position, (name, weight) in enumerate(ranges)
        if name in patterns
    ]
    if not matches:
        return 0.0, 0, 0
    precision, position, weight = max(matches)
    return weight, precision, position
