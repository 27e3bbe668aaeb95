"""Units of work with one organization's catalog (`ports.Database`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID

from pinpoint.store.catalog.catalog_reader import Reader
from pinpoint.store.catalog.catalog_writer import Writer
from pinpoint.store.catalog.idempotent_requests import IdempotentRequests
from pinpoint.store.db.database import Transactions, UnitOfWork

_JOINED: ContextVar[tuple[CatalogDatabase, UnitOfWork] | None] = ContextVar("joined", default=None)
"""The transaction of `write_once` that this thread is in."""


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
        """A read-only transaction in one organization; within `write_once` a part of it."""
        if (joined := self._find_joined(organization_id)) is not None:
            yield Reader(joined)
            return
        with self._transactions.begin(organization_id, read_only=True) as unit:
            yield Reader(unit)

    @contextmanager
    def write(self, organization_id: UUID) -> Iterator[Writer]:
        """A transaction in one organization; its tasks are sent after the commit.

        Within `write_once` it is a part of that transaction and committed with it.
        """
        if (joined := self._find_joined(organization_id)) is not None:
            yield Writer(joined, self._chunk)
            return
        with self._transactions.begin(organization_id) as unit:
            yield Writer(unit, self._chunk)

    @contextmanager
    def write_once(self, organization_id: UUID) -> Iterator[IdempotentRequests]:
        """One transaction for everything that this thread reads and writes in the block.

        The answer of the request is stored in it, so it exists exactly if the changes do.
        """
        with self._transactions.begin(organization_id) as unit:
            token = _JOINED.set((self, unit))
            try:
                yield IdempotentRequests(unit.connection, organization_id)
            finally:
                _JOINED.reset(token)

    def _find_joined(self, organization_id: UUID) -> UnitOfWork | None:
        joined = _JOINED.get()
        if joined is None or joined[0] is not self:
            return None
        return joined[1] if joined[1].organization_id == organization_id else None

    def check(self) -> None:
        """Raise `DatabaseUnavailableError` unless PostgreSQL answers at this code's revision."""
        self._transactions.check()

    def close(self) -> None:
        """Close all connections."""
        self._transactions.close()
