from __future__ import annotations

import pytest

from api import serving


@pytest.fixture(scope="session")
def _server():
    with serving.serve() as running:
        yield running


@pytest.fixture
def api(_server, tmp_path):
    """A running API with empty services."""
    _server.begin(tmp_path)
    return _server


@pytest.fixture
def search_calls(monkeypatch):
    """Calls of the search flow, which returns a fixed answer."""
    return serving.search_flow(monkeypatch)
