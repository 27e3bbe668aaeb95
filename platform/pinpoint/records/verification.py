"""Records of geometric verification: local features, matches, and thresholds.

Letters for shapes: N key points of an image, I inliers of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

TransformModel = Literal["fundamental", "homography"]
"""Geometry that the inliers of a pair agree on."""

VerificationStatus = Literal[
    "matched", "not_matched", "no_texture", "image_unavailable", "time_budget_used"
]
"""`no_texture`: one of the two images has too few key points. `image_unavailable`: the gallery
image has neither original nor rendition that can be read. `time_budget_used`: the comparison did
not end within the time budget of the request."""

DEFAULT_MIN_INLIERS: Final = 12
"""Minimum number of inliers without a calibration on the gallery. Of 20,048 impostor pairs of
street views, 5 had as many."""
DEFAULT_MIN_SPREAD: Final = 0.0625
"""Minimum spread, four cells of 64: printed dates and logos cover fewer."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LocalFeatures:
    """Key points of an image and their descriptors."""

    keypoints: NDArray[np.float32]
    """`[N, 2]` x and y in pixels of the upright image; (0, 0) is the center of its first pixel."""
    descriptors: NDArray[np.uint8]
    """`[N, 128]` gradient histograms of SIFT."""
    width_px: int
    height_px: int
    """Size of the upright image that the key points refer to."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GeometricMatch:
    """Correspondences of two images that agree on one geometry."""

    inliers: int
    """Number of correspondences; every key point is part of at most one."""
    spread: float
    """Share of an image that the inliers cover, 0 to 1; the smaller one of both images."""
    model: TransformModel | None
    """None if the two images have too few correspondences for any model."""
    query_points: NDArray[np.float32]
    """`[I, 2]` x and y in pixels of the upright query image."""
    image_points: NDArray[np.float32]
    """`[I, 2]` x and y in pixels of the upright gallery image, in the same order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationThreshold:
    """Inliers and spread from which a match is verified."""

    min_inliers: int = DEFAULT_MIN_INLIERS
    min_spread: float = DEFAULT_MIN_SPREAD
    false_match_rate: float | None = None
    """Maximum share of impostor pairs of the gallery that pass; None if it was not measured."""
    calibrated: bool = False
    """Whether it was measured on impostor pairs of this gallery."""
    impostor_rates: tuple[float, ...] = ()
    """Share of impostor pairs with at least as many inliers as the index, and with `min_spread`:
    upper ends of 95 % intervals, so that no rate is 0. Empty if it was not measured."""
    reorders_candidates: bool = False
    """Whether verified candidates come first, because that improved the answers of this gallery."""
    matcher_digest: str | None = None
    """Digest of the matcher that the threshold was measured with."""

    def accepts(self, match: GeometricMatch) -> bool:
        """Whether a match is verified."""
        return match.inliers >= self.min_inliers and match.spread >= self.min_spread

    def rate_of(self, match: GeometricMatch) -> float | None:
        """Share of impostor pairs with a match at least as good; None if it was not measured."""
        if not self.impostor_rates:
            return None
        inliers = match.inliers if match.spread >= self.min_spread else 0
        return self.impostor_rates[min(inliers, len(self.impostor_rates) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Result of comparing the query image with one gallery image."""

    inliers: int
    spread: float
    verified: bool
    false_match_rate: float | None
    """Maximum share of impostor pairs of this gallery with a match at least as good; None if it was
    not measured."""
    status: VerificationStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpostorMatch:
    """An impostor pair with many inliers: two images far from each other that look alike."""

    image_ids: tuple[UUID, UUID]
    distance_m: float
    inliers: int
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationCalibration:
    """Verification threshold of a gallery and how it was measured."""

    organization_id: UUID
    threshold: VerificationThreshold
    measured_rate: float
    """Share of impostor pairs that pass the threshold."""
    rate_interval: tuple[float, float]
    """95 % interval of that share, by bootstrap over panoramas and sequences."""
    num_pairs: int
    num_images: int
    num_groups: int
    """Panoramas and sequences that the interval resamples."""
    num_unavailable: int
    """Sampled images that could not be read."""
    num_without_texture: int
    """Sampled images with too few key points for any match."""
    min_distance_m: float
    """Minimum distance of the two images of an impostor pair."""
    seed: int
    repeated_structures: tuple[ImpostorMatch, ...]
    """Impostor pairs that pass the threshold or the default, those with the most inliers first."""
    code_version: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageMatch:
    """Comparison of a query with one gallery image."""

    verification: Verification
    match: GeometricMatch | None = None
    """None if the images were not compared."""
    photo: int = 0
    """Index of the query photo that matched best, in the order of its distinct photos."""
    query_size_px: tuple[int, int] = (0, 0)
    """Width and height of the decoded query photo, or of its crop; `query_points` refer to it."""
    image_size_px: tuple[int, int] = (0, 0)
    """Width and height of the decoded gallery image; `image_points` refer to it."""
