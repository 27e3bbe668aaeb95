"""Fitting a posterior to held-out questions: temperature, kernels, and the mass elsewhere.

Maximum likelihood of the truth's density, which is a proper score: what minimises it is calibrated
at every scale that the kernels can express. A weak pull towards the numbers of all questions
together keeps a small stratum from learning its few authors by heart.
Letters: N questions, K candidates (NaN padded), S kernels, W wide kernels, P signals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.kernels import ANYWHERE_KM, log_kernel
from pinpoint.geo.posteriors import (
    FEATURE_NAMES,
    decision_features,
    log_candidate_density,
    log_odds,
)
from pinpoint.records import Asked

Floats = NDArray[np.float64]

KERNELS_KM: Final = (0.1, 1.0, 8.0, 60.0)
"""Around candidates: the same spot, the quarter, the town, the region."""
ELSEWHERE_KM: Final = (500.0, 2_500.0, ANYWHERE_KM)
_PULL: Final = 2.0
"""Weight of the pull, in questions: squared distance in natural units of each parameter."""
_LEAST_SPREAD: Final = 1e-6
_LEAST_DENSITY: Final = 1e-300
_NEVER: Final = -1e6
"""Logit of a candidate that is not there; finite, so that its mass of 0 times it is 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Questions as arrays, computed once."""

    logits: Floats
    """`[N, K]`, hugely negative for none."""
    crowd: Floats
    """`[N, K]` logs of the candidates around each, as `geo.posteriors.crowd` has them."""
    near: Floats
    """`[N, K, S]` density of each kernel of each candidate at the truth, per km²."""
    wide: Floats
    """`[N, W]` density of the wide kernels, mean over the candidates."""
    signals: Floats
    """`[N, P]`."""

    def rows(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> Table:
        """Some of them."""
        return Table(
            self.logits[chosen],
            self.crowd[chosen],
            self.near[chosen],
            self.wide[chosen],
            self.signals[chosen],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What was fitted, in the terms of `records.StratumFit`."""

    temperature: float
    crowding: float
    kernel_shares: Floats
    elsewhere: Floats
    """`[P]` coefficients of the signals as they are."""
    elsewhere_shares: Floats
    theta: Floats
    """The same as the fit sees it."""


def tabled(questions: Sequence[Asked], truth: Floats) -> Table:
    """The arrays of N questions.

    Args:
        questions: What was known of each.
        truth: `[N, 2]` degrees.
    """
    most = max(len(one.logits) for one in questions)
    logits = np.full((len(questions), most), _NEVER)
    crowds = np.zeros((len(questions), most))
    away_km = np.full((len(questions), most), np.nan)
    for row, (one, at) in enumerate(zip(questions, truth, strict=True)):
        logits[row, : len(one.logits)] = one.logits
        crowds[row, : len(one.logits)] = log_candidate_density(one)
        away_km[row, : len(one.logits)] = haversine_m(np.array(one.points), at) / 1_000.0
    near = np.exp(log_kernel(away_km[..., None], np.array(KERNELS_KM)))
    wide = np.nanmean(np.exp(log_kernel(away_km[..., None], np.array(ELSEWHERE_KM))), axis=1)
    seen = np.array([decision_features(one) for one in questions])
    return Table(logits, crowds, np.nan_to_num(near), wide, seen)


def fit(table: Table, around: Fitted | None = None) -> Fitted:
    """Fit one stratum.

    Args:
        table: Its questions.
        around: What to pull towards; without it, the plain start.
    """
    from scipy.optimize import minimize  # late: only fitting needs it

    middle, spread = _scales(table.signals)
    start = _start() if around is None else _rescaled(around, middle, spread)

    scaled = (table.signals - middle) / spread

    def loss(theta: Floats) -> tuple[float, Floats]:
        likely, slope = log_likelihood(theta, table, scaled)
        pulled = theta - start
        count = len(table.logits)
        return (
            (_PULL * float(pulled @ pulled) - likely) / count,
            (2.0 * _PULL * pulled - slope) / count,
        )

    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return _named(found.x, middle, spread)


def logistic(design: Floats, yes: NDArray[np.bool_]) -> Floats:
    """Coefficients `[P]` of the log-odds of `yes`, over signals `[N, P]`; both groups weigh alike.

    How often calibration questions are unsupported says nothing of how often users' are.
    """
    from scipy.optimize import minimize

    middle, spread = _scales(design)
    scaled = (design - middle) / spread
    weight = np.where(yes, 0.5 / max(1, int(yes.sum())), 0.5 / max(1, int((~yes).sum())))
    signed = np.where(yes, 1.0, -1.0)

    def loss(theta: Floats) -> float:
        lost = float(weight @ np.logaddexp(0.0, -signed * (scaled @ theta)))
        return lost + float(np.square(theta[1:]).sum()) / len(design)

    found = minimize(loss, np.zeros(design.shape[1]), method="L-BFGS-B")
    return _raw(found.x, middle, spread)


