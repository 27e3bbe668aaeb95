"""Locate jobs: one method for each route, and a resumable upload of folders and JSONL files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pinpoint.atomic_files import open_atomic
from pinpoint.client.folders import Upload, find_uploads, split_into_requests
from pinpoint.client.queries import Id
from pinpoint.client.retry import RetryPolicy
from pinpoint.client.transport import HttpTransport, Json, to_path_segment
from pinpoint.errors import BadRequestError, ConflictError, describe_cause

ENDED_STATES: Final = ("completed", "failed", "expired", "canceled")
_MIN_POLL_S: Final = 0.2
_MAX_POLL_S: Final = 5.0
_DOWNLOAD_TIMEOUT_S: Final = 600.0
_NDJSON: Final = "application/x-ndjson"
_PARQUET: Final = "application/vnd.apache.parquet"

JobCallback = Callable[[Json], None] | None


class Jobs:
    """Part of the client: the routes of locate jobs."""

    _transport: HttpTransport

    def create_job(
        self,
        files: Mapping[str, Path | bytes] | None = None,
        *,
        lines: bytes | None = None,
        parameters: Mapping[str, Any] | None = None,
        start: bool = True,
    ) -> Json:
        """Create a job in one request: `{"job": …, "uploads": [{"file", "status"}]}`.

        Args:
            files: Name → path or bytes of each photo.
            lines: JSONL; each line has `custom_id`, `url` or `upload`, and `parameters`.
            parameters: Those of `locate` as JSON values, for all items.
            start: Whether the job is complete.
        """
        parts = _to_parts(files or {})
        if lines is not None:
            parts.append(("lines", ("lines.jsonl", lines)))
        form = {"start": "true" if start else "false"}
        if parameters:
            form["parameters"] = json.dumps(parameters)
        created: Json = self._transport.call("POST", "/v1/jobs/locate", form=form, files=parts)
        return created

    def upload_job_files(self, job_id: Id, files: Mapping[str, Path | bytes]) -> Json:
        """Upload photos to a job that has not started; a repeated name changes nothing."""
        uploaded: Json = self._transport.call(
            "POST", f"{_path_of(job_id)}/files", files=_to_parts(files)
        )
        return uploaded

    def start_job(self, job_id: Id) -> Json:
        """Start a job; a second call changes nothing."""
        job: Json = self._transport.call("POST", f"{_path_of(job_id)}/start")
        return job

    def jobs(self, *, limit: int = 50, cursor: str | None = None) -> Json:
        """List a page of jobs, newest first: `{"jobs": [...], "next": …}`."""
        query = {"limit": limit, "cursor": cursor}
        page: Json = self._transport.call("GET", "/v1/jobs", query=query)
        return page

    def job(self, job_id: Id) -> Json:
        """Return state and counts of a job."""
        job: Json = self._transport.call("GET", _path_of(job_id))
        return job

    def job_items(
        self, job_id: Id, *, state: str | None = None, after: int = 0, limit: int = 200
    ) -> Json:
        """List a page of a job's items: `{"items": [...], "next": position | None}`."""
        query = {"state": state, "after": after, "limit": limit}
        page: Json = self._transport.call("GET", f"{_path_of(job_id)}/items", query=query)
        return page

    def job_results(self, job_id: Id, *, errors: bool = False) -> Iterator[Json]:
        """Iterate over the results of a job so far, or over its errors, in order."""
        kind = "errors" if errors else "results"
        with self._transport.stream(
            f"{_path_of(job_id)}/{kind}", query={}, timeout_s=_DOWNLOAD_TIMEOUT_S
        ) as response:
            for line in response.iter_lines():
                yield json.loads(line)

    def save_job_results(self, job_id: Id, path: str | Path) -> int:
        """Save the results of a job so far; returns the number of bytes.

        Args:
            job_id: The job.
            path: The file, replaced only when it is complete: GeoParquet if its name ends with
                `.parquet`, otherwise NDJSON.
        """
        target, num_bytes = Path(path), 0
        try:
            with (
                open_atomic(target, durable=True) as file,
                self._transport.stream(
                    f"{_path_of(job_id)}/results",
                    query={},
                    timeout_s=_DOWNLOAD_TIMEOUT_S,
                    accept=_PARQUET if target.suffix == ".parquet" else _NDJSON,
                ) as response,
            ):
                for part in response.iter_raw():
                    file.write(part)
                    num_bytes += len(part)
        except OSError as error:
            raise BadRequestError(
                f"{target} cannot be written: {describe_cause(error)}", reason="unwritable"
            ) from error
        return num_bytes

    def cancel_job(self, job_id: Id) -> Json:
        """Cancel a job; its results so far are kept."""
        job: Json = self._transport.call("POST", f"{_path_of(job_id)}/cancel")
        return job

    def delete_job(self, job_id: Id) -> None:
        """Delete a job with its results."""
        self._transport.call("DELETE", _path_of(job_id))

    def wait_for_job(self, job_id: Id, on_progress: JobCallback = None) -> Json:
        """Poll with increasing intervals until a job ends.

        Raises:
            ConflictError: The job has not started.
        """
        patience, pause_s = RetryPolicy(), _MIN_POLL_S
        while True:
            job = patience.call(lambda: self.job(job_id))
            if on_progress is not None:
                on_progress(job)
            if job["state"] in ENDED_STATES:
                return job
            if job["state"] == "validating":
                raise ConflictError("the job has not started; it still accepts files")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _MAX_POLL_S)

    def locate_as_job(
        self,
        path: str | Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        job_id: Id | None = None,
        on_progress: JobCallback = None,
    ) -> Json:
        """Upload a folder, or a JSONL file with the photos that it names, as a job, and start it.

        Args:
            path: A folder, a photo, or a `.jsonl` file; `upload` names files below its folder.
            parameters: Those of `locate` for all items.
            job_id: A job whose upload was interrupted: only what it lacks is sent.
            on_progress: Called with the job after each request.

        Returns:
            The started job.

        Raises:
            BadRequestError: There is nothing to upload.
        """
        source, patience = Path(path), RetryPolicy()
        is_jsonl = source.suffix.lower() in (".jsonl", ".ndjson")
        uploads = _list_named_files(source) if is_jsonl else _list_photos(source)
        if job_id is None:
            lines = source.read_bytes() if is_jsonl else None
            # Not repeated: after a lost response, a second job would remain open.
            created = self.create_job(lines=lines, parameters=parameters, start=False)
            job_id = created["job"]["id"]
            if on_progress is not None:
                on_progress(created["job"])
        else:
            sent = set(self._iterate_uploaded_names(job_id))
            uploads = [upload for upload in uploads if upload.name not in sent]
        for chunk in split_into_requests(uploads):
            files: dict[str, Path | bytes] = {upload.name: upload.path for upload in chunk}
            uploaded = patience.call(lambda files=files: self.upload_job_files(job_id, files))  # type: ignore[misc]
            if on_progress is not None:
                on_progress(uploaded["job"])
        return patience.call(lambda: self.start_job(job_id))

    def _iterate_uploaded_names(self, job_id: Id) -> Iterator[str]:
        after: int | None = 0
        while after is not None:
            page = self.job_items(job_id, after=after, limit=1_000)
            yield from (item["file"] for item in page["items"] if item["is_uploaded"])
            after = page["next"]


def _path_of(job_id: Id) -> str:
    return f"/v1/jobs/{to_path_segment(job_id)}"


def _to_parts(files: Mapping[str, Path | bytes]) -> list[tuple[str, tuple[str, Any]]]:
    return [
        ("files", (name, item if isinstance(item, bytes) else item.read_bytes()))
        for name, item in files.items()
    ]


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
