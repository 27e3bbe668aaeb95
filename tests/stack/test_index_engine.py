"""The engine process of an index build: exit, hang and replacement without data loss."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from dataclasses import replace

import psutil
import pytest

from index_gallery import SPEC, gallery
from index_process import BUILDER, ENGINE, TESTS, Owner, ask, children_of, owner, until
from pinpoint.errors import IndexUnavailableError
from pinpoint.stack.index import engine_process, serving, swap
from pinpoint.stack.index.engine_process import EngineProcess
from pinpoint.stack.index.serving import ServingIndex
from pinpoint.stack.index.swap import RebuildableIndex
from pinpoint.store.vectors.payload import new_build
from pinpoint.store.vectors.rpc import codec
from pinpoint.store.vectors.rpc.client import EngineIndex, RemoteIndex

__all__ = ["owner"]


def serve(owner: Owner, n: int) -> RemoteIndex:
    (owner.source / "n").write_text(str(n))
    client = owner.start()
    client.ensure(SPEC)
    client.upsert(gallery(n))
    return client


def engines() -> list[psutil.Process]:
    return children_of(os.getpid(), ENGINE)


def kill(process: psutil.Process) -> None:
    process.kill()
    psutil.wait_procs([process], timeout=10)


def test_engine_killed_between_queries_is_replaced_with_all_acknowledged_writes(owner):
    client = serve(owner, 300)
    before = ask(client)
    (engine,) = owner.engines()
    kill(engine)
    with pytest.raises(IndexUnavailableError, match=r"engine|not ready"):
        ask(client)
    client.ping()
    until(lambda: client.info().ready, 10)
    assert ask(client) == before
    (other,) = owner.engines()
    assert other.pid != engine.pid
    assert owner.process.poll() is None


def test_engine_that_exits_repeatedly_is_restarted_after_a_pause(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "CRASH_LOOP_S", 60.0)  # on a slow machine the start takes 5 s
    index = ServingIndex(tmp_path)
    index.load()
    index.ensure(SPEC)
    index.served.upsert(gallery(20))
    (first,) = engines()
    first.kill()
    until(lambda: not first.is_running() and index.info().ready)
    (second,) = engines()
    second.kill()
    until(lambda: "status -9" in (index.info().loading or ""))
    assert engines() == []
    assert not index.load_again()
    assert index.served.count() == 20
    index.close()


def test_suspended_engine_resumes_and_exits_with_its_owner(owner):
    client = serve(owner, 50)
    before = ask(client)
    (engine,) = owner.engines()
    engine.suspend()
    hurried = RemoteIndex(owner.socket, timeout_s=0.5)
    with pytest.raises(IndexUnavailableError, match="gave no answer in time"):
        ask(hurried)
    hurried.ping()
    engine.resume()
    assert ask(client) == before
    assert owner.engines() == [engine]
    engine.suspend()
    owner.kill()
    gone, _ = psutil.wait_procs([engine], timeout=10)
    assert gone


def test_index_info_does_not_wait_for_a_search(tmp_path, monkeypatch):
    index = ServingIndex(tmp_path)
    index.load()
    index.ensure(SPEC)
    fields, arrays = codec.pack_points(gallery(50))
    frame = codec.encode({"verb": "upsert", "contract": None, **fields}, arrays)
    assert index.info().points == 0
    index.write((), frame)
    info = index.info()
    assert info.points == 50, "a write is seen at once"
    (engine,) = engines()
    monkeypatch.setattr(serving, "INFO_CACHE_TTL_S", 60.0)
    engine.suspend()
    assert index.info() == info
    monkeypatch.setattr(serving, "INFO_CACHE_TTL_S", 0.0)
    waited = []
    asking = threading.Thread(target=lambda: waited.append(index.info()))
    asking.start()
    asking.join(0.3)
    assert waited == [], "one that hangs is not said to serve for long"
    engine.resume()
    asking.join(20)
    assert waited == [info]
    monkeypatch.setattr(serving, "INFO_CACHE_TTL_S", 60.0)
    assert index.info() == info
    kill(engine)
    # The next engine starts after the exit of this one is detected and its info is dropped.
    until(lambda: engines() not in ([], [engine]) and index.info().ready)
    assert index.info() == info
    other = tmp_path / "builds" / new_build()
    other.mkdir()
    fresh = EngineProcess(other, lambda _: None)
    EngineIndex(fresh.exchange).ensure(SPEC)
    index.swap(other.name, fresh, lambda _: None)
    assert (index.info().build, index.info().points) == (other.name, 0), "at once"
    index.close()
    assert not index.info().ready


@pytest.mark.timeout(120)
def test_swap_during_writes_loses_no_write_and_ends_the_old_engine(owner):
    """Also when the serving engine is killed during the rebuild."""
    client = serve(owner, 600)
    points, last, stop = gallery(600)[:40], {}, threading.Event()

    def write() -> None:
        writer, version = RemoteIndex(owner.socket), 1
        while not stop.is_set():
            version += 1
            for start in range(0, len(points), 8):
                part = [replace(point_, version=version) for point_ in points[start : start + 8]]
                try:
                    writer.upsert(part)
                except IndexUnavailableError:
                    time.sleep(0.05)
                else:
                    last.update({point_.id: version for point_ in part})

    thread = threading.Thread(target=write)
    thread.start()
    try:
        (owner.source / "slow").touch()
        client.rebuild()
        until((owner.source / "streaming").exists)
        (old,) = owner.engines()
        kill(old)
        until(lambda: client.info().ready)
        written = dict(last)
        until(lambda: last != written)
        (owner.source / "slow").unlink()
        until(lambda: client.progress().state in ("done", "failed"), 60)
        after = dict(last)
        until(lambda: last != after)
    finally:
        stop.set()
        thread.join()
    assert client.progress().state == "done", client.progress()
    versions = {point.id: point.version for point in client.fetch([point_.id for point_ in points])}
    # A write that was done but not acknowledged may be there too.
    assert all(versions[point_] >= version for point_, version in last.items())
    (engine,) = owner.engines()
    assert client.info().build in " ".join(engine.cmdline())
    assert owner.builds() == [client.info().build]


def test_new_engine_killed_before_swap_keeps_the_old_engine(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "n").write_text("100")
    monkeypatch.setenv("INDEX_TEST_SOURCE", str(tmp_path / "source"))
    # For the builder, which is this process's child here: the source is one of the tests'.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *sys.path]))
    index = RebuildableIndex(tmp_path / "index", "index_gallery:open_folder_source")
    index.load()
    index.ensure(SPEC)
    index.served.upsert(gallery(100))
    before, (old,) = index.info(), engines()
    killed = []

    def instead_of_calm(waited_s) -> None:
        assert len(children_of(os.getpid(), BUILDER)) == 1
        killed.extend(set(engines()) - {old})
        for engine in killed:
            engine.kill()

    monkeypatch.setattr(swap, "wait_until_idle", instead_of_calm)
    index.rebuild()
    until(lambda: index.progress()["state"] == "failed", 40)
    assert len(killed) == 1
    assert "engine" in index.progress()["error"]
    assert index.served.info() == before
    assert engines() == [old]
    assert [path.name for path in (tmp_path / "index" / "builds").iterdir()] == [before.build]
    index.close()
    assert not old.is_running()


def test_build_lock_makes_a_second_engine_wait(tmp_path, monkeypatch):
    lock = os.open(tmp_path / "engine.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    ended, opened = [], []
    opening = threading.Thread(target=lambda: opened.append(EngineProcess(tmp_path, ended.append)))
    opening.start()
    monkeypatch.setattr(engine_process, "SHUTDOWN_GRACE_S", 0.1)
    with (
        pytest.raises(IndexUnavailableError, match="another process"),
        engine_process._lock_build(tmp_path),
    ):
        pass
    monkeypatch.undo()
    assert opened == []
    os.close(lock)
    opening.join(20)
    (engine,) = opened
    index = EngineIndex(engine.exchange)
    index.ensure(SPEC)
    index.upsert(gallery(3))
    engine.end()
    assert engine.status() == 0
    assert ended == [engine]
    with pytest.raises(IndexUnavailableError, match="has ended"):
        index.count()


def test_flush_loop_continues_after_a_full_disk(monkeypatch):
    class Full:
        unflushed, tried = 1, 0

        def flush(self) -> None:
            self.tried += 1
            if self.tried == 1:
                raise OSError(28, "No space left on device")
            self.unflushed = 0

    index, now = Full(), [100.0]
    monkeypatch.setattr("pinpoint.stack.index.engine_process.time.monotonic", lambda: now[0])
    flushing = engine_process._PeriodicFlush(index)
    tried = []
    for _ in range(30):
        now[0] += 0.3
        flushing.flush_if_due()
        tried.append(index.tried)
    assert tried.index(1) == 17, "after five seconds, rounded up to a look"
    assert tried.index(2) == 19, "again at the next look"
    assert tried[-1] == 2, "nothing is flushed where nothing was written"
    index.unflushed = engine_process.FLUSH_WRITES
    now[0] += 0.6
    flushing.flush_if_due()
    assert index.unflushed == 0
