"""Uploads of folders and JSONL files as locate jobs; an interrupted upload can be continued."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pinpoint.cli.folder_uploads import find_uploads
from pinpoint.errors import BadRequestError, describe_cause
from pinpoint_client.calls import job_calls
from pinpoint_client.calls.call import Flow
from pinpoint_client.parameters import Id
from pinpoint_client.retry import RetryPolicy, send_call
from pinpoint_client.transport import Json
from pinpoint_client.uploads import Upload, split_into_requests

JobCallback = Callable[[Json], None] | None


def locate_as_job(
    source: Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    job_id: Id | None = None,
    on_progress: JobCallback = None,
) -> Flow[Json]:
    """Upload a folder, or a JSONL file with the photos that it names, as a job, and start it.

    Args:
        source: A folder, a photo, or a `.jsonl` file; `upload` names files below its folder.
        parameters: Those of `locate` for all items.
        job_id: A job whose upload was interrupted: only what it lacks is sent.
        on_progress: Called with the job after each request.

    Returns:
        The started job.

    Raises:
        BadRequestError: There is nothing to upload.
    """
    patience = RetryPolicy()
    is_jsonl = source.suffix.lower() in (".jsonl", ".ndjson")
    uploads = _list_named_files(source) if is_jsonl else _list_photos(source)
    if job_id is None:
        lines = source if is_jsonl else None
        # Not repeated: after a lost response, a second job would remain open.
        created: Json = yield job_calls.create(
            lines=lines, parameters=parameters, start=False
        ).as_json()
        job_id = str(created["job"]["id"])
        if on_progress is not None:
            on_progress(created["job"])
    else:
        sent = yield from _list_uploaded_names(job_id)
        uploads = [upload for upload in uploads if upload.name not in sent]
    for chunk in split_into_requests(uploads):
        files = {upload.name: upload.path for upload in chunk}
        call = job_calls.upload(job_id, files).as_json()
        uploaded = yield from patience.repeat(lambda call=call: send_call(call))  # type: ignore[misc]
        if on_progress is not None:
            on_progress(uploaded["job"])
    start = job_calls.start(job_id).as_json()
    job: Json = yield from patience.repeat(lambda: send_call(start))
    return job


def _list_uploaded_names(job_id: Id) -> Flow[set[str]]:
    names: set[str] = set()
    after: int | None = 0
    while after is not None:
        page: Json = yield job_calls.list_items(job_id, after=after, limit=1_000).as_json()
        names.update(item["file"] for item in page["items"] if item["is_uploaded"])
        after = page["next"]
    return names


def _list_photos(path: Path) -> list[Upload]:
    """Photos of a folder by their path below it.

    Raises:
        BadRequestError: There is no photo.
    """
    uploads = [
        upload for upload in find_uploads(path, only_rows=False) if isinstance(upload, Upload)
    ]
    if not uploads:
        raise BadRequestError(f"no files to upload in {path}", reason="no_files")
    return uploads


def _list_named_files(path: Path) -> Sequence[Upload]:
    """Files that the lines of a JSONL file name, below its folder; invalid lines are skipped.

    Raises:
        BadRequestError: The file cannot be read.
    """
    names: dict[str, None] = {}
    try:
        with path.open("rb") as file:
            for line in file:
                name = _read_upload_name(line)
                if name is not None:
                    names.setdefault(name)
    except OSError as error:
        raise BadRequestError(f"{path} cannot be read: {describe_cause(error)}") from error
    folder = path.parent.resolve()
    paths = {name: (folder / name).resolve() for name in names}
    return [
        Upload(name=name, path=target)
        for name, target in paths.items()
        if target.is_relative_to(folder) and target.is_file()
    ]


def _read_upload_name(line: bytes) -> str | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None  # the server reports the line
    name = value.get("upload") if isinstance(value, dict) else None
    return name if isinstance(name, str) and name else None
