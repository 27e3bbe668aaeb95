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
    forward, forward_ratio = _nearest(squared)
    backward, backward_ratio = _nearest(squared.T)
    rows = np.arange(len(forward))
    ratio = np.maximum(forward_ratio, backward_ratio[forward])
    rows = rows[(backward[forward] == rows) & (ratio < max_ratio**2)]
    rows = rows[np.argsort(ratio[rows], kind="stable")]
    return np.stack([rows, forward[rows]], axis=1)


def _squared_distances(
    vectors: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Squared Euclidean distances `[N, M]`, exact up to the rounding of their sum."""
    lengths = np.square(vectors).sum(axis=1), np.square(others).sum(axis=1)
    products = np.asarray(vectors @ others.T, np.float32)
    return lengths[0][:, None] + lengths[1][None, :] - 2 * products


def _nearest(squared: NDArray[np.float32]) -> tuple[NDArray[np.intp], Floats]:
    """Nearest column of each row, and the squared ratio to the second nearest distance."""
    nearest = squared.argmin(axis=1)
    rows = np.arange(len(squared))
    best = squared[rows, nearest].astype(np.float64)
    two = np.partition(squared, 1, axis=1)[:, 1].astype(np.float64)
    return nearest, np.maximum(best, 0.0) / np.maximum(two, 1.0)
