"""Calls for batches: the files that are ingested together."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from pinpoint_client.parameters import Id, to_path_segment, to_text


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
    limit: int = 50, before: Id | None = None, *, id_prefix: str | None = None
) -> Call[Page[answers.Batch]]:
    """List batches, newest first.

    Args:
        limit: Maximum number of batches of a page.
        before: Id of the last batch of the previous page.
        id_prefix: First hex digits of the id.
    """
    query = {
        "limit": limit,
        "before": None if before is None else str(before),
        "id_prefix": id_prefix,
    }
    return list_call("/v1/batches", lambda: answers.Batch, "batches", query, cursor="before")


def items(
    batch_id: Id, *, status: str | None = None, after: int = 0, limit: int = 200
) -> Call[Page[answers.Item]]:
    """List the files of a batch.

    Args:
        batch_id: The batch.
        status: Only files of this status.
        after: Position of the last file of the previous page.
        limit: Maximum number of files of a page.
    """
    query = {"status": status, "after": after, "limit": limit}
    path = f"/v1/batches/{to_path_segment(batch_id)}/items"
    return list_call(path, lambda: answers.Item, "items", query, cursor="after")


def retry(batch_id: Id) -> Call[int]:
    """Queue each failed or canceled file once more; return their number."""
    path = f"/v1/batches/{to_path_segment(batch_id)}/retry"
    return Call(method="POST", path=path, read=read_field("retried"))


def cancel(batch_id: Id) -> Call[answers.Canceled]:
    """Close a batch and cancel files that no worker has started."""
    path = f"/v1/batches/{to_path_segment(batch_id)}/cancel"
    return Call(method="POST", path=path, read=read_model(lambda: answers.Canceled))
