"""Access of workers to locate jobs (`ports.JobRepository`); each call is one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final
from uuid import UUID

from pinpoint.records.jobs import ClaimedJobItem, EndState, JobEvent, LocatedPhoto
from pinpoint.records.webhooks import WebhookEventType
from pinpoint.settings import Settings
from pinpoint.store.catalog import audit_log
from pinpoint.store.db.database import Transactions
from pinpoint.store.deletion.image_deletion import blob_deletion_allowed
from pinpoint.store.ingest import heartbeat
from pinpoint.store.jobs import job_endings, job_leases
from pinpoint.store.webhooks.webhook_events import insert_event

EVENT_TYPES: Final[Mapping[EndState, WebhookEventType]] = {
    "completed": "job.completed",
    "failed": "job.failed",
    "canceled": "job.canceled",
    "expired": "job.expired",
}


class StoredJobRepository:
    """Jobs of all organizations, with the owner's role.

    Args:
        transactions: Units of work on the owner's engine.
        settings: Chunk size and retention of jobs; duration of leases and attempts of workers.
    """

    def __init__(self, transactions: Transactions, settings: Settings) -> None:
        self._transactions = transactions
        self._chunk_size = settings.jobs.chunk_size
        self._lease_ttl_s = settings.worker.lease_ttl_s
        self._max_attempts = settings.worker.max_attempts
        self._retention_s = settings.jobs.retention_days * 86_400

    def claim(self, job_id: UUID, worker: str) -> list[ClaimedJobItem]:
        """Claim the next items of a job.

        Items with too many attempts are failed instead; none is left if the key of the job was
        revoked, because the job is canceled then.
        """
        with self._transactions.begin() as unit:
            job_endings.cancel_jobs_of_revoked_keys(unit.connection, self._lease_ttl_s, job_id)
            return job_leases.claim_job_items(
                unit.connection,
                job_id,
                worker,
                chunk_size=self._chunk_size,
                lease_ttl_s=self._lease_ttl_s,
                max_attempts=self._max_attempts,
            )

    def lease_heartbeat(self, ids: Sequence[UUID], worker: str) -> AbstractContextManager[None]:
        """Renew a worker's leases until the block ends, for at most one hour."""
        return heartbeat.lease_heartbeat(
            self._transactions,
            ids,
            worker,
            lease_ttl_s=self._lease_ttl_s,
            renew=job_leases.renew_job_leases,
        )

    def complete_item(self, item: ClaimedJobItem, worker: str, located: LocatedPhoto) -> bool:
        """Store the answer of an item and its row of the audit log.

        Returns:
            Whether the worker still held the item; otherwise nothing is stored.
        """
        values = {
            "state": "completed",
            "result": located.result,
            "lat": located.lat,
            "lon": located.lon,
            "error_code": None,
            "error_message": None,
        }
        with self._transactions.begin() as unit:
            if not job_leases.end_item(unit.connection, item.id, worker, values):
                return False
            audit_log.insert_entries(unit.connection, item.organization_id, [located.audit_entry])
            return True

    def fail_item(self, item_id: UUID, worker: str, error_code: str, error_message: str) -> None:
        """End an item with an error."""
        values = {"state": "failed", "error_code": error_code, "error_message": error_message}
        with self._transactions.begin() as unit:
            job_leases.end_item(unit.connection, item_id, worker, values)

    def release_unprocessed(self, ids: Sequence[UUID], worker: str) -> None:
        """Release items that could not be processed for external reasons."""
        with self._transactions.begin() as unit:
            job_leases.release_unprocessed_job_items(unit.connection, ids, worker)

    def release_after_error(self, item_id: UUID, worker: str, message: str) -> None:
        """Release an item after an unexpected error; the attempt counts."""
        with self._transactions.begin() as unit:
            job_leases.release_job_item_after_error(unit.connection, item_id, worker, message)

    def release_worker(self, worker: str) -> int:
        """Release all leases of a worker; returns the number of items."""
        with self._transactions.begin() as unit:
            return job_leases.release_job_leases(unit.connection, worker)

    def active_workers(self) -> list[str]:
        """Names of workers that hold a lease."""
        with self._transactions.begin() as unit:
            return job_leases.list_lease_holders(unit.connection)

    def expire_jobs(self) -> int:
        """Expire unfinished jobs that are too old; returns their number.

        Jobs of revoked keys are canceled, and so are the items of canceled jobs whose worker was
        lost.
        """
        with self._transactions.begin() as unit:
            job_endings.cancel_jobs_of_revoked_keys(unit.connection, self._lease_ttl_s)
            job_endings.cancel_released_items(unit.connection, self._lease_ttl_s)
            return len(job_endings.expire_jobs(unit.connection))

    def find_next_job(self) -> UUID | None:
        """The running job whose turn it is; None if no job has an item that no worker holds."""
        with self._transactions.begin() as unit:
            return job_endings.find_next_job(unit.connection, self._lease_ttl_s)

    def list_endable_jobs(self, limit: int) -> list[UUID]:
        """Jobs whose end is not complete, oldest first."""
        with self._transactions.begin() as unit:
            return job_endings.list_endable_jobs(unit.connection, limit)

    def list_deletable_photos(self, job_ids: Sequence[UUID], limit: int) -> list[str]:
        """URIs of photos whose items have all ended; empty during a backup."""
        with self._transactions.begin() as unit:
            if not blob_deletion_allowed(unit.connection):
                return []
            return job_endings.list_deletable_photos(unit.connection, job_ids, limit)

    def forget_photos(self, uris: Sequence[str]) -> None:
        """Record that photos are deleted."""
        with self._transactions.begin() as unit:
            job_endings.forget_photos(unit.connection, uris)

    def start_finalizing(self, job_ids: Sequence[UUID]) -> None:
        """Mark running jobs without open items as `finalizing`."""
        with self._transactions.begin() as unit:
            job_endings.start_finalizing(unit.connection, job_ids)

    def end_jobs(self, job_ids: Sequence[UUID]) -> list[JobEvent]:
        """Give jobs their final state, and delete the rows of deleted ones."""
        with self._transactions.begin() as unit:
            events = job_endings.end_jobs(unit.connection, job_ids, self._retention_s)
            for event in events:
                insert_event(
                    unit,
                    event.organization_id,
                    EVENT_TYPES[event.state],
                    {"job_id": str(event.job_id), "state": event.state},
                )
            job_endings.remove_deleted_jobs(unit.connection, job_ids)
            return events

    def remove_old_jobs(self) -> int:
        """Delete ended jobs whose retention is over; returns their number."""
        with self._transactions.begin() as unit:
            return job_endings.remove_old_jobs(unit.connection)
