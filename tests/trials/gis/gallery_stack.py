"""A running stack with a gallery of rows, and a proxy that records what GIS clients request.

The rows have no image files. The first ones in the order of the pages have null in some columns,
because clients that derive field types from the first features lose such columns.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import psycopg
import pytest

from bench import gallery
from conftest import dismiss, home_folder, watch_over
from pinpoint.records import KeyGrant
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor import lifecycle
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, owner_engine

NUM_ROWS = 15_600
"""Over three organizations; the first one has 79 % of them, more than ten pages of a thousand."""
NUM_NULL_ROWS = 1_500
"""Rows at the beginning of the order with null columns: more than a first page."""
CAMERA = "Ricoh Theta Z1"
SPARSE_COLUMNS = ("heading_deg", "altitude_m", "camera", "creator")
WIDTH = 8


@dataclass
class RecordedRequest:
    """One request of a client."""

    method: str
    path: str
    query: dict[str, list[str]]
    status: int


@dataclass
class GalleryStack:
    """The API with rows, behind the recording proxy."""

    api_url: str
    """Base URL of the API itself, for clients in this process: GDAL keeps the interpreter's lock,
    so the proxy could not answer them."""
    key: str
    organization: UUID
    database_url: str
    url: str = ""
    """Base URL of the proxy."""
    requests: list[RecordedRequest] = field(default_factory=list)

    def scalar(self, statement: str, *values: object) -> Any:
        """One value over the visible images of the organization, read as the owner."""
        with psycopg.connect(self.database_url) as connection:
            connection.execute("SET search_path = pinpoint, public")
            row = connection.execute(
                f"WITH gallery AS (SELECT * FROM visible_images WHERE organization_id = %s"
                f" AND state IN ('pending', 'indexed')) {statement}",
                (self.organization, *values),
            ).fetchone()
        assert row is not None
        return row[0]

    def http(self) -> httpx.Client:
        """Client of the API with the key as a Basic password, as a GIS sends it."""
        return httpx.Client(base_url=self.url, auth=("pinpoint", self.key), timeout=60)

    def page_sizes(self, collection: str) -> list[int]:
        """Values of `limit` in the recorded requests for items of a collection."""
        path = f"/ogc/collections/{collection}/items"
        return [
            int(request.query["limit"][0])
            for request in self.requests
            if request.path == path and "limit" in request.query
        ]


@contextmanager
def run_gallery_stack() -> Iterator[GalleryStack]:
    """Start a stack as `pinpoint up` does, with rows of three organizations."""
    with home_folder() as home:
        settings = Settings(services=ServiceSettings(home=home))
        watcher = watch_over(home)
        try:
            status = lifecycle.start_stack(settings)
            assert status.api_url is not None
            owner_url = StackPaths(home).owner_url()
            key = _fill_database(owner_url)
            stack = GalleryStack(
                status.api_url, key, gallery.ORGANIZATIONS[0], owner_url.replace("+psycopg", "")
            )
            with _record_requests(stack):
                yield stack
        finally:
            lifecycle.stop_stack(settings)
            dismiss(watcher)
            lifecycle.erase_stack(settings)


def _fill_database(owner_url: str) -> str:
    """Insert the rows; returns a key of the first organization."""
    rows = gallery.make(NUM_ROWS, WIDTH)
    gallery.fill(rows, owner_url, contract="0" * 64)
    with psycopg.connect(owner_url.replace("+psycopg", "")) as connection:
        connection.execute("SET search_path = pinpoint, public")
        connection.execute(
            "UPDATE images i SET heading_deg = mod(n, 360) + 0.5, altitude_m = n / 100.0,"
            "   camera = CASE WHEN mod(n, 3) = 0 THEN %s ELSE 'other' END,"
            "   creator = 'creator ' || mod(n, 7)"
            "  FROM (SELECT id, row_number() OVER (PARTITION BY organization_id ORDER BY id) AS n"
            "          FROM images) o"
            " WHERE o.id = i.id AND n > %s",
            (CAMERA, NUM_NULL_ROWS),
        )
        connection.commit()
    owner = Transactions(owner_engine(owner_url))
    try:
        _, key = ApiKeyStore(owner).create_key(
            "org-0", "gis", KeyGrant(scopes=("read", "locate", "export"))
        )
    finally:
        owner.close()
    return key


@contextmanager
def _record_requests(stack: GalleryStack) -> Iterator[None]:
    """Forward requests to the API and record them: the log has no query strings."""
    upstream = httpx.Client(base_url=stack.api_url, timeout=120)

    class Forwarder(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            response = upstream.request(
                self.command,
                self.path,
                content=body,
                headers=[(name, value) for name, value in self.headers.items()],
            )
            parts = urlsplit(self.path)
            stack.requests.append(
                RecordedRequest(
                    self.command, parts.path, parse_qs(parts.query), response.status_code
                )
            )
            self.send_response(response.status_code)
            hop_by_hop = {"connection", "content-length", "content-encoding", "transfer-encoding"}
            for name, value in response.headers.multi_items():
                if name.lower() not in hop_by_hop:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(response.content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(response.content)

        do_GET = do_HEAD = do_OPTIONS = do_POST = _forward  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """The records replace the log."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forwarder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stack.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        upstream.close()
        thread.join(10)


def require_program(name: str, package: str) -> str:
    """Path of a program; skips the test if it is missing."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is missing: apt-get install {package}")
    return path
