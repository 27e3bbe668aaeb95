"""Protected areas: places that must not be revealed, and what callers may learn of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

from pinpoint.records.areas import Polygon

AreaGranularity = Literal["radius", "city", "country", "refuse"]
"""Finest statement about a position in a protected area, for callers that may not see it."""
Granularity = Literal["exact"] | AreaGranularity
"""How precisely a caller may learn a position: as it is, as a disc, as a city, as a country, or not
at all."""
AREA_GRANULARITIES: Final[tuple[AreaGranularity, ...]] = get_args(AreaGranularity)
GRANULARITIES: Final[tuple[Granularity, ...]] = ("exact", *AREA_GRANULARITIES)
"""Finest first."""
MIN_AREA_RADIUS_M: Final = 100.0
MAX_AREA_RADIUS_M: Final = 1_000_000.0
"""Limits of a minimum radius."""

ImageAccess = Literal["none", "thumbnail", "full"]
"""What API keys may see of the images of a source."""


def coarser_granularity(first: Granularity, second: Granularity) -> Granularity:
    """The coarser one of two granularities."""
    return max(first, second, key=GRANULARITIES.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewProtectedArea:
    """Values of a protected area that its writer states."""

    name: str
    granularity: AreaGranularity
    min_radius_m: float | None
    """Minimum radius of a disc; only for the granularity `radius`."""
    purpose: str
    """Why it is protected."""
    polygons: tuple[Polygon, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtectedArea(NewProtectedArea):
    """A protected area."""

    id: UUID
    organization_id: UUID | None
    """None if it applies to the whole installation."""
    created_at: datetime
    updated_at: datetime
    applied: bool
    """Whether all gallery rows inside are hidden; answers follow the area at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaHit:
    """A protected area that contains a position."""

    granularity: AreaGranularity
    min_radius_m: float | None
    polygon: Polygon
    """The part of the area that contains the position."""
