from __future__ import annotations

import pytest

from api import serving


@pytest.fixture(scope="session")
def _server():
    with serving.serve() as running:
        yield running


@pytest.fixture
def api(_server, tmp_path):
    """A running API over empty parts."""
    _server.begin(tmp_path)
    return _server


@pytest.fixture
def asked(monkeypatch):
    """What the search flow was asked; it answers with a fixed answer."""
    return serving.search_flow(monkeypatch)
