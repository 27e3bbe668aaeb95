"""Fits the abstention rule: a doubt score and the threshold above which an answer is withheld.

The cost of an abstention is a lost correct answer. The doubt is therefore fitted to separate
queries outside the gallery from queries with a correct answer. The threshold withholds a given
share of the correct answers. Covered queries with a wrong answer are in neither class: they mostly
show no evidence of their place, and withholding them is no loss. If few answers are correct, a
second limit bounds the share of covered queries that are withheld.
Letters: N queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Flags
from pinpoint.evaluation.calibration import posterior_fit
from pinpoint.geo import kernels, posteriors
from pinpoint.geo.distance import haversine_m
from pinpoint.records import AbstentionRule, QueryFeatures, StratumFit
from pinpoint.search import posterior

MAX_FALSE_ABSTENTION: Final = 0.1
"""Maximum share of the correct answers that is withheld."""
MAX_COVERED_WITHHELD: Final = 0.25
"""Maximum share of the covered queries that is withheld, even if few answers are correct.

About a fifth of photos show no evidence of their place, and a tenth of the others may be lost."""
MIN_UNSUPPORTED: Final = 10
MIN_CORRECT: Final = 10
_RIGHT_M: Final = 25_000.0


def fit_threshold(
    queries: Sequence[QueryFeatures],
    fits: Sequence[StratumFit],
    truth: NDArray[np.float64],
    supported: Flags,
    share: float,
) -> AbstentionRule:
    """Fit the doubt and the threshold above which an answer is withheld, with its effect.

    Args:
        queries: Features of `[N]` queries, covered or not.
        fits: Parameters of the stratum of each query, `[N]`.
        truth: Ground truths, `[N, 2]` degrees.
        supported: Whether the labels do not mark the query as outside the gallery, `[N]`.
        share: Maximum share of the correct answers that is withheld.
    """
    uncovered = ~supported
    correct = supported & _is_answer_correct(queries, fits, truth)
    if int(correct.sum()) < MIN_CORRECT:
        correct = supported
    coefficients: tuple[float, ...] | None = None
    if int(uncovered.sum()) >= MIN_UNSUPPORTED:
        design = np.array([posteriors.decision_features(query) for query in queries])
        labeled = correct | uncovered
        coefficients = tuple(
            posterior_fit.fit_logistic(design[labeled], uncovered[labeled]).tolist()
        )
    doubts = np.array(
        [
            posteriors.masses(query, fit)[1]
            if coefficients is None
            else posteriors.probability(coefficients, query)
            for query, fit in zip(queries, fits, strict=True)
        ]
    )
    threshold = max(
        float(np.quantile(doubts[correct], 1.0 - share)),
        float(np.quantile(doubts[supported], 1.0 - MAX_COVERED_WITHHELD)),
    )
    withheld = doubts > threshold
    return AbstentionRule(
        signal="elsewhere" if coefficients is None else "unsupported",
        above=threshold,
        unsupported=coefficients,
        right_share=float(withheld[correct].mean()),
        supported_share=float(withheld[supported].mean()),
        unsupported_share=float(withheld[uncovered].mean()) if uncovered.any() else None,
    )


def _is_answer_correct(
    queries: Sequence[QueryFeatures], fits: Sequence[StratumFit], truth: NDArray[np.float64]
) -> Flags:
    """Whether the answer, withheld or not, is within 25 km of the ground truth, `[N]`."""
    answers = []
    for query, fit in zip(queries, fits, strict=True):
        mixture = posteriors.mixture(
            query, fit, posterior_fit.KERNELS_KM, posterior_fit.ELSEWHERE_KM
        )
        nodes = kernels.quadrature_nodes(mixture, posterior.NUM_NODES)
        answers.append(posterior.select_best_point(query, mixture, nodes, None))
    return np.asarray(haversine_m(np.array(answers), truth) <= _RIGHT_M)
