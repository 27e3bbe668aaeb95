"""Which jobs a caller may see: results are as exact as the key permits that created the job."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path

from pinpoint.api.dependencies import AppServices, LocateCaller
from pinpoint.api.v1.query_requests import find_restriction
from pinpoint.bootstrap import Services
from pinpoint.errors import NotFoundError
from pinpoint.records import Caller

JobId = Annotated[
    UUID,
    Path(description="Id of the job.", examples=["3f1f3d1e-5f0a-4a53-9a8a-6c7c7e1f0c55"]),
]


def sees_own_jobs_only(caller: Caller, services: Services) -> bool:
    """Whether a key may not see answers that another key, with other rights, may have got."""
    return find_restriction(caller, services) is not None


def find_visible_job(job_id: JobId, caller: LocateCaller, services: AppServices) -> UUID:
    """Check that the caller may see a job; its results are as exact as its key permits.

    Raises:
        NotFoundError: The organization has no such job, or a key with more rights created it.
    """
    job = services.jobs.job(caller.organization_id, job_id)
    if sees_own_jobs_only(caller, services) and job.key_id != caller.key_id:
        raise NotFoundError(f"no job {job_id}")
    return job_id


VisibleJobId = Annotated[UUID, Depends(find_visible_job)]
