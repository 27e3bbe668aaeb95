"""Calls for batches: the files that are ingested together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pinpoint_client import answers
from pinpoint_client.calls.call import (
    ByteProgress,
    Call,
    Page,
    list_call,
    read_field,
    read_model,
)
from pinpoint_client.parameters import Id, to_json, to_path_segment, to_text


def open_batch(source: Id, *, idempotency_key: str | None = None) -> Call[answers.Batch]:
    """Open a batch for a source.

    Args:
        source: Name or id of the source.
        idempotency_key: With a key, the call is repeated after a lost answer.
    """
    return Call(
        method="POST",
        path="/v1/batches",
        read=read_model(lambda: answers.Batch),
        body={"source": str(source)},
        idempotency_key=idempotency_key,
        is_repeatable=idempotency_key is not None,
    )


def upload(
    batch_id: Id,
    files: Mapping[str, Path | bytes],
    metadata_overrides: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    on_upload: ByteProgress | None = None,
) -> Call[answers.Uploaded]:
    """Add files to an open batch in one request, without retries.

    Args:
        batch_id: The batch.
        files: Name in the source → path or bytes.
        metadata_overrides: Name → known metadata of the file (`lat`, `lon`, `captured_at`, …).
        on_upload: Called with the bytes sent so far.
    """
    return Call(
        method="POST",
        path=f"/v1/batches/{to_path_segment(batch_id)}/images",
        read=read_model(lambda: answers.Uploaded),
        form={"metadata_overrides": json.dumps(metadata_overrides, default=to_text)}
        if metadata_overrides
        else None,
        files=[
            ("files", (name, item if isinstance(item, bytes) else Path(item).read_bytes()))
            for name, item in files.items()
        ],
        on_upload=on_upload,
    )


def add_urls(batch_id: Id, urls: Sequence[str | Mapping[str, Any]]) -> Call[answers.Urls]:
    """Add files at URLs to an open batch; a repeated call adds nothing twice.

    Args:
        batch_id: The batch.
        urls: URLs, or objects with `url`, `external_id` and metadata (`lat`, `lon`, …).
    """
    rows = [{"url": entry} if isinstance(entry, str) else entry for entry in urls]
    return Call(
        method="POST",
        path=f"/v1/batches/{to_path_segment(batch_id)}/urls",
        read=read_model(lambda: answers.Urls),
        body={"urls": to_json(rows)},
        is_repeatable=True,
    )


def add_prefix(batch_id: Id, url: str) -> Call[answers.Prefix]:
    """Add all images of a bucket or prefix to an open batch; a worker lists it."""
    return Call(
        method="POST",
        path=f"/v1/batches/{to_path_segment(batch_id)}/prefix",
        read=read_model(lambda: answers.Prefix),
        body={"url": url},
        is_repeatable=True,
    )


def close_batch(batch_id: Id) -> Call[answers.Batch]:
    """Close a batch: it accepts no more files. Repeating it changes nothing."""
    path = f"/v1/batches/{to_path_segment(batch_id)}/close"
    return Call(
        method="POST", path=path, read=read_model(lambda: answers.Batch), is_repeatable=True
    )


def batch(batch_id: Id) -> Call[answers.Batch]:
    """Return the status of a batch."""
    path = f"/v1/batches/{to_path_segment(batch_id)}"
    return Call(method="GET", path=path, read=read_model(lambda: answers.Batch), is_repeatable=True)


def batches(
    limit: int = 50, *, cursor: str | None = None, id_prefix: str | None = None
) -> Call[Page[answers.Batch]]:
    """List batches, newest first.

    Args:
        limit: Maximum number of batches of a page.
        cursor: Value of `cursor` in the link `next` of the previous page.
        id_prefix: First hex digits of the id.
    """
    query = {"limit": limit, "cursor": cursor, "id_prefix": id_prefix}
    return list_call("/v1/batches", lambda: answers.Batch, "batches", query)


def items(
    batch_id: Id,
    *,
    status: str | None = None,
    after_position: int = 0,
    limit: int = 200,
    cursor: str | None = None,
) -> Call[Page[answers.Item]]:
    """List the files of a batch.

    Args:
        batch_id: The batch.
        status: Only files of this status.
        after_position: Only files after this position.
        limit: Maximum number of files of a page.
        cursor: Value of `cursor` in the link `next` of the previous page.
    """
    query = {
        "status": status,
        "after_position": after_position,
        "limit": limit,
        "cursor": cursor,
    }
    path = f"/v1/batches/{to_path_segment(batch_id)}/items"
    return list_call(path, lambda: answers.Item, "items", query)


def retry(batch_id: Id) -> Call[int]:
    """Queue each failed or canceled file once more; return their number."""
    path = f"/v1/batches/{to_path_segment(batch_id)}/retry"
    return Call(method="POST", path=path, read=read_field("retried"))


def cancel(batch_id: Id) -> Call[answers.Canceled]:
    """Close a batch and cancel files that no worker has started."""
    path = f"/v1/batches/{to_path_segment(batch_id)}/cancel"
    return Call(method="POST", path=path, read=read_model(lambda: answers.Canceled))
