"""A web server as an operator would set it up: the viewer's files, and the API behind a proxy.

The proxy adds the key of a reader, so the page contains none. The viewer needs a base map with at
least one source; without labels, no server of glyphs is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><title>Gallery</title><link rel="icon" href="data:,">
<script defer src="index.js"></script><link href="index.css" rel="stylesheet">
<style>html, body { margin: 0; height: 100%; } #viewer { position: fixed; inset: 0; }</style>
</head>
<body>
<pnx-viewer id="viewer" endpoint="/api"
  map-style='{"version": 8,
    "sources": {"ground": {"type": "geojson", "data": {"type": "Polygon", "coordinates":
      [[[-180, -85], [180, -85], [180, 85], [-180, 85], [-180, -85]]]}}},
    "layers": [{"id": "ground", "type": "fill", "source": "ground",
      "paint": {"fill-color": "#e8e6df"}}]}'></pnx-viewer>
</body>
</html>
"""
_PROXIED = ("/api", "/v1/")
_FORWARDED = ("accept", "range", "if-none-match", "if-range")
_RETURNED = ("content-type", "etag", "cache-control", "content-range", "content-disposition")


@contextmanager
def serve_viewer(build: Path, api_url: str, key: str) -> Iterator[str]:
    """Serve the viewer's files and the API on one origin; yields its URL."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, directory=str(build), **options)

        def do_GET(self) -> None:
            if self.path.startswith(_PROXIED):
                self._proxy()
            elif self.path.partition("?")[0] == "/":
                self._answer(200, {"content-type": "text/html; charset=utf-8"}, PAGE.encode())
            else:
                super().do_GET()

        def _proxy(self) -> None:
            headers = {name: self.headers[name] for name in _FORWARDED if name in self.headers}
            headers |= {"Host": self.headers["Host"], "Authorization": f"Bearer {key}"}
            answer = api.get(f"{api_url}{self.path}", headers=headers)
            kept = {name: answer.headers[name] for name in _RETURNED if name in answer.headers}
            self._answer(answer.status_code, kept, answer.content)

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(BrokenPipeError, ConnectionResetError):  # the page canceled the request
                self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            """Print nothing."""

    with httpx.Client(timeout=60, trust_env=False) as api:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join(10)
