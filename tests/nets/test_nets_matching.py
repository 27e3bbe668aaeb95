"""Geometric verification: real images, degenerate images, order, threads and memory."""

from __future__ import annotations

import csv
import resource
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from pinpoint.nets.matching.correspondences import find_correspondences, root_sift
from pinpoint.nets.matching.geometry import measure_spread
from pinpoint.nets.matching.matcher import RootSiftMatcher
from pinpoint.nets.matching.reduction import reduce_to_gray
from pinpoint.records import LocalFeatures, VerificationThreshold
from shared_data import shared_data

MATCHER = RootSiftMatcher()
THRESHOLD = VerificationThreshold()


def _make_texture(seed: int, height: int = 300, width: int = 400) -> np.ndarray:
    """Smooth random texture: blobs of many sizes, so that SIFT has key points at all scales."""
    rng = np.random.default_rng(seed)
    texture = np.zeros((height, width, 3))
    for cells in (6, 12, 24, 48, 96):
        noise = rng.uniform(size=(cells * height // width + 1, cells, 3))
        texture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    texture = (texture - texture.min()) / (texture.max() - texture.min())
    return np.rint(255 * texture).astype(np.uint8)


def _match(query: np.ndarray, image: np.ndarray):
    return MATCHER.match(MATCHER.extract(query), MATCHER.extract(image))


def _shuffle(features: LocalFeatures, seed: int) -> LocalFeatures:
    order = np.random.default_rng(seed).permutation(len(features.keypoints))
    return replace(
        features, keypoints=features.keypoints[order], descriptors=features.descriptors[order]
    )


def _equal(first, second) -> bool:
    return (
        (first.inliers, first.spread, first.model) == (second.inliers, second.spread, second.model)
        and np.array_equal(first.query_points, second.query_points)
        and np.array_equal(first.image_points, second.image_points)
    )


@pytest.fixture(scope="module")
def street_images() -> list[np.ndarray]:
    """Faces of six panoramas, one of each."""
    folder = shared_data() / "street" / "panoramax"
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    first = {row["panorama"]: row["file"] for row in reversed(rows)}
    return [np.asarray(Image.open(folder / name)) for name in list(first.values())[:6]]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_match_with_a_rotated_copy_is_verified(turns):
    image = _make_texture(1)
    match = _match(image, np.rot90(image, turns))
    assert THRESHOLD.accepts(match)
    assert match.spread > 0.5


def test_match_with_a_mirrored_copy_is_not_verified():
    for seed in range(4):
        image = _make_texture(seed)
        for mirrored in (image[:, ::-1], image[::-1]):
            assert not THRESHOLD.accepts(_match(image, mirrored))


def test_match_of_street_images_rotated_yes_mirrored_no(street_images):
    for image in street_images:
        rotated = np.asarray(Image.fromarray(image).rotate(20, Image.Resampling.BICUBIC))
        assert THRESHOLD.accepts(_match(image, rotated))
        assert THRESHOLD.accepts(_match(image, np.rot90(image)))
        assert not THRESHOLD.accepts(_match(image, image[:, ::-1]))


def test_match_of_different_street_images_is_not_verified(street_images):
    features = [MATCHER.extract(image) for image in street_images]
    for number, query in enumerate(features):
        for image in features[:number]:
            assert not THRESHOLD.accepts(MATCHER.match(query, image))


def test_match_points_of_a_shifted_copy_differ_by_the_shift():
    texture = _make_texture(5, 340, 460)
    query, image = texture[:300, :400], texture[40:, 60:]
    match = _match(query, image)
    assert match.inliers > 100
    shifts = match.query_points - match.image_points
    assert np.abs(np.median(shifts, axis=0) - (60, 40)).max() < 0.2


def test_match_points_refer_to_the_full_size_image():
    texture = _make_texture(6)
    large = cv2.resize(texture, (1_600, 1_200), interpolation=cv2.INTER_CUBIC)
    match = _match(texture, large)
    assert THRESHOLD.accepts(match)
    assert np.median(np.abs((match.query_points + 0.5) * 4 - (match.image_points + 0.5))) < 1.5
    assert match.image_points[:, 0].max() > 1_300


def test_match_is_independent_of_order_and_symmetric():
    texture = _make_texture(7, 340, 460)
    query = MATCHER.extract(texture[:300, :400])
    image = MATCHER.extract(texture[25:325, 30:430])
    expected = MATCHER.match(query, image)
    assert expected.inliers > 100
    for seed in range(4):
        assert _equal(MATCHER.match(_shuffle(query, seed), _shuffle(image, seed + 9)), expected)
    exchanged = MATCHER.match(image, query)
    assert (exchanged.inliers, exchanged.spread) == (expected.inliers, expected.spread)
    assert np.array_equal(exchanged.query_points, expected.image_points)
    assert np.array_equal(exchanged.image_points, expected.query_points)


def test_match_is_independent_of_threads(street_images):
    threads = cv2.getNumThreads()
    results = []
    try:
        for number in (1, 2, 5):
            cv2.setNumThreads(number)
            query, image = (MATCHER.extract(pixels) for pixels in street_images[:2])
            results.append((query, image, MATCHER.match(query, query), MATCHER.match(query, image)))
    finally:
        cv2.setNumThreads(threads)
    for query, image, own_match, match in results[1:]:
        assert np.array_equal(query.keypoints, results[0][0].keypoints)
        assert np.array_equal(image.descriptors, results[0][1].descriptors)
        assert _equal(own_match, results[0][2])
        assert _equal(match, results[0][3])


def test_match_inliers_are_one_to_one():
    """A repeated motif matches many copies of itself; every position counts once."""
    motif = _make_texture(8, 50, 50)
    tiles = np.tile(motif, (6, 8, 1))
    match = _match(_make_texture(8, 50, 50), tiles)
    assert match.inliers <= 50
    for points in (match.query_points, match.image_points):
        assert len(np.unique(np.rint(points), axis=0)) == len(points)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 500), (500, 1), (2, 2), (7, 7), (16, 16), (3, 4_000)]
)
def test_extract_of_a_tiny_image_has_few_key_points_and_matches_nothing(shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    features = MATCHER.extract(pixels)
    assert (features.height_px, features.width_px) == shape
    match = MATCHER.match(features, MATCHER.extract(_make_texture(1)))
    assert not THRESHOLD.accepts(match)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_extract_of_an_image_without_texture_has_no_key_points(value):
    features = MATCHER.extract(np.full((300, 400, 3), value, np.uint8))
    assert features.keypoints.shape == (0, 2)
    assert features.descriptors.shape == (0, 128)
    match = MATCHER.match(features, features)
    assert (match.inliers, match.spread, match.model) == (0, 0.0, None)


def test_extract_of_100_megapixels_needs_little_memory():
    """The image is a view of few bytes, so that the peak shows what the extraction allocates."""
    row = _make_texture(2, 1, 10_000)
    pixels = np.broadcast_to(row, (10_000, 10_000, 3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    MATCHER.extract(pixels)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000


def test_extract_of_a_large_image_equals_that_of_its_reduced_copy():
    texture = _make_texture(3)
    large = cv2.resize(texture, (8_000, 6_000), interpolation=cv2.INTER_LINEAR)
    match = _match(texture, large)
    assert match.inliers > 150


def test_extract_reads_any_memory_layout():
    texture = _make_texture(4)
    views = (
        np.asfortranarray(texture),
        np.ascontiguousarray(texture[::-1])[::-1],
        np.ascontiguousarray(texture[:, :, ::-1])[:, :, ::-1],
        np.repeat(np.repeat(texture, 2, axis=0), 2, axis=1)[::2, ::2],
    )
    expected = MATCHER.extract(texture)
    read_only = texture.copy()
    read_only.flags.writeable = False
    for view in (*views, read_only):
        features = MATCHER.extract(view)
        assert np.array_equal(features.keypoints, expected.keypoints)
        assert np.array_equal(features.descriptors, expected.descriptors)


def test_extract_refuses_other_shapes():
    for shape in ((5, 5), (5, 5, 4), (0, 5, 3)):
        with pytest.raises(ValueError, match=r"\[H, W, 3\]"):
            MATCHER.extract(np.zeros(shape, np.uint8))


def test_reduce_to_gray_averages_blocks_like_a_slow_loop():
    pixels = np.random.default_rng(1).integers(0, 256, (400, 600, 3), np.uint8)
    reduced = reduce_to_gray(pixels, 150)
    assert reduced.shape == (100, 150)
    gray = pixels @ np.array([0.299, 0.587, 0.114])
    slow = [
        [gray[4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean() for x in range(150)] for y in range(100)
    ]
    assert np.abs(reduced - np.array(slow)).max() <= 1.6


def test_match_of_points_on_a_line_finds_no_geometry():
    rng = np.random.default_rng(0)
    descriptors = rng.integers(0, 255, (40, 128), np.uint8)
    for spread_px in (0.0, 1e-3):
        line = np.stack([np.arange(40) * 5.0, 100 + rng.uniform(0, spread_px, 40)], axis=1)
        features = LocalFeatures(
            keypoints=line.astype(np.float32), descriptors=descriptors, width_px=300, height_px=200
        )
        match = MATCHER.match(features, features)
        assert match.inliers <= 40
        assert match.spread <= 8 / 64


def test_find_correspondences_equals_a_slow_loop():
    rng = np.random.default_rng(3)
    base = rng.integers(0, 200, (40, 128), np.uint8)
    noisy = np.clip(base[rng.permutation(40)] + rng.integers(0, 30, (40, 128)), 0, 255)
    first, second = (
        LocalFeatures(
            keypoints=rng.uniform(0, 99, (40, 2)).astype(np.float32),
            descriptors=histograms.astype(np.uint8),
            width_px=100,
            height_px=100,
        )
        for histograms in (base, noisy)
    )
    pairs = find_correspondences(first, second, MATCHER.settings.max_ratio)
    expected = _slow_correspondences(first, second, MATCHER.settings.max_ratio)
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    assert len(expected) > 20


def _slow_correspondences(first, second, max_ratio: float) -> set[tuple[int, int]]:
    vectors = root_sift(first.descriptors).astype(float)
    others = root_sift(second.descriptors).astype(float)

    def rank(vector, candidates):
        distances = [float(np.linalg.norm(vector - other)) for other in candidates]
        order = sorted(range(len(distances)), key=distances.__getitem__)
        return order[0], distances[order[0]] / distances[order[1]]

    expected = set()
    for index, vector in enumerate(vectors):
        nearest, ratio = rank(vector, others)
        back, back_ratio = rank(others[nearest], vectors)
        if back == index and max(ratio, back_ratio) < max_ratio:
            expected.add((index, nearest))
    return expected


def test_measure_spread_counts_cells():
    features = LocalFeatures(
        keypoints=np.zeros((0, 2), np.float32),
        descriptors=np.zeros((0, 128), np.uint8),
        width_px=80,
        height_px=40,
    )
    corner = np.zeros((5, 2), np.float32)
    assert measure_spread(corner, features, 8) == 1 / 64
    everywhere = np.stack(np.meshgrid(np.arange(80), np.arange(40)), axis=-1).reshape(-1, 2)
    assert measure_spread(everywhere.astype(np.float32), features, 8) == 1.0
    assert measure_spread(corner[:0], features, 8) == 0.0


def test_digest_changes_with_every_setting():
    settings = MATCHER.settings
    changed = [
        replace(settings, **{name: getattr(settings, name) * 2})
        for name in settings.__dataclass_fields__
    ]
    digests = {settings.digest, *(other.digest for other in changed)}
    assert len(digests) == len(changed) + 1
