"""How right one answer per photo is: kilometres, GeoScore, names of areas. Letters: N rows.

NaN is "no answer": wrong at every threshold, GeoScore 0, wrong in every area. Only mean and median
error leave such rows out, because they have no error; the count of answered rows is returned.
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
"""Street, city, region, country, continent: the field's words since Vo et al. 2017."""
MAX_GEOSCORE: Final = 5000.0
GEOSCORE_SCALE_KM: Final = 1492.7
"""GeoScore is `5000 exp(-d / 1492.7 km)` (PIGEON, Haas et al. 2024; the game it is taken from
scores its world map this way)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Kilometres off, over answered rows only."""

    mean_km: float
    median_km: float
    answered: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaAccuracy:
    """Share of rows whose area is named right, with both denominators."""

    as_released: float
    """Of all rows: a row without a label cannot be right (OSV-5M's released code)."""
    labelled_only: float
    """Of the rows that have a label."""
    rows: int
    labelled: int


def within(distances_km: ArrayLike, threshold_km: float, convention: Convention) -> BoolColumn:
    """Which rows are right at one threshold: `[N]`; NaN is not.

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
    """Share of all rows that are right at each threshold; a row without an answer is wrong.

    Args:
        distances_km: `[N]`, NaN for no answer.
        convention: Says whether a distance equal to the threshold is right.
        thresholds_km: The thresholds.

    Returns:
        One share in [0, 1] per threshold; NaN where there are no rows.

    Raises:
        ValueError: As `within`.
    """
    return tuple(mean(within(distances_km, each, convention)) for each in thresholds_km)


def errors(distances_km: ArrayLike) -> Errors:
    """Mean and median error over the answered rows, and how many those are.

    Leaving rows out flatters whoever answers seldom: read it beside the accuracies.

    Args:
        distances_km: `[N]`, NaN for no answer.

    Returns:
        NaN kilometres where no row is answered.

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
        rounded: Whether each is rounded to a whole number (PIGEON, Pinpoint) or not (OSV-5M,
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


def geoscore(distances_km: ArrayLike, convention: Convention) -> float:
    """Mean GeoScore of all rows, in [0, 5000]; a row without an answer scores 0.

    Raises:
        ValueError: A distance is negative or infinite.
    """
    return mean(geoscores(distances_km, rounded=convention.rounded))


def same_area(labels: Sequence[str | None], answers: Sequence[str | None]) -> BoolColumn:
    """Which rows name the labelled area: `[N]`.

    Compared letter by letter. A missing label (None or empty) is matched by nothing, a missing
    answer matches nothing; two missing ones are no match either.

    Raises:
        ValueError: Not one answer per label.
    """
    if len(labels) != len(answers):
        raise ValueError(f"{len(labels)} labels beside {len(answers)} answers")
    pairs = zip(labels, answers, strict=True)
    return np.array([bool(label) and label == answer for label, answer in pairs], dtype=np.bool_)


def area_accuracy(labels: Sequence[str | None], answers: Sequence[str | None]) -> AreaAccuracy:
    """Country, region, sub-region or city accuracy, with both denominators.

    OSV-5M's code means to drop rows without a label, but looks for `nan` where its loader wrote
    `NaN`; so they stay, and cannot match. Published figures have that denominator.

    Args:
        labels: `[N]` names; None or empty where the data set has none.
        answers: `[N]` names found at the answer; None for no answer, which is wrong.

    Raises:
        ValueError: Not one answer per label.
    """
    right = same_area(labels, answers)
    labelled = np.array([bool(label) for label in labels], dtype=np.bool_)
    return AreaAccuracy(
        as_released=mean(right),
        labelled_only=mean(right[labelled]),
        rows=len(right),
        labelled=int(labelled.sum()),
    )


def _check_distances(distances_km: ArrayLike) -> FloatColumn:
    return check_numbers(distances_km, "distances_km", gaps=True, least=0.0)
