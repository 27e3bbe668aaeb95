"""Objects that the API loads at startup are excluded from garbage collection."""

from __future__ import annotations

import gc
import time
from types import SimpleNamespace

from starlette.testclient import TestClient

from pinpoint import bootstrap
from pinpoint.api.app import create_app
from pinpoint.settings import Settings


def is_tracked(value):
    return any(candidate is value for candidate in gc.get_objects())


def test_objects_loaded_at_startup_are_frozen_for_the_garbage_collector(monkeypatch):
    loaded = []
    encoder = SimpleNamespace(
        warm=lambda: loaded.append([]),
        reranker=None,
        contract=SimpleNamespace(calibrations={}),
    )
    services = SimpleNamespace(
        settings=Settings(),
        encoder=encoder,
        matching=SimpleNamespace(start_pruning=lambda: None),
        close=lambda: None,
    )
    monkeypatch.setattr(bootstrap, "build_services", lambda *_: services)
    try:
        with TestClient(create_app()):
            until = time.monotonic() + 20
            while (not loaded or is_tracked(loaded[0])) and time.monotonic() < until:
                time.sleep(0.05)
            assert loaded
            assert not is_tracked(loaded[0])
    finally:
        gc.unfreeze()
    assert is_tracked(loaded[0])
