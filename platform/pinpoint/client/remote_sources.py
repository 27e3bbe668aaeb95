"""Client methods for files at URLs, buckets, and webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from pinpoint.client.folders import BatchCallback, wait_until_processed
from pinpoint.client.queries import Id
from pinpoint.client.retry import RetryPolicy
from pinpoint.client.transport import HttpTransport, Json, to_path_segment
from pinpoint.errors import BadManifestError, BadRequestError
from pinpoint.iteration import batched

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


class RemoteSources:
    """The routes of batches with URLs, and of webhooks."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport

    def add_urls(self, batch_id: Id, urls: Sequence[str | Json]) -> Json:
        """Add files at URLs to an open batch; a repeated call adds nothing twice.

        Args:
            batch_id: The batch.
            urls: URLs, or objects with `url`, `external_id` and metadata (`lat`, `lon`, …).
        """
        rows = [{"url": entry} if isinstance(entry, str) else entry for entry in urls]
        path = f"/v1/batches/{to_path_segment(batch_id)}/urls"
        return dict(self._transport.call("POST", path, body={"urls": rows}))

    def add_prefix(self, batch_id: Id, url: str) -> Json:
        """Add all images of a bucket or prefix to an open batch; a worker lists it."""
        path = f"/v1/batches/{to_path_segment(batch_id)}/prefix"
        return dict(self._transport.call("POST", path, body={"url": url}))

    def ingest_urls(
        self, target: str, *, source: Id, wait: bool = True, on_progress: BatchCallback = None
    ) -> Json:
        """Ingest a URL, an object, a prefix or a list of URLs as one batch.

        Args:
            target: `https://…`, `s3://bucket/key`, `s3://bucket/prefix/`, or the path of a list
                with one JSON object per line, as `add_urls`.
            source: Name or id of an existing source.
            wait: Whether to wait until every file is processed.
            on_progress: Called with the batch.

        Raises:
            BadRequestError: The list is empty.
            BadManifestError: A line of the list is not a JSON object.
        """
        is_list = not target.lower().startswith((*_WEB_SCHEMES, *_OBJECT_SCHEMES))
        rows = _read_list(Path(target)) if is_list else [{"url": target}]
        opened = self._transport.call("POST", "/v1/batches", body={"source": str(source)})
        batch_id, patience = opened["id"], RetryPolicy()
        if is_prefix(target) and not is_list:
            patience.call(lambda: self.add_prefix(batch_id, target))
        else:
            for page in batched(rows, _URLS_PER_REQUEST):
                added = patience.call(partial(self.add_urls, batch_id, page))
                if on_progress is not None:
                    on_progress(added["batch"])
        batch = patience.call(lambda: self._transport.call("POST", f"/v1/batches/{batch_id}/close"))
        if wait:
            batch = wait_until_processed(self._fetch_batch, batch, on_progress, patience)
        return {**batch, "manifest": None, "not_sent": [], "repeated": patience.repeated}

    def _fetch_batch(self, batch_id: Id) -> Json:
        return dict(self._transport.call("GET", f"/v1/batches/{to_path_segment(batch_id)}"))

    # --- webhooks ----------------------------------------------------------------------------

    def webhooks(self) -> list[Json]:
        """List all webhooks, oldest first."""
        rows: list[Json] = self._transport.call("GET", "/v1/webhooks")["webhooks"]
        return rows

    def webhook(self, webhook_id: Id) -> Json:
        """Return one webhook."""
        return dict(self._transport.call("GET", f"/v1/webhooks/{to_path_segment(webhook_id)}"))

    def add_webhook(self, url: str, event_types: Iterable[str] = ()) -> Json:
        """Create a webhook; return `{webhook, secret}`. The secret is shown only now."""
        body = {"url": url, "event_types": list(event_types)}
        return dict(self._transport.call("POST", "/v1/webhooks", body=body))

    def update_webhook(self, webhook_id: Id, **fields: Any) -> Json:
        """Change `url`, `event_types` or `enabled` of a webhook."""
        path = f"/v1/webhooks/{to_path_segment(webhook_id)}"
        return dict(self._transport.call("PATCH", path, body=fields))

    def delete_webhook(self, webhook_id: Id) -> None:
        """Delete a webhook."""
        self._transport.call("DELETE", f"/v1/webhooks/{to_path_segment(webhook_id)}")

    def rotate_webhook_secret(self, webhook_id: Id) -> Json:
        """Replace the secret of a webhook; return `{webhook, secret}`."""
        path = f"/v1/webhooks/{to_path_segment(webhook_id)}/rotate-secret"
        return dict(self._transport.call("POST", path))

    def send_test_event(self, webhook_id: Id) -> Json:
        """Send a test event; return its delivery."""
        path = f"/v1/webhooks/{to_path_segment(webhook_id)}/test"
        return dict(self._transport.call("POST", path))

    def webhook_deliveries(
        self, webhook_id: Id, *, limit: int = 50, cursor: str | None = None
    ) -> Json:
        """List a page of deliveries, newest first: `{"deliveries": [...], "next": cursor}`."""
        path = f"/v1/webhooks/{to_path_segment(webhook_id)}/deliveries"
        query = {"limit": limit, "cursor": cursor}
        return dict(self._transport.call("GET", path, query=query))


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
