"""Names of the tasks that entry points send and workers run; payloads are ids only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

TaskName = Literal[
    "ingest.items",
    "images.index",
    "images.erase",
    "maintenance.recover",
    "maintenance.reconcile",
    "maintenance.prune",
    "maintenance.protect",
    "training.embedder",
]

INGEST_ITEMS: Final[TaskName] = "ingest.items"
"""Decode, store, embed and index a chunk of batch items: `[item id, ...]`."""

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

PROTECT: Final[TaskName] = "maintenance.protect"
"""Apply changed protected areas to gallery rows."""

TRAIN_EMBEDDER: Final[TaskName] = "training.embedder"
"""Start or resume training runs: `[run id]`."""

TRAINING_QUEUE: Final = "training"
"""Queue of tasks that take hours; only workers that consume it (`-Q training`) get them."""

QUEUE_OF: Final[Mapping[TaskName, str]] = {TRAIN_EMBEDDER: TRAINING_QUEUE}
"""Tasks that are not sent to the default queue."""
