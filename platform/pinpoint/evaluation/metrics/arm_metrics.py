"""Record with the precomputed inputs of the metrics of one arm.

Letters: N rows, as in `summary`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Flags, Floats
from pinpoint.metrics.conventions import Convention


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmMetrics:
    """Precomputed inputs of the metrics of one arm; `[N]` over its readable photos."""

    convention: Convention
    clusters: NDArray[np.int64]
    error_km: Floats
    best_km: Mapping[int, Floats]
    """Error of the best of the first candidates, by number of candidates."""
    probability_within_km: Mapping[float, Floats] | None
    """Share of the mass by distance from the answer in km; None if the ranker states none."""
    radii_km: Mapping[str, Floats]
    credible_region_covers: Mapping[str, Floats]
    """Whether the highest-density region contains the ground truth, by its share; NaN if none."""
    credible_region_km2: Mapping[str, Floats]
    withheld: Flags
    """Whether the answer was withheld (abstention)."""
    p_not_in_gallery: Floats
    """Stated probability that the gallery does not cover the place; NaN if not stated."""
    calibrated: bool
    labels: Mapping[str, Sequence[str | None]]
    """Area labels of each level that has labels."""
    predicted: Mapping[str, Sequence[str | None]]
    """Areas of the answers, by level."""
    strata: Sequence[Mapping[str, str]]
    placeholder: Flags
