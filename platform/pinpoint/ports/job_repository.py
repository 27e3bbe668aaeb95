"""Ports of the flow of locate jobs: a worker's rows, and photos behind URLs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from pinpoint.records.jobs import ClaimedJobItem, JobEvent, LocatedPhoto


class UrlFetcher(Protocol):
    """Reads photos behind URLs, guarded against private addresses."""

    def fetch_bytes(self, uri: str, max_bytes: int | None = None) -> bytes:
        """Read the bytes behind a URL.

        Raises:
            BadRequestError: The URL is refused, or does not lead to a file.
            TooLargeError: There are more than `max_bytes`.
        """
        ...


class JobRepository(Protocol):
    """Jobs of all organizations; each call is one transaction."""

    def claim(self, job_id: UUID, worker: str) -> list[ClaimedJobItem]:
        """Claim the next items of a job, which is canceled instead if its key was revoked.

        Items with too many attempts are failed instead.
        """
        ...

    def lease_heartbeat(self, ids: Sequence[UUID], worker: str) -> AbstractContextManager[None]:
        """Renew a worker's leases until the block ends, for at most one hour."""
        ...

    def complete_item(self, item: ClaimedJobItem, worker: str, located: LocatedPhoto) -> bool:
        """Store an answer and its audit row; False if the worker no longer held the item."""
        ...

    def fail_item(self, item_id: UUID, worker: str, error_code: str, error_message: str) -> None:
        """End an item with an error."""
        ...

    def release_unprocessed(self, ids: Sequence[UUID], worker: str) -> None:
        """Release items that could not be processed for external reasons."""
        ...

    def release_after_error(self, item_id: UUID, worker: str, message: str) -> None:
        """Release an item after an unexpected error; the attempt counts."""
        ...

    def release_worker(self, worker: str) -> int:
        """Release all leases of a worker; returns the number of items."""
        ...

    def active_workers(self) -> list[str]:
        """Names of workers that hold a lease."""
        ...

    def expire_jobs(self) -> int:
        """Expire unfinished jobs that are too old; returns their number.

        Jobs of revoked keys are canceled, and items of canceled jobs whose worker was lost.
        """
        ...

    def find_next_job(self) -> UUID | None:
        """The running job whose turn it is; None if no job has an item that no worker holds."""
        ...

    def list_endable_jobs(self, limit: int) -> list[UUID]:
        """Jobs whose end is not complete, oldest first."""
        ...

    def list_deletable_photos(self, job_ids: Sequence[UUID], limit: int) -> list[str]:
        """URIs of photos whose items have all ended; empty during a backup."""
        ...

    def forget_photos(self, uris: Sequence[str]) -> None:
        """Record that photos are deleted."""
        ...

    def start_finalizing(self, job_ids: Sequence[UUID]) -> None:
        """Mark running jobs without open items as `finalizing`."""
        ...

    def end_jobs(self, job_ids: Sequence[UUID]) -> list[JobEvent]:
        """Give jobs their final state, and delete the rows of deleted ones."""
        ...

    def remove_old_jobs(self) -> int:
        """Delete ended jobs whose retention is over; returns their number."""
        ...
