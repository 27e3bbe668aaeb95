"""False matches of geometric verification on 20,000 impostor pairs of real street views.

Prints the false-match rate at the shipped threshold with its interval, the repeated structures, and
the curve of precision and share of verified answers over the threshold. A verified answer that is
wrong at 25 m is counted as "further away" if it is within 200 m: it may show the same building.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from panoramax_gallery import FilePixels, read_gallery
from pinpoint.evaluation.calibration.impostor_pairs import (
    extract_gallery_features,
    match_impostor_pairs,
)
from pinpoint.evaluation.calibration.verification_threshold import (
    FALSE_MATCH_RATE,
    ThresholdOptions,
    fit_verification_threshold,
)
from pinpoint.geo.distance import haversine_m
from pinpoint.metrics.pair_rates import bootstrap_rate_curve
from pinpoint.nets.matching.matcher import RootSiftMatcher
from pinpoint.nets.runtime import open_encoder
from pinpoint.records import VerificationThreshold
from pinpoint.settings import BUILT_IN_BUNDLE, EncoderSettings

SHIPPED = VerificationThreshold()
NUM_PAIRS = 20_000
CANDIDATES = 8
NEAR_M, FURTHER_M = 25.0, 200.0
CURVE = (8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 25, 30)


@dataclass(frozen=True)
class Street:
    """Gallery, local features and matcher."""

    images: list
    features: dict
    matcher: RootSiftMatcher

    @property
    def positions(self) -> np.ndarray:
        return np.array([(image.point.lat, image.point.lon) for image in self.images])


@pytest.fixture(scope="module")
def street() -> Street:
    matcher, images = RootSiftMatcher(), read_gallery()
    features = extract_gallery_features(images, FilePixels(), matcher, _ignore_progress)
    return Street(images, features, matcher)


def _ignore_progress(stage: str, completed: int, total: int) -> None:
    pass


@pytest.mark.timeout(7_200)
def test_false_match_rate_of_20_000_impostor_pairs_at_the_shipped_threshold(
    street, record_property
):
    impostors = match_impostor_pairs(
        street.images, street.features, NUM_PAIRS, 1, street.matcher, _ignore_progress
    )
    assert len(impostors.pairs) == NUM_PAIRS
    passing = np.where(impostors.spreads >= SHIPPED.min_spread, impostors.inliers, 0)
    panoramas = np.array([image.panorama_id for image in street.images])[impostors.pairs]
    curve = bootstrap_rate_curve(passing, panoramas, seed=1)
    lines = ["inliers  false matches  rate (95 % interval over panoramas)"]
    lines += [
        f"{inliers:7d}  {int((passing >= inliers).sum()):13d}  {curve.rates[inliers]:.5f} "
        f"({curve.low[inliers]:.5f} to {curve.high[inliers]:.5f})"
        for inliers in range(6, len(curve.rates))
    ]
    fitted = fit_verification_threshold(
        street.images[0].source_id,
        street.images,
        street.features,
        impostors,
        ThresholdOptions(num_pairs=NUM_PAIRS),
        matcher_digest=street.matcher.digest,
    )
    lines.append(
        f"shipped threshold {SHIPPED.min_inliers}; fitted to {FALSE_MATCH_RATE:g} on this gallery, "
        f"over sequences: {fitted.threshold.min_inliers}, measured {fitted.measured_rate:.5f} "
        f"({fitted.rate_interval[0]:.5f} to {fitted.rate_interval[1]:.5f})"
    )
    lines.append("repeated structures at the shipped threshold:")
    names = {image.id: image.file_name for image in street.images}
    lines += [
        f"  {names[match.image_ids[0]]} {names[match.image_ids[1]]} {match.distance_m:.0f} m, "
        f"{match.inliers} inliers, spread {match.spread:.2f}"
        for match in fitted.repeated_structures
        if match.inliers >= SHIPPED.min_inliers
    ]
    _show(lines, record_property)
    shipped = min(SHIPPED.min_inliers, len(curve.rates) - 1)
    assert curve.rates[shipped] <= FALSE_MATCH_RATE
    assert curve.high[shipped] <= FALSE_MATCH_RATE


@pytest.mark.timeout(3_600)
def test_verified_answers_are_within_25_m(street, tmp_path, record_property):
    name = BUILT_IN_BUNDLE
    positions = street.positions
    distances = haversine_m(positions[:, None], positions[None, :])
    is_other = np.array(
        [[a.panorama_id != b.panorama_id for b in street.images] for a in street.images]
    )
    queries = np.flatnonzero(((distances <= NEAR_M) & is_other).any(axis=1))
    assert len(queries) == 104
    vectors = _encode(street, name, tmp_path)
    cosines = np.where(is_other, vectors @ vectors.T, -2.0)
    answers = [
        _verify(street, query, np.argsort(-cosines[query])[:CANDIDATES]) for query in queries
    ]
    lines = [
        f"best {CANDIDATES} candidates of {name}; recall@1 "
        f"{np.mean([distances[q, cosines[q].argmax()] <= NEAR_M for q in queries]):.3f}",
        "inliers  verified  right  further away  wrong",
    ]
    shares = {}
    for min_inliers in CURVE:
        verified = [
            distances[query, image]
            for query, (image, match) in zip(queries, answers, strict=True)
            if match.inliers >= min_inliers and match.spread >= SHIPPED.min_spread
        ]
        right = sum(distance <= NEAR_M for distance in verified)
        further = sum(NEAR_M < distance <= FURTHER_M for distance in verified)
        shares[min_inliers] = (len(verified) / len(queries), right / max(len(verified), 1))
        lines.append(
            f"{min_inliers:7d}  {shares[min_inliers][0]:8.3f}  {shares[min_inliers][1]:5.3f}  "
            f"{further:12d}  {len(verified) - right - further:5d}"
        )
    _show(lines, record_property)
    share, precision = shares[SHIPPED.min_inliers]
    assert precision >= 0.97
    assert share >= 0.40


def _encode(street: Street, name: str, home: Path) -> np.ndarray:
    encoder = open_encoder(EncoderSettings(bundle=name, device="cpu"), home, 512)
    pixels = FilePixels()
    return np.concatenate(
        [
            encoder.encode(list(pixels.read(str(image.uri), [image]).values()))
            for image in street.images
        ]
    )


def _verify(street: Street, query: int, candidates: np.ndarray):
    """The candidate with the most inliers, and its match."""
    matches = [
        (
            int(candidate),
            street.matcher.match(
                street.features[street.images[query].id],
                street.features[street.images[candidate].id],
            ),
        )
        for candidate in candidates
    ]
    return max(matches, key=lambda entry: entry[1].inliers)


def _show(lines: list[str], record_property) -> None:
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    record_property("table", "\n".join(lines))
