"""What writes leave behind, over every implementation of the index."""

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
from pinpoint.records import Box, Circle, IndexFilter, IndexQuery, IndexSpec, Point

__all__ = ["filled", "index"]
EVERYTHING = IndexFilter(organization_id=ORG_A)


def box(south, west, north, east):
    return {"box": Box(south=south, west=west, north=north, east=east)}


def circle(lat, lon, radius_m):
    return {"circle": Circle(center=Point(lat, lon), radius_m=radius_m)}


def test_fetch_brings_back_what_was_written(filled):
    written = {p.id: p for p in gallery(300, places=EDGES)}
    ids = [*list(written)[:40], UUID(int=12345)]
    bare = filled.fetch(ids)
    assert {p.id for p in bare} == set(ids[:40])
    assert all(p == replace(written[p.id], vectors={}) for p in bare)
    for point in filled.fetch(ids, vectors=True):
        for channel, vector in written[point.id].vectors.items():
            np.testing.assert_allclose(point.vectors[channel], vector, atol=1e-3)
    assert filled.fetch([]) == []


def test_an_older_version_never_overwrites_a_newer_one(filled):
    old = gallery(2)[1]
    new = replace(old, version=3, point=Point(1, 2), captured_at=None, group="new")
    filled.upsert([new])
    filled.upsert([old, replace(old, version=2)])
    assert filled.fetch([old.id]) == [replace(new, vectors={})]
    again = replace(new, group="same version again")
    filled.upsert([again])
    assert filled.fetch([old.id])[0].group == "same version again"
    assert filled.count() == 300


def test_of_one_id_twice_in_a_request_the_newest_counts(filled):
    one = gallery(2)[1]
    filled.upsert([replace(one, version=5, group="five"), replace(one, version=4, group="four")])
    assert filled.fetch([one.id])[0].group == "five"


def test_a_changed_point_loses_the_vectors_it_no_longer_has(filled):
    one = gallery(2)[1]
    filled.upsert([replace(one, version=2, vectors={"image": one.vectors["image"]})])
    assert set(filled.fetch([one.id], vectors=True)[0].vectors) == {"image"}


def test_a_deleted_point_does_not_come_back(filled):
    one = gallery(2)[1]
    filled.write_tombstones({one.id: 2, UUID(int=99): 7})
    filled.upsert([one, replace(one, version=2), replace(one, id=UUID(int=99), version=6)])
    where = IndexFilter(organization_id=one.organization_id)
    query = IndexQuery(channel="image", vector=one.vectors["image"], filter=where, limit=400)
    assert one.id not in {hit.id for hit in filled.search([query])[0]}
    assert filled.fetch([one.id, UUID(int=99)], vectors=True) == []
    assert filled.count() == filled.info().points == 299
    assert (one.id, 2, False) in filled.scroll(None, 1_000)
    filled.write_tombstones({one.id: 1})
    assert (one.id, 2, False) in filled.scroll(None, 1_000)
    filled.upsert([replace(one, version=3)])
    assert len(filled.fetch([one.id])) == 1
    filled.write_tombstones({one.id: 2})
    assert len(filled.fetch([one.id])) == 1, "a delete older than the point leaves it"


def test_forget_removes_for_good(filled):
    one, other = gallery(3)[1:]
    filled.write_tombstones({one.id: 9})
    filled.delete_points([one.id, other.id, UUID(int=5)])
    filled.delete_points([])
    assert not {one.id, other.id} & {each for each, _, _ in filled.scroll(None, 1_000)}
    filled.upsert([one])
    assert len(filled.fetch([one.id])) == 1


def test_scroll_goes_through_all_ids_in_order(filled):
    filled.write_tombstones({identity(4): 2})
    seen, after = [], None
    while rows := filled.scroll(after, 37):
        seen += rows
        after = rows[-1][0]
    assert [each for each, _, _ in seen] == sorted(identity(n) for n in range(300))
    assert [each for each, _, alive in seen if not alive] == [identity(4)]
    of_b = [p.id for p in gallery(300) if p.organization_id == ORG_B]
    assert [row[0] for row in filled.scroll(None, 1_000, ORG_B)] == sorted(of_b)
    assert filled.scroll(UUID(int=2**128 - 1), 10) == []


def test_small_inserts_are_found_at_once(filled):
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


def test_before_ensure_nothing_is_ready(index):
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


def test_vectors_of_another_contract_are_neither_taken_nor_asked_for(filled):
    one = replace(gallery(2)[1], version=2)
    ask = IndexQuery(
        channel="image", vector=one.vectors["image"], filter=EVERYTHING, limit=1, contract="b"
    )
    for call in (
        lambda: filled.upsert([one], "b"),
        lambda: filled.search([replace(ask, contract=SPEC.contract), ask]),
        lambda: filled.ensure(IndexSpec(contract="b", dims=DIMS)),
    ):
        with pytest.raises(ModelMismatchError, match="bundles activate"):
            call()
    assert filled.fetch([one.id])[0].version == 1
    filled.upsert([one], SPEC.contract)
    (hits,) = filled.search([replace(ask, contract=SPEC.contract)])
    assert (hits[0].id, hits[0].version) == (one.id, 2)


def test_what_cannot_be_used_is_refused_and_changes_nothing(filled):
    one = gallery(2)[1]
    vector = one.vectors["image"]
    ask = IndexQuery(channel="image", vector=vector, filter=EVERYTHING, limit=1)
    naive = IndexFilter(organization_id=ORG_A, captured_after=START.replace(tzinfo=None))
    for error, call in (
        (BadBundleError, lambda: filled.upsert([replace(one, vectors={"image": vector[:5]})])),
        (BadBundleError, lambda: filled.upsert([replace(one, vectors={"raw": vector})])),
        (
            BadRequestError,
            lambda: filled.upsert([replace(one, vectors={"image": vector * np.nan})]),
        ),
        (BadRequestError, lambda: filled.upsert([replace(one, version=-1)])),
        (BadRequestError, lambda: filled.upsert([replace(one, version=2**60)])),
        (BadBundleError, lambda: filled.search([replace(ask, channel="raw")])),
        (BadBundleError, lambda: filled.search([replace(ask, vector=vector[:3])])),
        (BadRequestError, lambda: filled.search([replace(ask, limit=0)])),
        (BadRequestError, lambda: filled.search([replace(ask, limit=10**9)])),
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
            lambda: filled.count(replace(EVERYTHING, polygon=(Point(0, 0), Point(1, 1)))),
        ),
    ):
        with pytest.raises(error):
            call()
    assert filled.count() == 300
    assert filled.fetch([one.id])[0].version == 1
