"""Similarity of embedding vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def cosine_similarity(
    rows: NDArray[np.floating], query: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Cosine of each row `[N, D]` and a query `[D]`, `[N]` in double precision.

    A vector of length 0 has cosine 0. `vecdot` computes row by row; the matrix product of BLAS
    would start threads and wait for busy cores.
    """
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    norms = np.sqrt(np.vecdot(rows, rows) * np.vecdot(query, query))
    return np.asarray(np.vecdot(rows, query) / np.where(norms > 0, norms, 1.0))


def mean_direction(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """The normalized mean `[D]` of unit vectors `[P, D]`; their order does not change any bit.

    Vectors that cancel out have no mean direction; the result is then a vector of length 0.
    """
    # Sorted sums do not depend on the order of the vectors.
    total = np.sort(np.asarray(vectors, dtype=np.float64), axis=0).sum(axis=0)
    length = np.sqrt(np.vecdot(total, total))
    return np.asarray(total / (length if length > 0 else 1.0), dtype=np.float32)
