"""Selective prediction metrics: risk–coverage curve, AURC, AUROC.

Letters: N rows (photos), M distinct confidences. A row without a confidence (NaN: no answer) is
ranked last, so that missing answers never improve a metric over all rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pinpoint.metrics.rows import FloatColumn, check_flags, check_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskCurve:
    """Risk–coverage curve: the mean loss if only the most confident rows are answered."""

    thresholds: FloatColumn
    """`[M]` lowest answered confidence, decreasing; NaN at the end if some rows have none."""
    coverage: FloatColumn
    """`[M]` share of all rows that are answered, increasing to 1."""
    risk: FloatColumn
    """`[M]` mean loss of the answered rows."""
    aurc: float
    """Area under the curve: mean over rows of the risk at the coverage that includes the row."""
    rows: int


def risk_curve(confidence: ArrayLike, losses: ArrayLike) -> RiskCurve:
    """Selective risk against coverage, and the area under it (lower is better).

    Rows of equal confidence are answered together, as with a threshold, so the row order is
    irrelevant. Source: Geifman and El-Yaniv 2017, Selective Classification; AURC as in Geifman,
    Uziel and El-Yaniv 2019.

    Args:
        confidence: `[N]`, any scale; NaN for no answer.
        losses: `[N]` loss of each row if it is answered: 1 for wrong and for no answer, 0 for
            correct, or another loss that is defined for every row.

    Returns:
        Empty columns and a NaN area if there are no rows.

    Raises:
        ValueError: Columns of different length, an infinite number, or a NaN loss.
    """
    scores = _fill_missing_confidence(confidence)
    row_losses = check_numbers(losses, "losses", rows=len(scores))
    order = np.argsort(-scores, kind="stable")
    scores, row_losses = scores[order], row_losses[order]
    # The last row of each run of equal confidence is a possible threshold.
    last_of_run = np.flatnonzero(scores != np.append(scores[1:], np.nan))
    answered = last_of_run + 1
    risk = np.cumsum(row_losses)[last_of_run] / answered
    newly_answered = np.diff(answered, prepend=0)
    thresholds = scores[last_of_run]
    return RiskCurve(
        thresholds=np.where(np.isinf(thresholds), np.nan, thresholds),
        coverage=answered / max(1, len(scores)),
        risk=risk,
        aurc=float(newly_answered @ risk) / len(scores) if len(scores) else float("nan"),
        rows=len(scores),
    )


def abstention_auroc(confidence: ArrayLike, answerable: ArrayLike) -> float:
    """Probability that an answerable photo has a higher confidence than an unanswerable one.

    Mann-Whitney form of the area under the ROC curve over all pairs; ties count half.

    Args:
        confidence: `[N]`, any scale; NaN (abstained) is below every number.
        answerable: `[N]`: the answer is correct, or the gallery covers the position; the caller
            documents which.

    Returns:
        In [0, 1], 0.5 for random confidence; NaN if one of the two groups is empty.

    Raises:
        ValueError: Columns of different length, or an infinite number.
    """
    scores = _fill_missing_confidence(confidence)
    good = check_flags(answerable, "answerable", rows=len(scores))
    above, below = scores[good], np.sort(scores[~good])
    if not len(above) or not len(below):
        return float("nan")
    lower = np.searchsorted(below, above, side="left")
    not_higher = np.searchsorted(below, above, side="right")
    return float((lower + not_higher).mean() / (2 * len(below)))


def _fill_missing_confidence(confidence: ArrayLike) -> FloatColumn:
    """Confidence with minus infinity instead of NaN."""
    scores = check_numbers(confidence, "confidence", gaps=True)
    return np.where(np.isnan(scores), -np.inf, scores)
