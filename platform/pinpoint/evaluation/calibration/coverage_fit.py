"""Fits the probability that the gallery does not cover a photo, at an assumed share of such photos.

The share of uncovered queries in a calibration set is chosen, not observed. The logistic regression
therefore gives both classes equal weight, which leaves the log of the likelihood ratio. The assumed
share then enters as prior log-odds (prior probability shift).
Source: Saerens, Latinne and Decaestecker, "Adjusting the Outputs of a Classifier to New a Priori
Probabilities", Neural Computation 14 (2002).
Letters: N queries, W background kernels, P features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from pinpoint.arrays import Flags, Floats
from pinpoint.errors import BadRequestError
from pinpoint.evaluation.calibration import posterior_fit
from pinpoint.geo import posteriors
from pinpoint.records import CoverageModel, QueryFeatures

MIN_UNCOVERED: Final = 10
"""With fewer uncovered queries, no coverage model is fitted."""
_EM_STEPS: Final = 200
_PRIOR_COUNT: Final = 1.0
"""Added to the queries of each background kernel, so that no weight is 0."""


def fit_coverage(
    queries: Sequence[QueryFeatures], ground_truth: Floats, in_gallery: Flags, outside_share: float
) -> CoverageModel | None:
    """Fit a coverage model; None without an assumed share or with too few uncovered queries.

    Args:
        queries: Features of `[N]` queries, in the gallery or not.
        ground_truth: Ground truths, `[N, 2]` degrees.
        in_gallery: Whether the gallery has an image within 25 km, `[N]`.
        outside_share: Assumed share of the queries that are not in the gallery, in [0, 1).

    Raises:
        BadRequestError: The share is not in [0, 1).
    """
    if not 0.0 <= outside_share < 1.0:
        raise BadRequestError(
            f"the share of photos outside the gallery must be in [0, 1), not {outside_share}"
        )
    uncovered = np.flatnonzero(~in_gallery)
    if outside_share == 0.0 or len(uncovered) < MIN_UNCOVERED or not in_gallery.any():
        return None
    design = np.array([posteriors.decision_features(query) for query in queries])
    coefficients = posterior_fit.fit_logistic(design, ~in_gallery)
    outside = posterior_fit.design_matrix(
        [queries[row] for row in uncovered.tolist()], ground_truth[~in_gallery]
    )
    return CoverageModel(
        outside_share=outside_share,
        coefficients=tuple(shift_prior(coefficients, outside_share).tolist()),
        background_kernel_weights=tuple(fit_weights(outside.background_densities).tolist()),
        num_queries=len(uncovered),
    )


def shift_prior(coefficients: Floats, share: float) -> Floats:
    """Coefficients `[P]` for a share of positives, from those for classes of equal weight."""
    shifted = coefficients.copy()
    shifted[0] += math.log(share / (1.0 - share))
    return shifted


def fit_weights(densities: Floats) -> Floats:
    """Mixture weights `[W]` that maximize the density of N ground truths, by EM.

    Args:
        densities: Density of each kernel at each ground truth, `[N, W]`.
    """
    weights = np.full(densities.shape[1], 1.0 / densities.shape[1])
    for _ in range(_EM_STEPS):
        shares = weights * densities
        shares /= np.maximum(shares.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        weights = shares.sum(axis=0) + _PRIOR_COUNT
        weights /= weights.sum()
    return np.asarray(weights)


def share_weights(in_gallery: Flags, outside_share: float) -> Floats:
    """Weight of each query, `[N]`, mean 1, that gives uncovered queries a share of the total.

    Args:
        in_gallery: Whether the gallery covers the query, `[N]`.
        outside_share: The share, in [0, 1]; 0 if all queries are covered.
    """
    share = 0.0 if in_gallery.all() else outside_share
    num_covered = max(1, int(in_gallery.sum()))
    num_uncovered = max(1, int((~in_gallery).sum()))
    return np.where(
        in_gallery,
        (1.0 - share) * len(in_gallery) / num_covered,
        share * len(in_gallery) / num_uncovered,
    )