def _scales(design: Floats) -> tuple[Floats, Floats]:
    """What is taken off each signal and what it is divided by; the constant stays one."""
    middle, spread = design.mean(axis=0), design.std(axis=0)
    middle[0], spread[0] = 0.0, 1.0
    # A signal that does not vary (no reranker: no null) has nothing to say.
    return middle, np.where(spread > _LEAST_SPREAD, spread, np.inf)


def _raw(theta: Floats, middle: Floats, spread: Floats) -> Floats:
    """Coefficients of scaled signals as coefficients of the signals themselves."""
    raw = theta / spread
    raw[0] -= float(raw[1:] @ middle[1:])
    return np.asarray(raw)


def _rescaled(around: Fitted, middle: Floats, spread: Floats) -> Floats:
    """Another stratum's parameters in this one's scales."""
    theta = around.theta.copy()
    raw = around.elsewhere
    scaled = raw * np.where(np.isfinite(spread), spread, 0.0)
    scaled[0] = raw[0] + float(raw[1:] @ middle[1:])
    theta[_ELSEWHERE] = scaled
    return theta


def _parts(*widths: int) -> Iterator[slice]:
    """Slices of the parameters, one after another."""
    start = 0
    for width in widths:
        yield slice(start, start + width)
        start += width


_HEAT, _NARROW, _ELSEWHERE, _WIDE = _parts(
    2, len(KERNELS_KM), len(FEATURE_NAMES), len(ELSEWHERE_KM)
)
"""Of the parameters: log temperature and crowding, kernels, signals, wide kernels."""


def _start() -> Floats:
    return np.zeros(_WIDE.stop)


def log_likelihood(theta: Floats, table: Table, scaled: Floats) -> tuple[float, Floats]:
    """Sum of the truths' log densities, and its slope.

    Args:
        theta: Log temperature and crowding, kernel shares before their softmax, coefficients of the
            signals, wide shares before theirs.
        table: N questions.
        scaled: `[N, P]` their signals, scaled.
    """
    narrow_shares, wide_shares = _shares(theta[_NARROW]), _shares(theta[_WIDE])
    elsewhere = 1.0 / (1.0 + np.exp(-np.clip(scaled @ theta[_ELSEWHERE], -30.0, 30.0)))
    cooled = table.logits / np.exp(theta[0])
    raised = cooled + theta[1] * table.crowd
    mass = np.exp(raised - raised.max(axis=1, keepdims=True))
    mass /= mass.sum(axis=1, keepdims=True)
    reached = np.einsum("nk,nks->ns", mass, table.near)
    narrow, wide = reached @ narrow_shares, table.wide @ wide_shares
    density = np.maximum((1.0 - elsewhere) * narrow + elsewhere * wide, _LEAST_DENSITY)

    here, there = (1.0 - elsewhere) / density, elsewhere / density
    # How the mass of each candidate moves with a number that its logit rises by.
    moved = mass * (table.near @ narrow_shares - narrow[:, None]) * here[:, None]
    slope = np.concatenate(
        [
            [-(moved * cooled).sum(), (moved * table.crowd).sum()],
            narrow_shares * (here @ (reached - narrow[:, None])),
            scaled.T @ ((wide - narrow) * elsewhere * here),
            wide_shares * (there @ (table.wide - wide[:, None])),
        ]
    )
    return float(np.log(density).sum()), slope


def _shares(theta: Floats) -> Floats:
    raised = np.exp(theta - theta.max())
    return np.asarray(raised / raised.sum())


def _named(theta: Floats, middle: Floats, spread: Floats) -> Fitted:
    return Fitted(
        temperature=float(np.exp(theta[0])),
        crowding=float(theta[1]),
        kernel_shares=_shares(theta[_NARROW]),
        elsewhere=_raw(theta[_ELSEWHERE], middle, spread),
        elsewhere_shares=_shares(theta[_WIDE]),
        theta=theta,
    )


def moved(stated: Floats, right: NDArray[np.bool_]) -> tuple[float, float]:
    """Offset and slope of the log-odds that make stated probabilities mean what they say.

    Source: Platt 1999; pulled towards leaving them as they are, and never falling.

    Args:
        stated: `[N]` in [0, 1].
        right: `[N]` whether it was so.
    """
    from scipy.optimize import minimize

    odds = log_odds(stated)
    signed = np.where(right, 1.0, -1.0)

    def loss(theta: Floats) -> float:
        lost = np.logaddexp(0.0, -signed * (theta[0] + np.exp(theta[1]) * odds)).sum()
        return float(lost + _PULL * theta @ theta) / len(odds)

    found = minimize(loss, np.zeros(2), method="L-BFGS-B").x
    return float(found[0]), float(np.exp(found[1]))
