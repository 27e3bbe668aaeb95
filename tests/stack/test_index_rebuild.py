"""Rebuilding the index while it serves, and crashes in the middle of it."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import psutil
import pytest

from index_gallery import SPEC, FolderSource, gallery, identity
from index_process import Owner, ask, owner, question, until
from pinpoint.errors import ConflictError, ModelMismatchError
from pinpoint.records import Point
from pinpoint.stack.index.build import FEW_CHANGES, build_index
from pinpoint.store.vectors.edge import EdgeIndex

__all__ = ["owner"]


def settled(owner: Owner) -> bool:
    return owner.client.progress().state in ("done", "failed")


def serve(owner: Owner, n: int):
    """An owner that serves `n` points of an older build, and a source that has `n` too."""
    (owner.source / "n").write_text(str(n))
    client = owner.start()
    client.ensure(SPEC)
    client.upsert(gallery(n))
    return client


@pytest.mark.timeout(120)
def test_a_rebuild_serves_meanwhile_and_keeps_what_was_written_meanwhile(owner):
    client = serve(owner, 1_500)
    old, want = client.info(), ask(client)
    (owner.source / "slow").touch()
    client.rebuild()
    until((owner.source / "streaming").exists)
    wrong, stop = [], threading.Event()

    def query() -> None:
        while not stop.is_set():
            if [hit.id for hit in ask(client)] != [hit.id for hit in want]:
                wrong.append(1)

    thread = threading.Thread(target=query)
    thread.start()
    first, moved, gone, lost = gallery(4)
    client.upsert([replace(moved, version=2, point=Point(1, 1))])
    client.write_tombstones({gone.id: 2})
    client.delete_points([lost.id])
    (owner.source / "extra").write_text("7")
    assert "rebuild" in client.info().loading
    client.rebuild()
    (owner.source / "slow").unlink()
    until(lambda: settled(owner), 60)
    stop.set()
    thread.join()
    assert client.progress().state == "done", client.progress()
    info = client.info()
    assert info.build > old.build
    assert owner.builds() == [info.build]
    assert info.points == client.count() == 1_500 + 7 - 2
    assert client.fetch([moved.id])[0].point == Point(1, 1)
    assert client.fetch([gone.id, lost.id]) == []
    client.upsert([gone])
    client.upsert([replace(first, id=identity(10_000), version=4)])
    assert client.fetch([gone.id, identity(10_000)]) == [], "tombstones came along"
    assert not wrong
    owner.kill()
    owner.start()
    until(lambda: client.info().ready)
    assert (client.info().build, client.count()) == (info.build, 1_505)


@pytest.mark.parametrize("trouble", ["crash", "fail"])
def test_a_build_that_dies_leaves_the_old_index_serving(owner, trouble):
    client = serve(owner, 600)
    old = client.info()
    (owner.source / trouble).touch()
    client.rebuild()
    until(lambda: settled(owner))
    assert client.progress().state == "failed"
    assert "failed" in client.info().loading
    assert (client.info().build, client.count()) == (old.build, 600)
    assert owner.builds() == [old.build]
    (owner.source / trouble).unlink()
    client.rebuild()
    until(lambda: client.progress().state == "done")
    assert client.info().build != old.build
    assert client.info().loading is None


def test_an_owner_killed_in_a_rebuild_starts_with_the_old_and_leaves_no_child(owner):
    client = serve(owner, 600)
    old = client.info()
    (owner.source / "slow").touch()
    client.rebuild()
    until((owner.source / "streaming").exists)
    children = psutil.Process(owner.process.pid).children(recursive=True)
    assert len(children) == 2, "an engine and a builder"
    owner.kill()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)
    assert len(owner.builds()) == 2
    owner.start()
    until(lambda: client.info().ready)
    assert owner.builds() == [old.build]
    assert (client.info().build, client.count()) == (old.build, 600)
    assert owner.stop() == 0


def test_a_stop_in_a_rebuild_is_quick_and_clean(owner):
    client = serve(owner, 600)
    (owner.source / "slow").touch()
    client.rebuild()
    until((owner.source / "streaming").exists)
    children = psutil.Process(owner.process.pid).children(recursive=True)
    assert owner.stop() == 0
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)


@pytest.mark.parametrize("served", [0, 300])
def test_a_builder_leaves_cores_to_questions_where_there_are_any(owner, served):
    client = serve(owner, served) if served else owner.start()
    (owner.source / "n").write_text("300")
    (owner.source / "slow").touch()
    client.rebuild()
    until((owner.source / "streaming").exists)
    engines = owner.engines()
    (builder,) = set(psutil.Process(owner.process.pid).children()) - set(engines)
    cores = len(os.sched_getaffinity(0))
    assert len(builder.cpu_affinity()) == ((cores + 1) // 2 if served else cores)
    assert builder.nice() > 0
    assert all(one.nice() == psutil.Process(owner.process.pid).nice() for one in engines)
    (owner.source / "slow").unlink()
    until(lambda: settled(owner))
    assert client.count() == 300


def test_a_rebuild_makes_the_first_index_and_changes_the_contract(owner):
    (owner.source / "n").write_text("50")
    client = owner.start()
    client.rebuild()
    until(lambda: settled(owner))
    assert (client.info().contract, client.count()) == (SPEC.contract, 50)
    client.rebuild("contract-b")
    until(lambda: settled(owner) and client.info().contract == "contract-b")
    assert (client.count(), client.progress().contract) == (50, "contract-b")
    client.rebuild()
    until(lambda: settled(owner))
    assert client.info().contract == "contract-b", "without a word it keeps its contract"


@pytest.mark.parametrize("marked", [True, False])
def test_the_builder_brings_what_changed_meanwhile(tmp_path, monkeypatch, marked):
    """Also under a transaction older than the build, which keeps the watermark where it was."""
    source, told = FolderSource(tmp_path), []
    (tmp_path / "n").write_text("300")
    if not marked:
        monkeypatch.setattr(FolderSource, "watermark", lambda self: 1)

    def report(state: str, points: int) -> None:
        told.append(state)
        later = {"optimizing": FEW_CHANGES + 100, "catching up": FEW_CHANGES + 107}.get(state)
        if later is not None and told.count(state) == 1 + (state == "catching up" and marked):
            (tmp_path / "extra").write_text(str(later))

    mark = build_index(tmp_path / "build_index", source, report)
    made = EdgeIndex(tmp_path / "build_index")
    rounds = 2 if marked else 1
    assert told == ["streaming", "optimizing", *["catching up"] * rounds]
    assert made.count() == 300 + FEW_CHANGES + 107
    assert mark == source.watermark()
    assert made.versions([identity(10_000)]) == {identity(10_000): (5, False)}
    made.close()


def test_another_contract_waits_for_the_rebuild_that_runs(owner):
    client = serve(owner, 600)
    (owner.source / "slow").touch()
    client.rebuild("contract-b")
    until((owner.source / "streaming").exists)
    client.rebuild("contract-b")
    client.rebuild()
    with pytest.raises(ConflictError, match="wait"):
        client.rebuild("contract-c")
    (owner.source / "slow").unlink()
    until(lambda: settled(owner), 60)
    assert client.info().contract == "contract-b"


def test_a_switch_carries_deletions_and_refuses_writers_of_before(owner):
    client = serve(owner, 600)
    (owner.source / "slow").touch()
    client.rebuild("contract-b")
    until((owner.source / "streaming").exists)
    gone, late = gallery(2)
    client.write_tombstones({gone.id: 2})
    client.upsert([replace(late, version=2)], SPEC.contract)
    (owner.source / "slow").unlink()
    until(lambda: settled(owner), 60)
    assert client.progress().state == "done", client.progress()
    assert client.fetch([gone.id]) == []
    for contract in (SPEC.contract, "contract-c"):
        with pytest.raises(ModelMismatchError):
            client.upsert([replace(late, version=3)], contract)
        with pytest.raises(ModelMismatchError):
            client.search([replace(question(), contract=contract)])
    assert client.fetch([late.id])[0].version == 1, "what the old one got is for reconcile"
    client.upsert([replace(late, version=3)], "contract-b")
    assert client.search([replace(question(), contract="contract-b")])[0]


def test_a_build_that_lacks_images_is_not_switched_to(owner):
    client = serve(owner, 600)
    old = client.info()
    (owner.source / "lacking").write_text("5")
    client.rebuild("contract-b")
    until(lambda: settled(owner), 60)
    assert "holds 600 images, PostgreSQL 605" in client.progress().error
    assert (client.info().build, client.info().contract) == (old.build, SPEC.contract)
    assert owner.builds() == [old.build]


def test_a_build_whose_files_are_gone_is_said_and_mended(owner):
    client = serve(owner, 50)
    build = client.info().build
    owner.kill()
    (owner.folder / "builds" / build / "index.json").write_text("{")
    owner.start()
    until(lambda: "rebuild" in (client.info().loading or ""))
    assert not client.info().ready
    client.rebuild()
    until(lambda: client.info().ready)
    assert client.count() == 50
