"""Periodic tasks: recover lost work, compare index and PostgreSQL, delete leftovers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from pinpoint import logs, tasks
from pinpoint.bootstrap import Services
from pinpoint.fault_isolation import Failures
from pinpoint.ingest.pipeline import reembed_images
from pinpoint.ingest.prune import prune_leftovers
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.ingest.recovery import recover_lost_work
from pinpoint.jobs.recover_jobs import recover_jobs
from pinpoint.stack.broker.celery_config import is_rabbitmq
from pinpoint.stack.broker.dead_letters import process_dead_letters
from pinpoint.store.vectors.rpc.client import RemoteIndex
from pinpoint_workers.jobs import get_repository
from pinpoint_workers.retries import retryable_task
from pinpoint_workers.runtime import is_alive, open_services

_log = logs.get_logger(__name__)

_PROTECT_S: Final = 60.0
"""Time of one task that applies protected areas."""
_MAX_REEMBEDDED: Final = 512
"""Maximum number of images encoded again in one task."""


@retryable_task
def recover_lost(_ids: list[UUID]) -> None:
    """Resend work that a crash has lost."""
    worker = open_services()
    worker.ensure_index()
    num_dead_letters = _process_dead_letters(worker)
    report = recover_lost_work(
        repository=worker.ingest_components().repository,
        queue=worker.tasks,
        index=worker.index,
        contract=worker.encoder.contract.digest,
        chunk=worker.settings.worker.task_batch_size,
        tombstone_ttl_s=worker.settings.worker.tombstone_ttl_s,
        is_alive=is_alive,
        # A Qdrant server compacts its files itself; the embedded engine never does in place.
        listings=worker.listings,
        rebuild=worker.index.rebuild if isinstance(worker.index, RemoteIndex) else None,
    )
    worker.maintenance_stats.record_recovery(report)
    jobs = recover_jobs(get_repository(worker), worker.tasks, is_alive)
    _log.info(
        "recovered",
        released=report.released,
        items=report.items,
        images=report.images,
        deletions=report.deletions,
        tombstones=report.tombstones,
        jobs=jobs,
        dead_letters=num_dead_letters,
    )
    worker.protected_areas.apply(_PROTECT_S)


def _process_dead_letters(worker: Services) -> int:
    """Map the tasks that RabbitMQ gave up to the states of their items.

    Rows of other tasks keep their state, and the recovery sends their tasks again.
    """
    broker_url = worker.settings.services.broker_url
    if broker_url is None or not is_rabbitmq(broker_url):
        return 0
    repository = worker.ingest_components().repository

    def record_items(name: str, ids: Sequence[UUID]) -> None:
        if name == tasks.INGEST_ITEMS and ids:
            repository.record_dead_letter(ids)

    num_letters = process_dead_letters(broker_url, record_items)
    worker.maintenance_stats.add({"dead_letters": num_letters})
    return num_letters


@retryable_task
def reconcile_index(_ids: list[UUID]) -> None:
    """Compare PostgreSQL with the index and repair the drift."""
    worker = open_services()
    worker.ensure_index()
    failures = Failures()
    with failures.isolate("re-embedding"):
        _reembed_missing(worker)
    drift = reconcile_index_rows(
        repository=worker.ingest_components().repository,
        index=worker.index,
        queue=worker.tasks,
        contract=worker.encoder.contract.digest,
        chunk=worker.settings.worker.task_batch_size,
    )
    worker.maintenance_stats.record_drift(drift)
    _log.info(
        "reconciled",
        checked=drift.checked,
        missing=drift.missing,
        stale=drift.stale,
        extra=drift.extra,
        repaired=drift.repaired,
    )
    failures.raise_first()


def _reembed_missing(worker: Services) -> None:
    """Encode images that have no vectors of the index's contract.

    Usually there are none: `pinpoint bundles activate` leaves only images that it was allowed to
    leave, but it may have been killed during the switch.
    """
    if worker.reembed_queue is None:
        raise RuntimeError("a worker has the owner's role")
    contract = worker.encoder.contract
    # Images of an unfinished batch are excluded: their uploaded file may be more than the original
    # that is kept.
    ids = worker.reembed_queue.list_missing(
        contract.digest, contract.dims, include_in_progress=False
    )
    if ids:
        # A random sample, so that unreachable images do not block the others forever.
        sample = random.sample(ids, min(len(ids), _MAX_REEMBEDDED))
        report = reembed_images(sample, worker.ingest_components(), worker.reembed_queue)
        _log.warning("images lacked vectors", images=len(ids), encoded=report.done)


@retryable_task
def prune(_ids: list[UUID]) -> None:
    """Delete unreferenced blobs, expired rows and features, and data of erased organizations."""
    worker = open_services()
    if worker.tenant_deletion is None:
        raise RuntimeError("a worker has the owner's role")
    pruned = prune_leftovers(
        tenant_deletion=worker.tenant_deletion,
        repository=worker.ingest_components().repository,
        blobs=worker.blobs,
        orphan_blob_ttl_s=worker.settings.worker.orphan_blob_ttl_s,
        audit_retention_s=worker.settings.worker.audit_retention_days * 86_400,
    )
    jobs = get_repository(worker).remove_old_jobs()
    features = worker.matching.prune_cache()
    deliveries = worker.webhooks.outbox.prune_deliveries(
        worker.settings.webhook.delivery_retention_days * 86_400
    )
    _log.info(
        "pruned",
        blobs=pruned.blobs,
        partial_files=pruned.partial_files,
        audit_rows=pruned.audit_rows,
        kept_queries=pruned.kept_queries,
        organizations=pruned.organizations,
        features=features,
        webhook_deliveries=deliveries,
        jobs=jobs,
    )


@retryable_task
def protect(_ids: list[UUID]) -> None:
    """Apply changed protected areas to gallery rows; more than a minute of work is sent again."""
    applied = open_services().protected_areas.apply(_PROTECT_S)
    _log.info("protected areas", applied=applied)


TASKS: Final[dict[str, Callable[[list[str]], None]]] = {
    tasks.RECOVER: recover_lost,
    tasks.RECONCILE: reconcile_index,
    tasks.PRUNE: prune,
    tasks.PROTECT: protect,
}
