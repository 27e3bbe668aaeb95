"""Calibration: parameters that convert a ranker's scores to probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumFit:
    """Parameters of one stratum: queries of one kind, in a sparse or a dense gallery."""

    temperature: float
    """Divisor of the candidates' logits."""
    crowding: float
    """Exponent of the number of candidates near a candidate, in its weight."""
    kernel_shares: tuple[float, ...]
    """Shares of a candidate's mass for the kernels; they sum to 1."""
    elsewhere: tuple[float, ...]
    """Log-odds that the photo was taken near none of the candidates: constant, then one coefficient
    for each feature of `geo.posteriors`."""
    elsewhere_shares: tuple[float, ...]
    """Shares of that mass for the wide kernels; they sum to 1."""
    region_levels: Mapping[str, float]
    """Mass of the highest-density region whose coverage of the ground truth equals the key."""
    radius_levels: Mapping[str, float]
    """Same for the disc around the answer."""
    within: Mapping[str, tuple[float, float]]
    """By kilometers: offset and factor of the log-odds of being within this distance."""
    rows: int
    authors: int
    """Number of creators; the levels use one photo of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionRule:
    """Abstention rule: when an answer is withheld."""

    signal: Literal["unsupported", "elsewhere"]
    """Probability that is compared."""
    above: float
    unsupported: tuple[float, ...] | None
    """Log-odds of "the gallery has no image within 25 km" against "the answer is correct", with the
    same features."""
    right_share: float
    """Share of withheld answers among calibration queries with an answer within 25 km of the ground
    truth."""
    supported_share: float
    """Share of withheld answers among calibration queries that the gallery covers."""
    unsupported_share: float | None
    """Same share among queries that it does not cover; None if none are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Fit on held-out queries, for one ranker with one bundle."""

    ranker: str
    contract: str
    """Digest of the bundle's contract."""
    weights: str | None = None
    """Digest of the ranker's own weights, if it has any."""
    bundle: str
    kernels_km: tuple[float, ...]
    """Radii of the kernels around candidates."""
    elsewhere_km: tuple[float, ...]
    """Radii of the wide kernels that carry the remaining mass."""
    density_cuts: Mapping[str, float]
    """Gallery images per km² from which a query's neighborhood is dense, by its kind."""
    strata: Mapping[str, StratumFit]
    """`all`, and, if enough creators are known, `photo`, `photo, dense` and so on."""
    abstention: AbstentionRule
    search: Mapping[str, Any]
    """Settings of the search for the calibration queries."""
    kinds: tuple[str, ...]
    """Source kinds that the queries were restricted to."""
    data: Mapping[str, str]
    """Names and digests of the queries and the gallery."""
    authors: int
    license: str
    note: str
    """Description of the guarantee and its scope; part of every calibrated answer."""
    code_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryFeatures:
    """Features of a query at decision time; never the ground truth."""

    kind: str | None
    """Source kind of the query, if the caller gives it."""
    points: tuple[tuple[float, float], ...]
    """`[K]` positions of the candidates, refined if a reranker refines: latitude, longitude."""
    logits: tuple[float, ...]
    """`[K]`."""
    null_logit: float | None
    """Logit of the reranker's null candidate, if one ran."""
    similarity: float
    """Cosine of the most similar candidate."""
    surroundings: float
    """Mean cosine of a candidate and its evidence, weighted by the candidates' mass."""
    density: float
    """Gallery images per km² around the candidates."""
