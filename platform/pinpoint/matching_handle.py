"""Matcher and feature cache of one process, loaded at the first use."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING
from uuid import UUID

from pinpoint.records import GeometricMatch, LocalFeatures, Pixels, VerificationThreshold
from pinpoint.settings import Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.store.feature_cache import FolderFeatureCache

if TYPE_CHECKING:
    from pinpoint.nets.matching.matcher import RootSiftMatcher


class MatchingHandle:
    """Matcher and cache of local features; loads OpenCV at the first use.

    Implements `ports.FeatureMatcher` and `ports.FeatureCache`.

    Args:
        settings: Settings with the home and the limits of the cache.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()

    @cached_property
    def _loaded_matcher(self) -> RootSiftMatcher:
        from pinpoint.nets.matching.matcher import RootSiftMatcher

        return RootSiftMatcher()

    @cached_property
    def _loaded_cache(self) -> FolderFeatureCache:
        limits = self._settings.matching
        return FolderFeatureCache(
            StackPaths(self._settings.services.home).features_dir,
            matcher_digest=self._loaded_matcher.digest,
            max_bytes=limits.cache_max_bytes,
            max_age_s=limits.cache_ttl_s,
        )

    def _load_matching(self) -> tuple[RootSiftMatcher, FolderFeatureCache]:
        with self._lock:
            return self._loaded_matcher, self._loaded_cache

    @property
    def digest(self) -> str:
        """Digest of the matcher."""
        return self._load_matching()[0].digest

    def extract(self, pixels: Pixels) -> LocalFeatures:
        """Local features of an upright image `[H, W, 3]`."""
        return self._load_matching()[0].extract(pixels)

    def match(self, query: LocalFeatures, image: LocalFeatures) -> GeometricMatch:
        """Match two images."""
        return self._load_matching()[0].match(query, image)

    def get(self, organization_id: UUID, image_id: UUID, version: int) -> LocalFeatures | None:
        """Cached features of this version of an image; None if there are none."""
        return self._load_matching()[1].get(organization_id, image_id, version)

    def put(
        self, organization_id: UUID, image_id: UUID, version: int, features: LocalFeatures
    ) -> None:
        """Store features of an image."""
        self._load_matching()[1].put(organization_id, image_id, version, features)

    def delete(self, image_ids: Iterable[UUID]) -> None:
        """Delete the features of images."""
        self._load_matching()[1].delete(image_ids)

    def find_threshold(self, organization_id: UUID) -> VerificationThreshold:
        """Verification threshold of an organization's gallery, from the home.

        It is read for every query, so that a new one is used at once.
        """
        from pinpoint.nets.matching.threshold_files import read_threshold

        folder = StackPaths(self._settings.services.home).verification_dir
        return read_threshold(folder, organization_id, self.digest)

    def set_reordering(self, organization_id: UUID, *, reorders: bool) -> bool:
        """Store whether verified candidates come first in an organization's gallery.

        Returns:
            False if the gallery has no calibrated threshold; nothing is stored then.
        """
        from pinpoint.nets.matching.threshold_files import set_reordering

        folder = StackPaths(self._settings.services.home).verification_dir
        return set_reordering(folder, organization_id, self.digest, reorders=reorders)

    def prune_cache(self) -> int:
        """Delete old features, and the least recently used ones over the maximum size."""
        return self._load_matching()[1].prune()

    def start_pruning(self) -> None:
        """Start the thread that prunes the cache of this host while this process runs."""
        self._load_matching()[1].start_pruning()

    def close(self) -> None:
        """Stop the pruning thread."""
        if "_loaded_cache" in self.__dict__:
            self._loaded_cache.close()
