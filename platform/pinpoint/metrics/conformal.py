"""Split-conformal levels: the mass a region needs for its stated coverage.

Letters: N rows (photos) of a calibration split. The score of a row is the mass that a region needs
to contain the ground truth: 0 at the mode, up to 1; infinite if no region contains it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def conformal_level(scores: ArrayLike, share: float) -> float:
    """The level at which regions cover at least a share of exchangeable new rows.

    The ⌈(N + 1) share⌉-th smallest score (Vovk, Gammerman and Shafer 2005; Lei et al. 2018): a new
    score falls into each of the N + 1 gaps with equal probability, so the coverage is in
    `[share, share + 1 / (N + 1)]` if all scores are distinct.

    Args:
        scores: `[N]`, infinite if no region contains the ground truth.
        share: In (0, 1).

    Returns:
        Infinite if N is too small for the share; the region is then the whole Earth.

    Raises:
        ValueError: The share is out of range, or a score is NaN.
    """
    if not 0 < share < 1:
        raise ValueError(f"a share must be in (0, 1), not {share}")
    sorted_scores = np.sort(np.asarray(scores, dtype=np.float64))
    if sorted_scores.ndim != 1 or np.isnan(sorted_scores).any():
        raise ValueError("scores: wanted [N] numbers; infinite for never, not NaN")
    # Rounded first: a rounding error must not turn 0.9 · 10 into rank 10 of 9.
    rank = int(np.ceil(round((len(sorted_scores) + 1) * share, 9)))
    return float(sorted_scores[rank - 1]) if rank <= len(sorted_scores) else float("inf")


def sample_one_per_creator(creators: Sequence[str | None], seed: int) -> NDArray[np.intp]:
    """One random row per creator: photos of one creator are not exchangeable.

    Args:
        creators: `[N]`; a photo without a creator is a group by itself.
        seed: Seed of the draw.

    Returns:
        Row numbers, ascending.
    """
    shuffled = np.random.default_rng(seed).permutation(len(creators)).tolist()
    row_of_creator: dict[str | int, int] = {}
    for row in shuffled:
        creator = creators[row]
        row_of_creator.setdefault(row if creator is None else creator, row)
    return np.array(sorted(row_of_creator.values()), dtype=np.intp)
