"""SIFT key points and descriptors (Lowe, 2004) of an image, by response, the highest first."""

from __future__ import annotations

import cv2
import numpy as np

from pinpoint.arrays import Floats
from pinpoint.nets.matching.reduction import reduce_to_gray
from pinpoint.nets.matching.settings import MatcherSettings
from pinpoint.records import LocalFeatures, Pixels

_DESCRIPTOR_WIDTH = 128


def extract_features(pixels: Pixels, settings: MatcherSettings) -> LocalFeatures:
    """Local features of an upright image `[H, W, 3]`; none if it has no texture.

    The histograms stay in the eight bits in which OpenCV computes them, so that features from a
    file equal computed ones. The result does not depend on the number of threads.

    Raises:
        ValueError: The image is not `[H, W, 3]` of at least one pixel.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"an image must be [H, W, 3], not {list(pixels.shape)}")
    height, width = pixels.shape[:2]
    gray = reduce_to_gray(pixels, settings.longer_side_px)
    # OpenCV keeps all key points that share the lowest response; the cut below is exact.
    detector = cv2.SIFT.create(nfeatures=settings.max_keypoints)
    keypoints, descriptors = detector.detectAndCompute(gray, None)
    if descriptors is None:
        return LocalFeatures(
            keypoints=np.zeros((0, 2), np.float32),
            descriptors=np.zeros((0, _DESCRIPTOR_WIDTH), np.uint8),
            width_px=width,
            height_px=height,
        )
    attributes = np.array(
        [(point.response, *point.pt, point.size, point.angle) for point in keypoints]
    )
    order = _order_by_response(attributes)[: settings.max_keypoints]
    scale = np.array([width / gray.shape[1], height / gray.shape[0]])
    return LocalFeatures(
        keypoints=((attributes[order, 1:3] + 0.5) * scale - 0.5).astype(np.float32),
        descriptors=np.rint(descriptors[order]).clip(0, 255).astype(np.uint8),
        width_px=width,
        height_px=height,
    )


def _order_by_response(attributes: Floats) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Order by response, highest first, then by position, size and angle."""
    response, x, y, size, angle = attributes.T
    return np.lexsort((angle, size, x, y, -response))
