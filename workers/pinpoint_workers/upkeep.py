"""Jobs that beat sends: look for lost work, compare index and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from pinpoint import jobs, logs
from pinpoint.ingest.reconcile import reconcile
from pinpoint.ingest.sweep import sweep
from pinpoint_workers.retries import job
from pinpoint_workers.runtime import is_alive, services

_log = logs.get(__name__)


@job
def sweep_lost(_ids: list[UUID]) -> None:
    """Send again what a crash left behind."""
    here = services()
    here.ensure_index()
    swept = sweep(
        ledger=here.ingest_parts().ledger,
        queue=here.jobs,
        index=here.index,
        contract=here.encoder.contract.digest,
        chunk=here.settings.worker.chunk,
        tombstone_s=here.settings.worker.tombstone_s,
        is_alive=is_alive,
    )
    here.upkeep.note_swept(swept)
    _log.info(
        "swept",
        released=swept.released,
        items=swept.items,
        images=swept.images,
        graves=swept.graves,
        forgotten=swept.forgotten,
    )


@job
def reconcile_index(_ids: list[UUID]) -> None:
    """Compare PostgreSQL with the index and mend the drift."""
    here = services()
    here.ensure_index()
    drift = reconcile(
        ledger=here.ingest_parts().ledger,
        index=here.index,
        queue=here.jobs,
        contract=here.encoder.contract.digest,
        chunk=here.settings.worker.chunk,
    )
    here.upkeep.note_drift(drift)
    _log.info(
        "reconciled",
        checked=drift.checked,
        missing=drift.missing,
        stale=drift.stale,
        extra=drift.extra,
        mended=drift.mended,
    )


TASKS: Final[dict[str, Callable[[list[str]], None]]] = {
    jobs.SWEEP: sweep_lost,
    jobs.RECONCILE: reconcile_index,
}
