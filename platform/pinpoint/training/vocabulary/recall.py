"""Recall of vectors on leave-one-out queries of their own gallery.

Every image is a query. Faces of its own panorama are left out of the gallery. An image is right if
it is within 25 m. Letters: N images, D width, Q queries that have a right image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats32
from pinpoint.geo.distance import pairwise_m
from pinpoint.training.core.samples import Samples
from pinpoint.training.vocabulary.sampling import MATCH_RADIUS_M

LEAVE_ONE_OUT_DEPTHS: Final = (1, 5, 20)
_BLOCK_ROWS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOutRecall:
    """Shares of the queries, in [0, 1]; NaN without queries."""

    queries: int
    """Q."""
    at_depth: dict[int, float]
    """Share with a right image among the first K, by K."""


def leave_one_out_recall(samples: Samples, vectors: Floats32) -> LeaveOneOutRecall:
    """Recall at 1, 5 and 20 within 25 m.

    Args:
        samples: Positions and panoramas of the images.
        vectors: Unit vectors `[N, D]`.
    """
    panoramas = _number_panoramas(samples)
    depth = min(max(LEAVE_ONE_OUT_DEPTHS), len(samples))
    hits: list[NDArray[np.bool_]] = []
    for start in range(0, len(samples), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        is_excluded = panoramas[rows, None] == panoramas[None, :]
        distances = pairwise_m(samples.positions[rows], samples.positions)
        is_right = (distances <= MATCH_RADIUS_M) & ~is_excluded
        similarities = vectors[rows] @ vectors.T
        similarities[is_excluded] = -np.inf
        # Stable, so that equal similarities are ordered by row on every machine.
        nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :depth]
        is_query = is_right.any(axis=1)
        hits.append(np.take_along_axis(is_right, nearest, axis=1)[is_query])
    table = np.concatenate(hits)
    shares = {
        k: float(table[:, :k].any(axis=1).mean()) if len(table) else float("nan")
        for k in LEAVE_ONE_OUT_DEPTHS
    }
    return LeaveOneOutRecall(queries=len(table), at_depth=shares)


def _number_panoramas(samples: Samples) -> NDArray[np.int64]:
    """A number for each panorama, `[N]`; an image without a panorama has a number of its own."""
    keys = [
        str(panorama) or f"image {row}" for row, panorama in enumerate(samples.panoramas.tolist())
    ]
    _, numbers = np.unique(np.array(keys), return_inverse=True)
    return numbers.astype(np.int64)
