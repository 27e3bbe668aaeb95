"""The client sends the operator key only to the stack of its home."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import pytest

from pinpoint.cli.api_client import ApiClient
from pinpoint.errors import StackError, UnavailableError
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.state import StackState, compute_proof, load_operator_key, write_state


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """Writes a state file of a stack that listens on a port."""
    monkeypatch.setenv("PINPOINT_HOME", str(tmp_path))
    paths = StackPaths(tmp_path)
    load_operator_key(paths)

    def at(port):
        write_state(
            paths,
            StackState(
                api_host="127.0.0.1", api_port=port, fingerprint="", started_at="", pgdata="",
                supervisor_pid=0, pids={}, versions={}, external=[],
            ),
        )  # fmt: skip
        return load_operator_key(paths)

    return at


@contextmanager
def foreign_server(answer):
    """A foreign HTTP server; yields its port and the requests that it received."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append((self.path, dict(self.headers)))
            body = answer(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_client_sends_the_operator_key_to_its_stack(api, stack):
    stack(urlsplit(api.url).port)
    api.parts.api_keys.key("acme", "read")  # keyless api_keys ends
    with ApiClient.open(organization="acme") as client:
        assert client.sources() == []


@pytest.mark.parametrize("body", [b'{"live": true}', b"hello", b'{"proof": "abc"}', b"[1]"])
def test_client_sends_no_key_to_another_server_on_the_port(stack, body):
    with foreign_server(lambda _: body) as (port, requests):
        key = stack(port)
        with pytest.raises((StackError, UnavailableError)):
            ApiClient.open()
    assert len(requests) == 1
    assert key not in str(requests)
    assert "Authorization" not in str(requests)


def test_client_rejects_a_relayed_proof(api, stack):
    def relay(path):
        return httpx.get(f"{api.url}{path}", trust_env=False).content

    with foreign_server(relay) as (port, requests):
        stack(port)
        with pytest.raises(StackError, match="nothing was sent"):
            ApiClient.open()
    assert "nonce" in requests[0][0]


def test_stack_proof_is_returned_on_loopback_only(api):
    nonce = "n" * 20
    key = load_operator_key(StackPaths(api.parts.settings.services.home))
    with api.http() as http:
        body = http.get("/health/live", params={"nonce": nonce}).json()
        assert body == {"live": True, "proof": compute_proof(key, nonce, urlsplit(api.url).port)}
        assert http.get("/health/live", params={"nonce": "short"}).status_code == 422
        api.peer.address = "203.0.113.9"
        assert http.get("/health/live", params={"nonce": nonce}).json() == {"live": True}
