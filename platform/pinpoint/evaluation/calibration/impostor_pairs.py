"""Samples impostor pairs of a gallery and matches them.

An impostor pair is two images so far from each other that they cannot show the same surfaces. Every
geometric match of such a pair is a false match.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats
from pinpoint.geo.distance import haversine_m
from pinpoint.ports import CatalogReader, FeatureMatcher, GalleryPixels
from pinpoint.progress import StageProgressCallback
from pinpoint.records import GeometricMatch, Image, LocalFeatures

MIN_IMPOSTOR_DISTANCE_M: Final = 200.0
_MAX_DRAWS_PER_PAIR: Final = 20
_THREADS: Final = 2
"""Threads that decode, extract and match; the libraries release the interpreter lock."""
_PAIRS_PER_REPORT: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImpostorPairs:
    """P impostor pairs of N images, and their matches."""

    pairs: NDArray[np.intp]
    """`[P, 2]` row numbers of the images, the smaller one first."""
    distances_m: Floats
    """`[P]`."""
    inliers: NDArray[np.intp]
    """`[P]`."""
    spreads: Floats
    """`[P]`."""


def sample_gallery_images(reader: CatalogReader, count: int, seed: int) -> list[Image]:
    """Draw indexed images of a gallery: sources, sequences and cells take turns.

    Args:
        reader: Catalog of one organization.
        count: Maximum number of images.
        seed: The same seed draws the same images.

    Returns:
        In order of their ids.
    """
    sample = reader.sample_images(per_kind=count, seed=seed)[:count]
    rows = reader.images([drawn.image_id for drawn in sample])
    return sorted(rows.values(), key=lambda image: image.id)


def sample_impostor_pairs(
    positions: Floats, num_pairs: int, seed: int, min_distance_m: float = MIN_IMPOSTOR_DISTANCE_M
) -> NDArray[np.intp]:
    """Draw distinct pairs of images that are far from each other.

    Args:
        positions: `[N, 2]` lat and lon in degrees.
        num_pairs: Number of pairs to draw.
        seed: The same seed draws the same pairs.
        min_distance_m: Pairs at or below this distance are no impostors.

    Returns:
        `[P, 2]` row numbers in order, the smaller one first; fewer than `num_pairs` only if the
        images have hardly more such pairs.
    """
    count = len(positions)
    if count < 2:
        return np.zeros((0, 2), np.intp)
    if count * (count - 1) // 2 <= _MAX_DRAWS_PER_PAIR * num_pairs:
        drawn = np.stack(np.triu_indices(count, 1), axis=1)
        drawn = np.random.default_rng(seed).permutation(drawn)
    else:
        draws = np.random.default_rng(seed).integers(0, count, (2 * num_pairs, 2))
        draws = np.sort(draws[draws[:, 0] != draws[:, 1]], axis=1)
        _, first = np.unique(draws, axis=0, return_index=True)
        drawn = draws[np.sort(first)]
    distances = haversine_m(positions[drawn[:, 0]], positions[drawn[:, 1]])
    selected = drawn[distances > min_distance_m][:num_pairs]
    return selected[np.lexsort((selected[:, 1], selected[:, 0]))]


def extract_gallery_features(
    images: Sequence[Image],
    pixels: GalleryPixels,
    matcher: FeatureMatcher,
    on_progress: StageProgressCallback,
) -> dict[UUID, LocalFeatures]:
    """Local features by image id; images without a readable file are omitted."""
    by_file: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        if image.uri is not None:
            by_file[image.uri].append(image)
    features: dict[UUID, LocalFeatures] = {}

    def extract_file(uri: str) -> dict[UUID, LocalFeatures]:
        decoded = pixels.read(uri, by_file[uri])
        return {image_id: matcher.extract(face) for image_id, face in decoded.items()}

    completed = 0
    with ThreadPoolExecutor(_THREADS) as pool:
        for uri, extracted in zip(by_file, pool.map(extract_file, by_file), strict=True):
            features |= extracted
            completed += len(by_file[uri])
            on_progress("features", completed, len(images))
    return features


def match_impostor_pairs(
    images: Sequence[Image],
    features: Mapping[UUID, LocalFeatures],
    num_pairs: int,
    seed: int,
    matcher: FeatureMatcher,
    on_progress: StageProgressCallback,
) -> ImpostorPairs:
    """Sample impostor pairs of images that have features, and match them.

    Args:
        images: N images; `ImpostorPairs` refers to their row numbers.
        features: Local features of all of them.
        num_pairs: Maximum number of pairs.
        seed: Seed of the sample.
        matcher: Matches two images.
        on_progress: Receives the number of matched pairs.
    """
    positions = np.array([(image.point.lat, image.point.lon) for image in images]).reshape(-1, 2)
    pairs = sample_impostor_pairs(positions, num_pairs, seed)

    def match_pair(pair: NDArray[np.intp]) -> GeometricMatch:
        first, second = (features[images[row].id] for row in pair)
        return matcher.match(first, second)

    inliers, spreads = np.zeros(len(pairs), np.intp), np.zeros(len(pairs))
    with ThreadPoolExecutor(_THREADS) as pool:
        for number, match in enumerate(pool.map(match_pair, pairs)):
            inliers[number], spreads[number] = match.inliers, match.spread
            if (number + 1) % _PAIRS_PER_REPORT == 0 or number + 1 == len(pairs):
                on_progress("pairs", number + 1, len(pairs))
    return ImpostorPairs(
        pairs=pairs,
        distances_m=haversine_m(positions[pairs[:, 0]], positions[pairs[:, 1]]),
        inliers=inliers,
        spreads=spreads,
    )
