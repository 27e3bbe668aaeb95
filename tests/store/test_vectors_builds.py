"""Optimized builds of the embedded engine, and rebuilding on a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from index_gallery import ORG_A, SPEC, START, FolderSource, gallery, identity
from pinpoint.errors import BadBundleError, IndexUnavailableError
from pinpoint.records import IndexFilter, IndexQuery, IndexSpec, Point
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.qdrant import QdrantIndex

WIDE = {"image": 1_024}


def test_estimate_partitions_equals_count(tmp_path):
    index = EdgeIndex(tmp_path / "build")
    index.ensure(SPEC)
    points = gallery(600)
    index.upsert(points)
    index.optimize()
    index.upsert([replace(point, version=2) for point in points[:90]])
    index.upsert([replace(point, version=2, kind="street") for point in points[90:120]])
    index.write_tombstones({point.id: 3 for point in points[100:150]})
    owner = IndexFilter(organization_id=ORG_A)
    for kinds in ((), ("photo",), ("street",), ("photo", "street")):
        where = replace(owner, source_kinds=kinds)
        assert index._estimate_partitions(where) == (index.count(where), True)
        early = replace(where, captured_before=START + timedelta(hours=200))
        assert index._estimate_partitions(early) == (index.count(where), False)
        assert index.count(early) < index.count(where)
    index.close()


@pytest.mark.timeout(120)
def test_optimized_edge_index_keeps_recall_and_accepts_changes(tmp_path):
    points = gallery(6_000, dims=WIDE)
    index = EdgeIndex(tmp_path / "build", chooser=lambda *_: "acorn")
    index.ensure(IndexSpec(contract="wide", dims=WIDE))
    index.upsert(points)
    index.optimize()
    assert index.info().indexed_vectors >= 6_000, "without indexed vectors HNSW is not tested"
    where = IndexFilter(organization_id=ORG_A, source_kinds=("photo",))
    queries = [
        IndexQuery(channel="image", vector=p.vectors["image"], filter=where, limit=48)
        for p in points[:200:10]
    ]
    matching_points = [p for p in points if p.organization_id == ORG_A and p.kind == "photo"]
    matrix = np.stack([p.vectors["image"] for p in matching_points])
    hits_found, recall_shares = index.search(queries), []
    for query, hits in zip(queries, hits_found, strict=True):
        best = np.argsort(-(matrix @ query.vector))[:48]
        recall_shares.append(
            len({hit.id for hit in hits} & {matching_points[i].id for i in best}) / 48
        )
    assert np.mean(recall_shares) >= 0.95, recall_shares
    assert index.search(queries) == hits_found
    exact = index.search([replace(query, exact=True) for query in queries])
    for query, hits in zip(queries, exact, strict=True):
        best = np.argsort(-(matrix @ query.vector))[:48]
        assert {hit.id for hit in hits} == {matching_points[i].id for i in best}
    moved_points = [replace(p, version=2, point=Point(1, 1)) for p in points[:300]]
    index.upsert(moved_points)
    index.upsert(points[:300])
    index.write_tombstones({p.id: 2 for p in points[300:400]})
    index.delete_points([p.id for p in points[400:450]])
    index.upsert(points[300:400])
    assert index.count() == index.info().points == 5_850
    assert len(index.scroll(None, 10_000)) == 5_950
    assert all(p.point == Point(1, 1) for p in index.fetch([p.id for p in moved_points]))
    index.close()
    index.close()
    reopened = EdgeIndex(tmp_path / "build")
    assert (reopened.count(), reopened.info().build) == (5_850, "build")
    with pytest.raises(IndexUnavailableError, match="opened"):
        EdgeIndex(tmp_path / "build")
    reopened.close()


def test_ensure_after_crash_replaces_incomplete_build(tmp_path):
    (tmp_path / "build" / "shard" / "segments" / "half").mkdir(parents=True)
    (tmp_path / "build" / "shard" / "wal").write_text("cut off")
    index = EdgeIndex(tmp_path / "build")
    assert not index.info().ready
    index.ensure(SPEC)
    index.upsert(gallery(5))
    assert index.count() == 5
    index.close()


def test_qdrant_rebuild_serves_old_collection_until_complete(tmp_path):
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
