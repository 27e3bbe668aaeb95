"""Fixtures of all index implementations: `index` is empty, `filled` has 300 points."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import Any

import pytest

from index_gallery import SPEC, gallery
from pinpoint.stack.index.swap import RebuildableIndex
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.qdrant import QdrantIndex
from pinpoint.store.vectors.rpc.client import RemoteIndex
from pinpoint.store.vectors.rpc.server import IndexServer

EDGES = [
    (90, 0),
    (90, 180),
    (-90, 10),
    (0, 180),
    (0, -180),
    (5, 179.999),
    (5, -179.999),
    (89.9, -170),
]


@pytest.fixture(params=["edge", "owner", "memory", "server"])
def index(request, tmp_path):
    created: Any
    if request.param == "edge":
        created = EdgeIndex(tmp_path / "build")
        yield created
        created.close()
    elif request.param == "owner":
        live = RebuildableIndex(tmp_path / "index", "nowhere:nothing")
        live.load()
        with tempfile.TemporaryDirectory(prefix="pp", dir="/tmp") as short:
            server = IndexServer(Path(short) / "i.sock", live)
            server.start()
            yield RemoteIndex(Path(short) / "i.sock", timeout_s=20)
            server.close()
            live.close()
    elif request.param == "memory":
        created = QdrantIndex(":memory:")
        yield created
        created.close()
    else:
        url = os.environ.get("PINPOINT_TEST_QDRANT_URL")
        if not url:
            pytest.skip("no Qdrant server; set PINPOINT_TEST_QDRANT_URL to test against one")
        created = QdrantIndex(url, alias=f"test-{secrets.token_hex(4)}")
        yield created
        created.drop()
        created.close()


@pytest.fixture
def filled(index):
    index.ensure(SPEC)
    index.upsert(gallery(300, places=EDGES))
    return index
