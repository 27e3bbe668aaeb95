"""The client of the commands: the calls of `pinpoint_client`, with answers as JSON documents.

Commands print what the server sent, so they need the document and not the typed answer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from pinpoint.cli import folder_uploads
from pinpoint.cli.api_connection import ApiConnection, convert_errors, json_method, raw_method
from pinpoint.records import ReadOptions
from pinpoint_client import Client, Upload, job_uploads, url_uploads
from pinpoint_client.calls import (
    administration_calls,
    batch_calls,
    gallery_calls,
    job_calls,
    query_calls,
    spatial_calls,
)
from pinpoint_client.calls.call import GEOJSON, ByteProgress, Call
from pinpoint_client.calls.photos import Photo
from pinpoint_client.parameters import Id
from pinpoint_client.transport import Json, to_form
from pinpoint_client.uploads import BatchCallback


class ApiClient(ApiConnection):
    """Client of one API with JSON documents; use it as a context manager or call `close`."""

    # --- queries -----------------------------------------------------------------------------

    def locate(
        self, photo: Photo | Sequence[Photo], *, geojson: bool = False, **parameters: Any
    ) -> Json:
        """Estimate the position of a photo; see `pinpoint_client.calls.query_calls.locate`."""
        build: Any = query_calls.locate_features if geojson else query_calls.locate
        answer: Json = self.send_call(lambda: build(photo, **parameters).as_json())
        return answer

    def similar(
        self,
        photo: Photo | None = None,
        *,
        image_id: Id | None = None,
        geojson: bool = False,
        **parameters: Any,
    ) -> Json:
        """List similar gallery images; see `pinpoint_client.calls.query_calls.similar`."""
        build: Any = query_calls.similar_features if geojson else query_calls.similar
        answer: Json = self.send_call(
            lambda: build(photo, image_id=image_id, **parameters).as_json()
        )
        return answer

    def search(
        self,
        *,
        photo: Photo | Sequence[Photo] | None = None,
        geojson: bool = False,
        **parameters: Any,
    ) -> Json:
        """List images for text, photos, images or a point; see `query_calls.search`."""
        build: Any = query_calls.search_features if geojson else query_calls.search
        answer: Json = self.send_call(lambda: build(photo, **parameters).as_json())
        return answer

    match_picture = raw_method(query_calls.match_picture)
    dossier = raw_method(query_calls.dossier)
    kept_queries = json_method(query_calls.kept_queries)
    delete_kept_query = raw_method(query_calls.delete_kept_query)

    # --- sources and batches -----------------------------------------------------------------

    def sources(self) -> list[Json]:
        """List all sources by name."""
        return self._list_all(gallery_calls.sources, "sources")

    source = json_method(gallery_calls.source)
    add_source = json_method(gallery_calls.add_source)
    set_image_access = json_method(gallery_calls.set_image_access)
    erase_source = raw_method(gallery_calls.erase_source)
    open_batch = json_method(batch_calls.open_batch)
    upload = json_method(batch_calls.upload)
    close_batch = json_method(batch_calls.close_batch)
    batch = json_method(batch_calls.batch)
    batches = json_method(batch_calls.batches)
    items = json_method(batch_calls.items)
    retry = raw_method(batch_calls.retry)
    cancel = json_method(batch_calls.cancel)

    def ingest_folder(  # noqa: PLR0913 - see long_functions.toml
        self,
        path: str | Path,
        *,
        source: str,
        manifest: str | Path | None = None,
        use_manifest: bool = True,
        root: str | None = None,
        options: ReadOptions | None = None,
        wait: bool = False,
        on_progress: BatchCallback = None,
    ) -> Json:
        """Upload a folder as one batch; a file's path below the folder is its identity.

        Args:
            path: A folder, one file, or a manifest. GPX tracks are not sent.
            source: Name or id of the source.
            manifest: CSV or GeoJSON in the folder; only files that its rows name are sent.
            use_manifest: Whether to use a manifest in the folder; files that it does not name are
                sent as well.
            root: Prefix of the names, so that two folders may contain files of the same name.
            options: Clock, time zone and columns; a track is not sent.
            wait: Return only when each file has a final status.
            on_progress: Called with the batch after each request.

        Returns:
            The batch. `not_sent` lists files and rows that could not be sent, with their errors;
            `repeated` is the number of requests repeated because the server was unavailable;
            `manifest` is the name of the manifest used.
        """
        flow = folder_uploads.upload_folder(
            Path(path),
            source=source,
            wait=wait,
            on_progress=on_progress,
            manifest=None if manifest is None else Path(manifest),
            use_manifest=use_manifest,
            root=root,
            options=options,
        )
        return self.run_flow(flow)

    def ingest_urls(
        self, urls: str | Path, *, source: Id, wait: bool, on_progress: BatchCallback = None
    ) -> Json:
        """Ingest a URL or a list of URLs; see `pinpoint_client.url_uploads.ingest_urls`."""
        flow = url_uploads.upload_urls(urls, source, wait=wait, on_progress=on_progress)
        return {**self.run_flow(flow), "manifest": None}

    def ingest_prefix(
        self, url: str, *, source: Id, wait: bool, on_progress: BatchCallback = None
    ) -> Json:
        """Ingest a bucket or prefix; see `pinpoint_client.url_uploads.ingest_prefix`."""
        flow = url_uploads.upload_prefix(url, source, wait=wait, on_progress=on_progress)
        return {**self.run_flow(flow), "manifest": None}

    # --- jobs --------------------------------------------------------------------------------

    create_job = json_method(job_calls.create)
    jobs = json_method(job_calls.list_jobs)
    job = json_method(job_calls.get)
    job_items = json_method(job_calls.list_items)
    cancel_job = json_method(job_calls.cancel)
    delete_job = raw_method(job_calls.delete)

    def locate_as_job(
        self,
        path: str | Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        job_id: Id | None = None,
        on_progress: job_uploads.JobCallback = None,
    ) -> Json:
        """Upload a folder or a JSONL file as a job, and start it; return the job.

        Args:
            path: A folder, a photo, or a JSONL file; see `pinpoint_client.job_uploads`.
            parameters: Those of `locate` for all photos.
            job_id: A job whose upload was interrupted: only the files that it lacks are sent.
            on_progress: Called with the job after each request.

        Raises:
            BadRequestError: There is nothing to upload.
        """
        path = Path(path)
        lines = path if job_uploads.is_list(path) else None
        with convert_errors(self._transport.home):
            uploads = job_uploads.list_named_files(path) if lines else _list_photos(path)
        flow = job_uploads.upload_job(
            uploads, lines=lines, parameters=parameters, job_id=job_id, on_progress=on_progress
        )
        return self.run_flow(flow)

    def wait_for_job(self, job_id: Id, on_progress: job_uploads.JobCallback = None) -> Json:
        """Wait until a job has ended; see `pinpoint_client.calls.job_calls.wait`."""
        return self.run_flow(job_calls.poll(job_id, on_progress=on_progress))

    def save_job_results(self, job_id: Id, path: str | Path) -> int:
        """Save the results of a job so far; return the number of bytes."""
        with convert_errors(self._transport.home):
            return Client(self._transport).jobs.save_results(job_id, path).bytes

    # --- images ------------------------------------------------------------------------------

    def images(self, **filters: Any) -> Json:
        """List a page of images: `{"images": [...], "next": …}`.

        Args:
            filters: Those of `pinpoint_client.calls.gallery_calls.images`; alternatively `next`
                alone: the unchanged link of the previous page.
        """
        link = filters.pop("next", None)
        query = filters if link is None else parse_qs(urlsplit(str(link)).query)
        page: Json = self.send_call(gallery_calls.images(**query).as_json)
        return page

    def image_pages(
        self, media_type: str = "application/json", **filters: Any
    ) -> Iterator[httpx.Response]:
        """Request all pages of images, one after the other.

        Args:
            media_type: `application/json`, `application/geo+json` or `text/csv`.
            filters: As `images`; `cursor` selects the first page.
        """
        return self._iterate_pages("/v1/images", to_form(filters), media_type)

    image = json_method(gallery_calls.image)
    update = json_method(gallery_calls.update)
    update_images = json_method(gallery_calls.update_images)
    delete = raw_method(gallery_calls.delete)
    thumbnail = raw_method(gallery_calls.thumbnail)
    image_file = raw_method(gallery_calls.image_file)

    def export(
        self,
        path: str | Path,
        *,
        suffix: str | None = None,
        on_progress: ByteProgress | None = None,
        **filters: Any,
    ) -> Json:
        """Export the images that match to a file; see `pinpoint_client.Client.export`."""
        with convert_errors(self._transport.home):
            client = Client(self._transport)
            exported = client.export(path, suffix=suffix, on_progress=on_progress, **filters)
        return {**dataclasses.asdict(exported), "path": str(exported.path)}

    # --- administration ----------------------------------------------------------------------

    audit_rows = json_method(administration_calls.audit_rows)

    def webhooks(self) -> list[Json]:
        """List all webhooks, oldest first."""
        rows: list[Json] = self.send_call(administration_calls.webhooks().as_json)["webhooks"]
        return rows

    webhook = json_method(administration_calls.webhook)
    add_webhook = json_method(administration_calls.add_webhook)
    update_webhook = json_method(administration_calls.update_webhook)
    delete_webhook = raw_method(administration_calls.delete_webhook)
    rotate_webhook_secret = json_method(administration_calls.rotate_webhook_secret)
    send_test_event = json_method(administration_calls.send_test_event)
    webhook_deliveries = json_method(administration_calls.webhook_deliveries)

    def protected_areas(self) -> list[Json]:
        """List all protected areas as GeoJSON Features."""
        return self._list_all(administration_calls.protected_areas, "features")

    protected_area = json_method(administration_calls.protected_area)
    create_protected_area = json_method(administration_calls.create_protected_area)
    replace_protected_area = json_method(administration_calls.replace_protected_area)
    delete_protected_area = raw_method(administration_calls.delete_protected_area)

    # --- positions and health ----------------------------------------------------------------

    def neighbors(self, image_id: Id, **filters: Any) -> list[Json]:
        """List images near an image with `distance_m`, nearest first."""
        call = spatial_calls.neighbors(image_id, **filters)
        rows: list[Json] = self.send_call(call.as_json)["neighbors"]
        return rows

    def neighbors_of_points(
        self, points: Sequence[tuple[float, float]], **filters: Any
    ) -> list[Json]:
        """Find the nearest images of points, for each source kind."""
        results = self.run_flow(spatial_calls.neighbors_of_points(points, **filters))
        return [result.model_dump(mode="json") for result in results]

    coverage = json_method(spatial_calls.coverage)
    gaps = json_method(spatial_calls.gaps)

    def iterate_cells(
        self, path: str, filters: Mapping[str, Any], *, geojson: bool
    ) -> Iterator[Json]:
        """Read all pages of `/v1/coverage` or `/v1/gaps`.

        Args:
            path: One of these paths.
            filters: Those of `coverage` or `gaps`.
            geojson: Whether to read Features with boundaries instead of cells.
        """
        media_type = GEOJSON if geojson else "application/json"
        for response in self._iterate_pages(path, to_form(filters), media_type):
            yield from response.json()["features" if geojson else "cells"]

    ready = json_method(gallery_calls.ready)

    def _list_all(self, build: Callable[..., Call[Any]], name: str) -> list[Json]:
        """Read all pages of a list; the call takes the cursor of the link to the next page."""
        entries: list[Json] = []
        cursor: str | None = None
        while True:
            page: Json = self.send_call(build(cursor=cursor).as_json)
            entries += page[name]
            if page["next"] is None:
                return entries
            (cursor,) = parse_qs(urlsplit(page["next"]).query)["cursor"]

    def _iterate_pages(
        self, path: str, query: Mapping[str, Any], media_type: str
    ) -> Iterator[httpx.Response]:
        """Request all pages of a list whose answers link to the next page (RFC 8288)."""
        while True:
            with convert_errors(self._transport.home):
                response = self._transport.send(
                    "GET", path, params=query, headers={"Accept": media_type}
                )
            yield response
            if "next" not in response.links:
                return
            query = parse_qs(urlsplit(response.links["next"]["url"]).query)


def _list_photos(path: Path) -> list[Upload]:
    """Photos of a folder by their path below it, as `pinpoint ingest` finds them."""
    files = folder_uploads.find_uploads(path, only_rows=False)
    return [file for file in files if isinstance(file, Upload)]
