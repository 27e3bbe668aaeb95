"""Jobs that beat sends: look for lost work, compare index and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from pinpoint import jobs, logs
from pinpoint.ingest.prune import prune
from pinpoint.ingest.reconcile import reconcile
from pinpoint.ingest.sweep import sweep
from pinpoint.store.vectors_remote import RemoteIndex
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
        # A Qdrant server compacts its files itself; the embedded engine never does in place.
        rebuild=here.index.rebuild if isinstance(here.index, RemoteIndex) else None,
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


@job
def prune_remains(_ids: list[UUID]) -> None:
    """Remove blobs without a row, old audit rows and what is left of erased organisations."""
    here = services()
    if here.closing is None:
        raise RuntimeError("a worker has the owner's role")
    pruned = prune(
        closing=here.closing,
        ledger=here.ingest_parts().ledger,
        blobs=here.blobs,
        orphan_s=here.settings.worker.orphan_s,
        audit_s=here.settings.worker.audit_days * 86_400,
    )
    _log.info(
        "pruned",
        blobs=pruned.blobs,
        halves=pruned.halves,
        queries=pruned.queries,
        organizations=pruned.organizations,
    )


TASKS: Final[dict[str, Callable[[list[str]], None]]] = {
    jobs.SWEEP: sweep_lost,
    jobs.RECONCILE: reconcile_index,
    jobs.PRUNE: prune_remains,
}
