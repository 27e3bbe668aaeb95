"""What other towns lose, so that nothing tells the truth but pictures."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest

from pinpoint.evaluation.labels.labels import LabeledQuery
from pinpoint.geo.distance import haversine_m
from pinpoint.records import SOURCE_KINDS, Candidate, Exclusions, Point, SearchFilter
from pinpoint.search import evidence, exclusion_filter
from pinpoint.search.context import EvidenceSettings
from pinpoint.training.reranker import examples as examples_of
from pinpoint.training.reranker import train_reranker
from pinpoint.training.reranker.leakage_balance import LOCALITY_RADIUS_M, balance_exclusions
from training.reranker_runs import example_gallery


@pytest.fixture(scope="module")
def images(world):
    """All of the gallery, by id."""
    harness, org = world
    with harness.database.read(org) as reader:
        return reader.images([each for each, _, _ in harness.index.scroll(None, 1_000)])


def fetch_evidence(candidates, exclusions, *, query, reader):
    return evidence.fetch_evidence(candidates, query, reader, exclusions)


@pytest.fixture
def gathering(world):
    """Reads evidence of the gallery."""
    harness, org = world
    with harness.database.read(org) as reader:
        yield partial(
            fetch_evidence,
            query=evidence.EvidenceQuery(
                vector=np.ones(harness.encoder.contract.dims["image"], dtype=np.float32),
                contract=harness.encoder.contract.digest,
                limits=SearchFilter(),
                settings=EvidenceSettings(radius_m=10_000.0, per_kind=5),
            ),
            reader=reader,
        )


def candidate(image, slot):
    return Candidate(
        id=image.id,
        source_id=image.source_id,
        source_kind=image.kind,
        point=image.point,
        captured_at=None,
        group=str(image.id),
        score=0.5,
        rank=slot + 1,
    )


@pytest.fixture(params=SOURCE_KINDS)
def case(request, world, images, gathering):
    """The gallery asked about a picture of its own: how it is asked, candidates, evidence."""
    harness, org = world
    own = next(each for each in images.values() if each.kind == request.param)
    query = LabeledQuery(
        file=own.external_id,
        ground_truth=own.point,
        creator=own.creator,
        sequence=own.sequence,
        query_kind=own.kind,
        areas={},
        strata={},
    )
    asked = Exclusions(creators=(own.creator,))
    out = exclusion_filter.resolve_excluded_ids(
        asked, organization_id=org, database=harness.database
    )
    every = [candidate(each, slot) for slot, each in enumerate(images.values())]
    candidates = tuple(each for each in every if each.id not in out.ids)
    near = gathering(candidates, exclusions=out)
    return (
        query,
        candidates,
        near,
        {"requested": asked, "resolved": out, "fetch_evidence": gathering},
    )


def by_locality(images):
    found = defaultdict(list)
    for each in images.values():
        found[each.external_id.split("/")[-2]].append(each)
    return found


def away_m(query, image):
    places = ([[one.lat, one.lon]] for one in (query.ground_truth, image.point))
    return haversine_m(*map(np.array, places))[0]


def evidence_pairs(near):
    return {(each, photo.id) for each, photos in near.items() for photo in photos}


def test_balance_exclusions_removes_one_creator_per_other_locality(world, images, case, gathering):
    query, candidates, near, how = case
    reader = gathering.keywords["reader"]
    left, found = balance_exclusions(query, candidates, near, reader=reader, **how)
    gone = {each.id for each in candidates} - {each.id for each in left}
    assert len(by_locality(images)) > 2
    for there in by_locality(images).values():
        at_ground_truth = away_m(query, there[0]) < LOCALITY_RADIUS_M
        lost = [each for each in there if each.id in gone]
        makers = {each.creator for each in lost}
        assert len(makers) == (0 if at_ground_truth else 1)
        assert {each.id for each in there if each.creator in makers} == {e.id for e in lost}
        assert at_ground_truth or query.query_kind in {each.kind for each in lost}
    every = replace(how["resolved"], ids=tuple(sorted({*how["resolved"].ids, *gone})))
    assert evidence_pairs(found) == evidence_pairs(gathering(left, exclusions=every))
    assert evidence_pairs(found) - evidence_pairs(near), "who stood behind has moved up"
    assert balance_exclusions(query, candidates, near, reader=reader, **how)[0] == left, (
        "the same again"
    )


def test_balance_exclusions_differ_between_queries(case, gathering):
    query, candidates, near, how = case
    reader = gathering.keywords["reader"]
    found = {
        tuple(
            each.id for each in balance_exclusions(one, candidates, near, reader=reader, **how)[0]
        )
        for one in (replace(query, file=f"{number}.jpg") for number in range(8))
    }
    assert len(found) > 1


def changed_catalog(images, **changes):
    """A catalog of the same images with something changed, and what it was asked."""
    rows = {each.id: replace(each, **changes) for each in images.values()}
    asked = []

    def ids_by(*, hashes, creators, sequences):
        asked.append((list(creators), list(sequences)))
        return [
            id_
            for id_, each in rows.items()
            if each.creator in creators or each.sequence in sequences
        ]

    return SimpleNamespace(
        images=lambda ids: {each: rows[each] for each in ids}, ids_by=ids_by
    ), asked


def test_balance_exclusions_with_single_creator_keeps_true_locality(images, case):
    query, candidates, near, how = case
    reader, asked = changed_catalog(images, creator="a survey")
    left, _ = balance_exclusions(query, candidates, near, reader=reader, **how)
    stay = {images[each.id].external_id for each in left}
    assert asked == [(["a survey"], [])]
    assert stay == {
        images[each.id].external_id
        for each in candidates
        if away_m(query, images[each.id]) < LOCALITY_RADIUS_M
    }


def test_balance_exclusions_follow_requested_exclusions(images, case):
    query, candidates, near, how = case
    reader, asked = changed_catalog(images, creator="a survey", sequence="a drive")
    by_drive = Exclusions(sequences=("a drive",))
    left, _ = balance_exclusions(
        query, candidates, near, reader=reader, **{**how, "requested": by_drive}
    )
    assert asked == [([], ["a drive"])]
    assert len(left) < len(candidates)
    alone, _ = balance_exclusions(
        query, candidates, near, reader=reader, **{**how, "requested": Exclusions()}
    )
    gone = [each for each in candidates if each not in alone]
    others = [
        own for own in by_locality(images).values() if away_m(query, own[0]) > LOCALITY_RADIUS_M
    ]
    assert len(gone) == len(others), "one photo of each town, by itself"
    assert {each.kind for each in gone} == {query.query_kind}


def test_balance_exclusions_without_loss_at_ground_truth_change_nothing(images, case):
    query, candidates, near, how = case
    reader, _ = changed_catalog(images, point=Point(lat=-89.0, lon=0.0))
    found = balance_exclusions(query, candidates, near, reader=reader, **how)
    assert found == (candidates, near)
    reader, _ = changed_catalog(images)
    none = {**how, "resolved": Exclusions(near_duplicate_cosine=0.95)}
    assert balance_exclusions(query, candidates, near, reader=reader, **none) == (
        candidates,
        near,
    )


def test_balance_exclusions_without_candidates_return_empty(images, case):
    query, _, _, how = case
    reader, _ = changed_catalog(images)
    assert balance_exclusions(query, (), {}, reader=reader, **how) == ((), {})


def test_cache_examples_writes_balanced_rows(
    world, images, examples, reranked, tmp_path, monkeypatch
):
    makers = {each.creator for each in images.values()}
    asked = [each for each in examples[0] if each.query.creator in makers][:12]
    told = []

    def recording(query, candidates, near, **how):
        told.append((len(candidates), balance_exclusions(query, candidates, near, **how)))
        return told[-1][1]

    monkeypatch.setattr(examples_of, "balance_exclusions", recording)
    table, even = train_reranker.split_table(asked, 3), example_gallery(world, reranked[0])
    found = train_reranker.cache_examples(tmp_path / "even", asked, table, even)
    assert len(told) == len(asked)
    for row, (before, (left, near)) in zip(found.rows, told, strict=True):
        assert len(left) < before
        assert [each.id.bytes for each in left] == [
            each.ljust(16, b"\0") for each in row["id"][row["present"]].tolist()
        ]
        assert evidence_pairs(near) == {
            (left[slot].id, UUID(bytes=row["evidence_id"][slot, at].ljust(16, b"\0")))
            for slot, at in np.argwhere(row["evidence_present"])
        }
    as_served = replace(even, evened=False)
    whole = train_reranker.cache_examples(tmp_path / "whole", asked, table, as_served)
    assert len(told) == len(asked), "nobody is asked for more"
    assert whole.rows["present"].sum() > found.rows["present"].sum()
