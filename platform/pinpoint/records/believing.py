"""What a calibrated answer says of itself: how likely, how large, under which names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pinpoint.records.basics import Point
from pinpoint.records.calibrating import Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A disc around the answer that holds a share of the mass."""

    mass: float
    radius_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """The densest places that hold a share of the probability."""

    share: float
    """How often such areas hold the truth."""
    level: float
    """The mass that it had to claim for that; the conformal level."""
    area_km2: float
    boxes: tuple[tuple[float, float, float, float], ...]
    """Boxes that do not overlap: south, west, north, east, degrees; none crosses ±180°."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceName:
    """A country, region or city, and how likely the photo was taken there."""

    level: str
    name: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Belief:
    """What calibrated probabilities say of one question."""

    stratum: str
    """Whose numbers were used."""
    point: Point
    within: Mapping[float, float]
    """Probability that the photo was taken within so many kilometres of the point."""
    elsewhere: float
    """Probability that it was taken near none of the candidates."""
    unsupported: float | None
    """Probability that the gallery holds nothing within 25 km of it, and not that the answer is
    right, where that was fitted."""
    regions: tuple[Region, ...]
    areas: tuple[Area, ...]
    names: tuple[PlaceName, ...]
    """The likeliest of each level."""
    abstained: str | None
    """Why the point is no answer but a guess: `unsupported`, `elsewhere`; None where it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """What was asked of a calibration, and what it said."""

    asked: Asked | None = None
    """None without candidates."""
    belief: Belief | None = None
    """Only where a calibration fits the question."""
    note: str = ""
    """What the probabilities promise, or why there are none."""
    abstained: str | None = None
    """Why there is no answer, or only a guess: `no_candidates`, or as `Belief.abstained`."""
