"""The asynchronous client: the methods of `Client` as coroutines and asynchronous iterators."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Self, TypeVar

from pinpoint_client import job_uploads, uploads, url_uploads
from pinpoint_client.calls import (
    access_calls,
    administration_calls,
    batch_calls,
    gallery_calls,
    job_calls,
    query_calls,
    spatial_calls,
)
from pinpoint_client.calls.call import ByteProgress, Call, Flow, Page
from pinpoint_client.client import as_method
from pinpoint_client.downloads import EXPORT_TIMEOUT_S, ExportedFile, FileDownload
from pinpoint_client.parameters import Id, to_form
from pinpoint_client.retry import CALL_PAUSES_S, run_flow_async, send_repeatedly
from pinpoint_client.transport import AsyncHttpTransport

if TYPE_CHECKING:
    from pinpoint_client.job_answers import JobResult

P = ParamSpec("P")
T = TypeVar("T")


class AsyncCaller:
    """Sends calls over one transport; see `client.Caller`."""

    def __init__(
        self, transport: AsyncHttpTransport, pauses_s: tuple[float, ...] = CALL_PAUSES_S
    ) -> None:
        self._transport = transport
        self._pauses_s = pauses_s

    async def send_call(self, call: Call[T]) -> T:
        """Send a call, and repeat it if that is safe; return its answer."""
        return await self.run_flow(send_repeatedly(call, self._pauses_s))

    async def run_flow(self, flow: Flow[T]) -> T:
        """Run a flow of calls; return its result."""
        return await run_flow_async(flow, self._transport.send_call)


def call_method(
    build: Callable[P, Call[T]],
) -> Callable[Concatenate[AsyncCaller, P], Coroutine[Any, Any, T]]:
    """Make a coroutine method that sends the call that a function builds."""

    @functools.wraps(build)
    async def method(self: AsyncCaller, /, *args: P.args, **options: P.kwargs) -> T:
        return await self.send_call(build(*args, **options))

    return as_method(method)


def flow_method(
    build: Callable[P, Flow[T]],
) -> Callable[Concatenate[AsyncCaller, P], Coroutine[Any, Any, T]]:
    """Make a coroutine method that runs the flow that a function builds."""

    @functools.wraps(build)
    async def method(self: AsyncCaller, /, *args: P.args, **options: P.kwargs) -> T:
        return await self.run_flow(build(*args, **options))

    return as_method(method)


def list_method(
    build: Callable[P, Call[Page[T]]],
) -> Callable[Concatenate[AsyncCaller, P], AsyncIterator[T]]:
    """Make a method that iterates over a list; the next page is requested when it is needed."""

    @functools.wraps(build)
    async def method(self: AsyncCaller, /, *args: P.args, **options: P.kwargs) -> AsyncIterator[T]:
        call: Call[Page[T]] | None = build(*args, **options)
        while call is not None:
            page = await self.send_call(call)
            for entry in page:
                yield entry
            call = page.next_call

    return as_method(method)


class AsyncJobs(AsyncCaller):
    """Locate jobs: `client.jobs`."""

    create = call_method(job_calls.create)
    upload = call_method(job_calls.upload)
    start = call_method(job_calls.start)
    get = call_method(job_calls.get)
    list = list_method(job_calls.list_jobs)
    items = list_method(job_calls.list_items)
    wait = flow_method(job_calls.wait)
    cancel = call_method(job_calls.cancel)
    delete = call_method(job_calls.delete)

    def results(self, job_id: Id) -> AsyncIterator[JobResult]:
        """Iterate over the results that exist now, in order."""
        return self._read_lines(job_calls.results_path(job_id))

    def errors(self, job_id: Id) -> AsyncIterator[JobResult]:
        """Iterate over the failed and canceled items that exist now, in order."""
        return self._read_lines(job_calls.errors_path(job_id))

    async def save_results(
        self, job_id: Id, path: str | Path, *, on_progress: ByteProgress | None = None
    ) -> ExportedFile:
        """Save the results that exist now to a file, replaced only when it is complete.

        Args:
            job_id: The job.
            path: GeoParquet if its name ends with `.parquet`, otherwise NDJSON.
            on_progress: Called after each received part.
        """
        download = FileDownload(path, None, on_progress)
        with download.open():
            async with self._transport.stream(
                job_calls.results_path(job_id),
                query={},
                timeout_s=EXPORT_TIMEOUT_S,
                accept=job_calls.choose_results_type(download.format),
            ) as response:
                download.start(response)
                async for part in response.aiter_raw():
                    download.write(part)
        return download.finish()

    async def _read_lines(self, path: str) -> AsyncIterator[JobResult]:
        async with self._transport.stream(path, query={}, timeout_s=EXPORT_TIMEOUT_S) as response:
            async for line in response.aiter_lines():
                if line:
                    yield job_calls.read_result(line)


class AsyncClient(AsyncCaller):
    """Client of one API; use it as an asynchronous context manager or await `close`.

    Args:
        transport: The connection; `connect_async` opens one.
        pauses_s: Pauses before the repetitions of a call that may be repeated, seconds.
    """

    def __init__(
        self, transport: AsyncHttpTransport, pauses_s: tuple[float, ...] = CALL_PAUSES_S
    ) -> None:
        super().__init__(transport, pauses_s)
        self.jobs: Final = AsyncJobs(transport, pauses_s)
        """Locate jobs."""

    @property
    def server(self) -> str:
        """Base URL of the API."""
        return self._transport.server

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    locate = call_method(query_calls.locate)
    locate_features = call_method(query_calls.locate_features)
    match_picture = call_method(query_calls.match_picture)
    dossier = call_method(query_calls.dossier)
    similar = call_method(query_calls.similar)
    similar_features = call_method(query_calls.similar_features)
    search = call_method(query_calls.search)
    search_features = call_method(query_calls.search_features)
    kept_queries = list_method(query_calls.kept_queries)
    delete_kept_query = call_method(query_calls.delete_kept_query)
    quality_reports = list_method(query_calls.quality_reports)
    quality_report = call_method(query_calls.quality_report)
    locate_as_job = flow_method(job_uploads.locate_as_job)

    sources = list_method(gallery_calls.sources)
    source = call_method(gallery_calls.source)
    add_source = call_method(gallery_calls.add_source)
    set_image_access = call_method(gallery_calls.set_image_access)
    erase_source = call_method(gallery_calls.erase_source)

    open_batch = call_method(batch_calls.open_batch)
    upload = call_method(batch_calls.upload)
    add_urls = call_method(batch_calls.add_urls)
    add_prefix = call_method(batch_calls.add_prefix)
    close_batch = call_method(batch_calls.close_batch)
    batch = call_method(batch_calls.batch)
    batches = list_method(batch_calls.batches)
    items = list_method(batch_calls.items)
    retry = call_method(batch_calls.retry)
    cancel = call_method(batch_calls.cancel)
    ingest_files = flow_method(uploads.ingest_files)
    ingest_folder = flow_method(uploads.ingest_folder)
    ingest_urls = flow_method(url_uploads.ingest_urls)
    ingest_prefix = flow_method(url_uploads.ingest_prefix)
    wait_for_batch = flow_method(uploads.wait_for_batch)

    images = list_method(gallery_calls.images)
    image = call_method(gallery_calls.image)
    update = call_method(gallery_calls.update)
    update_images = call_method(gallery_calls.update_images)
    delete = call_method(gallery_calls.delete)
    thumbnail = call_method(gallery_calls.thumbnail)
    image_file = call_method(gallery_calls.image_file)

    neighbors = call_method(spatial_calls.neighbors)
    neighbors_of_points = flow_method(spatial_calls.neighbors_of_points)
    coverage = list_method(spatial_calls.coverage)
    gaps = list_method(spatial_calls.gaps)

    organizations = list_method(access_calls.organizations)
    organization = call_method(access_calls.organization)
    create_organization = call_method(access_calls.create_organization)
    disable_organization = call_method(access_calls.disable_organization)
    keys = list_method(access_calls.keys)
    key = call_method(access_calls.key)
    create_key = call_method(access_calls.create_key)
    rotate_key = call_method(access_calls.rotate_key)
    revoke_key = call_method(access_calls.revoke_key)
    limits = call_method(access_calls.limits)
    key_limits = call_method(access_calls.key_limits)
    set_key_limits = call_method(access_calls.set_key_limits)
    delete_key_limits = call_method(access_calls.delete_key_limits)

    audit_rows = list_method(administration_calls.audit_rows)
    webhooks = call_method(administration_calls.webhooks)
    webhook = call_method(administration_calls.webhook)
    add_webhook = call_method(administration_calls.add_webhook)
    update_webhook = call_method(administration_calls.update_webhook)
    delete_webhook = call_method(administration_calls.delete_webhook)
    rotate_webhook_secret = call_method(administration_calls.rotate_webhook_secret)
    send_test_event = call_method(administration_calls.send_test_event)
    webhook_deliveries = list_method(administration_calls.webhook_deliveries)
    protected_areas = list_method(administration_calls.protected_areas)
    protected_area = call_method(administration_calls.protected_area)
    create_protected_area = call_method(administration_calls.create_protected_area)
    replace_protected_area = call_method(administration_calls.replace_protected_area)
    delete_protected_area = call_method(administration_calls.delete_protected_area)

    ready = call_method(gallery_calls.ready)

    async def export(
        self,
        path: str | Path,
        *,
        suffix: str | None = None,
        on_progress: ByteProgress | None = None,
        **filters: Any,
    ) -> ExportedFile:
        """Export the images that match to a file, as `Client.export` does."""
        download = FileDownload(path, suffix, on_progress)
        route, query = f"/v1/exports/images.{download.format}", to_form(filters)
        with download.open():
            async with self._transport.stream(
                route, query=query, timeout_s=EXPORT_TIMEOUT_S
            ) as response:
                download.start(response)
                async for part in response.aiter_raw():
                    download.write(part)
        return download.finish()
