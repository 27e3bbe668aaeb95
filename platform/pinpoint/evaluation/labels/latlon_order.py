"""Detects label files whose latitude and longitude headers are swapped.

GeoEstimation's im2gps3k file of 2018 has the header `LON,LAT` over latitudes and longitudes. Only
the range of the values reveals it: no latitude exceeds 90 degrees.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MIN_SWAPPED_SHARE: Final = 0.1
"""The header is rejected if at least this share of positions is valid only when swapped.

If all longitudes are within 90 degrees, a few typing errors look like a swapped header. A swapped
header affects every longitude beyond 90 degrees: 29 % of IM2GPS and 35 % of IM2GPS3k."""


@dataclass(frozen=True, slots=True)
class LatLonOrder:
    """Order of the latitude and longitude columns."""

    swapped: bool
    """The column named latitude contains the longitude, in every row."""
    notes: tuple[str, ...]
    """Warnings; empty if the values confirm the header."""


def detect_latlon_order(positions: Iterable[tuple[float | None, float | None]]) -> LatLonOrder:
    """Compare the header with its values; positions that are invalid in both orders are ignored.

    Args:
        positions: Values of the columns named latitude and longitude, degrees; None for a value
            that is not a number.
    """
    only_named = only_swapped = both_ways = 0
    for lat, lon in positions:
        if lat is None or lon is None:
            continue
        as_named, as_swapped = _is_valid_position(lat, lon), _is_valid_position(lon, lat)
        only_named += as_named and not as_swapped
        only_swapped += as_swapped and not as_named
        both_ways += as_named and as_swapped
    total = only_named + only_swapped + both_ways
    if only_swapped == 0:
        unverifiable = both_ways > 0 and only_named == 0
        return LatLonOrder(False, (_UNVERIFIABLE_NOTE,) if unverifiable else ())
    summary = f"{only_swapped:,} of {total:,} positions are possible only with both columns swapped"
    if only_named > 0:
        return LatLonOrder(
            False, (f"{summary}, and {only_named:,} only as named; {_HEADER_KEPT_NOTE}",)
        )
    if only_swapped < MIN_SWAPPED_SHARE * total:
        return LatLonOrder(
            False,
            (f"{summary}, too few to tell a wrong header from typing errors; {_HEADER_KEPT_NOTE}",),
        )
    return LatLonOrder(
        True, (f"{summary}, none only as named: the header is wrong, every row was swapped",)
    )


_HEADER_KEPT_NOTE: Final = (
    "the header was used and those rows were dropped as out of range. If the header is wrong, "
    "give a column mapping with latitude and longitude exchanged"
)
_UNVERIFIABLE_NOTE: Final = (
    "every position is also possible with latitude and longitude swapped, so the range of the "
    "values cannot reveal a wrong header"
)


def _is_valid_position(lat: float, lon: float) -> bool:
    return abs(lat) <= 90.0 and abs(lon) <= 180.0
