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
from pinpoint.evaluation.calibration import abstention, coverage_fit
from pinpoint.evaluation.calibration.calibration_set import CalibrationSet
from pinpoint.evaluation.calibration.conformal_scores import conformal_levels, score_sample
from pinpoint.geo import posteriors
from pinpoint.metrics.geolocation import THRESHOLDS_KM
from pinpoint.records import (
    AbstentionRule,
    CoverageModel,
    StratumFit,
    VerificationFit,
    VerificationModel,
)

MIN_COMPARED_CREATORS: Final = 30
"""With fewer creators of covered queries with compared candidates, inliers change nothing."""
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
    """Fit the corrections; None with fewer than `MIN_COMPARED_CREATORS`.

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
    covered = compared.select(np.flatnonzero(compared.in_gallery)).sample_creators()
    if len(covered.features) < MIN_COMPARED_CREATORS:
        return None
    scores, features = score_sample(covered, fit, coverage), [*covered.features]
    if coverage is not None and not compared.in_gallery.all():
        outside = compared.select(np.flatnonzero(~compared.in_gallery)).sample_creators()
        scores = np.concatenate([scores, score_sample(outside, fit, coverage)])
        features += outside.features
    is_covered = np.arange(len(features)) < len(covered.features)
    weights = coverage_fit.share_weights(
        is_covered, 0.0 if coverage is None else coverage.outside_share
    )
    design = np.array([posteriors.verification_features(query) for query in features])
    within = {}
    for km, mass in zip(THRESHOLDS_KM, scores.T[3:], strict=True):
        intercept, slope = fit.probability_within_km[f"{km:g}"]
        offset = intercept + slope * posteriors.log_odds(mass)
        within[f"{km:g}"] = fit_log_odds(design, offset, scores[:, 2] <= km, weights)
    without_levels = VerificationFit(
        log_odds_within_km=within,
        credible_region_levels={},
        credible_disc_levels={},
        num_queries=int(compared.in_gallery.sum()),
        num_creators=len(covered.features),
    )
    regions, discs = conformal_levels(score_sample(covered, fit, coverage, without_levels))
    return replace(without_levels, credible_region_levels=regions, credible_disc_levels=discs)


def fit_log_odds(
    design: Floats, offset: Floats, correct: Flags, weights: Floats
) -> tuple[float, float, float]:
    """Logistic regression with an offset: intercept and two coefficients that are not negative.

    Source: Platt 1999, with further regressors; regularized towards no change.

    Args:
        design: `posteriors.verification_features` of each query, `[N, 3]`.
        offset: Log-odds without verification, `[N]`.
        correct: Whether each event occurred, `[N]`.
        weights: Weight of each query, `[N]`, mean 1.
    """
    from scipy.optimize import minimize  # slow import; only fitting needs it

    signed = np.where(correct, 1.0, -1.0)
    mean = design.mean(axis=0)
    mean[0] = 0.0
    centered = design - mean

    def loss(theta: Floats) -> tuple[float, Floats]:
        margin = signed * (offset + centered @ theta)
        slopes = weights * signed / (1.0 + np.exp(np.clip(margin, -30.0, 30.0)))
        value = float(weights @ np.logaddexp(0.0, -margin) + _PRIOR_WEIGHT * theta @ theta)
        gradient = 2.0 * _PRIOR_WEIGHT * theta - centered.T @ slopes
        return value / len(offset), gradient / len(offset)

    bounds = [(None, None), (0.0, None), (0.0, None)]
    theta = minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B", bounds=bounds).x
    intercept = float(theta[0] - theta[1:] @ mean[1:])
    return intercept, float(theta[1]), float(theta[2])
