"""Names of the jobs that doors send and workers run; payloads are ids only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

JobName = Literal[
    "ingest.items",
    "images.index",
    "images.erase",
    "upkeep.sweep",
    "upkeep.reconcile",
    "upkeep.prune",
    "training.embedder",
]

INGEST_ITEMS: Final[JobName] = "ingest.items"
"""Read, store, embed and index a chunk of batch items: `[item id, ...]`."""

INDEX_IMAGES: Final[JobName] = "images.index"
"""Carry changed rows (new position, new version) to the index: `[image id, ...]`."""

ERASE_IMAGES: Final[JobName] = "images.erase"
"""Carry tombstones to the index and the blob store, then remove the rows: `[image id, ...]`."""

SWEEP: Final[JobName] = "upkeep.sweep"
"""Send again what a crash left behind: expired leases, unsent items, unindexed rows, tombstones."""

RECONCILE: Final[JobName] = "upkeep.reconcile"
"""Compare PostgreSQL with the index, report the drift and mend it."""

PRUNE: Final[JobName] = "upkeep.prune"
"""Remove blobs without a row, old audit rows, and what is left of erased organisations."""

TRAIN_EMBEDDER: Final[JobName] = "training.embedder"
"""Train, or go on with it: `[run id]`."""

LEARNING: Final = "learning"
"""Queue of jobs that take hours: only workers that listen to it (`-Q learning`) get them."""

QUEUE_OF: Final[Mapping[JobName, str]] = {TRAIN_EMBEDDER: LEARNING}
"""Jobs that do not go to the queue of all others."""
