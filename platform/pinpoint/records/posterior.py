"""Posterior of a calibrated answer: probabilities, credible regions and place names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pinpoint.records.calibration import QueryFeatures
from pinpoint.records.primitives import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class CredibleDisc:
    """A disc around the answer that contains the ground truth with the stated probability.

    Without a calibration, the probability is a share of the ranker's weights.
    """

    probability: float
    radius_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CredibleRegion:
    """Highest-density region that contains a share of the probability."""

    probability: float
    """Share of such regions that contain the ground truth, in (0, 1)."""
    level: float
    """Probability mass of the region; the conformal level."""
    area_km2: float
    boxes: tuple[tuple[float, float, float, float], ...]
    """Disjoint boxes: south, west, north, east, degrees; no box crosses ±180°."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceName:
    """A country, region or city, and the probability that the photo was taken there."""

    level: str
    name: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Calibrated probabilities of one query."""

    stratum: str
    """Stratum of the fitted parameters."""
    point: Point
    probability_within_km: Mapping[float, float]
    """Probability that the photo was taken within this distance of the point, by kilometers."""
    p_outside_candidates: float
    """Probability that it was taken near none of the candidates."""
    p_not_in_gallery: float | None
    """Probability that the gallery has no image within 25 km; None if not fitted. Without a
    coverage model, as opposed to a correct answer."""
    credible_discs: tuple[CredibleDisc, ...]
    credible_regions: tuple[CredibleRegion, ...]
    names: tuple[PlaceName, ...]
    """Most probable name of each level."""
    abstention_reason: str | None
    """Reason why the point is only a guess: `not_in_gallery`, `outside_candidates`; None if it
    is an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedResult:
    """Input and result of a calibration."""

    features: QueryFeatures | None = None
    """None without candidates."""
    posterior: Posterior | None = None
    """Present only if a calibration applies to the query."""
    note: str = ""
    """Meaning of the probabilities, or why there are none."""
    abstention_reason: str | None = None
    """Reason for no answer, or only a guess: `no_candidates`, or as
    `Posterior.abstention_reason`."""
