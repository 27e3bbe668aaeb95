"""An index that cannot be opened at first, as on a full disk, is opened later."""

from __future__ import annotations

import threading

from pinpoint.records import IndexSpec
from pinpoint.stack.index import owner
from pinpoint.stack.index.serving import ServingIndex

SPEC = IndexSpec(contract="c" * 64, dims={"image": 8})


def _made(folder):
    index = ServingIndex(folder)
    index.load()
    index.ensure(SPEC)
    index.close()
    (build,) = (folder / "builds").iterdir()
    return build / "shard"


def test_index_with_unreadable_build_is_opened_by_a_later_load(tmp_path):
    shard = _made(tmp_path)
    shard.rename(tmp_path / "away")
    index = ServingIndex(tmp_path)
    index.load()
    assert not index.info().ready
    assert index.load_again()
    (tmp_path / "away").rename(shard)
    assert not index.load_again()
    assert index.info().ready
    assert index.info().contract == SPEC.contract
    index.close()


def test_index_that_stays_unreadable_is_rebuilt(monkeypatch):
    stop, tried, rebuilt = threading.Event(), [], []

    class Shut:
        def load_again(self):
            tried.append(1)
            return True

        def rebuild(self):
            rebuilt.append(len(tried))
            if len(rebuilt) == 2:
                stop.set()

    monkeypatch.setattr(owner, "_RELOAD_INTERVAL_S", 0.001)
    owner._load_until_open(Shut(), stop)
    assert rebuilt == [6, 12]
