"""Recovery of locate jobs: expiry, leases of lost workers, and tasks that were lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pinpoint import tasks
from pinpoint.ports import JobRepository, TaskQueue

_MAX_JOBS: Final = 1_000


def release_lost_items(repository: JobRepository, is_alive: Callable[[str], bool]) -> int:
    """Release the leases of workers that no longer run; returns the number of items."""
    return sum(
        repository.release_worker(worker)
        for worker in repository.active_workers()
        if not is_alive(worker)
    )


def recover_jobs(
    repository: JobRepository, queue: TaskQueue, is_alive: Callable[[str], bool]
) -> int:
    """Expire old jobs, release leases of lost workers, and send lost tasks again.

    While the queue of jobs has tasks, nothing is sent: each of them works on the job whose turn it
    is.

    Args:
        repository: The jobs.
        queue: Queue for lost tasks.
        is_alive: Whether the worker of a lease still runs; True if that is unknown.

    Returns:
        Number of jobs whose task was sent again.
    """
    release_lost_items(repository, is_alive)
    repository.expire_jobs()
    if queue.waiting((tasks.JOBS_QUEUE,)):
        return 0
    next_job = repository.find_next_job()
    if next_job is not None:
        queue.send(tasks.LOCATE_JOB_ITEMS, [next_job])
    endable = repository.list_endable_jobs(_MAX_JOBS)
    for job_id in endable:
        queue.send(tasks.FINISH_JOBS, [job_id])
    return len(endable) + (next_job is not None)
