"""Leases that do not end under a worker that is alive, however long its chunk takes.

How long a chunk takes depends on settings (files, seconds a file, children) and on weights and
machine, which no setting knows. So no sum of settings is compared with the lease: a thread renews
it, and a lease that ends means that its worker is dead, stopped, or cut off from the database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final
from uuid import UUID

from pinpoint import logs
from pinpoint.errors import Unavailable
from pinpoint.store import leases
from pinpoint.store.database import Transactions

LONGEST_S: Final = 3_600.0
"""A chunk that takes longer is taken to hang, and its leases may end; as long as Redis leaves a job
with the worker that took it (`pinpoint.stack.broker`)."""
_SHARE: Final = 3
"""Renewals in the time of one lease: one or two may fail before it ends."""
_PATIENCE_S: Final = 5.0

_log = logs.get(__name__)


@contextmanager
def holding(
    transactions: Transactions,
    ids: Sequence[UUID],
    worker: str,
    *,
    lease_s: float,
    longest_s: float = LONGEST_S,
) -> Iterator[None]:
    """Renew a worker's leases until the block is left.

    Args:
        transactions: Units of work on the owner's engine; the renewals take a connection of
            their own.
        ids: Items under lease; those that the worker settles or loses meanwhile drop out.
        worker: Name on the leases.
        lease_s: How long a lease holds from each renewal, seconds.
        longest_s: After this many seconds nothing is renewed any more.
    """
    left = threading.Event()

    def renew() -> None:
        until = time.monotonic() + longest_s
        while not left.wait(lease_s / _SHARE) and time.monotonic() < until:
            try:
                with transactions.begin() as unit:
                    leases.renew(unit.connection, ids, worker, lease_s=lease_s)
            except Unavailable as error:
                _log.warning("leases not renewed", reason=error.reason, detail=error.message)

    renewing = threading.Thread(target=renew, name="leases", daemon=True)
    renewing.start()
    try:
        yield
    finally:
        left.set()
        # A database that hangs must not keep the worker here; what the thread renews after the
        # block is no lease of this worker any more, or one it has taken since.
        renewing.join(_PATIENCE_S)
