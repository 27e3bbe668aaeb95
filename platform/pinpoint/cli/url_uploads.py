"""Uploads of URLs, buckets and lists of URLs: workers of the server download the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from pinpoint.errors import BadManifestError, BadRequestError
from pinpoint.iteration import batched
from pinpoint_client.calls import batch_calls
from pinpoint_client.calls.call import Flow
from pinpoint_client.parameters import Id
from pinpoint_client.retry import RetryPolicy, send_call
from pinpoint_client.transport import Json
from pinpoint_client.uploads import BatchCallback, wait_until_processed

LIST_SUFFIXES: Final = (".jsonl", ".ndjson")
"""Suffixes of lists of URLs."""
_OBJECT_SCHEMES: Final = ("s3://", "gs://")
_WEB_SCHEMES: Final = ("http://", "https://")
_PHOTO_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".heic", ".heif", ".avif", ".webp", ".png", ".tif", ".tiff"}
)
_URLS_PER_REQUEST: Final = 500


def is_remote(target: str) -> bool:
    """Whether an argument names files that are not on this machine: a URL or a list of URLs."""
    lowered = target.lower()
    return lowered.startswith((*_WEB_SCHEMES, *_OBJECT_SCHEMES)) or lowered.endswith(LIST_SUFFIXES)


def is_prefix(url: str) -> bool:
    """Whether the URL of a store names a bucket or prefix, not a photo."""
    is_object = url.startswith(_OBJECT_SCHEMES)
    return is_object and Path(url).suffix.lower() not in _PHOTO_SUFFIXES


def ingest_urls(
    target: str, *, source: Id, wait: bool = True, on_progress: BatchCallback = None
) -> Flow[Json]:
    """Ingest a URL, an object, a prefix or a list of URLs as one batch.

    Args:
        target: `https://…`, `s3://bucket/key`, `s3://bucket/prefix/`, or the path of a list with
            one JSON object per line: `url`, `external_id` and metadata (`lat`, `lon`, …).
        source: Name or id of an existing source.
        wait: Whether to wait until every file is processed.
        on_progress: Called with the batch.

    Raises:
        BadRequestError: The list is empty.
        BadManifestError: A line of the list is not a JSON object.
    """
    is_list = not target.lower().startswith((*_WEB_SCHEMES, *_OBJECT_SCHEMES))
    rows = _read_list(Path(target)) if is_list else [{"url": target}]
    batch: Json = yield batch_calls.open_batch(source).as_json()
    batch_id, patience = batch["id"], RetryPolicy()
    if is_prefix(target) and not is_list:
        prefix = batch_calls.add_prefix(batch_id, target).as_json()
        yield from patience.repeat(lambda: send_call(prefix))
    else:
        for page in batched(rows, _URLS_PER_REQUEST):
            call = batch_calls.add_urls(batch_id, page).as_json()
            added = yield from patience.repeat(lambda call=call: send_call(call))  # type: ignore[misc]
            if on_progress is not None:
                on_progress(added["batch"])
    close = batch_calls.close_batch(batch_id).as_json()
    batch = yield from patience.repeat(lambda: send_call(close))
    if wait:
        batch = yield from wait_until_processed(batch, on_progress, patience)
    return {**batch, "manifest": None, "not_sent": [], "repeated": patience.repeated}


def _read_list(path: Path) -> list[Json]:
    rows = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise BadManifestError(f"{path.name}: line {number} is not JSON") from error
            if not isinstance(row, dict) or "url" not in row:
                raise BadManifestError(f"{path.name}: line {number} is no object with `url`")
            rows.append(row)
    if not rows:
        raise BadRequestError(f"{path.name} names no URL", reason="no_files")
    return rows
