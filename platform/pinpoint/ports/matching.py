"""Ports of geometric verification: local features, their matches and their cache."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from pinpoint.records import GeometricMatch, LocalFeatures, Pixels


class FeatureMatcher(Protocol):
    """Computes local features and the geometry that two images agree on; thread-safe."""

    @property
    def digest(self) -> str:
        """Digest of the method and its settings; features and thresholds of others are invalid."""
        ...

    def extract(self, pixels: Pixels) -> LocalFeatures:
        """Local features of an upright image `[H, W, 3]` of any size and memory layout.

        An image without texture has no key points.
        """
        ...

    def match(self, query: LocalFeatures, image: LocalFeatures) -> GeometricMatch:
        """Match two images.

        Deterministic, symmetric in its arguments and independent of the order of key points.
        """
        ...


class FeatureCache(Protocol):
    """Bounded cache of local features of gallery images on this host."""

    def get(self, organization_id: UUID, image_id: UUID, version: int) -> LocalFeatures | None:
        """Cached features of this version of an image; None if there are none."""
        ...

    def put(
        self, organization_id: UUID, image_id: UUID, version: int, features: LocalFeatures
    ) -> None:
        """Store features; other versions of the image are replaced."""
        ...

    def delete(self, image_ids: Iterable[UUID]) -> None:
        """Delete the features of images; missing ones are no error."""
        ...
