"""Posterior of a query: from the ranker's logits to a mixture of kernels.

With K candidates of logits l at positions p (refined positions if the reranker refines):

    p_outside = sigmoid(b · features)                      probability of "near no candidate"
    w_k       = (1 - p_outside) softmax(l / T + c log n)_k    n: candidates around this one
    covered   = Σ_k w_k Σ_s a_s vMF(p_k, r_s) + p_outside Σ_s d_s (mean_k vMF(p_k, R_s))

With a coverage model, the photo may also be from where the gallery has no image:

    p_not     = sigmoid(g · features)                      probability of "not in the gallery"
    density   = (1 - p_not) covered + p_not Σ_s e_s (mean_k vMF(p_k, R_s))

The intercept of g contains the assumed share of such photos among all queries, π. A logistic
regression on classes of equal weight gives the log of the likelihood ratio; its intercept moves by
log(π / (1 - π)) (prior probability shift; Saerens, Latinne and Decaestecker 2002).

If candidates were compared by local features, the inliers add evidence for the locality of the
heaviest candidate. Its candidates' kernels are multiplied by a Bayes factor before normalization:

    log factor = v_0 + v_1 log(1 + inliers) + v_2 [verified]          v_1, v_2 ≥ 0

All parameters are fitted per stratum on held-out queries (`evaluation.calibration`). A stratum is
known when the query arrives: its source kind, and the gallery's density around the candidates. The
wide kernels have equal weight at all candidates: they spread the remaining mass like the part of
the gallery that resembles the photo; one of them is uniform over the Earth.
Letters: K candidates, M kernels, P features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from pinpoint.arrays import Flags, Floats
from pinpoint.geo.distance import haversine_m, pairwise_m
from pinpoint.geo.kernels import Mixture
from pinpoint.records import (
    AbstentionRule,
    Calibration,
    CoverageModel,
    QueryFeatures,
    StratumFit,
    VerificationFit,
)

FEATURE_NAMES: Final = (
    "intercept",
    "max_similarity",
    "neighborhood_similarity",
    "agreement",
    "no_match_log_odds",
    "neighborhood_coherence",
)
"""Features of the log-odds, in order."""
ALL_QUERIES: Final = "all"
AGREEMENT_RADIUS_M: Final = 25_000.0
_TRIMMED_MASS: Final = 1e-3
"""The lightest kernels with this total mass are dropped."""
_MIN_PROBABILITY: Final = 1e-6


def decision_features(query: QueryFeatures) -> Floats:
    """`[P]` in the order of `FEATURE_NAMES`."""
    logits = np.array(query.logits)
    mass = softmax(logits)
    best = np.array(query.positions[int(np.argmax(mass))])
    agreement = float(
        mass[haversine_m(np.array(query.positions), best) <= AGREEMENT_RADIUS_M].sum()
    )
    no_match_log_odds = 0.0
    if query.no_match_logit is not None:
        log_sum = float(logits.max() + np.log(np.exp(logits - logits.max()).sum()))
        no_match_log_odds = query.no_match_logit - log_sum
    return np.array(
        [
            1.0,
            query.max_similarity,
            query.neighborhood_similarity,
            agreement,
            no_match_log_odds,
            query.neighborhood_coherence,
        ]
    )


def group_names(query: QueryFeatures, density_thresholds: Mapping[str, float]) -> tuple[str, ...]:
    """Names of the strata of a query, the narrowest first."""
    if query.kind is None or query.kind not in density_thresholds:
        return (ALL_QUERIES,)
    level = "dense" if query.gallery_density >= density_thresholds[query.kind] else "sparse"
    return (f"{query.kind}, {level}", query.kind, ALL_QUERIES)


def select_fit(
    query: QueryFeatures, fits: Mapping[str, StratumFit], density_thresholds: Mapping[str, float]
) -> tuple[str, StratumFit]:
    """The narrowest stratum of a query that has a fit, and that fit."""
    name = next(name for name in group_names(query, density_thresholds) if name in fits)
    return name, fits[name]


def select_verification_fit(
    query: QueryFeatures, stratum: str, calibration: Calibration
) -> VerificationFit | None:
    """The corrections for compared candidates; None if none was compared, or none were fitted."""
    if calibration.verification is None or query.max_inliers is None:
        return None
    return calibration.verification.strata.get(stratum)


def select_abstention_rule(
    query: QueryFeatures, stratum: str, calibration: Calibration
) -> AbstentionRule:
    """The abstention rule of a query, with or without compared candidates."""
    if (
        calibration.verification is None
        or select_verification_fit(query, stratum, calibration) is None
    ):
        return calibration.abstention
    return calibration.verification.abstention


def verification_features(query: QueryFeatures) -> Floats:
    """`[3]`: 1, log(1 + inliers), and whether a candidate is verified, of compared candidates."""
    return np.array([1.0, np.log1p(query.max_inliers or 0), float(bool(query.verified))])


def locality_log_odds(query: QueryFeatures, verification: VerificationFit | None) -> float:
    """Log of the Bayes factor of the heaviest candidate's locality; 0 without verification."""
    if verification is None:
        return 0.0
    coefficients = verification.log_odds_within_km[f"{AGREEMENT_RADIUS_M / 1e3:g}"]
    return float(np.dot(coefficients, verification_features(query)))


