"""Names of the tasks that entry points send and workers run; payloads are ids only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

TaskName = Literal[
    "ingest.items",
    "ingest.bucket",
    "images.index",
    "images.erase",
    "maintenance.recover",
    "maintenance.reconcile",
    "maintenance.prune",
    "webhooks.deliver",
    "maintenance.protect",
    "training.embedder",
    "jobs.locate",
    "jobs.finish",
]

INGEST_ITEMS: Final[TaskName] = "ingest.items"
"""Decode, store, embed and index a chunk of batch items: `[item id, ...]`."""

LIST_BUCKET: Final[TaskName] = "ingest.bucket"
"""Add the images below a bucket or prefix to a batch: `[listing id, ...]`."""

INDEX_IMAGES: Final[TaskName] = "images.index"
"""Write changed rows (new position, new version) to the index: `[image id, ...]`."""

ERASE_IMAGES: Final[TaskName] = "images.erase"
"""Apply tombstones to the index and the blob store, then delete the rows: `[image id, ...]`."""

RECOVER: Final[TaskName] = "maintenance.recover"
"""Resend lost work: expired leases, unsent items, unindexed rows, tombstones."""

RECONCILE: Final[TaskName] = "maintenance.reconcile"
"""Compare PostgreSQL with the index, report the drift and repair it."""

PRUNE: Final[TaskName] = "maintenance.prune"
"""Delete blobs without a row, old audit rows, and remaining data of erased organizations."""

DELIVER_WEBHOOKS: Final[TaskName] = "webhooks.deliver"
"""Send deliveries of webhooks: `[delivery id, ...]`; without ids all that are due."""

PROTECT: Final[TaskName] = "maintenance.protect"
"""Apply changed protected areas to gallery rows."""

TRAIN_EMBEDDER: Final[TaskName] = "training.embedder"
"""Start or resume training runs: `[run id]`."""

LOCATE_JOB_ITEMS: Final[TaskName] = "jobs.locate"
"""Locate items of the job whose turn it is, until none has one: `[id of a job that may end]`."""

FINISH_JOBS: Final[TaskName] = "jobs.finish"
"""Delete the photos of ended items, and end jobs without open items: `[job id, ...]`."""

INGEST_QUEUE: Final = "ingest"
"""Queue of batches."""

BACKFILL_QUEUE: Final = "backfill"
"""Queue of tasks that index or encode rows again; they may be many, and no batch waits for them."""

MAINTENANCE_QUEUE: Final = "maintenance"
"""Queue of short periodic tasks and deletions."""

JOBS_QUEUE: Final = "jobs"
"""Queue of locate jobs; a worker of its own consumes it, so that they delay no other task."""

TRAINING_QUEUE: Final = "training"
"""Queue of tasks that take hours; only workers that consume it (`-Q training`) get them."""

GALLERY_QUEUES: Final = (INGEST_QUEUE, BACKFILL_QUEUE, MAINTENANCE_QUEUE)
"""Queues that every worker of the gallery consumes, each in turn."""

QUEUES: Final = (*GALLERY_QUEUES, JOBS_QUEUE, TRAINING_QUEUE)

QUEUE_OF: Final[Mapping[TaskName, str]] = {
    INGEST_ITEMS: INGEST_QUEUE,
    LIST_BUCKET: INGEST_QUEUE,
    INDEX_IMAGES: BACKFILL_QUEUE,
    RECONCILE: BACKFILL_QUEUE,
    ERASE_IMAGES: MAINTENANCE_QUEUE,
    RECOVER: MAINTENANCE_QUEUE,
    PRUNE: MAINTENANCE_QUEUE,
    DELIVER_WEBHOOKS: MAINTENANCE_QUEUE,
    PROTECT: MAINTENANCE_QUEUE,
    TRAIN_EMBEDDER: TRAINING_QUEUE,
    LOCATE_JOB_ITEMS: JOBS_QUEUE,
    FINISH_JOBS: JOBS_QUEUE,
}
"""The queue of each task."""
