"""Fits a posterior to held-out queries: temperature, kernels and background mass.

The fit maximizes the density at the ground truth. This is a proper score, so the optimum is
calibrated at every scale that the kernels can express. A weak regularization towards the wider
stratum keeps a small stratum from overfitting its few creators.
Letters: N queries, K candidates (NaN padded), S kernels, W background kernels, P features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.kernels import ANYWHERE_KM, log_kernel
from pinpoint.geo.posteriors import (
    FEATURE_NAMES,
    decision_features,
    log_candidate_density,
    log_odds,
)
from pinpoint.records import QueryFeatures

KERNELS_KM: Final = (0.1, 1.0, 8.0, 60.0)
"""Radii around candidates: same spot, neighborhood, city, region."""
BACKGROUND_KERNELS_KM: Final = (500.0, 2_500.0, ANYWHERE_KM)
_PRIOR_WEIGHT: Final = 2.0
"""Weight of the regularization, in queries: squared distance in each parameter's natural unit."""
_MIN_STD: Final = 1e-6
_MIN_DENSITY: Final = 1e-300
_ABSENT_LOGIT: Final = -1e6
"""Logit of padding; finite, so that its product with a mass of 0 is 0."""


@dataclass(frozen=True, slots=True, eq=False)
class DesignMatrix:
    """Features of the queries as arrays."""

    logits: Floats
    """`[N, K]`, a large negative number for padding."""
    log_candidate_density: Floats
    """`[N, K]` log of the number of candidates around each, see `geo.posteriors`."""
    kernel_densities: Floats
    """`[N, K, S]` density of each kernel of each candidate at the ground truth, per km²."""
    background_densities: Floats
    """`[N, W]` density of the background kernels, mean over the candidates."""
    features: Floats
    """`[N, P]`."""

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> DesignMatrix:
        """A subset of the queries."""
        return DesignMatrix(
            self.logits[chosen],
            self.log_candidate_density[chosen],
            self.kernel_densities[chosen],
            self.background_densities[chosen],
            self.features[chosen],
        )


@dataclass(frozen=True, slots=True, eq=False)
class PosteriorParameters:
    """Fitted parameters, with the field names of `records.StratumFit`."""

    temperature: float
    candidate_density_exponent: float
    kernel_weights: Floats
    outside_candidates_coefficients: Floats
    """`[P]` coefficients of the unscaled features."""
    background_kernel_weights: Floats
    theta: Floats
    """The parameters as the optimizer represents them."""


def design_matrix(queries: Sequence[QueryFeatures], ground_truth: Floats) -> DesignMatrix:
    """Arrays of N queries.

    Args:
        queries: Features of each query.
        ground_truth: Ground truths, `[N, 2]` degrees.
    """
    max_candidates = max(len(features.logits) for features in queries)
    logits = np.full((len(queries), max_candidates), _ABSENT_LOGIT)
    log_densities = np.zeros((len(queries), max_candidates))
    distance_km = np.full((len(queries), max_candidates), np.nan)
    for row, (features, position) in enumerate(zip(queries, ground_truth, strict=True)):
        logits[row, : len(features.logits)] = features.logits
        log_densities[row, : len(features.logits)] = log_candidate_density(features)
        distance_km[row, : len(features.logits)] = (
            haversine_m(np.array(features.positions), position) / 1_000.0
        )
    kernel_densities = np.exp(log_kernel(distance_km[..., None], np.array(KERNELS_KM)))
    background = np.exp(log_kernel(distance_km[..., None], np.array(BACKGROUND_KERNELS_KM)))
    feature_rows = np.array([decision_features(features) for features in queries])
    return DesignMatrix(
        logits,
        log_densities,
        np.nan_to_num(kernel_densities),
        np.nanmean(background, axis=1),
        feature_rows,
    )


def fit_posterior(
    table: DesignMatrix, prior: PosteriorParameters | None = None
) -> PosteriorParameters:
    """Fit one stratum.

    Args:
        table: Queries of the stratum.
        prior: Parameters that the regularization pulls towards; by default the initial ones.
    """
    from scipy.optimize import minimize  # slow import; only fitting needs it

    mean, std = _feature_scales(table.features)
    start = _initial_parameters() if prior is None else _rescale_parameters(prior, mean, std)

    scaled = (table.features - mean) / std

    def loss(theta: Floats) -> tuple[float, Floats]:
        log_lik, gradient = log_likelihood(theta, table, scaled)
        offset = theta - start
        num_queries = len(table.logits)
        return (
            (_PRIOR_WEIGHT * float(offset @ offset) - log_lik) / num_queries,
            (2.0 * _PRIOR_WEIGHT * offset - gradient) / num_queries,
        )

    result = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return _unpack_parameters(result.x, mean, std)


def fit_logistic(design: Floats, positive: NDArray[np.bool_]) -> Floats:
    """Logistic regression of `positive` `[N]` on features `[N, P]`; returns coefficients `[P]`.

    Both classes have equal weight: the share of calibration queries that are not in the gallery
    does not estimate the share among users' queries.
    """
    from scipy.optimize import minimize

    mean, std = _feature_scales(design)
    scaled = (design - mean) / std
    weight = np.where(
        positive, 0.5 / max(1, int(positive.sum())), 0.5 / max(1, int((~positive).sum()))
    )
    signed = np.where(positive, 1.0, -1.0)

    def loss(theta: Floats) -> float:
        value = float(weight @ np.logaddexp(0.0, -signed * (scaled @ theta)))
        return value + float(np.square(theta[1:]).sum()) / len(design)

    result = minimize(loss, np.zeros(design.shape[1]), method="L-BFGS-B")
    return _unscale_coefficients(result.x, mean, std)


