"""Metrics of one answer per photo: error, accuracy, GeoScore, areas. Letters: N rows.

NaN is "no answer": wrong at every threshold, GeoScore 0, wrong in every area. Only mean and median
error exclude such rows, because they have no error; the number of answered rows is returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from pinpoint.metrics.conventions import Convention
from pinpoint.metrics.rows import BoolColumn, FloatColumn, check_numbers, mean, median

THRESHOLDS_KM: Final = (1.0, 25.0, 200.0, 750.0, 2500.0)
"""Street, city, region, country, continent: the standard thresholds since Vo et al. 2017."""
STREET_KM: Final = 1.0
CITY_KM: Final = 25.0
"""The city threshold; an answer within it counts as correct for abstention."""
MAX_GEOSCORE: Final = 5000.0
GEOSCORE_SCALE_KM: Final = 1492.7
"""GeoScore is `5000 exp(-d / 1492.7 km)` (PIGEON, Haas et al. 2024; the score of GeoGuessr's world
map)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Errors in kilometers, over answered rows only."""

    mean_km: float
    median_km: float
    answered: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaAccuracy:
    """Share of rows with the correct area, with both denominators."""

    as_released: float
    """Relative to all rows: a row without a label is wrong (as in OSV-5M's released code)."""
    labeled_only: float
    """Relative to the rows with a label."""
    rows: int
    labeled: int


def within(distances_km: ArrayLike, threshold_km: float, convention: Convention) -> BoolColumn:
    """Which rows are correct at one threshold: `[N]`; NaN is not.

    Raises:
        ValueError: A distance is negative or infinite, or the threshold is not positive.
    """
    if not threshold_km > 0:
        raise ValueError(f"a threshold is more than 0 km, got {threshold_km}")
    return convention.within(_check_distances(distances_km), threshold_km)


def accuracies(
    distances_km: ArrayLike,
    convention: Convention,
    thresholds_km: Sequence[float] = THRESHOLDS_KM,
) -> tuple[float, ...]:
    """Share of all rows that are correct at each threshold; a row without an answer is wrong.

    Args:
        distances_km: `[N]`, NaN for no answer.
        convention: Defines whether a distance equal to the threshold is correct.
        thresholds_km: The thresholds.

    Returns:
        One share in [0, 1] per threshold; NaN if there are no rows.

    Raises:
        ValueError: As `within`.
    """
    return tuple(
        mean(within(distances_km, threshold_km, convention)) for threshold_km in thresholds_km
    )


def errors(distances_km: ArrayLike) -> Errors:
    """Mean and median error over the answered rows, and their number.

    Excluding rows favors systems that answer rarely, so report accuracies too.

    Args:
        distances_km: `[N]`, NaN for no answer.

    Returns:
        NaN errors if no row is answered.

    Raises:
        ValueError: A distance is negative or infinite.
    """
    distances = _check_distances(distances_km)
    answered = distances[~np.isnan(distances)]
    return Errors(
        mean_km=mean(answered),
        median_km=median(answered),
        answered=len(answered),
        rows=len(distances),
    )


def geoscores(distances_km: ArrayLike, *, rounded: bool) -> FloatColumn:
    """GeoScore of each row.

    Args:
        distances_km: `[N]`, NaN for no answer.
        rounded: Whether each score is rounded to an integer (PIGEON, Pinpoint) or not (OSV-5M,
            PLONK).

    Returns:
        `[N]` in [0, 5000]; 0 for no answer.

    Raises:
        ValueError: A distance is negative or infinite.
    """
    distances = _check_distances(distances_km)
    scores = np.where(
        np.isnan(distances),
        0.0,
        MAX_GEOSCORE * np.exp(-np.nan_to_num(distances) / GEOSCORE_SCALE_KM),
    )
    return np.rint(scores) if rounded else scores


def same_area(labels: Sequence[str | None], answers: Sequence[str | None]) -> BoolColumn:
    """Which rows have the labeled area: `[N]`.

    Names are compared exactly. A missing label (None or empty) or a missing answer never matches,
    not even another missing one.

    Raises:
        ValueError: Different numbers of labels and answers.
    """
    if len(labels) != len(answers):
        raise ValueError(f"{len(labels)} labels but {len(answers)} answers")
    pairs = zip(labels, answers, strict=True)
    return np.array([bool(label) and label == answer for label, answer in pairs], dtype=np.bool_)


def area_accuracy(labels: Sequence[str | None], answers: Sequence[str | None]) -> AreaAccuracy:
    """Country, region, sub-region or city accuracy, with both denominators.

    OSV-5M's code intends to drop rows without a label, but compares with `nan` although its loader
    writes `NaN`. Such rows stay and never match. Published results have this denominator.

    Args:
        labels: `[N]` names; None or empty if the data set has none.
        answers: `[N]` names at the answer; None for no answer, which is wrong.

    Raises:
        ValueError: Different numbers of labels and answers.
    """
    right = same_area(labels, answers)
    labeled = np.array([bool(label) for label in labels], dtype=np.bool_)
    return AreaAccuracy(
        as_released=mean(right),
        labeled_only=mean(right[labeled]),
        rows=len(right),
        labeled=int(labeled.sum()),
    )


def _check_distances(distances_km: ArrayLike) -> FloatColumn:
    return check_numbers(distances_km, "distances_km", gaps=True, least=0.0)
