"""Batches of files that workers of the server fetch: URLs, lists of URLs, buckets and prefixes.

The functions are flows (`calls.call`): both clients run them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pinpoint_client import answers
from pinpoint_client.calls import batch_calls
from pinpoint_client.calls.call import Call, Flow, Json
from pinpoint_client.calls.photos import read_file
from pinpoint_client.errors import BadManifestError, BadRequestError, NotFoundError
from pinpoint_client.parameters import Id
from pinpoint_client.retry import RetryPolicy, send_call
from pinpoint_client.uploads import (
    BatchCallback,
    make_batch_callback,
    open_batch,
    wait_until_processed,
)

if TYPE_CHECKING:
    from pinpoint_client.ingest_answers import IngestedBatch

URLS_PER_REQUEST: Final = 500

UrlRow = str | Mapping[str, Any]
"""A URL, or an object with `url`, `external_id` and metadata (`lat`, `lon`, `captured_at`, …)."""


def ingest_urls(
    urls: UrlRow | Path | Iterable[UrlRow],
    *,
    source: Id,
    wait: bool = False,
    on_progress: Callable[[answers.Batch], None] | None = None,
) -> Flow[IngestedBatch]:
    """Ingest files at URLs as one batch; workers of the server download them.

    Args:
        urls: One or several URLs (`https://`, `s3://bucket/key`, `gs://bucket/key`), objects with
            `url`, `external_id` and metadata (`lat`, `lon`, …), or the path of a JSONL file with
            such an object in each line.
        source: Name or id of the source.
        wait: Return only when each file has a final status.
        on_progress: Called with the batch after each request.

    Raises:
        BadRequestError: There is no URL.
        BadManifestError: A line of the file is not an object with `url`.
    """
    flow = upload_urls(urls, source, wait=wait, on_progress=make_batch_callback(on_progress))
    return _as_ingested_batch(flow)


def ingest_prefix(
    url: str,
    *,
    source: Id,
    wait: bool = False,
    on_progress: Callable[[answers.Batch], None] | None = None,
) -> Flow[IngestedBatch]:
    """Ingest all images of a bucket or prefix as one batch; a worker lists and downloads them.

    Args:
        url: `s3://bucket/prefix/` or `gs://bucket/prefix/`.
        source: Name or id of the source.
        wait: Return only when each file has a final status.
        on_progress: Called with the batch after each request.
    """
    flow = upload_prefix(url, source, wait=wait, on_progress=make_batch_callback(on_progress))
    return _as_ingested_batch(flow)


def upload_urls(
    urls: UrlRow | Path | Iterable[UrlRow],
    source: Id,
    *,
    wait: bool = False,
    on_progress: BatchCallback = None,
) -> Flow[Json]:
    """Ingest files at URLs, as `ingest_urls` does; return the JSON document of the batch."""
    rows = _list_rows(urls)
    if not rows:
        raise BadRequestError("there is no URL to ingest", reason="no_files")
    patience = RetryPolicy()
    batch = yield from open_batch(source, patience)
    for chunk in _split_rows(rows):
        added = yield from _send_or_close(batch_calls.add_urls(batch["id"], chunk), batch, patience)
        if on_progress is not None:
            on_progress(added["batch"])
    return (yield from _close_batch(batch["id"], patience, wait, on_progress))


def upload_prefix(
    url: str, source: Id, *, wait: bool = False, on_progress: BatchCallback = None
) -> Flow[Json]:
    """Ingest a bucket or prefix, as `ingest_prefix` does; return the JSON document of the batch."""
    patience = RetryPolicy()
    batch = yield from open_batch(source, patience)
    yield from _send_or_close(batch_calls.add_prefix(batch["id"], url), batch, patience)
    return (yield from _close_batch(batch["id"], patience, wait, on_progress))


def _send_or_close(call: Call[Any], batch: Json, patience: RetryPolicy) -> Flow[Json]:
    """Send a call; if the server refuses it, close the batch, which would stay open otherwise."""
    try:
        answer: Json = yield from patience.repeat(lambda: send_call(call.as_json()))
    except (BadRequestError, NotFoundError):
        yield batch_calls.close_batch(batch["id"])
        raise
    return answer


def _close_batch(
    batch_id: Id, patience: RetryPolicy, wait: bool, on_progress: BatchCallback
) -> Flow[Json]:
    close = batch_calls.close_batch(batch_id).as_json()
    batch: Json = yield from patience.repeat(lambda: send_call(close))
    if wait:
        batch = yield from wait_until_processed(batch, on_progress, patience)
    return {**batch, "not_sent": [], "repeated": patience.repeated}


def _as_ingested_batch(flow: Flow[Json]) -> Flow[IngestedBatch]:
    batch = yield from flow
    # Imported here so that `import pinpoint_client` stays fast.
    from pinpoint_client.ingest_answers import IngestedBatch

    return IngestedBatch.model_validate(batch)


def _list_rows(urls: UrlRow | Path | Iterable[UrlRow]) -> list[UrlRow]:
    if isinstance(urls, Path):
        return list(_read_list(urls))
    return [urls] if isinstance(urls, str | Mapping) else list(urls)


def _read_list(path: Path) -> Iterator[Json]:
    for number, line in enumerate(read_file(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise BadManifestError(f"{path.name}: line {number} is not JSON") from error
        if not isinstance(row, dict) or "url" not in row:
            raise BadManifestError(f"{path.name}: line {number} is no object with `url`")
        yield row


def _split_rows(rows: Iterable[UrlRow]) -> Iterator[list[UrlRow]]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, URLS_PER_REQUEST)):
        yield chunk
