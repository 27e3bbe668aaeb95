"""Fits the verification threshold of a gallery on impostor pairs of its own images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint import __version__
from pinpoint.errors import BadRequestError
from pinpoint.evaluation.calibration.impostor_pairs import (
    MIN_IMPOSTOR_DISTANCE_M,
    ImpostorPairs,
    extract_gallery_features,
    match_impostor_pairs,
    sample_impostor_pairs,
)
from pinpoint.metrics.pair_rates import bootstrap_rate_curve
from pinpoint.ports import FeatureMatcher, GalleryPixels
from pinpoint.progress import StageProgressCallback
from pinpoint.records import (
    DEFAULT_MIN_INLIERS,
    DEFAULT_MIN_SPREAD,
    Image,
    ImpostorMatch,
    LocalFeatures,
    VerificationCalibration,
    VerificationThreshold,
)

FALSE_MATCH_RATE: Final = 0.001
NUM_PAIRS: Final = 20_000
NUM_IMAGES: Final = 500
SEED: Final = 20261201
MIN_INLIERS: Final = 8
"""Fewer points determine no fundamental matrix."""
MIN_GROUPS: Final = 10
"""With fewer panoramas and sequences the interval is meaningless."""
_MAX_REPORTED: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdOptions:
    """What a verification threshold is fitted for.

    Raises:
        BadRequestError: A number is out of range, or the pairs are too few for the rate.
    """

    false_match_rate: float = FALSE_MATCH_RATE
    """Maximum share of impostor pairs that pass, in (0, 0.1]."""
    num_pairs: int = NUM_PAIRS
    seed: int = SEED

    def __post_init__(self) -> None:
        if not 0 < self.false_match_rate <= 0.1:
            raise BadRequestError(
                f"the false-match rate must be in (0, 0.1], not {self.false_match_rate}"
            )
        if self.num_pairs < self.min_pairs:
            raise BadRequestError(
                f"{self.num_pairs} pairs cannot show a false-match rate of "
                f"{self.false_match_rate:g}: at least {self.min_pairs} are needed"
            )

    @property
    def min_pairs(self) -> int:
        """Pairs that show the rate if none of them passes (rule of three)."""
        return math.ceil(3.0 / self.false_match_rate)


def calibrate_verification(
    organization_id: UUID,
    images: Sequence[Image],
    pixels: GalleryPixels,
    matcher: FeatureMatcher,
    options: ThresholdOptions,
    on_progress: StageProgressCallback,
) -> VerificationCalibration:
    """Match impostor pairs of sampled images and fit the threshold.

    Args:
        organization_id: Organization of the gallery.
        images: Sampled images of the gallery.
        pixels: Decodes their stored files.
        matcher: Computes and matches local features.
        options: Rate, number of pairs and seed.
        on_progress: Receives the stages `features` and `pairs`.

    Raises:
        BadRequestError: The gallery has too few impostor pairs, panoramas or sequences.
    """
    positions = np.array([(image.point.lat, image.point.lon) for image in images]).reshape(-1, 2)
    # Refused before minutes of work; some of these images may still prove unreadable.
    _require_pairs(len(sample_impostor_pairs(positions, options.num_pairs, options.seed)), options)
    features = extract_gallery_features(images, pixels, matcher, on_progress)
    readable = [image for image in images if image.id in features]
    impostors = match_impostor_pairs(
        readable, features, options.num_pairs, options.seed, matcher, on_progress
    )
    return fit_verification_threshold(
        organization_id,
        readable,
        features,
        impostors,
        options,
        matcher_digest=matcher.digest,
        num_unavailable=len(images) - len(readable),
    )


def fit_verification_threshold(
    organization_id: UUID,
    images: Sequence[Image],
    features: Mapping[UUID, LocalFeatures],
    impostors: ImpostorPairs,
    options: ThresholdOptions,
    *,
    matcher_digest: str,
    num_unavailable: int = 0,
) -> VerificationCalibration:
    """The smallest threshold whose false-match rate is at most the stated one.

    The upper end of the rate's 95 % interval is compared, so that a small sample gives a higher
    threshold and not a lower one.

    Raises:
        BadRequestError: There are too few impostor pairs, panoramas or sequences.
    """
    _require_pairs(len(impostors.pairs), options)
    groups = np.array([_group_of(image) for image in images])
    inliers = np.where(impostors.spreads >= DEFAULT_MIN_SPREAD, impostors.inliers, 0)
    curve = bootstrap_rate_curve(inliers, groups[impostors.pairs], seed=options.seed)
    if curve.clusters < MIN_GROUPS:
        raise BadRequestError(
            f"the impostor pairs come from {curve.clusters} panoramas and sequences; at least "
            f"{MIN_GROUPS} are needed. The conservative default stays in use"
        )
    passing = np.flatnonzero(curve.high <= options.false_match_rate)
    # The last entry of the curve, no pair at all, passes: there are enough pairs.
    min_inliers = max(MIN_INLIERS, int(passing[0]))
    index = min(min_inliers, len(curve.rates) - 1)
    return VerificationCalibration(
        organization_id=organization_id,
        threshold=VerificationThreshold(
            min_inliers=min_inliers,
            min_spread=DEFAULT_MIN_SPREAD,
            false_match_rate=options.false_match_rate,
            calibrated=True,
            impostor_rates=tuple(curve.high.tolist()),
            matcher_digest=matcher_digest,
        ),
        measured_rate=float(curve.rates[index]),
        rate_interval=(float(curve.low[index]), float(curve.high[index])),
        num_pairs=len(impostors.pairs),
        num_images=len(images),
        num_groups=curve.clusters,
        num_unavailable=num_unavailable,
        num_without_texture=sum(
            len(features[image.id].keypoints) < MIN_INLIERS for image in images
        ),
        min_distance_m=MIN_IMPOSTOR_DISTANCE_M,
        seed=options.seed,
        repeated_structures=_list_repeated_structures(images, impostors, inliers, min_inliers),
        code_version=__version__,
    )


def _require_pairs(num_pairs: int, options: ThresholdOptions) -> None:
    """Check that so many impostor pairs can show the rate.

    Raises:
        BadRequestError: They are too few.
    """
    if num_pairs < options.min_pairs:
        raise BadRequestError(
            f"the gallery has {num_pairs} pairs of readable images over "
            f"{MIN_IMPOSTOR_DISTANCE_M:.0f} m apart; a false-match rate of "
            f"{options.false_match_rate:g} needs {options.min_pairs}. The conservative default "
            "stays in use"
        )


def _group_of(image: Image) -> str:
    """Sequence of an image, else its panorama, else itself: images of one group are correlated."""
    return image.sequence or image.panorama_id or str(image.id)


def _list_repeated_structures(
    images: Sequence[Image],
    impostors: ImpostorPairs,
    inliers: np.ndarray[tuple[int], np.dtype[np.intp]],
    min_inliers: int,
) -> tuple[ImpostorMatch, ...]:
    """Impostor pairs that pass this threshold or the default, those with the most inliers first."""
    min_inliers = min(min_inliers, DEFAULT_MIN_INLIERS)
    order = np.argsort(-inliers, kind="stable")
    return tuple(
        ImpostorMatch(
            image_ids=(images[impostors.pairs[row, 0]].id, images[impostors.pairs[row, 1]].id),
            distance_m=float(impostors.distances_m[row]),
            inliers=int(inliers[row]),
            spread=float(impostors.spreads[row]),
        )
        for row in order[:_MAX_REPORTED]
        if inliers[row] >= min_inliers
    )
