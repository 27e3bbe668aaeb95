"""The posterior of a question: from a ranker's numbers to a mixture of kernels.

With K candidates of logits l at places p (refined ones, where a reranker refines):

    elsewhere = sigmoid(b · signals)                       it was taken near none of them
    w_k       = (1 - elsewhere) softmax(l / T + c log n)_k    n: candidates around this one
    density   = Σ_k w_k Σ_s a_s vMF(p_k, r_s) + elsewhere Σ_s d_s (mean_k vMF(p_k, R_s))

All numbers are fitted for each stratum on held-out questions (`evaluation.calibrating`). A stratum
is what is known when the question is asked: its kind, and how dense the gallery is around the
candidates. The wide kernels stand at all candidates alike: they spread the rest as the gallery,
narrowed to what looks a little like the photo, is spread itself; one is even over the Earth.
Letters: K candidates, M kernels, P signals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import haversine_m, pairwise_m
from pinpoint.geo.kernels import Mixture
from pinpoint.records import Asked, StratumFit

Floats = NDArray[np.float64]

SIGNALS: Final = ("constant", "similarity", "surroundings", "agreement", "null")
"""What all log-odds are linear in."""
EVERYTHING: Final = "all"
AGREE_M: Final = 25_000.0
_TAIL: Final = 1e-3
"""The lightest kernels that together hold this mass are left out."""
_LEAST_CHANCE: Final = 1e-6


def signals(of: Asked) -> Floats:
    """`[P]` in the order of `SIGNALS`."""
    logits = np.array(of.logits)
    mass = softmax(logits)
    best = np.array(of.points[int(np.argmax(mass))])
    agreement = float(mass[haversine_m(np.array(of.points), best) <= AGREE_M].sum())
    odds = 0.0
    if of.null_logit is not None:
        odds = of.null_logit - float(logits.max() + np.log(np.exp(logits - logits.max()).sum()))
    return np.array([1.0, of.similarity, of.surroundings, agreement, odds])


def strata(of: Asked, cuts: Mapping[str, float]) -> tuple[str, ...]:
    """Names of the strata that a question is in, the narrowest first."""
    if of.kind is None or of.kind not in cuts:
        return (EVERYTHING,)
    dense = "dense" if of.density >= cuts[of.kind] else "sparse"
    return (f"{of.kind}, {dense}", of.kind, EVERYTHING)


def chosen(
    of: Asked, fits: Mapping[str, StratumFit], cuts: Mapping[str, float]
) -> tuple[str, StratumFit]:
    """The narrowest stratum that a question is in and that has numbers of its own."""
    name = next(each for each in strata(of, cuts) if each in fits)
    return name, fits[name]


def mixture(
    of: Asked, fit: StratumFit, kernels_km: Sequence[float], elsewhere_km: Sequence[float]
) -> Mixture:
    """The posterior, less the lightest thousandth of it."""
    points, count = np.array(of.points), len(of.points)
    mass, elsewhere = masses(of, fit)
    narrow = np.outer(mass, fit.kernel_shares)
    wide = np.outer(np.full(count, elsewhere / count), fit.elsewhere_shares)
    weights = np.concatenate([narrow.ravel(), wide.ravel()])
    radii = [*kernels_km] * count + [*elsewhere_km] * count
    centres = [np.repeat(points, len(kernels_km), axis=0)]
    centres.append(np.repeat(points, len(elsewhere_km), axis=0))
    order = np.argsort(weights, kind="stable")
    kept = np.sort(order[np.cumsum(weights[order]) > _TAIL])
    return Mixture(
        np.concatenate(centres)[kept], np.array(radii)[kept], weights[kept] / weights[kept].sum()
    )


def masses(of: Asked, fit: StratumFit) -> tuple[Floats, float]:
    """Probability of each candidate, `[K]`, and that none of them is near."""
    elsewhere = probability(fit.elsewhere, of)
    raised = np.array(of.logits) / fit.temperature + fit.crowding * crowd(of)
    return (1.0 - elsewhere) * softmax(raised), elsewhere


def crowd(of: Asked) -> Floats:
    """Log of the number of candidates around each, itself included, far ones counting less: `[K]`.

    Candidates that agree on a town say more than the sum of their masses.
    """
    away = pairwise_m(np.array(of.points)) / AGREE_M
    return np.asarray(np.log(np.exp(np.square(away) / -2.0).sum(axis=1)))


def log_odds(probabilities: Floats) -> Floats:
    """Of probabilities, kept away from 0 and 1."""
    kept = np.clip(probabilities, _LEAST_CHANCE, 1.0 - _LEAST_CHANCE)
    return np.asarray(np.log(kept / (1.0 - kept)))


def probability(coefficients: Sequence[float], of: Asked) -> float:
    """The logistic function of the signals."""
    return float(1.0 / (1.0 + np.exp(-np.clip(np.dot(coefficients, signals(of)), -30.0, 30.0))))


def softmax(logits: Floats) -> Floats:
    """Shares of the exponentials, `[K]`."""
    raised = np.exp(logits - logits.max())
    return np.asarray(raised / raised.sum())
