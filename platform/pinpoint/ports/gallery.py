"""Port of entry points: read-only questions about one organization's gallery."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from pinpoint.records import Feature, FeaturePage, FeatureQuery, LayerExtent


class GalleryReader(Protocol):
    """Rows of one organization's layers; rows of other organizations cannot be reached."""

    def features(self, layer_name: str, query: FeatureQuery) -> FeaturePage:
        """A page of the features of a layer, ordered by id."""
        ...

    def feature(self, layer_name: str, feature_id: str) -> Feature | None:
        """One feature of a layer; None if there is none with this id."""
        ...

    def layer_extent(self, layer_name: str) -> LayerExtent:
        """Bounds of a layer that contain all of its features."""
        ...


class Gallery(Protocol):
    """Opens gallery readers."""

    def read(self, organization_id: UUID) -> AbstractContextManager[GalleryReader]:
        """A read-only transaction in one organization."""
        ...
