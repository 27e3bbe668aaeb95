"""Which column is the latitude: some label files in circulation have their header swapped.

GeoEstimation's im2gps3k file of 2018 is headed `LON,LAT` over latitudes and longitudes. Only the
range of the values shows it: no latitude lies beyond 90 degrees.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

LEAST_SHARE: Final = 0.1
"""Of all positions so many must be possible only swapped before the header is disbelieved.

A few slips of the pen do the same to a set whose longitudes all lie within 90 degrees; a swapped
header does it to every longitude beyond, 29 % of IM2GPS and 35 % of IM2GPS3k."""


@dataclass(frozen=True, slots=True)
class Axes:
    """How the columns are read."""

    swapped: bool
    """What is called latitude is the longitude, in every row."""
    notes: tuple[str, ...]
    """Anything but a header that its values confirm is said."""


def axes_of(positions: Iterable[tuple[float | None, float | None]]) -> Axes:
    """Weigh a header against its values; positions impossible either way have no say.

    Args:
        positions: What the columns called latitude and longitude hold, degrees; None where that
            is no number.
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
        return Axes(False, (_UNVERIFIABLE_NOTE,) if unverifiable else ())
    summary = f"{only_swapped:,} of {total:,} positions are possible only with both columns swapped"
    if only_named > 0:
        return Axes(False, (f"{summary}, and {only_named:,} only as named; {_HEADER_KEPT_NOTE}",))
    if only_swapped < LEAST_SHARE * total:
        return Axes(
            False, (f"{summary}, too few to tell a wrong header from slips; {_HEADER_KEPT_NOTE}",)
        )
    return Axes(
        True, (f"{summary}, none only as named: the header is wrong, every row was swapped",)
    )


_HEADER_KEPT_NOTE: Final = (
    "the header was believed and those rows dropped as out of range. If it is wrong, give a "
    "column mapping with latitude and longitude exchanged"
)
_UNVERIFIABLE_NOTE: Final = (
    "every position is possible with latitude and longitude swapped, too, so a wrong header would "
    "not be seen by its range"
)


def _is_valid_position(lat: float, lon: float) -> bool:
    return abs(lat) <= 90.0 and abs(lon) <= 180.0
