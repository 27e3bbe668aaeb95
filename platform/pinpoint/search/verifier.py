"""The verifier: compares query photos with gallery images by their local features.

query photos ─extract→ features ─┐
stored file ─decode→ pixels ─extract→ features (cached) ─match→ [ImageMatch]

It never fails a query: images that cannot be read, or that do not fit into the time budget of the
request, get a status.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Final
from uuid import UUID

from pinpoint.deadline import current_deadline
from pinpoint.ports import FeatureCache, FeatureMatcher, GalleryPixels
from pinpoint.records import (
    GeometricMatch,
    Image,
    ImageMatch,
    LocalFeatures,
    Pixels,
    Verification,
    VerificationStatus,
    VerificationThreshold,
)

DEFAULT_THREADS: Final = 2
_BUDGET_SHARE: Final = 0.5
"""Share of the remaining time budget of a request that one call may use; the answer needs the
rest."""


class Verifier:
    """Compares queries with gallery images; thread-safe, one for each process.

    All queries of a process share its threads, so that many concurrent queries do not use more
    cores than one.

    Args:
        matcher: Extracts and matches local features.
        cache: Local features of gallery images.
        pixels: Pixels of gallery images.
        find_threshold: Returns the threshold of an organization's gallery.
        threads: Number of images that are read and matched concurrently.
    """

    def __init__(
        self,
        matcher: FeatureMatcher,
        cache: FeatureCache,
        pixels: GalleryPixels,
        find_threshold: Callable[[UUID], VerificationThreshold],
        threads: int = DEFAULT_THREADS,
    ) -> None:
        self.matcher = matcher
        self.pixels = pixels
        self._cache = cache
        self._find_threshold = find_threshold
        self._threads = threads
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def open_query(self, photos: Sequence[Pixels], organization_id: UUID) -> QueryVerification:
        """Start the verification of one query.

        Args:
            photos: Pixels `[H, W, 3]` of each query photo, at least one.
            organization_id: Organization of the gallery.
        """
        return QueryVerification(
            self, photos, organization_id, self._find_threshold(organization_id)
        )

    def run(self, function: Callable[[], dict[UUID, ImageMatch]]) -> Future[dict[UUID, ImageMatch]]:
        """Run a function in the threads of the process."""
        return self._open_pool().submit(function)

    def extract(self, pixels: Pixels) -> Future[LocalFeatures]:
        """Extract local features in the threads of the process."""
        return self._open_pool().submit(self.matcher.extract, pixels)

    def fetch_features(
        self, organization_id: UUID, uri: str, images: Sequence[Image]
    ) -> dict[UUID, LocalFeatures]:
        """Local features of images that share a stored file; images without pixels are omitted."""
        features: dict[UUID, LocalFeatures] = {}
        missing: list[Image] = []
        for image in images:
            cached = self._cache.get(organization_id, image.id, image.version)
            if cached is None:
                missing.append(image)
            else:
                features[image.id] = cached
        if missing:
            pixels = self.pixels.read(uri, missing)
            for image in missing:
                if image.id in pixels:
                    features[image.id] = self.matcher.extract(pixels[image.id])
                    self._cache.put(organization_id, image.id, image.version, features[image.id])
        return features

    def close(self) -> None:
        """End the threads after their current images."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=True, cancel_futures=True)
                self._pool = None

    def _open_pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="verify")
            return self._pool


