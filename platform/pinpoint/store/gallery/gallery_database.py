"""Read-only units of work with the layers of one organization (`ports.Gallery`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection

from pinpoint.records import FEATURE_LAYERS, Feature, FeaturePage, FeatureQuery, LayerExtent
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.views import LAYERS_SCHEMA, READER_ROLE
from pinpoint.store.gallery import feature_pages


class GalleryReader:
    """Implements `ports.GalleryReader` on one connection with the role `pinpoint_reader`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def features(self, layer_name: str, query: FeatureQuery) -> FeaturePage:
        """A page of the features of a layer."""
        return feature_pages.read_features(self._connection, FEATURE_LAYERS[layer_name], query)

    def feature(self, layer_name: str, feature_id: str) -> Feature | None:
        """One feature of a layer; None if there is none with this id."""
        page = self.features(layer_name, FeatureQuery(limit=1, ids=(feature_id,)))
        return page.features[0] if page.features else None

    def layer_extent(self, layer_name: str) -> LayerExtent:
        """Bounds of a layer."""
        return feature_pages.read_extent(self._connection, FEATURE_LAYERS[layer_name])


class GalleryDatabase:
    """Opens gallery readers on one engine.

    Args:
        transactions: Units of work of the API or of the owner.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @contextmanager
    def read(self, organization_id: UUID) -> Iterator[GalleryReader]:
        """A read-only transaction with the views of one organization, and no other rights."""
        with self._transactions.begin(
            organization_id, read_only=True, role=READER_ROLE, schema=LAYERS_SCHEMA
        ) as unit:
            yield GalleryReader(unit.connection)
