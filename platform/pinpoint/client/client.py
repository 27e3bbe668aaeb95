"""The client class: one method per route of the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import httpx

from pinpoint.client import folders
from pinpoint.client.audit_log import AuditLog
from pinpoint.client.downloads import Downloads
from pinpoint.client.jobs import Jobs
from pinpoint.client.protected_areas import ProtectedAreas
from pinpoint.client.queries import Id, PhotoQueries
from pinpoint.client.remote_sources import RemoteSources
from pinpoint.client.spatial_queries import SpatialQueries
from pinpoint.client.transport import HttpTransport, Json, to_form, to_path_segment, to_text
from pinpoint.records import ReadOptions


class Client(
    PhotoQueries, Jobs, Downloads, SpatialQueries, AuditLog, RemoteSources, ProtectedAreas
):
    """Client of one API; use it as a context manager or call `close`."""

    @classmethod
    def open(
        cls,
        server: str | None = None,
        key: str | None = None,
        organization: str | None = None,
        home: Path | None = None,
    ) -> Client:
        """Open a client.

        Args:
            server: Base URL of an API; default: the embedded stack below `PINPOINT_HOME`.
            key: API key.
            organization: Organization that the operator of the embedded stack acts for.
            home: Home of the embedded stack; default: the home in the environment.

        Raises:
            StackError: No server was given and no embedded stack is running.
        """
        if server is None and key is None:
            return cls(HttpTransport.to_embedded(organization, home))
        if server is None:
            embedded_wire = HttpTransport.to_embedded(None, home)
            embedded_wire.close()
            return cls(
                HttpTransport(
                    embedded_wire.server, key, organization, embedded=True, home=embedded_wire.home
                )
            )
        return cls(HttpTransport(server, key, organization, embedded=False))

    @property
    def server(self) -> str:
        """Base URL of the API."""
        return self._transport.server

    @property
    def embedded(self) -> bool:
        """Whether the API is this machine's embedded stack."""
        return self._transport.embedded

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # --- sources -----------------------------------------------------------------------------

    def sources(self) -> list[Json]:
        """List all sources by name."""
        sources: list[Json] = []
        link: str | None = "/v1/sources"
        while link is not None:
            page: Json = self._transport.call("GET", link)
            sources += page["sources"]
            link = page["next"]
        return sources

    def source(self, name_or_id: Id) -> Json:
        """Return one source."""
        row: Json = self._transport.call("GET", f"/v1/sources/{to_path_segment(name_or_id)}")
        return row

    def add_source(
        self,
        name: str,
        kind: str,
        *,
        license: str | None = None,
        attribution: str | None = None,
        originals: str = "copy",
        image_access: str = "full",
    ) -> Json:
        """Add a source; raise `ConflictError` if the name is taken."""
        body = {
            "name": name,
            "kind": kind,
            "license": license,
            "attribution": attribution,
            "originals": originals,
            "image_access": image_access,
        }
        added: Json = self._transport.call("POST", "/v1/sources", body=body)
        return added

    def erase_source(self, name_or_id: Id) -> int:
        """Erase a source with its images; return the number of images."""
        return int(
            self._transport.call("DELETE", f"/v1/sources/{to_path_segment(name_or_id)}")["images"]
        )

    # --- batches -----------------------------------------------------------------------------

    def open_batch(self, source: Id) -> Json:
        """Open a batch for a source, by name or id."""
        batch: Json = self._transport.call("POST", "/v1/batches", body={"source": str(source)})
        return batch

    def upload(
        self,
        batch_id: Id,
        files: Mapping[str, Path | bytes],
        metadata_overrides: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Json:
        """Add files to an open batch in one request, without retries.

        Args:
            batch_id: The batch.
            files: Name in the source → path or bytes.
            metadata_overrides: Name → known metadata of the file (`lat`, `lon`, `captured_at`, …).
        """
        contents = [
            ("files", (name, item if isinstance(item, bytes) else Path(item).read_bytes()))
            for name, item in files.items()
        ]
        form = (
            {"metadata_overrides": json.dumps(metadata_overrides, default=to_text)}
            if metadata_overrides
            else None
        )
        added: Json = self._transport.call(
            "POST", f"/v1/batches/{to_path_segment(batch_id)}/images", form=form, files=contents
        )
        return added

    def close_batch(self, batch_id: Id) -> Json:
        """Close a batch: it accepts no more files."""
        batch: Json = self._transport.call("POST", f"/v1/batches/{to_path_segment(batch_id)}/close")
        return batch

    def batch(self, batch_id: Id) -> Json:
        """Return the status of a batch."""
        batch: Json = self._transport.call("GET", f"/v1/batches/{to_path_segment(batch_id)}")
        return batch

    def batches(
        self, limit: int = 50, *, cursor: str | None = None, id_prefix: str | None = None
    ) -> Json:
        """List a page of batches, newest first: `{"batches": [...], "next": link | None}`."""
        query = {"limit": limit, "cursor": cursor, "id_prefix": id_prefix}
        page: Json = self._transport.call("GET", "/v1/batches", query=query)
        return page

    def items(
        self,
        batch_id: Id,
        *,
        status: str | None = None,
        after_position: int = 0,
        limit: int = 200,
        cursor: str | None = None,
    ) -> Json:
        """List a page of a batch's files: `{"items": [...], "next": link | None}`."""
        query = {
            "status": status,
            "after_position": after_position,
            "limit": limit,
            "cursor": cursor,
        }
        page: Json = self._transport.call(
            "GET", f"/v1/batches/{to_path_segment(batch_id)}/items", query=query
        )
        return page

    def retry(self, batch_id: Id) -> int:
        """Queue each failed or canceled file once more; return their number."""
        return int(
            self._transport.call("POST", f"/v1/batches/{to_path_segment(batch_id)}/retry")[
                "retried"
            ]
        )

    def cancel(self, batch_id: Id) -> Json:
        """Close a batch and cancel files that no worker has started: `{canceled, batch}`."""
        canceled: Json = self._transport.call(
            "POST", f"/v1/batches/{to_path_segment(batch_id)}/cancel"
        )
        return canceled

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
        on_progress: Callable[[Json], None] | None = None,
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
        return folders.upload_folder(
            self,
            Path(path),
            source=source,
            wait=wait,
            on_progress=on_progress,
            manifest=None if manifest is None else Path(manifest),
            use_manifest=use_manifest,
            root=root,
            options=options,
        )

    # --- images ------------------------------------------------------------------------------

    def images(self, **filters: Any) -> Json:
        """List a page of images by file name and id: `{"images": [...], "next": …}`.

        Args:
            filters: `source`, `source_kind`, `creator`, `sequence`, `camera` and `state` (one or a
                list), `attribute` (`NAME=VALUE`, one or a list), `file_name` (`*` matches any text,
                `?` one character), `id_prefix`; `lat`, `lon`, `radius_m`, `bbox`, `polygon` and
                `datetime` as in `locate`; `limit`, `cursor`. Alternatively `next` alone: the
                unchanged link of the previous page.
        """
        link = filters.pop("next", None)
        query = to_form(filters) if link is None else parse_qs(urlsplit(str(link)).query)
        page: Json = self._transport.call("GET", "/v1/images", query=query)
        return page

    def image_pages(
        self, media_type: str = "application/json", **filters: Any
    ) -> Iterator[httpx.Response]:
        """Request all pages of images, one after the other.

        Args:
            media_type: `application/json`, `application/geo+json` or `text/csv`.
            filters: As `images`; `cursor` selects the first page.
        """
        path, query = "/v1/images", to_form(filters)
        while True:
            response = self._transport.send(
                "GET", path, params=query, headers={"Accept": media_type}
            )
            yield response
            if "next" not in response.links:
                return
            query = parse_qs(urlsplit(response.links["next"]["url"]).query)

    def image(self, image_id: Id) -> Json:
        """Return one image."""
        image: Json = self._transport.call("GET", f"/v1/images/{to_path_segment(image_id)}")
        return image

    def update(self, image_id: Id, **fields: Any) -> Json:
        """Update an image manually.

        Fields are `lat` and `lon`, `captured_at`, `heading_deg`, `creator` and so on.
        `clear` is a list of fields (`position`, `captured_at`, …) whose manual value is removed.
        """
        body = json.loads(json.dumps(fields, default=to_text))
        image: Json = self._transport.call(
            "PATCH", f"/v1/images/{to_path_segment(image_id)}", body=body
        )
        return image

    def update_images(self, rows: Sequence[Json]) -> Json:
        """Update many images manually; see `POST /v1/images/metadata`."""
        return dict(self._transport.call("POST", "/v1/images/metadata", body={"rows": rows}))

    def delete(self, image_id: Id) -> None:
        """Delete an image."""
        self._transport.call("DELETE", f"/v1/images/{to_path_segment(image_id)}")

    def thumbnail(self, image_id: Id) -> bytes:
        """Return a small JPEG of an image."""
        return self._transport.fetch(f"/v1/images/{to_path_segment(image_id)}/thumbnail")

    def image_file(
        self, image_id: Id, *, width: int | None = None, panorama: bool = False
    ) -> bytes:
        """Return an image as a JPEG without metadata.

        Args:
            image_id: The image.
            width: Maximum width in pixels; None for the full size. An image is never enlarged.
            panorama: Whether to return the panorama that a face was cut from.

        Raises:
            NotFoundError: There is no such image, or its file is not stored or is missing.
            ConflictError: The file was modified since it was indexed, or cannot be decoded.
        """
        query = {"width": width, "panorama": "true" if panorama else None}
        return self._transport.fetch(f"/v1/images/{to_path_segment(image_id)}/file", query)

    # --- health ------------------------------------------------------------------------------

    def ready(self) -> Json:
        """Return the state of each component; raise `UnavailableError` if one does not answer."""
        status: Json = self._transport.call("GET", "/health/ready")
        return status
