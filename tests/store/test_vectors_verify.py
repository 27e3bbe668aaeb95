"""A build that does not find its own points is not activated."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from index_gallery import ORG_A, SPEC, FolderSource, gallery
from pinpoint.errors import IndexUnavailableError, ModelMismatchError
from pinpoint.records import IndexFilter, IndexQuery
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.qdrant import QdrantIndex
from pinpoint.store.vectors.verify import (
    SAMPLE_SIZE,
    SELF_TOP_K,
    check_count,
    verify_self_retrieval,
)


class DegradedBuild:
    """A build whose graph misses hits, or whose first vector is reversed."""

    def __init__(self, build, *, misses=0, reverse_first=False):
        self._build, self._misses, self._reversed = build, misses, reverse_first

    def scroll(self, after, limit):
        return self._build.scroll(after, limit)

    def fetch(self, ids, *, vectors=False):
        points = self._build.fetch(ids, vectors=vectors)
        if not self._reversed:
            return points
        reversed_vector = points[0].vectors["image"][::-1].copy()
        return [replace(points[0], vectors={"image": reversed_vector}), *points[1:]]

    def search(self, queries):
        hits_by_query = self._build.search(queries)
        return [
            hits if query.exact else hits[: SELF_TOP_K - self._misses]
            for query, hits in zip(queries, hits_by_query, strict=True)
        ]


@pytest.fixture
def build(tmp_path):
    index = EdgeIndex(tmp_path / "build", chooser=lambda _: "acorn")
    index.ensure(SPEC)
    index.upsert(gallery(400))
    yield index
    index.close()


def test_verify_self_retrieval_complete_build_is_one(build):
    seen = []
    assert verify_self_retrieval(build, seen.append) == 1.0
    assert SAMPLE_SIZE * 0.7 < len(seen) == seen[-1] <= SAMPLE_SIZE
    twins = [replace(point, vectors=gallery(1)[0].vectors) for point in gallery(400)[:60]]
    build.upsert(twins)
    assert verify_self_retrieval(build) == 1.0, "equal vectors may replace each other"


def test_verify_self_retrieval_missed_hits_raises(build):
    with pytest.raises(IndexUnavailableError, match=r"finds 0\.900 of the 10 nearest") as caught:
        verify_self_retrieval(DegradedBuild(build, misses=1))
    assert caught.value.reason == "build_not_verified"


def test_verify_self_retrieval_changed_vector_raises(build):
    with pytest.raises(IndexUnavailableError, match="by its own image vector"):
        verify_self_retrieval(DegradedBuild(build, reverse_first=True))


def test_verify_self_retrieval_empty_build_is_one(tmp_path):
    empty = EdgeIndex(tmp_path / "empty")
    empty.ensure(SPEC)
    assert verify_self_retrieval(empty) == 1.0
    empty.close()


@pytest.mark.parametrize(
    ("count", "bounds", "moved", "accepted"),
    [
        (10, (10, 10), 0, True),
        (9, (10, 10), 0, False),
        (11, (10, 10), 0, False),
        (12, (10, 12), 0, True),
        (8, (10, 12), 2, True),
        (15, (10, 12), 2, False),
    ],
)
def test_check_count_outside_moving_bounds_raises(count, bounds, moved, accepted):
    if accepted:
        check_count(count, bounds, moved)
    else:
        with pytest.raises(IndexUnavailableError, match="PostgreSQL"):
            check_count(count, bounds, moved)


def test_qdrant_search_during_alias_switches_answers_only_its_contract(tmp_path):
    """A thread searches while the alias switches; in-memory engine of qdrant-client."""
    (tmp_path / "n").write_text("60")
    index = QdrantIndex(":memory:")
    index.ensure(SPEC)
    index.upsert(gallery(60))
    vector = gallery(60)[1].vectors["image"]
    where = IndexFilter(organization_id=ORG_A)
    query = IndexQuery(channel="image", vector=vector, filter=where, limit=5)
    contracts, stop = (SPEC.contract, "contract-b"), threading.Event()
    answered_contracts: set[str] = set()
    refused_contracts: list[str] = []
    wrong_answers: list[object] = []

    def search_repeatedly():
        while not stop.is_set():
            for contract in contracts:
                try:
                    (hits,) = index.search([replace(query, contract=contract)])
                except ModelMismatchError:
                    refused_contracts.append(contract)
                except Exception as error:  # any other exception fails the test
                    wrong_answers.append(repr(error))
                else:
                    answered_contracts.add(contract)
                    wrong_answers.extend(
                        [] if np.isclose(hits[0].score, 1.0, atol=1e-3) else [hits]
                    )

    thread = threading.Thread(target=search_repeatedly)
    thread.start()
    for rebuild_number in range(4):
        index.rebuild(FolderSource(tmp_path, contracts[(rebuild_number + 1) % 2]))
        assert index.info().contract == contracts[(rebuild_number + 1) % 2]
    stop.set()
    thread.join()
    index.close()
    assert wrong_answers == []
    assert answered_contracts == set(refused_contracts) == set(contracts)
