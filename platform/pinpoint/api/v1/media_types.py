"""Choice of the media type of an answer by the header `Accept`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from python_multipart.multipart import parse_options_header

JSON: Final = "application/json"
GEOJSON: Final = "application/geo+json"
CSV: Final = "text/csv"


def choose_media_type(accept: str, offered: Sequence[str]) -> str:
    """Choose one of the media types that a route offers (RFC 9110, 12.5.1).

    Args:
        accept: Value of the header `Accept`.
        offered: Media types; the first one is the default.

    Returns:
        The type with the highest weight; among equal weights the one that the header names first,
        then the first one offered. The default if the header accepts none of them.
    """
    ranges = [_parse_range(entry) for entry in accept.split(",") if entry.strip()]
    best, best_rank = offered[0], (0.0, float("-inf"))
    for media_type in offered:
        # A named type takes precedence over `type/*`, which does so over `*/*`.
        for pattern in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
            positions = [i for i, (name, _) in enumerate(ranges) if name == pattern]
            if positions:
                rank = (ranges[positions[0]][1], -float(positions[0]))
                if rank[0] > 0 and rank > best_rank:
                    best, best_rank = media_type, rank
                break
    return best


def _parse_range(entry: str) -> tuple[str, float]:
    """Parse one entry of the header: media range and weight; an invalid weight is 0."""
    name, options = parse_options_header(entry.strip())
    try:
        weight = float(options.get(b"q", b"1"))
    except ValueError:
        weight = 0.0
    return name.decode("latin-1").lower(), weight
