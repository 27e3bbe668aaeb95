"""Uploads many photos as one locate job; an interrupted upload can be continued.

The functions are flows (`calls.call`): both clients run them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from pinpoint_client.calls import job_calls
from pinpoint_client.calls.call import ByteProgress, Flow, Json
from pinpoint_client.calls.photos import read_file
from pinpoint_client.errors import BadRequestError
from pinpoint_client.parameters import Id
from pinpoint_client.retry import RetryPolicy, send_call
from pinpoint_client.uploads import Upload, list_images, split_into_requests

if TYPE_CHECKING:
    from pinpoint_client.job_answers import Job

LIST_SUFFIXES: Final = (".jsonl", ".ndjson")

JobCallback = Callable[[Json], None] | None
"""Called with the JSON document of the job."""


def locate_as_job(
    photos: str | Path | Iterable[Upload],
    *,
    parameters: Mapping[str, Any] | None = None,
    job_id: Id | None = None,
    on_progress: Callable[[Job], None] | None = None,
    on_upload: ByteProgress | None = None,
) -> Flow[Job]:
    """Upload photos as a job, in requests within the server's limits, and start it.

    Args:
        photos: A folder, a photo, a JSONL file, or files with their names. Each line of a JSONL
            file has `custom_id`, `url` or `upload` (a file below the folder of the JSONL file), and
            `parameters`.
        parameters: Parameters of `locate` for all photos.
        job_id: A job whose upload was interrupted: only the files that it lacks are sent.
        on_progress: Called with the job after each request.
        on_upload: Called with the bytes of the current request that were sent.

    Returns:
        The started job; `jobs.wait` waits for its end.

    Raises:
        BadRequestError: There is nothing to upload.
    """
    from pinpoint_client.job_answers import Job

    lines: Path | None = None
    if isinstance(photos, str | Path):
        path = Path(photos)
        lines = path if is_list(path) else None
        uploads = list_named_files(path) if lines else _list_photos(path)
    else:
        uploads = list(photos)
    job = yield from upload_job(
        uploads,
        lines=lines,
        parameters=parameters,
        job_id=job_id,
        on_progress=None
        if on_progress is None
        else lambda document: on_progress(Job.model_validate(document)),
        on_upload=on_upload,
    )
    return Job.model_validate(job)


def upload_job(
    uploads: Sequence[Upload],
    *,
    lines: Path | None = None,
    parameters: Mapping[str, Any] | None = None,
    job_id: Id | None = None,
    on_progress: JobCallback = None,
    on_upload: ByteProgress | None = None,
) -> Flow[Json]:
    """Upload files as a job and start it; return its JSON document; see `locate_as_job`.

    Args:
        uploads: The files; their metadata is not sent.
        lines: JSONL file; without `uploads`, each of its lines has a URL.
        parameters: As in `locate_as_job`, also the arguments that follow.
        job_id: The interrupted job.
        on_progress: Called with the JSON document of the job after each request.
        on_upload: Called with the bytes that were sent.

    Raises:
        BadRequestError: There is nothing to upload.
    """
    if not uploads and lines is None:
        raise BadRequestError("no photos to upload", reason="no_files")
    patience = RetryPolicy()
    if job_id is None:
        create = job_calls.create(
            lines=lines, parameters=parameters, start=False, idempotency_key=str(uuid4())
        ).as_json()
        created = yield from patience.repeat(lambda: send_call(create))
        job_id = str(created["job"]["id"])
        if on_progress is not None:
            on_progress(created["job"])
    else:
        sent = yield from _list_uploaded_names(job_id)
        uploads = [upload for upload in uploads if upload.name not in sent]
    for chunk in split_into_requests(uploads):
        files = {upload.name: upload.path for upload in chunk}
        call = job_calls.upload(job_id, files, on_upload=on_upload).as_json()
        uploaded = yield from patience.repeat(lambda call=call: send_call(call))  # type: ignore[misc]
        if on_progress is not None:
            on_progress(uploaded["job"])
    start = job_calls.start(job_id).as_json()
    job: Json = yield from patience.repeat(lambda: send_call(start))
    return job


def is_list(path: Path) -> bool:
    """Whether a path names a JSONL file."""
    return path.suffix.lower() in LIST_SUFFIXES


def list_named_files(path: Path) -> list[Upload]:
    """List the files that the lines of a JSONL file name, below its folder.

    Invalid lines and missing files are omitted: the server reports them.

    Raises:
        BadRequestError: The JSONL file cannot be read.
    """
    names = dict.fromkeys(map(_read_upload_name, read_file(path).splitlines()))
    folder = path.parent.resolve()
    paths = {name: (folder / name).resolve() for name in names if name is not None}
    return [
        Upload(name=name, path=target)
        for name, target in paths.items()
        if target.is_relative_to(folder) and target.is_file()
    ]


def _list_photos(path: Path) -> list[Upload]:
    return [Upload(name=path.name, path=path)] if path.is_file() else list_images(path)


def _list_uploaded_names(job_id: Id) -> Flow[set[str]]:
    names: set[str] = set()
    after: int | None = 0
    while after is not None:
        page: Json = yield job_calls.list_items(job_id, after=after, limit=1_000).as_json()
        names.update(item["file"] for item in page["items"] if item["is_uploaded"])
        after = page["next"]
    return names


def _read_upload_name(line: bytes) -> str | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    name = value.get("upload") if isinstance(value, dict) else None
    return name if isinstance(name, str) and name else None
