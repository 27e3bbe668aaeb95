"""Units of work with one organization's catalog (`ports.Database`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from pinpoint.store.catalog.catalog_reader import Reader
from pinpoint.store.catalog.catalog_writer import Writer
from pinpoint.store.catalog.idempotent_requests import IdempotentRequests
from pinpoint.store.db.database import Transactions


class CatalogDatabase:
    """Opens catalog readers and writers on one engine.

    Args:
        transactions: Units of work.
        chunk: Maximum number of items in one task.
    """

    def __init__(self, transactions: Transactions, chunk: int) -> None:
        self._transactions = transactions
        self._chunk = chunk

    @contextmanager
    def read(self, organization_id: UUID) -> Iterator[Reader]:
        """A read-only transaction in one organization."""
        with self._transactions.begin(organization_id, read_only=True) as unit:
            yield Reader(unit)

    @contextmanager
    def write(self, organization_id: UUID) -> Iterator[Writer]:
        """A transaction in one organization; its tasks are sent after the commit."""
        with self._transactions.begin(organization_id) as unit:
            yield Writer(unit, self._chunk)

    @contextmanager
    def write_once(self, organization_id: UUID) -> Iterator[IdempotentRequests]:
        """One transaction for everything that this thread reads and writes in the block.

        Every store on the same transactions takes part in it. The answer of the request is stored
        in it, so it exists exactly if the changes do.
        """
        with self._transactions.begin_shared(organization_id) as unit:
            yield IdempotentRequests(unit.connection, organization_id)

    def check(self) -> None:
        """Raise `DatabaseUnavailableError` unless PostgreSQL answers at this code's revision."""
        self._transactions.check()

    def close(self) -> None:
        """Close all connections."""
        self._transactions.close()
