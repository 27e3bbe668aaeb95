"""Correspondences of two images: mutual nearest neighbors of RootSIFT that pass a ratio test."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats
from pinpoint.records import LocalFeatures

_LENGTH: Final = 4_000.0
"""Length to which RootSIFT vectors are scaled before they are rounded to integers. Products of
integers are exact in fp32 up to 2^24, so that similarities depend neither on the order of the
key points nor on the number of threads."""


def root_sift(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """RootSIFT (Arandjelović and Zisserman, 2012) as integers `[N, 128]` of length about 4,000.

    Args:
        descriptors: `[N, 128]` histograms; an empty histogram stays empty.
    """
    histograms = descriptors.astype(np.float64)
    sums = np.maximum(histograms.sum(axis=1, keepdims=True), 1.0)
    return np.asarray(np.rint(np.sqrt(histograms / sums) * _LENGTH), np.float32)


def find_correspondences(
    first: LocalFeatures, second: LocalFeatures, max_ratio: float
) -> NDArray[np.intp]:
    """Correspondences `[M, 2]`, indices into both images, best first.

    Both key points are each other's nearest neighbor, and both pass the ratio test against the
    second nearest one of the other image (Lowe, 2004).

    Args:
        first: Features of one image.
        second: Features of the other image.
        max_ratio: Maximum ratio of the nearest to the second nearest distance, in (0, 1].
    """
    if min(len(first.keypoints), len(second.keypoints)) < 2:
        return np.zeros((0, 2), np.intp)
    vectors, others = root_sift(first.descriptors), root_sift(second.descriptors)
    squared = _squared_distances(vectors, others)
    forward, backward = squared.argmin(axis=1), squared.argmin(axis=0)
    rows = np.flatnonzero(backward[forward] == np.arange(len(forward)))
    columns = forward[rows]
    nearest = squared[rows, columns].astype(np.float64)
    # The second nearest ones are needed for mutual neighbors only.
    second_nearest = np.minimum(
        _min_without(squared[rows], columns), _min_without(squared.T[columns], rows)
    )
    ratio = np.maximum(nearest, 0.0) / np.maximum(second_nearest, 1.0)
    order = np.argsort(ratio, kind="stable")
    order = order[ratio[order] < max_ratio**2]
    return np.stack([rows[order], columns[order]], axis=1)


def _squared_distances(
    vectors: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Squared Euclidean distances `[N, M]`, exact up to the rounding of their sum."""
    lengths = np.square(vectors).sum(axis=1), np.square(others).sum(axis=1)
    products = np.asarray(vectors @ others.T, np.float32)
    return lengths[0][:, None] + lengths[1][None, :] - 2 * products


def _min_without(squared: NDArray[np.float32], columns: NDArray[np.intp]) -> Floats:
    """Minimum of each row `[M]` without the value in its column of `columns`."""
    others = squared.copy()
    others[np.arange(len(others)), columns] = np.inf
    return others.min(axis=1).astype(np.float64)
