"""The API on a real HTTP server on loopback, with in-memory services."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import httpx
import uvicorn

from api import example_answers, memory
from pinpoint import logs
from pinpoint.api.app import create_app
from pinpoint.api.connections import make_limited_protocol
from pinpoint.api_settings import ApiSettings
from pinpoint.geo import gazetteer
from pinpoint.settings import LogSettings, MediaSettings, ServiceSettings, Settings

HEADER_TIMEOUT_S = 1.0


class Peer:
    """ASGI middleware that sets the client address of a request."""

    def __init__(self, app):
        self.app = app
        self.address: str | None = None

    async def __call__(self, scope, receive, send):
        if self.address and scope["type"] == "http":
            scope = {**scope, "client": (self.address, 50_000)}
        await self.app(scope, receive, send)


@dataclass
class Running:
    url: str
    parts: SimpleNamespace
    peer: Peer

    def http(self, key: str | None = None, **headers: str) -> httpx.Client:
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False)

    def rows(self, organization: str = "default") -> memory.Rows:
        with self.parts.database.write(self.parts.api_keys.ids[organization]) as rows:
            return rows

    def begin(self, home: Path, **api: object) -> None:
        """Reset to empty services; keyless access is on unless `api` turns it off."""
        settings = Settings(
            services=ServiceSettings(home=home),
            media=MediaSettings(max_bytes=100_000),
            api=ApiSettings(
                max_upload_files=3, max_upload_bytes=200_000, **{"allow_keyless": True, **api}
            ),
        )
        self.parts.__dict__.update(memory.services(settings).__dict__)
        self.peer.address = None


@contextmanager
def serve() -> Iterator[Running]:
    logs.configure(LogSettings())
    gazetteer.load_cities()  # as at API startup, before the first query
    parts = SimpleNamespace()
    peer = Peer(create_app(parts))
    server = uvicorn.Server(
        uvicorn.Config(
            peer,
            port=0,
            log_config=None,
            proxy_headers=False,
            lifespan="on",
            http=make_limited_protocol(HEADER_TIMEOUT_S),
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield Running(f"http://127.0.0.1:{port}", parts, peer)
    finally:
        server.should_exit = True
        thread.join(10)


def search_flow(monkeypatch) -> list[dict]:
    """Replace the search flow by a fixed answer; returns the list of its calls."""
    calls: list[dict] = []

    def locate(photos, limits, context):
        calls.append({"photos": photos, "limits": limits, "context": context})
        return example_answers.answer()

    def similar(request, limits, context):
        calls.append({"request": request, "limits": limits, "context": context})
        return example_answers.similar()

    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.locate", locate)
    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.similar", similar)
    return calls
