"""The part of `pinpoint ingest` that ingests URLs, buckets and lists of URLs."""

from __future__ import annotations

from typing import Any

from pinpoint.cli import output
from pinpoint.cli.batch_waiting import count_processed, explain_continuation
from pinpoint.cli.session import Session
from pinpoint.errors import NotFoundError


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
            return client.ingest_urls(target, source=source, wait=wait, on_progress=show_progress)
