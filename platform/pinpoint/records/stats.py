"""Statistics over all organizations for the operator; no names and no ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pinpoint.records.index import Drift


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport:
    """Result of a recovery run: numbers of what was released, sent again or deleted."""

    released: int
    items: int
    images: int
    deletions: int
    """Deleted images whose erasure was sent again."""
    tombstones: int
    """Expired tombstones that were deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectionCount:
    """Items without an image since the database was created, for one error code."""

    status: Literal["rejected", "failed"]
    error_code: str
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTiming:
    """Time that workers spent in one stage of the ingest since the database was created."""

    slices: int
    """Number of runs of the stage; a slice has up to 32 items."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsSnapshot:
    """Statistics in PostgreSQL; counts stop at `max_count`, which then means "at least"."""

    max_count: int
    open_items: Mapping[str, int]
    """`received` (waits for decoding) and `stored` (waits for the index)."""
    oldest_open_s: float | None
    """Age of the oldest open item; None if no item is open."""
    leases_held: int
    leases_expired: int
    images_pending: int
    images_deleted: int
    """Rows that wait for deletion."""
    tombstones: int
    jobs: Mapping[str, int]
    """Locate jobs by state."""
    job_items: Mapping[str, int]
    """Items of jobs that have not ended, by state."""
    oldest_job_item_s: float | None
    """Time since the start of the oldest running job with an open item; None if there is none."""
    rejected_items: tuple[RejectionCount, ...]
    """Most frequent first."""
    drift: Drift | None
    reconciled_at: datetime | None
    recovery: RecoveryReport | None
    recovered_at: datetime | None
    stages: Mapping[str, StageTiming]
    counts: Mapping[str, int]
    """Since the database was created: `claimed`, `encoded`, `rejected`, `failed`, `released`."""
