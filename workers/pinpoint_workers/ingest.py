"""Jobs of the ingest flow; payloads are ids only, and each job can run twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from pinpoint import jobs
from pinpoint.ingest import pipeline
from pinpoint.ingest.tally import Tally
from pinpoint_workers.retries import job
from pinpoint_workers.runtime import keep_sums, name, services


@job
def ingest_items(ids: list[UUID]) -> None:
    """Decode, store, embed and index a chunk of batch items."""
    worker = services()
    worker.ensure_index()
    tally = Tally()
    try:
        worker.with_live(lambda _: pipeline.ingest_items(ids, name(), worker.ingest_parts(), tally))
    finally:
        keep_sums(tally.sums())


@job
def index_images(ids: list[UUID]) -> None:
    """Write changed rows to the index."""
    worker = services()
    worker.ensure_index()
    worker.with_live(lambda _: pipeline.index_images(ids, worker.ingest_parts()))


@job
def erase_images(ids: list[UUID]) -> None:
    """Apply tombstones to the index and the blob store, then delete the rows."""
    pipeline.erase_images(ids, services().ingest_parts())


TASKS: Final[dict[str, Callable[[list[str]], None]]] = {
    jobs.INGEST_ITEMS: ingest_items,
    jobs.INDEX_IMAGES: index_images,
    jobs.ERASE_IMAGES: erase_images,
}
