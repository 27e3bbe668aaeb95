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
