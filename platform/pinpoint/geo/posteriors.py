"""Posterior of a query: from the ranker's logits to a mixture of kernels.

With K candidates of logits l at positions p (refined positions if the reranker refines):

    elsewhere = sigmoid(b · features)                      probability of "near no candidate"
    w_k       = (1 - elsewhere) softmax(l / T + c log n)_k    n: candidates around this one
    density   = Σ_k w_k Σ_s a_s vMF(p_k, r_s) + elsewhere Σ_s d_s (mean_k vMF(p_k, R_s))

All parameters are fitted per stratum on held-out queries (`evaluation.calibrating`). A stratum is
known when the query arrives: its source kind, and the gallery's density around the candidates. The
wide kernels have equal weight at all candidates: they spread the remaining mass like the part of
the gallery that resembles the photo; one of them is uniform over the Earth.
Letters: K candidates, M kernels, P features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from pinpoint.arrays import Floats
from pinpoint.geo.distance import haversine_m, pairwise_m
from pinpoint.geo.kernels import Mixture
from pinpoint.records import QueryFeatures, StratumFit

FEATURE_NAMES: Final = ("constant", "similarity", "surroundings", "agreement", "null")
"""Features of the log-odds, in order."""
ALL_QUERIES: Final = "all"
AGREEMENT_RADIUS_M: Final = 25_000.0
_TRIMMED_MASS: Final = 1e-3
"""The lightest kernels with this total mass are dropped."""
_MIN_PROBABILITY: Final = 1e-6


def decision_features(of: QueryFeatures) -> Floats:
    """`[P]` in the order of `FEATURE_NAMES`."""
    logits = np.array(of.logits)
    mass = softmax(logits)
    best = np.array(of.points[int(np.argmax(mass))])
    agreement = float(mass[haversine_m(np.array(of.points), best) <= AGREEMENT_RADIUS_M].sum())
    odds = 0.0
    if of.null_logit is not None:
        odds = of.null_logit - float(logits.max() + np.log(np.exp(logits - logits.max()).sum()))
    return np.array([1.0, of.similarity, of.surroundings, agreement, odds])


def group_names(of: QueryFeatures, cuts: Mapping[str, float]) -> tuple[str, ...]:
    """Names of the strata of a query, the narrowest first."""
    if of.kind is None or of.kind not in cuts:
        return (ALL_QUERIES,)
    dense = "dense" if of.density >= cuts[of.kind] else "sparse"
    return (f"{of.kind}, {dense}", of.kind, ALL_QUERIES)


def select_fit(
    of: QueryFeatures, fits: Mapping[str, StratumFit], cuts: Mapping[str, float]
) -> tuple[str, StratumFit]:
    """The narrowest stratum of a query that has a fit, and that fit."""
    name = next(each for each in group_names(of, cuts) if each in fits)
    return name, fits[name]


def mixture(
    of: QueryFeatures, fit: StratumFit, kernels_km: Sequence[float], elsewhere_km: Sequence[float]
) -> Mixture:
    """The posterior without its lightest thousandth."""
    points, count = np.array(of.points), len(of.points)
    mass, elsewhere = masses(of, fit)
    narrow = np.outer(mass, fit.kernel_shares)
    wide = np.outer(np.full(count, elsewhere / count), fit.elsewhere_shares)
    weights = np.concatenate([narrow.ravel(), wide.ravel()])
    radii = [*kernels_km] * count + [*elsewhere_km] * count
    centers = [np.repeat(points, len(kernels_km), axis=0)]
    centers.append(np.repeat(points, len(elsewhere_km), axis=0))
    order = np.argsort(weights, kind="stable")
    kept = np.sort(order[np.cumsum(weights[order]) > _TRIMMED_MASS])
    return Mixture(
        np.concatenate(centers)[kept], np.array(radii)[kept], weights[kept] / weights[kept].sum()
    )


def masses(of: QueryFeatures, fit: StratumFit) -> tuple[Floats, float]:
    """Probability of each candidate, `[K]`, and of "near no candidate"."""
    elsewhere = probability(fit.elsewhere, of)
    raised = np.array(of.logits) / fit.temperature + fit.crowding * log_candidate_density(of)
    return (1.0 - elsewhere) * softmax(raised), elsewhere


def log_candidate_density(of: QueryFeatures) -> Floats:
    """Log of the number of candidates around each, itself included, weighted by distance: `[K]`.

    Candidates that agree on a locality are stronger evidence than the sum of their masses.
    """
    away = pairwise_m(np.array(of.points)) / AGREEMENT_RADIUS_M
    return np.asarray(np.log(np.exp(np.square(away) / -2.0).sum(axis=1)))


def log_odds(probabilities: Floats) -> Floats:
    """Log-odds of probabilities, clipped away from 0 and 1."""
    kept = np.clip(probabilities, _MIN_PROBABILITY, 1.0 - _MIN_PROBABILITY)
    return np.asarray(np.log(kept / (1.0 - kept)))


def probability(coefficients: Sequence[float], of: QueryFeatures) -> float:
    """Logistic function of the features."""
    return float(
        1.0 / (1.0 + np.exp(-np.clip(np.dot(coefficients, decision_features(of)), -30.0, 30.0)))
    )


def softmax(logits: Floats) -> Floats:
    """Softmax of logits, `[K]`."""
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())
