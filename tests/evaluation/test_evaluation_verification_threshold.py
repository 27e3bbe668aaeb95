"""Verification thresholds: sampled impostor pairs, intervals, the fit and its file."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest
from PIL import Image as PillowImage

from panoramax_gallery import FilePixels, make_image
from pinpoint.errors import BadRequestError
from pinpoint.evaluation.calibration.impostor_pairs import ImpostorPairs, sample_impostor_pairs
from pinpoint.evaluation.calibration.verification_threshold import (
    ThresholdOptions,
    calibrate_verification,
    fit_verification_threshold,
)
from pinpoint.geo.distance import haversine_m
from pinpoint.metrics.pair_rates import bootstrap_rate_curve
from pinpoint.nets.matching.matcher import RootSiftMatcher
from pinpoint.nets.matching.threshold_files import read_threshold, write_threshold
from pinpoint.records import GeometricMatch, LocalFeatures, VerificationThreshold
from scenes import scene

ORGANIZATION = UUID(int=5)
DIGEST = "d" * 64


def _grid(count: int, step_deg: float = 0.001) -> np.ndarray:
    """Positions `[count, 2]` about 111 m apart."""
    return np.array([(50 + step_deg * row, 8.0) for row in range(count)])


def _make_impostors(inliers: np.ndarray, num_images: int = 200) -> tuple[list, dict, ImpostorPairs]:
    images = [
        make_image(f"{row}.jpg", (50 + row / 100, 8.0), sequence=f"drive {row // 5}")
        for row in range(num_images)
    ]
    rng = np.random.default_rng(0)
    pairs = np.stack([rng.integers(0, 100, len(inliers)), rng.integers(100, 200, len(inliers))], 1)
    features = {image.id: _make_features(30) for image in images}
    return (
        images,
        features,
        ImpostorPairs(
            pairs=pairs,
            distances_m=np.full(len(inliers), 1_000.0),
            inliers=inliers,
            spreads=np.full(len(inliers), 0.2),
        ),
    )


def _make_features(count: int) -> LocalFeatures:
    return LocalFeatures(
        keypoints=np.zeros((count, 2), np.float32),
        descriptors=np.zeros((count, 128), np.uint8),
        width_px=100,
        height_px=100,
    )


def _make_match(inliers: int, spread: float = 0.3) -> GeometricMatch:
    points = np.zeros((inliers, 2), np.float32)
    return GeometricMatch(
        inliers=inliers,
        spread=spread,
        model="fundamental",
        query_points=points,
        image_points=points,
    )


def _fit(inliers: np.ndarray, **options):
    images, features, impostors = _make_impostors(inliers)
    return fit_verification_threshold(
        ORGANIZATION,
        images,
        features,
        impostors,
        ThresholdOptions(num_pairs=max(len(inliers), 3_000), **options),
        matcher_digest=DIGEST,
    )


@pytest.mark.parametrize("count", [12, 400])
def test_sampled_pairs_are_distinct_far_apart_and_reproducible(count):
    positions = _grid(count)
    pairs = sample_impostor_pairs(positions, 300, seed=4)
    distances = haversine_m(positions[pairs[:, 0]], positions[pairs[:, 1]])
    assert (distances > 200).all()
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    assert np.array_equal(pairs, sample_impostor_pairs(positions, 300, seed=4))
    all_pairs = [(i, j) for i in range(count) for j in range(i + 2, count)]
    assert len(pairs) == min(300, len(all_pairs))
    if count > 12:
        assert not np.array_equal(pairs, sample_impostor_pairs(positions, 300, seed=5))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_sampled_pairs_of_a_tiny_gallery_are_none(count):
    assert sample_impostor_pairs(_grid(count), 10, seed=1).shape == (0, 2)


def test_rate_curve_equals_a_slow_loop_and_its_interval_contains_it():
    rng = np.random.default_rng(7)
    inliers = rng.poisson(4, 4_000)
    clusters = rng.integers(0, 60, (4_000, 2))
    curve = bootstrap_rate_curve(inliers, clusters, seed=3)
    expected = [sum(number >= t for number in inliers) / 4_000 for t in range(inliers.max() + 2)]
    assert curve.rates == pytest.approx(expected)
    assert curve.clusters == 60
    assert (np.diff(curve.rates) <= 0).all()
    assert (np.diff(curve.high) <= 1e-12).all()
    inner = slice(1, int(np.searchsorted(-curve.rates, -0.01)))
    assert (curve.low[inner] < curve.rates[inner]).all()
    assert (curve.high[inner] > curve.rates[inner]).all()
    assert curve.high[-1] == pytest.approx(3 / 4_000), "the rule of three"


def test_rate_interval_is_wider_if_one_cluster_causes_the_matches():
    rng = np.random.default_rng(8)
    clusters = rng.integers(0, 40, (6_000, 2))
    spread_out = np.where(rng.uniform(size=6_000) < 0.02, 20, 3)
    in_one = np.where((clusters == 0).any(axis=1) & (rng.uniform(size=6_000) < 0.41), 20, 3)
    high = [
        bootstrap_rate_curve(inliers, clusters, seed=1).high[20] for inliers in (spread_out, in_one)
    ]
    assert high[1] > 1.5 * high[0]


def test_fit_chooses_the_smallest_threshold_that_holds_the_rate():
    inliers = np.random.default_rng(1).poisson(4, 10_000)
    calibration = _fit(inliers)
    threshold = calibration.threshold
    assert threshold.calibrated
    assert calibration.rate_interval[1] <= 0.001
    assert calibration.measured_rate == (inliers >= threshold.min_inliers).mean()
    assert threshold.impostor_rates[threshold.min_inliers - 1] > 0.001
    looser = _fit(inliers, false_match_rate=0.01).threshold
    assert looser.min_inliers < threshold.min_inliers
    # A match is verified exactly if its rate is at most the stated one.
    for number in range(40):
        match = _make_match(number)
        assert threshold.accepts(match) == (threshold.rate_of(match) <= 0.001)
    assert threshold.rate_of(_make_match(40, spread=0.01)) == 1.0


def test_fit_reports_repeated_structures():
    inliers = np.full(5_000, 3)
    inliers[[5, 90]] = (60, 41)
    calibration = _fit(inliers)
    assert [match.inliers for match in calibration.repeated_structures] == [60, 41]
    # Two of 5,000 are less than 1 in 1,000, but the interval includes more.
    assert calibration.measured_rate == 0.0
    assert calibration.threshold.min_inliers == 61
    assert _fit(inliers, false_match_rate=0.002).threshold.min_inliers == 8


def test_fit_ignores_matches_with_little_spread():
    images, features, impostors = _make_impostors(np.full(4_000, 30))
    impostors = replace(impostors, spreads=np.full(4_000, 0.01))
    calibration = fit_verification_threshold(
        ORGANIZATION, images, features, impostors, ThresholdOptions(), matcher_digest=DIGEST
    )
    assert calibration.threshold.min_inliers == 8


def test_fit_refuses_too_few_pairs_or_groups():
    with pytest.raises(BadRequestError, match="needs 3000"):
        _fit(np.full(2_000, 3))
    with pytest.raises(BadRequestError, match="at least 3000"):
        ThresholdOptions(num_pairs=500)
    for rate in (0.0, 0.2, -1.0, float("nan")):
        with pytest.raises(BadRequestError, match=r"\(0, 0.1\]"):
            ThresholdOptions(false_match_rate=rate)
    images, features, impostors = _make_impostors(np.full(4_000, 3))
    images = [replace(image, sequence=f"drive {row % 4}") for row, image in enumerate(images)]
    with pytest.raises(BadRequestError, match="4 panoramas and sequences"):
        fit_verification_threshold(
            ORGANIZATION, images, features, impostors, ThresholdOptions(), matcher_digest=DIGEST
        )


def test_calibration_reads_files_and_reports_those_that_are_gone(tmp_path):
    images = []
    for seed in range(12):
        path = tmp_path / f"{seed}.png"
        pixels = scene(seed) if seed != 11 else PillowImage.new("RGB", (64, 64))
        pixels.save(path)
        images.append(make_image(path.name, (50 + seed, 8.0), uri=str(path)))
    (tmp_path / "3.png").unlink()
    images.append(make_image("no file.png", (70.0, 8.0)))
    stages = []
    calibration = calibrate_verification(
        ORGANIZATION,
        images,
        FilePixels(),
        RootSiftMatcher(),
        ThresholdOptions(false_match_rate=0.1, num_pairs=40),
        lambda stage, completed, total: stages.append((stage, completed, total)),
    )
    assert (calibration.num_images, calibration.num_unavailable) == (11, 2)
    assert (calibration.num_pairs, calibration.num_groups) == (40, 11)
    assert calibration.num_without_texture == 1
    assert ("pairs", 40, 40) in stages
    assert stages[0][0] == "features"
    assert calibration.threshold.matcher_digest == RootSiftMatcher().digest


def test_threshold_file_is_read_for_its_organization_and_matcher_only(tmp_path):
    calibration = _fit(np.random.default_rng(1).poisson(4, 10_000))
    default = VerificationThreshold()
    assert read_threshold(tmp_path / "none", ORGANIZATION, DIGEST) == default
    path = write_threshold(tmp_path / "thresholds", calibration)
    folder = path.parent
    assert read_threshold(folder, ORGANIZATION, DIGEST) == calibration.threshold
    assert read_threshold(folder, UUID(int=6), DIGEST) == default
    assert read_threshold(folder, ORGANIZATION, "e" * 64) == default
    path.rename(folder / f"{UUID(int=6)}.json")
    assert read_threshold(folder, UUID(int=6), DIGEST) == default, "the file of another gallery"


def test_threshold_file_that_is_damaged_is_not_used(tmp_path):
    path = write_threshold(tmp_path, _fit(np.random.default_rng(1).poisson(4, 10_000)))
    content = path.read_text()
    document = json.loads(content)
    document["calibration"]["threshold"]["min_inliers"] = 1
    for damaged in (json.dumps(document), content[:-40], "", "[]", "{}", '{"format": 9}'):
        path.write_text(damaged)
        assert read_threshold(tmp_path, ORGANIZATION, DIGEST) == VerificationThreshold()
