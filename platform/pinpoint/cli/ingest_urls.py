"""The part of `pinpoint ingest` that ingests URLs, buckets and lists of URLs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pinpoint.cli import output
from pinpoint.cli.batch_waiting import count_processed, explain_continuation
from pinpoint.cli.session import Session
from pinpoint.errors import NotFoundError
from pinpoint_client.job_uploads import LIST_SUFFIXES
from pinpoint_client.uploads import IMAGE_SUFFIXES

_OBJECT_SCHEMES: Final = ("s3://", "gs://")
_URL_SCHEMES: Final = ("http://", "https://", *_OBJECT_SCHEMES)


def is_remote(target: str) -> bool:
    """Whether an argument names files that are not on this machine: a URL or a list of URLs."""
    return target.lower().startswith(_URL_SCHEMES) or target.lower().endswith(LIST_SUFFIXES)


def ingest_remote(
    session: Session,
    target: str,
    *,
    source: str,
    source_kind: str | None,
    originals: str | None,
    wait: bool,
) -> dict[str, Any]:
    """Ingest a URL, a prefix or a list over the API; workers download the files.

    Raises:
        NotFoundError: There is no such source, and no kind to create it.
    """
    with session.client() as client:
        try:
            client.source(source)
        except NotFoundError:
            if source_kind is None:
                raise
            client.add_source(source, source_kind, originals=originals or "copy")
        bar, task = output.open_progress_bar("ingest")
        latest: list[dict[str, Any]] = []

        def show_progress(batch: dict[str, Any]) -> None:
            latest[:] = [batch]
            bar.update(task, completed=count_processed(batch), total=max(batch["items"], 1))

        with explain_continuation(lambda: next(iter(latest), None)), bar:
            if _is_prefix(target):
                return client.ingest_prefix(
                    target, source=source, wait=wait, on_progress=show_progress
                )
            is_url = target.lower().startswith(_URL_SCHEMES)
            return client.ingest_urls(
                target if is_url else Path(target),
                source=source,
                wait=wait,
                on_progress=show_progress,
            )


def _is_prefix(url: str) -> bool:
    """Whether the URL of a store names a bucket or prefix, not a photo."""
    return url.startswith(_OBJECT_SCHEMES) and Path(url).suffix.lower() not in IMAGE_SUFFIXES
