"""Geometric verification of one query against eight candidates, next to bare OpenCV.

Cold: the candidates' files are decoded and their features extracted and cached. Warm: their
features come from the cache. Both include the features of the query photo. The baseline does the
same work on decoded pixels in one thread, with OpenCV's own detector, matcher and estimator and
nothing else: no decoding child, no cache, no ratio test from both sides, no spread.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from uuid import UUID

import cv2
import numpy as np

from bench.stack import Say
from panoramax_gallery import FilePixels, read_gallery
from pinpoint.ingest.gallery_pixels import StoredPixels
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.nets.matching.matcher import RootSiftMatcher
from pinpoint.records import Image, Pixels, VerificationThreshold
from pinpoint.search.verifier import Verifier
from pinpoint.settings import MediaSettings
from pinpoint.store.blobs import FolderBlobs
from pinpoint.store.feature_cache import FolderFeatureCache

CANDIDATES = 8
TARGET_COLD_MS, TARGET_WARM_MS = 900.0, 200.0
_ORGANIZATION = UUID(int=1)
_THREADS = 2


def measure(repetitions: int, say: Say) -> dict[str, float]:
    """Medians over queries: milliseconds of both sides, cold and warm, and their ratios.

    `…_cpu_ms` is the processor time of this process, without the decoding children.
    """
    images = read_gallery()
    pixels = {image.id: FilePixels().read(str(image.uri), [image])[image.id] for image in images}
    stored = [_as_stored(image) for image in images]
    took: dict[str, list[float]] = {"cold": [], "warm": [], "bare_cold": [], "bare_warm": []}
    cpu: dict[str, list[float]] = {"cold": [], "warm": [], "bare_cold": [], "bare_warm": []}
    decoder = ChildDecoder(MediaSettings(), children=_THREADS)
    matcher = RootSiftMatcher()
    try:
        with TemporaryDirectory() as folder:
            cache_folder = Path(folder) / "features"
            cache = FolderFeatureCache(
                cache_folder, matcher_digest=matcher.digest, max_bytes=10**9, max_age_s=1e6
            )
            source = StoredPixels(FolderBlobs(Path(folder)), decoder)
            verifier = Verifier(matcher, cache, source, lambda _: VerificationThreshold(), _THREADS)
            for number in range(max(repetitions, 9)):
                say(f"verification: query {number + 1}")
                rows = [(20 * number + 4 * step) % len(images) for step in range(CANDIDATES + 1)]
                query, candidates = pixels[images[rows[0]].id], [stored[row] for row in rows[1:]]
                shutil.rmtree(cache_folder, ignore_errors=True)
                bare = [pixels[image.id] for image in candidates]
                features = [_detect(image) for image in bare]
                for name, work in {
                    "cold": partial(_verify, verifier, query, candidates),
                    "warm": partial(_verify, verifier, query, candidates),
                    "bare_cold": partial(_match_bare, query, bare),
                    "bare_warm": partial(_match_features, query, features),
                }.items():
                    began, cpu_began = perf_counter(), process_time()
                    work()
                    took[name].append(1e3 * (perf_counter() - began))
                    cpu[name].append(1e3 * (process_time() - cpu_began))
            verifier.close()
    finally:
        decoder.close()
    medians = {f"{name}_ms": median(times) for name, times in took.items()}
    return {
        **medians,
        **{f"{name}_cpu_ms": median(times) for name, times in cpu.items()},
        "cold_ratio": medians["cold_ms"] / medians["bare_cold_ms"],
        "warm_ratio": medians["warm_ms"] / medians["bare_warm_ms"],
    }


def _as_stored(image: Image) -> Image:
    """The image with the URI and the hash of its file, as ingest stores them."""
    path = Path(str(image.uri))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(image, uri=path.resolve().as_uri(), sha256=digest)


def _verify(verifier: Verifier, query: Pixels, candidates: list[Image]) -> None:
    opened = verifier.open_query([query], _ORGANIZATION)
    opened.verify({image.id: image for image in candidates})
    assert all(match.match is not None for match in opened.matches.values())


def _detect(pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    points, descriptors = cv2.SIFT.create(nfeatures=1_500).detectAndCompute(gray, None)
    descriptors /= descriptors.sum(axis=1, keepdims=True)
    return np.array([point.pt for point in points]), np.sqrt(descriptors)


def _match_bare(query: Pixels, images: list[Pixels]) -> None:
    _match_features(query, [_detect(image) for image in images])


def _match_features(query: Pixels, features: list[tuple[np.ndarray, np.ndarray]]) -> None:
    points, descriptors = _detect(query)
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    for other_points, others in features:
        pairs = [
            pair[0]
            for pair in matcher.knnMatch(descriptors, others, k=2)
            if pair[0].distance < 0.85 * pair[1].distance
        ]
        if len(pairs) >= 8:
            ends = (
                points[[pair.queryIdx for pair in pairs]],
                other_points[[pair.trainIdx for pair in pairs]],
            )
            cv2.findFundamentalMat(*ends, cv2.USAC_MAGSAC, 1.5, 0.999, 2_000)
            cv2.findHomography(*ends, cv2.USAC_MAGSAC, 1.5)
