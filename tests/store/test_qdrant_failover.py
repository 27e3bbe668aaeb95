"""Several nodes: another one is used if a node accepts no connection. Steady state of the alias.

The nodes are local HTTP servers with the answer of Qdrant to `GET /aliases`: no server can be
installed from the registries. What only a cluster can show is listed in the docs.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from qdrant_client import QdrantClient

from index_gallery import SPEC, gallery
from pinpoint.errors import IndexUnavailableError
from pinpoint.records import IndexFilter, IndexQuery
from pinpoint.store.vectors.qdrant import QdrantIndex
from pinpoint.store.vectors.qdrant_alias import QdrantAlias
from pinpoint.store.vectors.qdrant_failover import FailoverTransport


class Node:
    """A local server that counts its requests."""

    def __init__(self, name: str, port: int = 0) -> None:
        self.paths: list[str] = []
        node = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                node.paths.append(self.path)
                alias = {"alias_name": "pinpoint", "collection_name": name}
                body = json.dumps(
                    {"time": 0.0, "status": "ok", "result": {"aliases": [alias]}}
                ).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def nodes():
    with contextlib.ExitStack() as ends:
        started = [Node(name) for name in ("pinpoint.c.one", "pinpoint.c.two")]
        for node in started:
            ends.callback(node.close)
        yield started


def query() -> IndexQuery:
    point = gallery(1)[0]
    return IndexQuery(
        channel="image",
        vector=point.vectors["image"],
        limit=5,
        filter=IndexFilter(organization_id=point.organization_id),
        contract=SPEC.contract,
    )


def free_url() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_the_next_node_is_used_and_remembered_if_one_refuses(nodes):
    refusing = free_url()
    alias = QdrantAlias(f"{refusing}, {nodes[0].url},{nodes[1].url}", None, "pinpoint", 5)
    assert [alias.collection() for _ in range(3)] == ["pinpoint.c.one"] * 3
    assert (len(nodes[0].paths), len(nodes[1].paths)) == (3, 0)
    nodes[0].close()
    assert alias.collection() == "pinpoint.c.two"
    alias.close()


def test_no_node_is_a_clear_error():
    alias = QdrantAlias(f"{free_url()},{free_url()}", None, "pinpoint", 2)
    with pytest.raises(IndexUnavailableError, match="does not answer"):
        alias.collection()
    alias.close()


def test_an_answer_with_an_error_is_not_asked_again():
    asked = Counter()

    def answer(request):
        asked[request.url.host] += 1
        return httpx.Response(503)

    transport = FailoverTransport(["http://a", "http://b"], httpx.MockTransport(answer))
    with httpx.Client(transport=transport, base_url="http://a") as client:
        assert client.get("/aliases").status_code == 503
    assert asked == {"a": 1}


def test_requests_have_the_host_and_body_of_their_node():
    seen = []

    def answer(request):
        if request.url.host == "a":
            raise httpx.ConnectError("refused", request=request)
        seen.append((str(request.url), request.headers["host"], request.read()))
        return httpx.Response(200)

    transport = FailoverTransport(["http://a:6333", "https://b:7000"], httpx.MockTransport(answer))
    with httpx.Client(transport=transport, base_url="http://a:6333") as client:
        client.post("/collections/x?wait=true", json={"points": [1]})
    assert seen == [("https://b:7000/collections/x?wait=true", "b:7000", b'{"points":[1]}')]


def test_steady_state_asks_for_no_alias_and_no_owner(monkeypatch):
    client = QdrantClient(location=":memory:")
    index = QdrantIndex(":memory:", client=client)
    index.ensure(SPEC)
    index.upsert(gallery(20))
    index.search([query()])
    calls = Counter()
    for name in ("get_aliases", "get_collection", "count"):
        original = getattr(client, name)

        def counted(*arguments, _name=name, _original=original, **options):
            calls[_name] += 1
            return _original(*arguments, **options)

        monkeypatch.setattr(client, name, counted)
    for _ in range(5):
        assert index.search([query()])[0]
        index.upsert(gallery(20))
    assert calls["get_aliases"] == calls["get_collection"] == 0
    client.close()


def test_a_switched_alias_is_read_again(monkeypatch):
    client = QdrantClient(location=":memory:")
    reader, builder = (QdrantIndex(":memory:", client=client) for _ in range(2))
    reader.ensure(SPEC)
    reader.upsert(gallery(20))
    before = reader.info().build
    builder._alias.switch(builder._create_collection(SPEC, "20990101T000000000Z-aaaa"))
    builder._alias.remove(f"pinpoint.{SPEC.contract}.{before}")
    reader.upsert(gallery(20))
    assert len(reader.search([query()])[0]) > 0
    assert reader.info().build == "20990101T000000000Z-aaaa"
    client.close()
