"""The client and its own stack: the operator's key goes to nobody else."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import httpx
import pytest

from pinpoint.client import Client
from pinpoint.errors import StackError, UnavailableError
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.state import StackState, compute_proof, load_operator_key, write_state


@pytest.fixture
def stack(tmp_path, monkeypatch):
    """Writes down that the stack of this home listens on a port."""
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
def stranger(answer):
    """A server that is not ours; what it was sent."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, dict(self.headers)))
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
        yield server.server_port, seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_operator_is_known_by_the_key(api, stack):
    stack(urlsplit(api.url).port)
    api.parts.api_keys.key("acme", "read")  # from now on nobody is served without a key
    with Client.open(organization="acme") as client:
        assert client.sources() == []


@pytest.mark.parametrize("body", [b'{"live": true}', b"hello", b'{"proof": "abc"}', b"[1]"])
def test_a_stranger_on_the_port_gets_no_key(stack, body):
    with stranger(lambda _: body) as (port, seen):
        key = stack(port)
        with pytest.raises((StackError, UnavailableError)):
            Client.open()
    assert len(seen) == 1
    assert key not in str(seen)
    assert "Authorization" not in str(seen)


def test_a_stranger_cannot_pass_the_question_on(api, stack):
    def relay(path):
        return httpx.get(f"{api.url}{path}", trust_env=False).content

    with stranger(relay) as (port, seen):
        stack(port)
        with pytest.raises(StackError, match="nothing was sent"):
            Client.open()
    assert "nonce" in seen[0][0]


def test_the_proof_is_given_to_this_machine_only(api):
    nonce = "n" * 20
    key = load_operator_key(StackPaths(api.parts.settings.services.home))
    with api.http() as http:
        said = http.get("/health/live", params={"nonce": nonce}).json()
        assert said == {"live": True, "proof": compute_proof(key, nonce, urlsplit(api.url).port)}
        assert http.get("/health/live", params={"nonce": "short"}).status_code == 422
        api.peer.address = "203.0.113.9"
        assert http.get("/health/live", params={"nonce": nonce}).json() == {"live": True}
