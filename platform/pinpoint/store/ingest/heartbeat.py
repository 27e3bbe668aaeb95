"""Lease heartbeat: renews the leases of a living worker, however long its chunk takes.

The duration of a chunk depends on settings (files, seconds per file, children), weights and
machine. Therefore the lease is not derived from settings: a thread renews it. A lease that expires
means that its worker is dead, stopped, or cut off from the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol
from uuid import UUID

from sqlalchemy import Connection

from pinpoint import logs
from pinpoint.errors import UnavailableError
from pinpoint.store.db.database import Transactions
from pinpoint.store.ingest import leases

MAX_INTERVAL_S: Final = 3_600.0
"""A longer chunk is assumed to hang, and its leases may expire; equal to the time after which Redis
delivers a task again (`pinpoint.stack.broker.task_sender`)."""
_RENEWALS_PER_LEASE: Final = 3
"""Number of renewals per lease duration: one or two may fail before the lease expires."""
_JOIN_TIMEOUT_S: Final = 5.0

_log = logs.get_logger(__name__)


class RenewLeases(Protocol):
    """Extends a worker's leases of items to `lease_ttl_s` seconds from now."""

    def __call__(
        self, connection: Connection, ids: Sequence[UUID], worker: str, *, lease_ttl_s: float
    ) -> None:
        """Extend the leases."""
        ...


@contextmanager
def lease_heartbeat(
    transactions: Transactions,
    ids: Sequence[UUID],
    worker: str,
    *,
    lease_ttl_s: float,
    longest_s: float = MAX_INTERVAL_S,
    renew: RenewLeases = leases.renew_leases,
) -> Iterator[None]:
    """Renew a worker's leases until the block ends.

    Args:
        transactions: Units of work on the owner's engine; the renewals use their own connection.
        ids: Items under lease; items that the worker finishes or loses are skipped.
        worker: Name on the leases.
        lease_ttl_s: Duration of a lease after each renewal, in seconds.
        longest_s: Renewals end after this many seconds.
        renew: Renews the leases of batch items, or of another kind of item.
    """
    stopped = threading.Event()

    def renew_periodically() -> None:
        end_at = time.monotonic() + longest_s
        while not stopped.wait(lease_ttl_s / _RENEWALS_PER_LEASE) and time.monotonic() < end_at:
            try:
                with transactions.begin() as unit:
                    renew(unit.connection, ids, worker, lease_ttl_s=lease_ttl_s)
            except UnavailableError as error:
                _log.warning("leases not renewed", reason=error.reason, detail=error.message)

    thread = threading.Thread(target=renew_periodically, name="leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        # A database that hangs must not block the worker here. A renewal after the block affects no
        # lease of this worker, or one it has claimed since.
        thread.join(_JOIN_TIMEOUT_S)
