"""Tasks of the ingest flow; payloads are ids only, and each task can run twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from pinpoint import tasks
from pinpoint.ingest import pipeline
from pinpoint.ingest.chunk_report import ChunkReport
from pinpoint.ingest.register_urls import add_bucket_pages
from pinpoint_workers.retries import retryable_task
from pinpoint_workers.runtime import open_services, save_stats, worker_name


@retryable_task
def ingest_items(ids: list[UUID]) -> None:
    """Decode, store, embed and index a chunk of batch items."""
    worker = open_services()
    worker.ensure_index()
    chunk_report = ChunkReport()
    try:
        worker.with_current_encoder(
            lambda _: pipeline.ingest_items(
                ids, worker_name(), worker.ingest_components(), chunk_report
            )
        )
    finally:
        save_stats(chunk_report.sums())


@retryable_task
def list_bucket(ids: list[UUID]) -> None:
    """Add pages of buckets to their batches."""
    worker = open_services()
    for listing_id in ids:
        listing = worker.listings.start(listing_id)
        if listing is not None:
            add_bucket_pages(listing, worker.listings, worker.remote_files)


@retryable_task
def index_images(ids: list[UUID]) -> None:
    """Write changed rows to the index."""
    worker = open_services()
    worker.ensure_index()
    worker.with_current_encoder(lambda _: pipeline.index_images(ids, worker.ingest_components()))


@retryable_task
def erase_images(ids: list[UUID]) -> None:
    """Apply tombstones to the index and the blob store, then delete the rows."""
    pipeline.erase_images(ids, open_services().ingest_components())


TASKS: Final[dict[str, Callable[[list[str]], None]]] = {
    tasks.INGEST_ITEMS: ingest_items,
    tasks.LIST_BUCKET: list_bucket,
    tasks.INDEX_IMAGES: index_images,
    tasks.ERASE_IMAGES: erase_images,
}
