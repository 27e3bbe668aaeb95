"""Nonconformity scores of queries, and the split-conformal levels of their regions.

Letters: N queries.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pinpoint.arrays import Floats
from pinpoint.evaluation.calibration import posterior_fit
from pinpoint.evaluation.calibration.calibration_set import CalibrationSet
from pinpoint.geo import kernels, posteriors
from pinpoint.geo.distance import haversine_m
from pinpoint.metrics.conformal import conformal_level
from pinpoint.metrics.geolocation import THRESHOLDS_KM
from pinpoint.records import CoverageModel, QueryFeatures, StratumFit, VerificationFit
from pinpoint.search import posterior

MIN_LEVEL: Final = 2e-3
"""Minimum mass of a region: two of a posterior's quadrature nodes."""


def score_sample(
    sample: CalibrationSet,
    fit: StratumFit,
    coverage: CoverageModel | None,
    verification: VerificationFit | None = None,
) -> Floats:
    """Nonconformity scores of N queries, `[N, 3 + number of thresholds]`.

    Args:
        sample: One query of each creator of a stratum, at least one.
        fit: Parameters of the stratum; levels are ignored.
        coverage: Coverage model, if the posterior has one.
        verification: Corrections for compared candidates; levels are ignored.
    """
    return np.array(
        [
            nonconformity_scores(features, fit, position, coverage, verification)
            for features, position in zip(sample.features, sample.ground_truth, strict=True)
        ]
    )


def conformal_levels(scores: Floats) -> tuple[dict[str, float], dict[str, float]]:
    """Levels of the highest-density regions and of the discs, by the coverage they give.

    Args:
        scores: Scores of `score_sample`, `[N, 2 or more]`.
    """
    regions, discs = (
        {
            share: _bounded_conformal_level(column, float(share))
            for share in posterior.REGION_PROBABILITY_KEYS
        }
        for column in scores.T[:2]
    )
    return regions, discs


def _bounded_conformal_level(scores: Floats, share: float) -> float:
    """Conformal level, clipped to the range from `MIN_LEVEL` to 1."""
    return min(1.0, max(MIN_LEVEL, conformal_level(scores, share)))


def nonconformity_scores(
    features: QueryFeatures,
    fit: StratumFit,
    ground_truth: Floats,
    coverage: CoverageModel | None = None,
    verification: VerificationFit | None = None,
) -> list[float]:
    """Scores for the conformal levels and the recalibration of probabilities.

    Args:
        features: Features of the query.
        fit: Parameters of its stratum; levels are ignored.
        ground_truth: Ground truth, `[2]` degrees.
        coverage: Coverage model, if the posterior has one.
        verification: Corrections for compared candidates, if there are any; they change the
            masses and not the answer.

    Returns:
        Mass of the smallest highest-density region that contains the ground truth; mass of the
        smallest disc around the answer that contains it; error of the answer in km; mass within
        each of `THRESHOLDS_KM` of the answer.
    """
    radii = (posterior_fit.KERNELS_KM, posterior_fit.BACKGROUND_KERNELS_KM)
    mixture = posteriors.mixture(features, fit, *radii, coverage)
    positions, weights = nodes = kernels.quadrature_nodes(mixture, posterior.NUM_NODES)
    answer = posterior.select_best_point(features, mixture, nodes, None)
    if verification is not None:
        mixture = posteriors.mixture(features, fit, *radii, coverage, verification)
        positions, weights = kernels.quadrature_nodes(mixture, posterior.NUM_NODES)
    ground_truth_density = float(kernels.log_density(mixture, ground_truth[None])[0])
    node_densities = kernels.log_density(mixture, positions)
    error_km = float(haversine_m(answer, ground_truth)) / 1_000.0
    masses = [
        float(kernels.masses_within(mixture, answer[None], km)[0])
        for km in (error_km, *THRESHOLDS_KM)
    ]
    return [
        kernels.hdr_level_of(node_densities, weights, ground_truth_density),
        masses[0],
        error_km,
        *masses[1:],
    ]
