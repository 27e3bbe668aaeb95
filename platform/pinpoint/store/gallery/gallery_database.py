"""Read-only units of work with the layers of one organization (`ports.Gallery`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection

from pinpoint.store.db.database import Transactions
from pinpoint.store.db.views import LAYERS_SCHEMA, READER_ROLE


class GalleryReader:
    """Implements `ports.GalleryReader` on one connection with the role `pinpoint_reader`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


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
