"""Split-conformal levels: how much a region must claim so that it holds as often as it says.

Letters: N rows (photos) of a calibration split, each with a score: the mass that a region must have
to reach the truth. 0 is the densest place, 1 the last; infinite where no region reaches it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


def conformal_level(scores: ArrayLike, share: float) -> float:
    """The level at which regions hold at least a share of exchangeable new rows.

    The ⌈(N + 1) share⌉-th smallest score (Vovk, Gammerman and Shafer 2005; Lei et al. 2018): a new
    row's score is as likely to fall into any of the N + 1 gaps, so coverage lies in
    `[share, share + 1 / (N + 1)]` where no two scores are equal.

    Args:
        scores: `[N]`, infinite for a truth that no region reaches.
        share: In (0, 1).

    Returns:
        Infinite where so few rows can promise nothing; a region then takes everything.

    Raises:
        ValueError: The share is out of range, or a score is NaN.
    """
    if not 0 < share < 1:
        raise ValueError(f"a share lies in (0, 1), not {share}")
    sorted_scores = np.sort(np.asarray(scores, dtype=np.float64))
    if sorted_scores.ndim != 1 or np.isnan(sorted_scores).any():
        raise ValueError("scores: wanted [N] numbers; infinite for never, not NaN")
    # Rounded first: 0.9 · 10 must not become the 10th of 9 by a bit in the last place.
    rank = int(np.ceil(round((len(sorted_scores) + 1) * share, 9)))
    return float(sorted_scores[rank - 1]) if rank <= len(sorted_scores) else float("inf")


def sample_one_per_author(authors: Sequence[str | None], seed: int) -> NDArray[np.intp]:
    """One row of each author, drawn at random: photos of one author are not exchangeable.

    Args:
        authors: `[N]`; a photo without an author counts as its own.
        seed: Of the draw.

    Returns:
        Row numbers, rising.
    """
    shuffled = np.random.default_rng(seed).permutation(len(authors)).tolist()
    row_of_author: dict[str | int, int] = {}
    for row in shuffled:
        author = authors[row]
        row_of_author.setdefault(row if author is None else author, row)
    return np.array(sorted(row_of_author.values()), dtype=np.intp)
