"""Claims: what the metadata of a query photo state about its capture."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pinpoint.records.primitives import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureClaim:
    """Position, time and heading that a photo's EXIF and XMP state; unverified."""

    point: Point | None = None
    position_source: str | None = None
    """`exif` or `xmp`; None without a usable position."""
    position_note: str | None = None
    """Why a position in the file is not usable; None without such a position."""
    captured_at: datetime | None = None
    time_source: str | None = None
    """One of `TIME_SOURCES`; None without a time."""
    time_assumed_utc: bool = False
    """Whether the time has no offset, so that it may be wrong by hours."""
    heading_deg: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedClaim:
    """A claim, and how it relates to the answer."""

    photo: int
    """Number of the photo in the query, from 0."""
    claim: CaptureClaim
    distance_m: float | None = None
    """Distance of the claimed position from the answer's point; None without one of them."""
    inside_discs: tuple[bool, ...] = ()
    """Whether the position is inside each credible disc of the answer; empty without a distance."""
    inside_regions: tuple[bool, ...] = ()
    """Whether it is inside each credible region; empty without a posterior or a distance."""
    agrees: bool | None = None
    """None if there is nothing to compare: no claimed position, or no answer."""
