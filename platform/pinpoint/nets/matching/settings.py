"""Settings of the matcher, and the digest that local features and thresholds depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

import cv2


@dataclass(frozen=True, slots=True, kw_only=True)
class MatcherSettings:
    """Every number that changes key points, correspondences or inliers."""

    longer_side_px: int = 480
    """Longer side of the image in which key points are detected; images are never enlarged."""
    max_keypoints: int = 1_500
    """Key points with the highest response that are kept."""
    max_ratio: float = 0.85
    """Maximum ratio of the distances to the nearest and to the second nearest descriptor."""
    threshold_px: float = 1.5
    """Maximum residual of an inlier, pixels of the reduced image."""
    iterations: int = 2_000
    """Maximum number of iterations of the robust estimator."""
    confidence: float = 0.999
    """Confidence at which the robust estimator ends before `iterations`."""
    min_orientation: float = 0.7
    """Minimum share of the triangles of inliers with one orientation in both images."""
    grid_cells: int = 8
    """Rows and columns of the grid in which the spread is counted."""

    @property
    def digest(self) -> str:
        """SHA-256 (64 hex digits) of the method, its settings and the OpenCV release."""
        hash_input = {"method": _METHOD, "opencv": cv2.__version__, **asdict(self)}
        text = json.dumps(hash_input, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


_METHOD = "rootsift-magsac-1"
"""Changed whenever this code computes other features or inliers from the same settings."""
