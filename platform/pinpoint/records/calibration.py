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
    candidate_density_exponent: float
    """Exponent of the number of candidates near a candidate, in its weight."""
    kernel_weights: tuple[float, ...]
    """Mixture weights of the kernels around a candidate; they sum to 1."""
    outside_candidates_coefficients: tuple[float, ...]
    """Logistic regression of "the photo was taken near no candidate": one coefficient for each
    feature of `geo.posteriors`, the intercept first."""
    background_kernel_weights: tuple[float, ...]
    """Mixture weights of the background kernels; they sum to 1."""
    credible_region_levels: Mapping[str, float]
    """Mass of the highest-density region whose coverage of the ground truth equals the key."""
    credible_disc_levels: Mapping[str, float]
    """Same for the disc around the answer."""
    probability_within_km: Mapping[str, tuple[float, float]]
    """By kilometers: intercept and slope that recalibrate the log-odds of an error within this
    distance (Platt scaling)."""
    num_queries: int
    num_creators: int
    """Number of creators; the levels use one photo of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AbstentionRule:
    """Abstention rule: when an answer is withheld."""

    signal: Literal["not_in_gallery", "outside_candidates"]
    """Probability that is compared."""
    threshold: float
    not_in_gallery_coefficients: tuple[float, ...] | None
    """Logistic regression of "the gallery has no image within 25 km" against "the answer is
    correct", with the same features; None if the queries were too few for a fit."""
    false_abstention_rate: float
    """Share of withheld answers among calibration queries with an answer within 25 km of the ground
    truth."""
    abstention_rate_in_gallery: float
    """Share of withheld answers among calibration queries that are in the gallery: it has an image
    within 25 km."""
    abstention_rate_not_in_gallery: float | None
    """Same share among queries without one; None if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageModel:
    """Probability that the gallery does not cover a photo, at an assumed share of such photos."""

    outside_share: float
    """Assumed share of the queries that are not in the gallery, in (0, 1)."""
    coefficients: tuple[float, ...]
    """Logistic regression of "the gallery has no image within 25 km" against "it has one", with the
    same features; the intercept contains the assumed share."""
    background_kernel_weights: tuple[float, ...]
    """Mixture weights of the background kernels for such photos; they sum to 1."""
    num_queries: int
    """Number of queries outside the gallery that it was fitted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationFit:
    """What the inliers of compared candidates change in the posteriors of one stratum."""

    log_odds_within_km: Mapping[str, tuple[float, float, float]]
    """By kilometers, in log-odds of an error within this distance: intercept, and coefficients of
    log(1 + inliers) and of "verified". The last two are not negative."""
    credible_region_levels: Mapping[str, float]
    """As in `StratumFit`, for queries with compared candidates."""
    credible_disc_levels: Mapping[str, float]
    num_queries: int
    num_creators: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationModel:
    """Corrections for queries with candidates that were compared by local features."""

    verify_candidates: int
    """Number of candidates that were compared; with more of them, other inliers are usual."""
    strata: Mapping[str, VerificationFit]
    """By stratum of the calibration; a stratum without an entry is not corrected."""
    abstention: AbstentionRule
    """Replaces the abstention rule of the calibration."""
    num_queries: int
    """Number of queries with compared candidates, in the gallery or not."""
    num_verified: int
    """Number of those with a verified candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Fit on held-out queries, for one ranker with one bundle."""

    ranker: str
    contract_digest: str
    """Digest of the bundle's contract."""
    reranker_digest: str | None = None
    """Digest of the ranker's own weights, if it has any."""
    bundle: str
    kernels_km: tuple[float, ...]
    """Radii of the kernels around candidates."""
    background_kernels_km: tuple[float, ...]
    """Radii of the background kernels that carry the remaining mass."""
    density_thresholds: Mapping[str, float]
    """Gallery images per km² from which a query's neighborhood is dense, by its kind."""
    strata: Mapping[str, StratumFit]
    """`all`, and, if enough creators are known, `photo`, `photo, dense` and so on."""
    abstention: AbstentionRule
    coverage: CoverageModel | None = None
    """None if the probabilities are those of photos in the gallery."""
    verification: VerificationModel | None = None
    """None if too few queries of the fit had compared candidates; inliers then change nothing."""
    search_settings: Mapping[str, Any]
    """Settings of the search for the calibration queries."""
    source_kinds: tuple[str, ...]
    """Source kinds that the queries were restricted to."""
    data: Mapping[str, str]
    """Names and digests of the queries and the gallery."""
    num_creators: int
    license: str
    note: str
    """Description of the guarantee and its scope; part of every calibrated answer."""
    code_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryFeatures:
    """Features of a query at decision time; never the ground truth."""

    kind: str | None
    """Source kind of the query, if the caller gives it."""
    positions: tuple[tuple[float, float], ...]
    """`[K]` positions of the candidates, refined if a reranker refines: latitude, longitude."""
    logits: tuple[float, ...]
    """`[K]`."""
    no_match_logit: float | None
    """Logit of the reranker's no-match candidate, if one ran."""
    max_similarity: float
    """Cosine of the most similar candidate."""
    neighborhood_similarity: float
    """Mean cosine of a candidate and its evidence, weighted by the candidates' weights."""
    neighborhood_coherence: float
    """Mean cosine of the query to the images around the heaviest candidate, minus their mean cosine
    to each other; 0 with fewer than two images. A photo of the place differs from its images no
    more than they differ among themselves."""
    gallery_density: float
    """Gallery images per km² around the candidates."""
    verified: bool | None = None
    """Whether a candidate within 25 km of the heaviest one is verified; None if none of them was
    compared, or if none is verified and a candidate could not be compared."""
    max_inliers: int | None = None
    """Largest number of inliers of these candidates; None as for `verified`."""
