"""Tasks of locate jobs, on a queue and in a worker of their own.

A task claims the next items of the job that waited longest, locates them, and sends itself again
while any job has items. So jobs take turns, and a task that is lost or delivered twice is harmless:
all tasks do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

from pinpoint import logs, tasks
from pinpoint.api.v1.job_answers import locate_job_photo
from pinpoint.bootstrap import Services
from pinpoint.jobs import locate_items, recover_jobs
from pinpoint.ports import JobRepository
from pinpoint_workers.retries import retryable_task
from pinpoint_workers.runtime import is_alive, open_services, worker_name

_log = logs.get_logger(__name__)


@retryable_task
def locate_job_items(ids: list[UUID]) -> None:
    """Locate the next items of the job whose turn it is."""
    worker = open_services()
    worker.ensure_index()
    components = make_components(worker)
    repository, blobs = components.repository, components.blobs
    job_id = repository.find_next_job()
    if job_id is None:
        locate_items.finish_jobs(ids, repository, blobs)
        return
    locate_items.locate_job_items(job_id, worker_name(), components)
    locate_items.finish_jobs([job_id], repository, blobs)
    worker.tasks.send(tasks.LOCATE_JOB_ITEMS, [job_id])


@retryable_task
def finish_jobs(ids: list[UUID]) -> None:
    """Delete the photos of ended items, and end jobs without open items."""
    worker = open_services()
    locate_items.finish_jobs(ids, get_repository(worker), worker.blobs)


def make_components(services: Services) -> locate_items.JobComponents:
    """Components of the flow of jobs."""
    return locate_items.JobComponents(
        repository=get_repository(services),
        blobs=services.blobs,
        locate=partial(locate_job_photo, services),
        url_fetcher=services.url_fetcher,
        max_bytes=services.settings.media.max_bytes,
    )


def get_repository(services: Services) -> JobRepository:
    """The jobs of all organizations.

    Raises:
        RuntimeError: The services are those of the API.
    """
    if services.job_repository is None:
        raise RuntimeError("a worker has the owner's role")
    return services.job_repository


def start_worker() -> None:
    """Release the leases of workers that were killed; weights are loaded by the first job."""
    released = recover_jobs.release_lost_items(get_repository(open_services()), is_alive)
    _log.info("jobs worker ready", worker=worker_name(), released=released)


def stop_worker() -> None:
    """Release this worker's leases."""
    get_repository(open_services()).release_worker(worker_name())


TASKS: Final[dict[str, Callable[[list[str]], None]]] = {
    tasks.LOCATE_JOB_ITEMS: locate_job_items,
    tasks.FINISH_JOBS: finish_jobs,
}