class QueryVerification:
    """Matches of one query; used by one thread. Open it with `Verifier.open_query`."""

    def __init__(
        self,
        verifier: Verifier,
        photos: Sequence[Pixels],
        organization_id: UUID,
        threshold: VerificationThreshold,
    ) -> None:
        self._verifier = verifier
        self._photos = tuple(photos)
        self._organization_id = organization_id
        self.threshold = threshold
        self._features: tuple[LocalFeatures, ...] | None = None
        self.matches: dict[UUID, ImageMatch] = {}

    def verify(self, images: Mapping[UUID, Image | None]) -> None:
        """Compare the query with images that were not compared yet.

        Args:
            images: Rows of the query's organization by image id; None for a deleted row.
        """
        pending = {
            image_id: image for image_id, image in images.items() if image_id not in self.matches
        }
        by_file: dict[str, list[Image]] = defaultdict(list)
        for image_id, image in pending.items():
            if image is None or image.uri is None:
                self.matches[image_id] = _make_unmatched("image_unavailable")
            else:
                by_file[image.uri].append(image)
        if by_file:
            self._verify_files(by_file)
        for image_id in pending.keys() - self.matches.keys():
            self.matches[image_id] = _make_unmatched("time_budget_used")

    def _verify_files(self, by_file: Mapping[str, Sequence[Image]]) -> None:
        """Compare the images of each stored file; those out of time get no match."""
        deadline = current_deadline()
        budget_s = None if deadline is None else max(0.0, _BUDGET_SHARE * deadline.remaining_s())
        if self._features is None:
            extractions = [self._verifier.extract(photo) for photo in self._photos]
            if wait(extractions, timeout=budget_s).not_done:
                for extraction in extractions:
                    extraction.cancel()
                return
            self._features = tuple(extraction.result() for extraction in extractions)
        if deadline is not None:
            budget_s = max(0.0, _BUDGET_SHARE * deadline.remaining_s())
        comparisons = [
            self._verifier.run(partial(self._match_file, uri, images))
            for uri, images in by_file.items()
        ]
        completed, unfinished = wait(comparisons, timeout=budget_s)
        for comparison in unfinished:
            comparison.cancel()
        for comparison in completed:
            self.matches.update(comparison.result())

    def _match_file(self, uri: str, images: Sequence[Image]) -> dict[UUID, ImageMatch]:
        """Matches of the images of one stored file."""
        features = self._verifier.fetch_features(self._organization_id, uri, images)
        return {
            image.id: (
                self._match_image(features[image.id])
                if image.id in features
                else _make_unmatched("image_unavailable")
            )
            for image in images
        }

    def _match_image(self, image: LocalFeatures) -> ImageMatch:
        """The best match of the query's photos with an image."""
        matches = [
            self._describe_match(number, photo, image)
            for number, photo in enumerate(self._features or ())
        ]
        # `max` returns the first of equal ones.
        return max(matches, key=_match_quality)

    def _describe_match(
        self, number: int, photo: LocalFeatures, image: LocalFeatures
    ) -> ImageMatch:
        match = self._verifier.matcher.match(photo, image)
        return ImageMatch(
            verification=describe_verification(
                match, min(len(photo.keypoints), len(image.keypoints)), self.threshold
            ),
            match=match,
            photo=number,
            query_size_px=(photo.width_px, photo.height_px),
            image_size_px=(image.width_px, image.height_px),
        )


def describe_verification(
    match: GeometricMatch, num_keypoints: int, threshold: VerificationThreshold
) -> Verification:
    """The verification of a match.

    Args:
        match: The match of two images.
        num_keypoints: Key points of the image with fewer of them.
        threshold: Threshold of the gallery.
    """
    verified = threshold.accepts(match)
    status: VerificationStatus = "matched" if verified else "not_matched"
    if not verified and num_keypoints < threshold.min_inliers:
        status = "no_texture"
    return Verification(
        inliers=match.inliers,
        spread=match.spread,
        verified=verified,
        false_match_rate=threshold.rate_of(match),
        status=status,
    )


def order_matches(matches: Mapping[UUID, ImageMatch]) -> list[UUID]:
    """Ids of the compared images: verified ones first, by inliers and spread, ties by id."""
    compared = [image_id for image_id, match in matches.items() if match.match is not None]
    return sorted(
        compared,
        key=lambda image_id: (*(-part for part in _match_quality(matches[image_id])), image_id.int),
    )


def _match_quality(match: ImageMatch) -> tuple[bool, int, float]:
    verification = match.verification
    return (verification.verified, verification.inliers, verification.spread)


def _make_unmatched(status: VerificationStatus) -> ImageMatch:
    return ImageMatch(
        verification=Verification(
            inliers=0, spread=0.0, verified=False, false_match_rate=None, status=status
        )
    )
