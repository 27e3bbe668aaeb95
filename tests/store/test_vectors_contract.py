"""Results of writes, for every implementation of the index."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest

from index_fixtures import EDGES, filled, index
from index_gallery import DIMS, ORG_A, ORG_B, SPEC, START, gallery, identity
from pinpoint.errors import (
    BadBundleError,
    BadRequestError,
    IndexUnavailableError,
    ModelMismatchError,
)
from pinpoint.records import Box, Circle, IndexFilter, IndexQuery, IndexSpec, Point, Polygon

__all__ = ["filled", "index"]
EVERYTHING = IndexFilter(organization_id=ORG_A)


def box(south, west, north, east):
    return {"box": Box(south=south, west=west, north=north, east=east)}


def circle(lat, lon, radius_m):
    return {"circle": Circle(center=Point(lat, lon), radius_m=radius_m)}


def test_fetch_returns_written_points(filled):
    written = {p.id: p for p in gallery(300, places=EDGES)}
    ids = [*list(written)[:40], UUID(int=12345)]
    without_vectors = filled.fetch(ids)
    assert {p.id for p in without_vectors} == set(ids[:40])
    assert all(p == replace(written[p.id], vectors={}) for p in without_vectors)
    for point in filled.fetch(ids, vectors=True):
        for channel, vector in written[point.id].vectors.items():
            np.testing.assert_allclose(point.vectors[channel], vector, atol=1e-3)
    assert filled.fetch([]) == []


def test_upsert_older_version_is_ignored(filled):
    old_point = gallery(2)[1]
    new_point = replace(old_point, version=3, point=Point(1, 2), captured_at=None, group="new")
    filled.upsert([new_point])
    filled.upsert([old_point, replace(old_point, version=2)])
    assert filled.fetch([old_point.id]) == [replace(new_point, vectors={})]
    same_version = replace(new_point, group="same version again")
    filled.upsert([same_version])
    assert filled.fetch([old_point.id])[0].group == "same version again"
    assert filled.count() == 300


def test_upsert_same_id_twice_keeps_newest_version(filled):
    point = gallery(2)[1]
    filled.upsert(
        [replace(point, version=5, group="five"), replace(point, version=4, group="four")]
    )
    assert filled.fetch([point.id])[0].group == "five"


def test_upsert_without_channel_removes_its_vector(filled):
    point = gallery(2)[1]
    filled.upsert([replace(point, version=2, vectors={"image": point.vectors["image"]})])
    assert set(filled.fetch([point.id], vectors=True)[0].vectors) == {"image"}


def test_upsert_below_tombstone_version_is_ignored(filled):
    point = gallery(2)[1]
    filled.write_tombstones({point.id: 2, UUID(int=99): 7})
    filled.upsert([point, replace(point, version=2), replace(point, id=UUID(int=99), version=6)])
    where = IndexFilter(organization_id=point.organization_id)
    query = IndexQuery(channel="image", vector=point.vectors["image"], filter=where, limit=400)
    assert point.id not in {hit.id for hit in filled.search([query])[0]}
    assert filled.fetch([point.id, UUID(int=99)], vectors=True) == []
    assert filled.count() == filled.info().points == 299
    assert (point.id, 2, False) in filled.scroll(None, 1_000)
    filled.write_tombstones({point.id: 1})
    assert (point.id, 2, False) in filled.scroll(None, 1_000)
    filled.upsert([replace(point, version=3)])
    assert len(filled.fetch([point.id])) == 1
    filled.write_tombstones({point.id: 2})
    assert len(filled.fetch([point.id])) == 1, "a write_tombstones older than the point is ignored"


def test_forget_removes_points_and_tombstones(filled):
    point, other_point = gallery(3)[1:]
    filled.write_tombstones({point.id: 9})
    filled.delete_points([point.id, other_point.id, UUID(int=5)])
    filled.delete_points([])
    assert not {point.id, other_point.id} & {
        point_id for point_id, _, _ in filled.scroll(None, 1_000)
    }
    filled.upsert([point])
    assert len(filled.fetch([point.id])) == 1


def test_scroll_returns_all_ids_in_order(filled):
    filled.write_tombstones({identity(4): 2})
    seen, after = [], None
    while rows := filled.scroll(after, 37):
        seen += rows
        after = rows[-1][0]
    assert [point_id for point_id, _, _ in seen] == sorted(identity(n) for n in range(300))
    assert [point_id for point_id, _, alive in seen if not alive] == [identity(4)]
    ids_of_b = [p.id for p in gallery(300) if p.organization_id == ORG_B]
    assert [row[0] for row in filled.scroll(None, 1_000, ORG_B)] == sorted(ids_of_b)
    assert filled.scroll(UUID(int=2**128 - 1), 10) == []


def test_search_after_small_upsert_finds_point(filled):
    for n, point in enumerate(gallery(330)[300:]):
        filled.upsert([replace(point, organization_id=ORG_A)])
        query = IndexQuery(
            channel="image", vector=point.vectors["image"], filter=EVERYTHING, limit=1
        )
        assert filled.search([query])[0][0].id == point.id
        assert filled.count() == 301 + n


def test_ensure_refuses_another_contract(filled):
    filled.ensure(SPEC)
    with pytest.raises(ModelMismatchError, match="bundles activate"):
        filled.ensure(IndexSpec(contract="contract-b", dims=DIMS))
    with pytest.raises(ModelMismatchError, match="bundles activate"):
        filled.ensure(IndexSpec(contract=SPEC.contract, dims={"image": 16}))
    info = filled.info()
    assert (info.ready, info.contract, info.points) == (True, SPEC.contract, 300)
    assert info.build


def test_calls_before_ensure_raise_unavailable(index):
    assert not index.info().ready
    query = IndexQuery(channel="image", vector=np.ones(16, "f"), filter=EVERYTHING, limit=1)
    for call in (
        lambda: index.search([query]),
        lambda: index.upsert(gallery(1)),
        lambda: index.count(),
        lambda: index.scroll(None, 5),
        lambda: index.write_tombstones({UUID(int=1): 1}),
    ):
        with pytest.raises(IndexUnavailableError):
            call()


def test_calls_with_another_contract_raise_mismatch(filled):
    point = replace(gallery(2)[1], version=2)
    query = IndexQuery(
        channel="image", vector=point.vectors["image"], filter=EVERYTHING, limit=1, contract="b"
    )
    for call in (
        lambda: filled.upsert([point], "b"),
        lambda: filled.search([replace(query, contract=SPEC.contract), query]),
        lambda: filled.ensure(IndexSpec(contract="b", dims=DIMS)),
    ):
        with pytest.raises(ModelMismatchError, match="bundles activate"):
            call()
    assert filled.fetch([point.id])[0].version == 1
    filled.upsert([point], SPEC.contract)
    (hits,) = filled.search([replace(query, contract=SPEC.contract)])
    assert (hits[0].id, hits[0].version) == (point.id, 2)


def test_invalid_calls_raise_and_change_nothing(filled):
    point = gallery(2)[1]
    vector = point.vectors["image"]
    query = IndexQuery(channel="image", vector=vector, filter=EVERYTHING, limit=1)
    flat = Polygon(exterior=(Point(0, 0), Point(1, 1), Point(0, 0)))
    unclosed = Polygon(exterior=(Point(0, 0), Point(1, 1), Point(0, 2)))
    naive = IndexFilter(organization_id=ORG_A, captured_after=START.replace(tzinfo=None))
    for error, call in (
        (BadBundleError, lambda: filled.upsert([replace(point, vectors={"image": vector[:5]})])),
        (BadBundleError, lambda: filled.upsert([replace(point, vectors={"raw": vector})])),
        (
            BadRequestError,
            lambda: filled.upsert([replace(point, vectors={"image": vector * np.nan})]),
        ),
        (BadRequestError, lambda: filled.upsert([replace(point, version=-1)])),
        (BadRequestError, lambda: filled.upsert([replace(point, version=2**60)])),
        (BadBundleError, lambda: filled.search([replace(query, channel="raw")])),
        (BadBundleError, lambda: filled.search([replace(query, vector=vector[:3])])),
        (BadRequestError, lambda: filled.search([replace(query, limit=0)])),
        (BadRequestError, lambda: filled.search([replace(query, limit=10**9)])),
        (BadRequestError, lambda: filled.count(naive)),
        (
            BadRequestError,
            lambda: filled.count(IndexFilter(organization_id=ORG_A, **circle(0, 0, -1))),
        ),
        (
            BadRequestError,
            lambda: filled.count(IndexFilter(organization_id=ORG_A, **box(5, 0, -5, 1))),
        ),
        (
            BadRequestError,
            lambda: filled.count(replace(EVERYTHING, polygons=(flat,))),
        ),
        (
            BadRequestError,
            lambda: filled.count(replace(EVERYTHING, polygons=(unclosed,))),
        ),
    ):
        with pytest.raises(error):
            call()
    assert filled.count() == 300
    assert filled.fetch([point.id])[0].version == 1
