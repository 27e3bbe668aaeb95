"""When an answer is withheld: a doubt, and the threshold above which it is too large.

What an abstention costs is a right answer. So the doubt is fitted to tell questions that no gallery
covers from those whose answer is right, and the threshold withholds a stated share of these. A
covered photo whose answer is wrong mostly shows nothing of its place: it counts for neither. From
what was found it cannot be told from one that no gallery covers, and to withhold it is no loss.
Where few answers are right at all, a limit keeps the ranker from withholding most of them.
Letters: N questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.evaluation import fitting
from pinpoint.geo import kernels, posteriors
from pinpoint.geo.distance import haversine_m
from pinpoint.records import Abstention, Asked, StratumFit
from pinpoint.search import posterior

WITHHELD: Final = 0.1
"""Share of the right answers that may be withheld."""
MOST_COVERED: Final = 0.25
"""Of the questions that the gallery covers no more than this, however few are answered right: of
photos about a fifth show nothing, and a tenth of the others may be lost."""
LEAST_UNSUPPORTED: Final = 10
LEAST_RIGHT: Final = 10
_RIGHT_M: Final = 25_000.0

Flags = NDArray[np.bool_]


def fitted(
    queries: Sequence[Asked],
    fits: Sequence[StratumFit],
    truth: NDArray[np.float64],
    supported: Flags,
    share: float,
) -> Abstention:
    """The threshold above which an answer is withheld, and what it costs and brings.

    Args:
        asked: `[N]` questions, covered or not.
        fits: `[N]`, of the stratum of each.
        truth: `[N, 2]` degrees.
        supported: `[N]`: not said to be outside of the gallery.
        share: Of the right answers, how many may be withheld.
    """
    uncovered = ~supported
    correct = supported & _is_answer_correct(queries, fits, truth)
    if int(correct.sum()) < LEAST_RIGHT:
        correct = supported
    coefficients: tuple[float, ...] | None = None
    if int(uncovered.sum()) >= LEAST_UNSUPPORTED:
        design = np.array([posteriors.signals(query) for query in queries])
        labeled = correct | uncovered
        coefficients = tuple(fitting.logistic(design[labeled], uncovered[labeled]).tolist())
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
        float(np.quantile(doubts[supported], 1.0 - MOST_COVERED)),
    )
    withheld = doubts > threshold
    return Abstention(
        signal="elsewhere" if coefficients is None else "unsupported",
        above=threshold,
        unsupported=coefficients,
        right_share=float(withheld[correct].mean()),
        supported_share=float(withheld[supported].mean()),
        unsupported_share=float(withheld[uncovered].mean()) if uncovered.any() else None,
    )


def _is_answer_correct(
    queries: Sequence[Asked], fits: Sequence[StratumFit], truth: NDArray[np.float64]
) -> Flags:
    """Whether the answer, withheld or not, lies within 25 km of the truth, `[N]`."""
    answers = []
    for query, fit in zip(queries, fits, strict=True):
        mixture = posteriors.mixture(query, fit, fitting.KERNELS_KM, fitting.ELSEWHERE_KM)
        nodes = kernels.nodes(mixture, posterior.NODES)
        answers.append(posterior.best_point(query, mixture, nodes, None))
    return np.asarray(haversine_m(np.array(answers), truth) <= _RIGHT_M)
