"""Measures whether verified candidates should come first in the answers of a gallery.

Inliers alone order candidates worse than a good ranker, and rarely better. Therefore the ranking of
a gallery changes only if leave-one-out queries of that gallery show a gain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pinpoint.evaluation.run.rows import EXCLUDED
from pinpoint.geo.distance import haversine_m
from pinpoint.metrics.intervals import bootstrap, cluster_codes
from pinpoint.records import VerificationThreshold

CORRECT_M: Final = 25.0
"""Maximum distance of a correct candidate from the ground truth."""
_SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReorderingGain:
    """Share of queries whose first candidate is within `CORRECT_M` of the ground truth."""

    num_queries: int
    without: float
    """In the order of the ranker."""
    reordered: float
    """With verified candidates first."""
    gain_low: float
    """Lower end of the 95 % interval of the difference, by bootstrap over creators."""

    @property
    def is_gain(self) -> bool:
        """Whether verified candidates should come first."""
        return self.gain_low > 0


def measure_reordering(
    rows: Iterable[Mapping[str, Any]], threshold: VerificationThreshold
) -> ReorderingGain | None:
    """Compare the first candidate of each query with and without verified candidates first.

    Args:
        rows: Rows of a leave-one-out run in which candidates were compared and not reordered.
        threshold: Threshold of verified matches.

    Returns:
        None if no candidate was compared.
    """
    without, reordered, creators = [], [], []
    for row in rows:
        arm = row["arms"].get(EXCLUDED)
        if arm is None or all(count is None for count in arm["candidate_inliers"]):
            continue
        ground_truth = np.array([row["lat"], row["lon"]])
        positions = np.column_stack([arm["candidate_lat"], arm["candidate_lon"]])
        is_correct = haversine_m(positions, ground_truth) <= CORRECT_M
        best = int(np.argmax(arm["candidate_weight"]))
        without.append(is_correct[best])
        reordered.append(is_correct[_find_first_verified(arm, threshold, best)])
        creators.append(row["creator"])
    if not without:
        return None
    gains = np.array(reordered, dtype=float) - np.array(without, dtype=float)
    interval = bootstrap(gains, cluster_codes(creators), seed=_SEED)
    return ReorderingGain(
        num_queries=len(without),
        without=float(np.mean(without)),
        reordered=float(np.mean(reordered)),
        gain_low=interval.low,
    )


def _find_first_verified(
    arm: Mapping[str, Any], threshold: VerificationThreshold, best: int
) -> int:
    """Index of the verified candidate with the most inliers, the heaviest of equal ones; or `best`.

    The rule of `search.verify.put_verified_first`.
    """
    verified = [
        (-inliers, -weight, index)
        for index, (inliers, spread, weight) in enumerate(
            zip(
                arm["candidate_inliers"],
                arm["candidate_spread"],
                arm["candidate_weight"],
                strict=True,
            )
        )
        if inliers is not None
        and inliers >= threshold.min_inliers
        and spread >= threshold.min_spread
    ]
    return min(verified)[2] if verified else best
