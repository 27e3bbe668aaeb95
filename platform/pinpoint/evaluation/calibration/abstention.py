"""Fits the abstention rule: a score and the threshold above which an answer is withheld.

The cost of an abstention is a lost correct answer. The score is therefore fitted to separate
queries outside the gallery from queries with a correct answer. The threshold withholds a given
share of the correct answers. Queries in the gallery with a wrong answer are in neither class: they
mostly show no evidence of their place, and withholding them is no loss. If few answers are correct,
a second limit bounds the share of the queries in the gallery that are withheld.
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
from pinpoint.metrics.geolocation import CITY_KM
from pinpoint.records import (
    AbstentionRule,
    CoverageModel,
    QueryFeatures,
    StratumFit,
    VerificationFit,
)
from pinpoint.search import posterior

MAX_FALSE_ABSTENTION: Final = 0.1
"""Maximum share of the correct answers that is withheld."""
MAX_ABSTENTION_IN_GALLERY: Final = 0.25
"""Maximum share of the queries in the gallery that is withheld, even if few answers are correct.

About a fifth of photos show no evidence of their place, and a tenth of the others may be lost."""
MIN_NOT_IN_GALLERY: Final = 10
MIN_CORRECT: Final = 10
_CORRECT_M: Final = 1e3 * CITY_KM


def fit_threshold(
    queries: Sequence[QueryFeatures],
    fits: Sequence[StratumFit],
    ground_truth: NDArray[np.float64],
    in_gallery: Flags,
    max_false_abstention: float,
    coverage: CoverageModel | None,
    compared: tuple[Sequence[VerificationFit], AbstentionRule] | None = None,
) -> AbstentionRule:
    """Fit the score and the threshold above which an answer is withheld, with its effect.

    Args:
        queries: Features of `[N]` queries, in the gallery or not.
        fits: Parameters of the stratum of each query, `[N]`.
        ground_truth: Ground truths, `[N, 2]` degrees.
        in_gallery: Whether the labels do not mark the query as outside the gallery, `[N]`.
        max_false_abstention: Maximum share of the correct answers that is withheld.
        coverage: Coverage model, if the posterior has one.
        compared: If the queries have compared candidates: corrections of the stratum of each
            query, `[N]`, and the rule without verification, whose score is kept.
    """
    not_in_gallery = ~in_gallery
    correct = in_gallery & are_answers_correct(queries, fits, ground_truth, coverage)
    if int(correct.sum()) < MIN_CORRECT:
        correct = in_gallery
    coefficients: tuple[float, ...] | None = None
    verification: Sequence[VerificationFit | None] = [None] * len(queries)
    if compared is not None:
        verification, coefficients = compared[0], compared[1].not_in_gallery_coefficients
    elif int(not_in_gallery.sum()) >= MIN_NOT_IN_GALLERY:
        design = np.array([posteriors.decision_features(query) for query in queries])
        labeled = correct | not_in_gallery
        coefficients = tuple(
            posterior_fit.fit_logistic(design[labeled], not_in_gallery[labeled]).tolist()
        )
    scores = np.array(
        [
            posteriors.abstention_score(query, fit, coefficients, correction)
            for query, fit, correction in zip(queries, fits, verification, strict=True)
        ]
    )
    threshold = max(
        float(np.quantile(scores[correct], 1.0 - max_false_abstention)),
        float(np.quantile(scores[in_gallery], 1.0 - MAX_ABSTENTION_IN_GALLERY)),
    )
    withheld = scores > threshold
    return AbstentionRule(
        signal="outside_candidates" if coefficients is None else "not_in_gallery",
        threshold=threshold,
        not_in_gallery_coefficients=coefficients,
        false_abstention_rate=float(withheld[correct].mean()),
        abstention_rate_in_gallery=float(withheld[in_gallery].mean()),
        abstention_rate_not_in_gallery=float(withheld[not_in_gallery].mean())
        if not_in_gallery.any()
        else None,
    )


def are_answers_correct(
    queries: Sequence[QueryFeatures],
    fits: Sequence[StratumFit],
    ground_truth: NDArray[np.float64],
    coverage: CoverageModel | None,
) -> Flags:
    """Whether the answer, withheld or not, is within 25 km of the ground truth, `[N]`."""
    answers = []
    for query, fit in zip(queries, fits, strict=True):
        mixture = posteriors.mixture(
            query, fit, posterior_fit.KERNELS_KM, posterior_fit.BACKGROUND_KERNELS_KM, coverage
        )
        nodes = kernels.quadrature_nodes(mixture, posterior.NUM_NODES)
        answers.append(posterior.select_best_point(query, mixture, nodes, None))
    return np.asarray(haversine_m(np.array(answers), ground_truth) <= _CORRECT_M)
