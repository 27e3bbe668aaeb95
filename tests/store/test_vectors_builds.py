"""Optimized builds of the embedded engine, and rebuilding on a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
import qdrant_edge as edge

from index_gallery import ORG_A, SPEC, START, FolderSource, gallery, identity
from pinpoint.errors import BadBundleError, IndexUnavailableError
from pinpoint.records import IndexFilter, IndexQuery, IndexSpec, Point
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.qdrant import QdrantIndex

WIDE = {"image": 1_024}


def test_a_build_of_an_earlier_version_answers_the_same(tmp_path):
    """Its points have no field `partition_key`; those that are written into it now get one."""
    index = EdgeIndex(tmp_path / "build")
    index.ensure(SPEC)
    points = gallery(300)
    index.upsert(points[:200])
    wheres = [
        IndexFilter(organization_id=ORG_A, source_kinds=kinds)
        for kinds in ((), ("photo",), ("street",), ("photo", "street"))
    ]
    asked = [
        IndexQuery(channel="image", vector=points[7].vectors["image"], filter=where, limit=300)
        for where in wheres
    ]
    before = index.search(asked)
    without = edge.UpdateOperation.delete_payload(
        [each.id for each in points[:200]], ["partition_key"]
    )
    index._require_shard().update(without)
    assert [len(hits) for hits in index.search(asked)][1:] == [0, 0, 0], "it is what is asked by"
    index.close()
    old = EdgeIndex(tmp_path / "build")
    assert old.search(asked) == before
    old.upsert(points[200:])
    wanted = [
        sum(
            one.organization_id == ORG_A and one.kind in (w.source_kinds or (one.kind,))
            for one in points
        )
        for w in wheres
    ]
    assert [old.count(where) for where in wheres] == wanted
    assert [len(hits) for hits in old.search(asked)] == wanted
    old.close()


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
def test_a_collection_of_an_earlier_version_answers_the_same():
    """A server says which fields it has an index of; the engine in memory says none."""
    index = QdrantIndex(":memory:")
    index.ensure(SPEC)
    points = gallery(60)
    index.upsert(points)
    where = IndexFilter(organization_id=ORG_A, source_kinds=("street",))
    asked = IndexQuery(channel="image", vector=points[7].vectors["image"], filter=where, limit=60)
    found = [hit.id for hit in index.search([asked])[0]]
    assert index.count(where) == len(found) > 0
    with index._alias.open_client() as client:
        client.delete_payload(
            index._alias.live_collection(), ["partition_key"], [str(each.id) for each in points]
        )
    assert index.count(where) == 0, "it is what is asked by"
    index._alias.local = False
    assert [hit.id for hit in index.search([asked])[0]] == found
    assert index.count(where) == len(found)
    index.close()


def test_the_length_of_lists_is_what_would_be_counted(tmp_path):
    index = EdgeIndex(tmp_path / "build")
    index.ensure(SPEC)
    points = gallery(600)
    index.upsert(points)
    index.optimize()
    index.upsert([replace(each, version=2) for each in points[:90]])
    index.upsert([replace(each, version=2, kind="street") for each in points[90:120]])
    index.write_tombstones({each.id: 3 for each in points[100:150]})
    owner = IndexFilter(organization_id=ORG_A)
    for kinds in ((), ("photo",), ("street",), ("photo", "street")):
        where = replace(owner, source_kinds=kinds)
        assert index._estimate_partitions(where) == (index.count(where), True)
        early = replace(where, captured_before=START + timedelta(hours=200))
        assert index._estimate_partitions(early) == (index.count(where), False)
        assert index.count(early) < index.count(where)
    index.close()


@pytest.mark.timeout(120)
def test_an_optimized_index_holds_recall_and_takes_changes(tmp_path):
    points = gallery(6_000, dims=WIDE)
    index = EdgeIndex(tmp_path / "build", chooser=lambda *_: "acorn")
    index.ensure(IndexSpec(contract="wide", dims=WIDE))
    index.upsert(points)
    index.optimize()
    assert index.info().indexed_vectors >= 6_000, "otherwise this test says nothing about HNSW"
    where = IndexFilter(organization_id=ORG_A, source_kinds=("photo",))
    asked = [
        IndexQuery(channel="image", vector=p.vectors["image"], filter=where, limit=48)
        for p in points[:200:10]
    ]
    seen = [p for p in points if p.organization_id == ORG_A and p.kind == "photo"]
    matrix = np.stack([p.vectors["image"] for p in seen])
    found, shares = index.search(asked), []
    for query, hits in zip(asked, found, strict=True):
        best = np.argsort(-(matrix @ query.vector))[:48]
        shares.append(len({hit.id for hit in hits} & {seen[i].id for i in best}) / 48)
    assert np.mean(shares) >= 0.95, shares
    assert index.search(asked) == found
    exact = index.search([replace(query, exact=True) for query in asked])
    for query, hits in zip(asked, exact, strict=True):
        best = np.argsort(-(matrix @ query.vector))[:48]
        assert {hit.id for hit in hits} == {seen[i].id for i in best}
    moved = [replace(p, version=2, point=Point(1, 1)) for p in points[:300]]
    index.upsert(moved)
    index.upsert(points[:300])
    index.write_tombstones({p.id: 2 for p in points[300:400]})
    index.delete_points([p.id for p in points[400:450]])
    index.upsert(points[300:400])
    assert index.count() == index.info().points == 5_850
    assert len(index.scroll(None, 10_000)) == 5_950
    assert all(p.point == Point(1, 1) for p in index.fetch([p.id for p in moved]))
    index.close()
    index.close()
    again = EdgeIndex(tmp_path / "build")
    assert (again.count(), again.info().build) == (5_850, "build")
    with pytest.raises(IndexUnavailableError, match="opened"):
        EdgeIndex(tmp_path / "build")
    again.close()


def test_what_a_crash_left_before_the_index_was_whole_is_made_anew(tmp_path):
    (tmp_path / "build" / "shard" / "segments" / "half").mkdir(parents=True)
    (tmp_path / "build" / "shard" / "wal").write_text("cut off")
    index = EdgeIndex(tmp_path / "build")
    assert not index.info().ready
    index.ensure(SPEC)
    index.upsert(gallery(5))
    assert index.count() == 5
    index.close()


def test_a_server_is_rebuilt_beside_the_collection_that_serves(tmp_path):
    index = QdrantIndex(":memory:")
    index.ensure(SPEC)
    index.upsert(gallery(40))
    before = index.info()
    (tmp_path / "n").write_text("30")
    (tmp_path / "extra").write_text("4")
    index.rebuild(FolderSource(tmp_path))
    after = index.info()
    assert (after.contract, after.points) == (SPEC.contract, 34)
    assert after.build > before.build
    assert (identity(10_000), 5, False) in index.scroll(None, 100)
    (tmp_path / "contract").write_text("contract-b")
    index.rebuild(FolderSource(tmp_path))
    assert index.info().contract == "contract-b"
    (tmp_path / "lacking").write_text("6")
    (tmp_path / "contract").write_text("contract-c")
    with pytest.raises(IndexUnavailableError, match="holds 34 images, PostgreSQL 40"):
        index.rebuild(FolderSource(tmp_path))
    (tmp_path / "lacking").unlink()
    assert index.info().contract == "contract-b"
    (tmp_path / "contract").write_text("no/such:name")
    with pytest.raises(BadBundleError):
        index.rebuild(FolderSource(tmp_path))
    assert index.count() == 34
    index.close()
