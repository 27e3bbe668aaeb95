"""The client of the commands: the calls of `pinpoint_client`, with answers as JSON documents.

Commands print what the server sent, so they need the document and not the typed answer. Errors of
`pinpoint_client` become errors of `pinpoint.errors` here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx

from pinpoint import errors
from pinpoint.cli import folder_uploads
from pinpoint.records import ReadOptions
from pinpoint.settings import ServiceSettings
from pinpoint.stack.supervisor.running import is_running, missing_stack
from pinpoint_client import Client
from pinpoint_client import errors as client_errors
from pinpoint_client.calls import batch_calls, gallery_calls, query_calls, spatial_calls
from pinpoint_client.calls.call import GEOJSON, ByteProgress, Call, Flow
from pinpoint_client.calls.photos import Photo
from pinpoint_client.parameters import Id
from pinpoint_client.retry import run_flow
from pinpoint_client.transport import HttpTransport, Json, to_form
from pinpoint_client.uploads import BatchCallback

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def convert_errors(home: Path | None = None) -> Iterator[None]:
    """Convert errors of the client to errors of Pinpoint, by the names of their classes.

    Args:
        home: Home of the embedded stack; None for another server.

    Raises:
        PinpointError: Anything of the client was raised inside.
    """
    try:
        yield
    except client_errors.StackError as error:
        if home is not None and error.reason == "stack_not_running" and not is_running(home):
            raise missing_stack(home) from error
        raise errors.StackError(error.message, reason=error.reason) from error
    except client_errors.PinpointError as error:
        converted = _find_error_class(type(error))(error.message, reason=error.reason)
        if isinstance(converted, errors.UnavailableError):
            converted.retry_after_s = error.retry_after_s
        raise converted from error


def _find_error_class(kind: type[client_errors.PinpointError]) -> type[errors.PinpointError]:
    for parent in kind.__mro__:
        error_class = getattr(errors, parent.__name__, None)
        if error_class is not None:
            return error_class  # type: ignore[no-any-return]
    return errors.PinpointError


def json_method(build: Callable[P, Call[Any]]) -> Callable[Concatenate[ApiClient, P], Any]:
    """Make a method that sends the call that a function builds; it returns the JSON document."""

    @functools.wraps(build)
    def method(self: ApiClient, /, *args: P.args, **options: P.kwargs) -> Any:
        return self.send_call(lambda: build(*args, **options).as_json())

    return method


def raw_method(build: Callable[P, Call[T]]) -> Callable[Concatenate[ApiClient, P], T]:
    """Make a method that sends the call that a function builds; it returns bytes or a number."""

    @functools.wraps(build)
    def method(self: ApiClient, /, *args: P.args, **options: P.kwargs) -> T:
        return self.send_call(lambda: build(*args, **options))

    return method


class ApiClient:
    """Client of one API with JSON documents; use it as a context manager or call `close`.

    It does not repeat failed calls, except in uploads: a command reports the failure at once.
    """

    def __init__(self, transport: HttpTransport) -> None:
        self._transport: Final = transport

    @classmethod
    def open(
        cls,
        server: str | None = None,
        key: str | None = None,
        organization: str | None = None,
        home: Path | None = None,
    ) -> ApiClient:
        """Open a client.

        Args:
            server: Base URL of an API; default: the embedded stack below `PINPOINT_HOME`.
            key: API key.
            organization: Organization that the operator of the embedded stack acts for.
            home: Home of the embedded stack; default: the home in the environment.

        Raises:
            StackError: No server was given and no embedded stack is running.
        """
        if server is not None:
            with convert_errors():
                return cls(HttpTransport(server, key, organization, embedded=False))
        home = home or ServiceSettings().home
        with convert_errors(home):
            transport = HttpTransport.to_embedded(organization if key is None else None, home)
            if key is None:
                return cls(transport)
            transport.close()
            return cls(HttpTransport(transport.server, key, organization, embedded=True, home=home))

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

    def send_call(self, build: Callable[[], Call[T]]) -> T:
        """Build a call, send it and return its answer."""
        with convert_errors(self._transport.home):
            return self._transport.send_call(build())

    def run_flow(self, flow: Flow[T]) -> T:
        """Run a flow of calls; return its result."""
        with convert_errors(self._transport.home):
            return run_flow(flow, self._transport.send_call)

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

    match_picture = raw_method(query_calls.match_picture)
    kept_queries = json_method(query_calls.kept_queries)
    delete_kept_query = raw_method(query_calls.delete_kept_query)

    # --- sources and batches -----------------------------------------------------------------

    def sources(self) -> list[Json]:
        """List all sources by name."""
        rows: list[Json] = self.send_call(gallery_calls.sources().as_json)["sources"]
        return rows

    source = json_method(gallery_calls.source)
    add_source = json_method(gallery_calls.add_source)
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