def is_near_heaviest(query: QueryFeatures) -> Flags:
    """Whether each candidate is within 25 km of the heaviest one, `[K]`."""
    positions = np.array(query.positions)
    heaviest = positions[int(np.argmax(query.logits))]
    return np.asarray(haversine_m(positions, heaviest) <= AGREEMENT_RADIUS_M)


def shift_probability(probability: float, log_odds_shift: float) -> float:
    """The probability after adding to its log-odds."""
    if log_odds_shift == 0.0 or probability in (0.0, 1.0):
        return probability
    odds = np.log(probability / (1.0 - probability)) + log_odds_shift
    return float(1.0 / (1.0 + np.exp(-np.clip(odds, -30.0, 30.0))))


def mixture(
    query: QueryFeatures,
    fit: StratumFit,
    kernels_km: Sequence[float],
    background_kernels_km: Sequence[float],
    coverage: CoverageModel | None = None,
    verification: VerificationFit | None = None,
) -> Mixture:
    """The posterior without its lightest thousandth.

    Args:
        query: Features of the query.
        fit: Parameters of its stratum, for a photo in the gallery.
        kernels_km: Radii of the kernels around candidates.
        background_kernels_km: Radii of the background kernels.
        coverage: Probability that the photo is not in the gallery; None takes 0.
        verification: Corrections for compared candidates, if there are any.
    """
    points, count = np.array(query.positions), len(query.positions)
    mass, p_outside = masses(query, fit)
    background = p_outside * np.array(fit.background_kernel_weights)
    if coverage is not None:
        p_not = probability(coverage.coefficients, query)
        mass = (1.0 - p_not) * mass
        background = (1.0 - p_not) * background + p_not * np.array(
            coverage.background_kernel_weights
        )
    if verification is not None:
        factor = np.exp(np.clip(locality_log_odds(query, verification), -30.0, 30.0))
        mass = np.where(is_near_heaviest(query), mass * factor, mass)
        total = mass.sum() + background.sum()
        mass, background = mass / total, background / total
    narrow = np.outer(mass, fit.kernel_weights)
    wide = np.outer(np.full(count, 1.0 / count), background)
    weights = np.concatenate([narrow.ravel(), wide.ravel()])
    radii = [*kernels_km] * count + [*background_kernels_km] * count
    centers = [np.repeat(points, len(kernels_km), axis=0)]
    centers.append(np.repeat(points, len(background_kernels_km), axis=0))
    order = np.argsort(weights, kind="stable")
    heaviest = np.sort(order[np.cumsum(weights[order]) > _TRIMMED_MASS])
    weights = weights[heaviest]
    return Mixture(
        np.concatenate(centers)[heaviest], np.array(radii)[heaviest], weights / weights.sum()
    )


def masses(query: QueryFeatures, fit: StratumFit) -> tuple[Floats, float]:
    """Probability of each candidate, `[K]`, and of "near none", if the photo is in the gallery."""
    p_outside = probability(fit.outside_candidates_coefficients, query)
    tempered = np.array(query.logits) / fit.temperature
    tempered += fit.candidate_density_exponent * log_candidate_density(query)
    return (1.0 - p_outside) * softmax(tempered), p_outside


def abstention_score(
    query: QueryFeatures,
    fit: StratumFit,
    coefficients: Sequence[float] | None,
    verification: VerificationFit | None = None,
) -> float:
    """The probability that an abstention rule compares with its threshold.

    Args:
        query: Features of the query.
        fit: Parameters of its stratum.
        coefficients: Coefficients of "not in the gallery" of the rule, if it has any.
        verification: Corrections for compared candidates, if there are any.
    """
    score = masses(query, fit)[1] if coefficients is None else probability(coefficients, query)
    return shift_probability(score, -locality_log_odds(query, verification))


def log_candidate_density(query: QueryFeatures) -> Floats:
    """Log of the number of candidates around each, itself included, weighted by distance: `[K]`.

    Candidates that agree on a locality are stronger evidence than the sum of their masses.
    """
    distance = pairwise_m(np.array(query.positions)) / AGREEMENT_RADIUS_M
    return np.asarray(np.log(np.exp(np.square(distance) / -2.0).sum(axis=1)))


def log_odds(probabilities: Floats) -> Floats:
    """Log-odds of probabilities, clipped to avoid 0 and 1."""
    clipped = np.clip(probabilities, _MIN_PROBABILITY, 1.0 - _MIN_PROBABILITY)
    return np.asarray(np.log(clipped / (1.0 - clipped)))


def probability(coefficients: Sequence[float], query: QueryFeatures) -> float:
    """Logistic function of the features."""
    return float(
        1.0 / (1.0 + np.exp(-np.clip(np.dot(coefficients, decision_features(query)), -30.0, 30.0)))
    )


def softmax(logits: Floats) -> Floats:
    """Softmax of logits, `[K]`."""
    tempered = np.exp(logits - logits.max())
    return np.asarray(tempered / tempered.sum())
