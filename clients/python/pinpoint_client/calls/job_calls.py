"""Calls and flows of locate jobs: many photos, located in the background."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from pinpoint_client import answers
from pinpoint_client.calls.call import (
    ByteProgress,
    Call,
    FilePart,
    Flow,
    Json,
    Page,
    Pause,
    list_call,
    read_json,
    read_model,
    read_nothing,
)
from pinpoint_client.calls.photos import Photo, read_file
from pinpoint_client.errors import ConflictError, UnavailableError
from pinpoint_client.parameters import Id, to_form, to_json, to_path_segment
from pinpoint_client.retry import UPLOAD_PAUSES_S, send_repeatedly

if TYPE_CHECKING:
    from pinpoint_client.job_answers import Job, JobResult

_NDJSON: Final = "application/x-ndjson"
_PARQUET: Final = "application/vnd.apache.parquet"
_MIN_POLL_S: Final = 0.2
_MAX_POLL_S: Final = 5.0


def create(
    files: Mapping[str, Photo] | None = None,
    *,
    lines: Path | list[Mapping[str, Any]] | None = None,
    parameters: Mapping[str, Any] | None = None,
    start: bool = True,
    idempotency_key: str | None = None,
    on_upload: ByteProgress | None = None,
) -> Call[Job]:
    """Create a job that locates many photos.

    Args:
        files: Name → path or bytes of a photo.
        lines: JSONL file, or its lines, each with `custom_id`, `url` or `upload` (the name of a
            file), and `parameters`.
        parameters: Parameters of `locate` for all items.
        start: Whether the job is complete; with False, upload more files, then start it.
        idempotency_key: With a key, the call is repeated after a lost answer.
        on_upload: Called with the bytes sent so far.
    """
    parts = _file_parts(files or {})
    if lines is not None:
        parts.insert(0, ("lines", ("lines.jsonl", _read_lines(lines))))
    form = {"start": "true" if start else "false"}
    if parameters:
        form["parameters"] = json.dumps(_to_parameters(parameters))
    return Call(
        method="POST",
        path="/v1/jobs/locate",
        read=_read_uploads,
        form=form,
        files=parts or None,
        idempotency_key=idempotency_key,
        is_repeatable=idempotency_key is not None,
        on_upload=on_upload,
    )


def upload(
    job_id: Id, files: Mapping[str, Photo], *, on_upload: ByteProgress | None = None
) -> Call[Job]:
    """Add photos to a job that has not started; a repeated name changes nothing."""
    return Call(
        method="POST",
        path=f"/v1/jobs/{to_path_segment(job_id)}/files",
        read=_read_uploads,
        files=_file_parts(files),
        is_repeatable=True,
        on_upload=on_upload,
    )


def start(job_id: Id) -> Call[Job]:
    """Start a job: it accepts no more files. Repeating it changes nothing."""
    path = _job_path(job_id, "/start")
    return Call(method="POST", path=path, read=read_model(_load_job), is_repeatable=True)


def get(job_id: Id) -> Call[Job]:
    """Return the state and the counts of a job."""
    return Call(
        method="GET", path=_job_path(job_id), read=read_model(_load_job), is_repeatable=True
    )


def list_jobs(*, limit: int = 50, cursor: str | None = None) -> Call[Page[Job]]:
    """List jobs, newest first.

    Args:
        limit: Maximum number of jobs of a page.
        cursor: Value of `cursor` in the link `next` of the previous page.
    """
    return list_call("/v1/jobs", _load_job, "jobs", {"limit": limit, "cursor": cursor})


def list_items(
    job_id: Id, *, state: str | None = None, after: int = 0, limit: int = 200
) -> Call[Page[answers.JobItem]]:
    """List the items of a job in order.

    Args:
        job_id: The job.
        state: Only items of this state.
        after: Position of the last item of the previous page.
        limit: Maximum number of items of a page.
    """
    query = {"state": state, "after": after, "limit": limit}
    path = _job_path(job_id, "/items")
    return list_call(path, lambda: answers.JobItem, "items", query, cursor="after")


def cancel(job_id: Id) -> Call[Job]:
    """Cancel the items that no worker has started; results so far are kept."""
    return Call(method="POST", path=_job_path(job_id, "/cancel"), read=read_model(_load_job))


def delete(job_id: Id) -> Call[None]:
    """Delete a job with its results."""
    return Call(method="DELETE", path=_job_path(job_id), read=read_nothing)


def wait(
    job_id: Id,
    *,
    timeout_s: float | None = None,
    on_progress: Callable[[Job], None] | None = None,
) -> Flow[Job]:
    """Wait until a job has ended.

    Args:
        job_id: The job.
        timeout_s: Maximum wait; None for no limit.
        on_progress: Called with each state of the job.

    Raises:
        ConflictError: The job has not started.
        UnavailableError: The job has not ended in time (`timeout`).
    """
    job = yield from poll(
        job_id,
        timeout_s=timeout_s,
        on_progress=None
        if on_progress is None
        else lambda document: on_progress(_load_job().model_validate(document)),
    )
    return _load_job().model_validate(job)


def poll(
    job_id: Id,
    *,
    timeout_s: float | None = None,
    on_progress: Callable[[Json], None] | None = None,
) -> Flow[Json]:
    """Wait until a job has ended, as `wait` does; return its JSON document."""
    from pinpoint_client.job_answers import ENDED_STATES

    call = get(job_id).as_json()
    end_s = None if timeout_s is None else time.monotonic() + timeout_s
    pause_s = _MIN_POLL_S
    while True:
        job: Json = yield from send_repeatedly(call, UPLOAD_PAUSES_S)
        if on_progress is not None:
            on_progress(job)
        if job["state"] in ENDED_STATES:
            return job
        if job["state"] == "validating":
            raise ConflictError("the job has not started; it still accepts files")
        if end_s is not None and time.monotonic() + pause_s > end_s:
            raise UnavailableError(
                f"job {job_id} has not ended after {timeout_s:g} s; it continues", reason="timeout"
            )
        yield Pause(pause_s)
        pause_s = min(pause_s * 1.5, _MAX_POLL_S)


def results_path(job_id: Id) -> str:
    """Path of the result file of a job."""
    return _job_path(job_id, "/results")


def choose_results_type(suffix: str) -> str:
    """Media type of a result file with this ending."""
    return _PARQUET if suffix == "parquet" else _NDJSON


def errors_path(job_id: Id) -> str:
    """Path of the error file of a job."""
    return _job_path(job_id, "/errors")


def read_result(line: str) -> JobResult:
    """Read one line of the result file or the error file."""
    from pinpoint_client.job_answers import JobResult

    return JobResult.model_validate_json(line)


# Imported when they are used, so that `import pinpoint_client` stays fast.
def _load_job() -> type[Job]:
    from pinpoint_client.job_answers import Job

    return Job


def _read_uploads(response: httpx.Response) -> Job:
    return _load_job().model_validate(read_json(response)["job"])


def _job_path(job_id: Id, rest: str = "") -> str:
    return f"/v1/jobs/{to_path_segment(job_id)}{rest}"


def _file_parts(files: Mapping[str, Photo]) -> list[FilePart]:
    return [
        ("files", (name, photo if isinstance(photo, bytes) else read_file(Path(photo))))
        for name, photo in files.items()
    ]


def _read_lines(lines: Path | list[Mapping[str, Any]]) -> bytes:
    if isinstance(lines, Path):
        return read_file(lines)
    return "".join(json.dumps(to_json(line)) + "\n" for line in lines).encode()


def _to_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as JSON; areas, crops and times in the form of `locate`."""
    texts = to_form({name: parameters[name] for name in _TEXT_PARAMETERS if name in parameters})
    return {**to_json(dict(parameters)), **texts}


_TEXT_PARAMETERS: Final = ("bbox", "datetime", "crop")
