"""Fits what the inliers of compared candidates change: probabilities, regions and abstention.

The fit without verification stays as it is; it applies to queries without compared candidates. For
the others, a logistic regression with that fit's log-odds as offset adds an intercept and
coefficients of the inliers. The coefficients are not negative, so more inliers never lower a stated
probability.
Letters: N queries, T distances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from pinpoint.arrays import Flags, Floats
from pinpoint.evaluation.calibration import abstention
from pinpoint.evaluation.calibration.calibration_set import CalibrationSet
from pinpoint.evaluation.calibration.conformal_scores import conformal_levels, score_sample
from pinpoint.geo import posteriors
from pinpoint.metrics.geolocation import THRESHOLDS_KM
from pinpoint.metrics.intervals import cluster_codes
from pinpoint.records import (
    AbstentionRule,
    CoverageModel,
    StratumFit,
    VerificationFit,
    VerificationModel,
)

MIN_VERIFIED_CREATORS: Final = 5
"""Needed number of creators of covered queries with a verified candidate, and of covered queries
without one. With fewer, inliers change nothing."""
_PRIOR_WEIGHT: Final = 1.0
"""Weight of the regularization towards no change, in queries, per squared coefficient."""


def fit_verification(
    queries: CalibrationSet,
    strata: Mapping[str, StratumFit],
    density_thresholds: Mapping[str, float],
    coverage: CoverageModel | None,
    rule: AbstentionRule,
    *,
    max_false_abstention: float,
    verify_candidates: int,
) -> VerificationModel | None:
    """Fit the corrections; None with fewer than `MIN_VERIFIED_CREATORS`.

    Args:
        queries: Queries of the calibration; those without compared candidates are not used.
        strata: Parameters without verification.
        density_thresholds: Density thresholds of the calibration.
        coverage: Coverage model, if the posterior has one.
        rule: Abstention rule without verification.
        max_false_abstention: Maximum share of the correct answers that is withheld.
        verify_candidates: Number of candidates that were compared.
    """
    compared = queries.select(
        np.flatnonzero([features.max_inliers is not None for features in queries.features])
    )
    names = [
        posteriors.select_fit(features, strata, density_thresholds)[0]
        for features in compared.features
    ]
    fits: dict[str, VerificationFit] = {}
    for name, fit in strata.items():
        # Queries of narrower strata count too, as for the levels without verification.
        rows = [
            row
            for row, query in enumerate(compared.features)
            if name in posteriors.group_names(query, density_thresholds)
        ]
        verification = _fit_stratum(compared.select(np.array(rows, dtype=np.intp)), fit, coverage)
        if verification is not None:
            fits[name] = verification
    corrected = compared.select(np.flatnonzero([name in fits for name in names]))
    if not fits or not corrected.features:
        return None
    names = [name for name in names if name in fits]
    return VerificationModel(
        verify_candidates=verify_candidates,
        strata=fits,
        abstention=abstention.fit_threshold(
            corrected.features,
            [strata[name] for name in names],
            corrected.ground_truth,
            corrected.in_gallery,
            max_false_abstention,
            coverage,
            compared=([fits[name] for name in names], rule),
        ),
        num_queries=len(compared.features),
        num_verified=sum(bool(features.verified) for features in compared.features),
    )


def _fit_stratum(
    compared: CalibrationSet, fit: StratumFit, coverage: CoverageModel | None
) -> VerificationFit | None:
    """Fit one stratum on its queries with compared candidates; None with too few creators."""
    if min(count_creators_by_verification(compared)) < MIN_VERIFIED_CREATORS:
        return None
    # Few queries are verified, so all queries count, each creator with the same weight.
    used = compared if coverage is not None else _select_covered(compared)
    scores = score_sample(used, fit, coverage)
    weights = _weigh_creators(used, 0.0 if coverage is None else coverage.outside_share)
    design = np.array([posteriors.verification_features(query) for query in used.features])
    within = {}
    for km, mass in zip(THRESHOLDS_KM, scores.T[3:], strict=True):
        intercept, slope = fit.probability_within_km[f"{km:g}"]
        offset = intercept + slope * posteriors.log_odds(mass)
        within[f"{km:g}"] = fit_log_odds(design, offset, scores[:, 2] <= km, weights)
    covered = _select_covered(compared).sample_creators()
    without_levels = VerificationFit(
        log_odds_within_km=within,
        credible_region_levels={},
        credible_disc_levels={},
        num_queries=int(compared.in_gallery.sum()),
        num_creators=len(covered.features),
    )
    regions, discs = conformal_levels(score_sample(covered, fit, coverage, without_levels))
    return replace(without_levels, credible_region_levels=regions, credible_disc_levels=discs)


def count_creators_by_verification(queries: CalibrationSet) -> tuple[int, int]:
    """Number of creators of covered queries with a verified candidate, and with none."""
    is_verified = np.array([query.verified is True for query in queries.features], dtype=np.bool_)
    is_other = np.array([query.verified is False for query in queries.features], dtype=np.bool_)
    verified, other = (
        queries.select(np.flatnonzero(queries.in_gallery & rows)).count_creators()
        for rows in (is_verified, is_other)
    )
    return verified, other


def _select_covered(queries: CalibrationSet) -> CalibrationSet:
    return queries.select(np.flatnonzero(queries.in_gallery))


def _weigh_creators(queries: CalibrationSet, outside_share: float) -> Floats:
    """Weight of each query, `[N]`: equal for all creators, with a share of uncovered queries.

    They sum to the number of creators.
    """
    codes = cluster_codes(queries.creators)
    weights = 1.0 / np.bincount(codes)[codes]
    total = weights.sum()
    share = 0.0 if queries.in_gallery.all() else outside_share
    for rows, part in ((queries.in_gallery, 1.0 - share), (~queries.in_gallery, share)):
        if rows.any():
            weights[rows] *= part * total / weights[rows].sum()
    return np.asarray(weights)


def fit_log_odds(
    design: Floats, offset: Floats, correct: Flags, weights: Floats
) -> tuple[float, float, float]:
    """Logistic regression with an offset: intercept and two coefficients that are not negative.

    The intercept is the one with which the mean probability of all queries does not change: the
    inliers say for which queries it is higher, and not how right the answers are on average.

    Source: Platt 1999, with further regressors; regularized towards no change.

    Args:
        design: Rows of `posteriors.verification_features`, `[N, 3]`.
        offset: Stated log-odds without verification, `[N]`.
        correct: Whether each event occurred, `[N]`.
        weights: Weight of each query, `[N]`.
    """
    from scipy.optimize import brentq  # slow import; only fitting needs it

    mean = design.mean(axis=0)
    mean[0] = 0.0
    coefficients = _minimize_loss(design - mean, offset, correct, weights)[1:]
    increments = design[:, 1:] @ coefficients
    if not increments.any():
        return 0.0, 0.0, 0.0

    def mean_change(intercept: float) -> float:
        changed = _sigmoid(offset + intercept + increments) - _sigmoid(offset)
        return float(weights @ changed)

    intercept = brentq(mean_change, -float(increments.max()), 0.0)
    return float(intercept), float(coefficients[0]), float(coefficients[1])


def _sigmoid(log_odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(log_odds, -30.0, 30.0))))


def _minimize_loss(design: Floats, offset: Floats, correct: Flags, weights: Floats) -> Floats:
    """Coefficients of the logistic regression; the first one alone may be negative."""
    from scipy.optimize import minimize

    signed = np.where(correct, 1.0, -1.0)

    def loss(theta: Floats) -> tuple[float, Floats]:
        margin = signed * (offset + design @ theta)
        slopes = weights * signed / (1.0 + np.exp(np.clip(margin, -30.0, 30.0)))
        value = float(weights @ np.logaddexp(0.0, -margin) + _PRIOR_WEIGHT * theta @ theta)
        gradient = 2.0 * _PRIOR_WEIGHT * theta - design.T @ slopes
        return value / len(offset), gradient / len(offset)

    bounds = [(None, None), (0.0, None), (0.0, None)][: design.shape[1]]
    start = np.zeros(design.shape[1])
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x)
