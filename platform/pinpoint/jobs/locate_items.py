"""Locates the items of a job, one photo at a time.

Photos are encoded alone, as queries are: the same photo gets the same answer alone and in a job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from pinpoint import fault_isolation, logs
from pinpoint.errors import InvalidRequestError, PinpointError, UnavailableError
from pinpoint.ports import BlobStore, JobRepository, UrlFetcher
from pinpoint.records.jobs import ClaimedJobItem, LocatedPhoto

URL_INPUTS_DISABLED: Final = "url_inputs_disabled"
"""Error code of items with a URL while no fetcher is configured."""
_PHOTOS_PER_STATEMENT: Final = 500
_RELEASE_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses between attempts to release items; an unreleased lease blocks them for minutes."""

_log = logs.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobComponents:
    """Components of the flow of locate jobs."""

    repository: JobRepository
    blobs: BlobStore
    locate: Callable[[ClaimedJobItem, bytes], LocatedPhoto]
    """Locates the photo of an item, as `POST /v1/locate` does."""
    url_fetcher: UrlFetcher | None
    """None: items with a URL are refused."""
    max_bytes: int
    """Maximum size of a photo behind a URL, bytes."""


def locate_job_items(job_id: UUID, worker: str, components: JobComponents) -> int:
    """Locate the next items of a job; returns the number of claimed items.

    An error that is not an outage affects only its item: one that the photo or its parameters
    cause ends the item; after any other one the item is repeated alone until its attempts are
    exhausted.

    Args:
        job_id: The job.
        worker: Name of the worker on the leases.
        components: Components of the flow.

    Raises:
        UnavailableError: A component does not respond; the items are released, and the attempt is
            not counted. Likewise for all of `fault_isolation.OUTAGES`.
    """
    repository = components.repository
    items = repository.claim(job_id, worker)
    ids = [item.id for item in items]
    with logs.bind_context(job_id=str(job_id)), repository.lease_heartbeat(ids, worker):
        try:
            for item in items:
                _locate_item(item, worker, components)
        except Exception as error:
            if fault_isolation.is_outage(error):
                _release_items(ids, worker, repository)
            raise
        if items:
            _log.info("located", items=len(items))
    delete_photos([job_id], components.repository, components.blobs)
    return len(items)


def delete_photos(job_ids: Sequence[UUID], repository: JobRepository, blobs: BlobStore) -> int:
    """Delete the photos of ended items; returns their number."""
    num_deleted = 0
    while uris := repository.list_deletable_photos(job_ids, _PHOTOS_PER_STATEMENT):
        for uri in uris:
            blobs.delete(uri)
        repository.forget_photos(uris)
        num_deleted += len(uris)
    return num_deleted


def finish_jobs(job_ids: Sequence[UUID], repository: JobRepository, blobs: BlobStore) -> int:
    """End jobs that have no open item: delete their photos, then set their final state.

    Returns:
        Number of jobs that ended.
    """
    repository.start_finalizing(job_ids)
    delete_photos(job_ids, repository, blobs)
    events = repository.end_jobs(job_ids)
    for event in events:
        _log.info("job ended", job_id=str(event.job_id), state=event.state)
    return len(events)


def _locate_item(item: ClaimedJobItem, worker: str, components: JobComponents) -> None:
    repository = components.repository
    try:
        located = components.locate(item, _read_photo(item, components))
    except PinpointError as error:
        if fault_isolation.is_outage(error):
            raise
        repository.fail_item(item.id, worker, error.reason, error.message)
    except Exception:
        _log.exception("item failed", item=str(item.id), attempt=item.attempts)
        repository.release_after_error(
            item.id, worker, "an internal error; the log of the workers contains it"
        )
    else:
        repository.complete_item(item, worker, located)


def _read_photo(item: ClaimedJobItem, components: JobComponents) -> bytes:
    if item.uri is not None:
        return components.blobs.get(item.uri)
    if item.url is None or components.url_fetcher is None:
        raise InvalidRequestError("URL inputs are not enabled", reason=URL_INPUTS_DISABLED)
    return components.url_fetcher.fetch_bytes(item.url, components.max_bytes)


def _release_items(ids: Sequence[UUID], worker: str, repository: JobRepository) -> None:
    """Release items; if the database does not respond, wait for it, as there is no other work."""
    for pause_s in _RELEASE_PAUSES_S:
        try:
            repository.release_unprocessed(ids, worker)
            return
        except UnavailableError as error:
            _log.warning("items not released yet", reason=error.reason, detail=error.message)
            time.sleep(pause_s)
    repository.release_unprocessed(ids, worker)