def _feature_scales(design: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each feature; the constant feature stays one."""
    mean, std = design.mean(axis=0), design.std(axis=0)
    mean[0], std[0] = 0.0, 1.0
    # A constant feature (null logit without a reranker) carries no information.
    return mean, np.where(std > _MIN_STD, std, np.inf)


def _unscale_coefficients(theta: Floats, mean: Floats, std: Floats) -> Floats:
    """Convert coefficients of scaled features to those of unscaled features."""
    raw = theta / std
    raw[0] -= float(raw[1:] @ mean[1:])
    return np.asarray(raw)


def _rescale_parameters(prior: PosteriorParameters, mean: Floats, std: Floats) -> Floats:
    """Convert another stratum's parameters to the feature scales of this one."""
    theta = prior.theta.copy()
    raw = prior.outside_candidates_coefficients
    scaled = raw * np.where(np.isfinite(std), std, 0.0)
    scaled[0] = raw[0] + float(raw[1:] @ mean[1:])
    theta[_OUTSIDE] = scaled
    return theta


def _parameter_slices(*widths: int) -> Iterator[slice]:
    """Consecutive slices of the parameter vector."""
    start = 0
    for width in widths:
        yield slice(start, start + width)
        start += width


_RANKER, _KERNELS, _OUTSIDE, _BACKGROUND = _parameter_slices(
    2, len(KERNELS_KM), len(FEATURE_NAMES), len(BACKGROUND_KERNELS_KM)
)
"""Slices: log temperature and exponent of the candidate density; kernel weights; coefficients of
the features; background kernel weights."""


def _initial_parameters() -> Floats:
    return np.zeros(_BACKGROUND.stop)


def log_likelihood(theta: Floats, table: DesignMatrix, scaled: Floats) -> tuple[float, Floats]:
    """Sum of the log densities at the ground truths, and its gradient.

    Args:
        theta: Log temperature and exponent of the candidate density, kernel weights before the
            softmax, coefficients of the features, background kernel weights before the softmax.
        table: N queries.
        scaled: Scaled features, `[N, P]`.
    """
    kernel_weights, background_weights = _softmax(theta[_KERNELS]), _softmax(theta[_BACKGROUND])
    p_outside = 1.0 / (1.0 + np.exp(-np.clip(scaled @ theta[_OUTSIDE], -30.0, 30.0)))
    tempered = table.logits / np.exp(theta[0])
    scores = tempered + theta[1] * table.log_candidate_density
    mass = np.exp(scores - scores.max(axis=1, keepdims=True))
    mass /= mass.sum(axis=1, keepdims=True)
    by_kernel = np.einsum("nk,nks->ns", mass, table.kernel_densities)
    foreground = by_kernel @ kernel_weights
    background = table.background_densities @ background_weights
    density = np.maximum((1.0 - p_outside) * foreground + p_outside * background, _MIN_DENSITY)

    foreground_factor, background_factor = (1.0 - p_outside) / density, p_outside / density
    # Derivative of the log density with respect to each candidate's logit.
    candidate_densities = table.kernel_densities @ kernel_weights
    logit_gradient = mass * (candidate_densities - foreground[:, None]) * foreground_factor[:, None]
    background_excess = table.background_densities - background[:, None]
    gradient = np.concatenate(
        [
            [
                -(logit_gradient * tempered).sum(),
                (logit_gradient * table.log_candidate_density).sum(),
            ],
            kernel_weights * (foreground_factor @ (by_kernel - foreground[:, None])),
            scaled.T @ ((background - foreground) * p_outside * foreground_factor),
            background_weights * (background_factor @ background_excess),
        ]
    )
    return float(np.log(density).sum()), gradient


def _softmax(theta: Floats) -> Floats:
    powers = np.exp(theta - theta.max())
    return np.asarray(powers / powers.sum())


def _unpack_parameters(theta: Floats, mean: Floats, std: Floats) -> PosteriorParameters:
    return PosteriorParameters(
        temperature=float(np.exp(theta[0])),
        candidate_density_exponent=float(theta[1]),
        kernel_weights=_softmax(theta[_KERNELS]),
        outside_candidates_coefficients=_unscale_coefficients(theta[_OUTSIDE], mean, std),
        background_kernel_weights=_softmax(theta[_BACKGROUND]),
        theta=theta,
    )


def recalibrate(stated: Floats, correct: NDArray[np.bool_], weights: Floats) -> tuple[float, float]:
    """Offset and slope of the log-odds that calibrate stated probabilities.

    Source: Platt 1999; regularized towards the identity, and the slope is positive.

    Args:
        stated: Probabilities, `[N]` in [0, 1].
        correct: Whether each event occurred, `[N]`.
        weights: Weight of each query, `[N]`, mean 1.
    """
    from scipy.optimize import minimize

    odds = log_odds(stated)
    signed = np.where(correct, 1.0, -1.0)

    def loss(theta: Floats) -> float:
        value = weights @ np.logaddexp(0.0, -signed * (theta[0] + np.exp(theta[1]) * odds))
        return float(value + _PRIOR_WEIGHT * theta @ theta) / len(odds)

    result = minimize(loss, np.zeros(2), method="L-BFGS-B").x
    return float(result[0]), float(np.exp(result[1]))
