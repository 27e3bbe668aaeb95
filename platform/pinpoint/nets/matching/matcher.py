"""Matches the local features of two images and keeps what agrees on one geometry."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from pinpoint.nets.matching.correspondences import find_correspondences
from pinpoint.nets.matching.extraction import extract_features
from pinpoint.nets.matching.geometry import estimate_geometry
from pinpoint.nets.matching.settings import MatcherSettings
from pinpoint.records import GeometricMatch, LocalFeatures, Pixels


class RootSiftMatcher:
    """RootSIFT, mutual nearest neighbors, ratio test and MAGSAC++ (Barath et al., 2020).

    Args:
        settings: Sizes and limits of the method.
    """

    def __init__(self, settings: MatcherSettings | None = None) -> None:
        self.settings = settings or MatcherSettings()
        # Callers have threads of their own; those of OpenCV would compete with them for the cores.
        cv2.setNumThreads(1)

    @property
    def digest(self) -> str:
        """SHA-256 of the method, its settings and the OpenCV release."""
        return self.settings.digest

    def extract(self, pixels: Pixels) -> LocalFeatures:
        """Local features of an upright image `[H, W, 3]`; none if it has no texture."""
        return extract_features(pixels, self.settings)

    def match(self, query: LocalFeatures, image: LocalFeatures) -> GeometricMatch:
        """Match two images; the same for exchanged images and for key points in any order."""
        query, image = _sort_features(query), _sort_features(image)
        # The estimator is not symmetric, so that it always gets the two images in one order.
        is_exchanged = _content_key(query) > _content_key(image)
        first, second = (image, query) if is_exchanged else (query, image)
        pairs = find_correspondences(first, second, self.settings.max_ratio)
        match = estimate_geometry(first, second, pairs, self.settings)
        if is_exchanged:
            return replace(match, query_points=match.image_points, image_points=match.query_points)
        return match


def _sort_features(features: LocalFeatures) -> LocalFeatures:
    """The same features in one order: by position, then by descriptor."""
    keys = [*features.descriptors.T[::-1], features.keypoints[:, 1], features.keypoints[:, 0]]
    order = np.lexsort(keys)
    return replace(
        features,
        keypoints=features.keypoints[order],
        descriptors=features.descriptors[order],
    )


def _content_key(features: LocalFeatures) -> tuple[int, int, bytes, bytes]:
    return (
        features.width_px,
        features.height_px,
        features.keypoints.tobytes(),
        features.descriptors.tobytes(),
    )
