"""Counterfactual exclusions: other localities lose as much as the true one, against leakage."""

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
from pinpoint.training.reranker.examples import cache_examples, split_table
from pinpoint.training.reranker.leakage_balance import LOCALITY_RADIUS_M, balance_exclusions
from training.reranker_runs import example_gallery


@pytest.fixture(scope="module")
def images(world):
    """All images of the gallery, by id."""
    harness, org = world
    with harness.database.read(org) as reader:
        return reader.images([each for each, _, _ in harness.index.scroll(None, 1_000)])


def fetch_evidence(candidates, exclusions, *, query, reader):
    return evidence.fetch_evidence(candidates, query, reader, exclusions)


@pytest.fixture
def gathering(world):
    """`fetch_evidence` with the gallery's reader and a fixed query."""
    harness, org = world
    with harness.database.read(org) as reader:
        yield partial(
            fetch_evidence,
            query=evidence.EvidenceQuery(
                vector=np.ones(harness.encoder.contract.dims["image"], dtype=np.float32),
                contract=harness.encoder.contract.digest,
                search_filter=SearchFilter(),
                settings=EvidenceSettings(radius_m=10_000.0, per_kind=5),
            ),
            reader=reader,
        )


def candidate(image, slot):
    return Candidate(
        id=image.id,
        source_id=image.source_id,
        source_kind=image.source_kind,
        point=image.point,
        captured_at=None,
        group=str(image.id),
        score=0.5,
        rank=slot + 1,
    )


@pytest.fixture(params=SOURCE_KINDS)
def case(request, world, images, gathering):
    """A query on one of the gallery's images: query, candidates, evidence and further arguments."""
    harness, org = world
    image = next(image for image in images.values() if image.source_kind == request.param)
    query = LabeledQuery(
        file=image.external_id,
        ground_truth=image.point,
        creator=image.creator,
        sequence=image.sequence,
        query_kind=image.source_kind,
        areas={},
        strata={},
    )
    requested = Exclusions(creators=(image.creator,))
    resolved = exclusion_filter.resolve_excluded_ids(
        requested, organization_id=org, database=harness.database
    )
    all_candidates = [candidate(image, slot) for slot, image in enumerate(images.values())]
    candidates = tuple(each for each in all_candidates if each.id not in resolved.ids)
    near = gathering(candidates, exclusions=resolved)
    return (
        query,
        candidates,
        near,
        {"requested": requested, "resolved": resolved, "fetch_evidence": gathering},
    )


def by_locality(images):
    localities = defaultdict(list)
    for image in images.values():
        localities[image.external_id.split("/")[-2]].append(image)
    return localities


def away_m(query, image):
    positions = ([[point.lat, point.lon]] for point in (query.ground_truth, image.point))
    return haversine_m(*map(np.array, positions))[0]


def evidence_pairs(near):
    return {(candidate_id, photo.id) for candidate_id, photos in near.items() for photo in photos}


def test_balance_exclusions_removes_one_creator_per_other_locality(world, images, case, gathering):
    query, candidates, near, how = case
    reader = gathering.keywords["reader"]
    left, found = balance_exclusions(query, candidates, near, reader=reader, **how)
    gone = {each.id for each in candidates} - {each.id for each in left}
    assert len(by_locality(images)) > 2
    for there in by_locality(images).values():
        at_ground_truth = away_m(query, there[0]) < LOCALITY_RADIUS_M
        lost = [image for image in there if image.id in gone]
        creators = {image.creator for image in lost}
        assert len(creators) == (0 if at_ground_truth else 1)
        assert {image.id for image in there if image.creator in creators} == {e.id for e in lost}
        assert at_ground_truth or query.query_kind in {each.source_kind for each in lost}
    every = replace(how["resolved"], ids=tuple(sorted({*how["resolved"].ids, *gone})))
    assert evidence_pairs(found) == evidence_pairs(gathering(left, exclusions=every))
    assert evidence_pairs(found) - evidence_pairs(near), (
        "the next nearest images replace removed evidence"
    )
    assert balance_exclusions(query, candidates, near, reader=reader, **how)[0] == left, (
        "a second call returns the same"
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
    """A catalog of the same images with changed fields, and its recorded calls."""
    rows = {each.id: replace(each, **changes) for each in images.values()}
    calls = []

    def ids_by(*, hashes, creators, sequences):
        calls.append((list(creators), list(sequences)))
        return [
            id_
            for id_, each in rows.items()
            if each.creator in creators or each.sequence in sequences
        ]

    return SimpleNamespace(
        images=lambda ids: {each: rows[each] for each in ids}, ids_by=ids_by
    ), calls


def test_balance_exclusions_with_single_creator_keeps_true_locality(images, case):
    query, candidates, near, how = case
    reader, calls = changed_catalog(images, creator="a survey")
    left, _ = balance_exclusions(query, candidates, near, reader=reader, **how)
    stay = {images[each.id].external_id for each in left}
    assert calls == [(["a survey"], [])]
    assert stay == {
        images[each.id].external_id
        for each in candidates
        if away_m(query, images[each.id]) < LOCALITY_RADIUS_M
    }


def test_balance_exclusions_follow_requested_exclusions(images, case):
    query, candidates, near, how = case
    reader, calls = changed_catalog(images, creator="a survey", sequence="a drive")
    by_drive = Exclusions(sequences=("a drive",))
    left, _ = balance_exclusions(
        query, candidates, near, reader=reader, **{**how, "requested": by_drive}
    )
    assert calls == [([], ["a drive"])]
    assert len(left) < len(candidates)
    alone, _ = balance_exclusions(
        query, candidates, near, reader=reader, **{**how, "requested": Exclusions()}
    )
    gone = [each for each in candidates if each not in alone]
    others = [
        there
        for there in by_locality(images).values()
        if away_m(query, there[0]) > LOCALITY_RADIUS_M
    ]
    assert len(gone) == len(others), "one photo of each other locality"
    assert {each.source_kind for each in gone} == {query.query_kind}


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
    creators = {image.creator for image in images.values()}
    queries = [training for training in examples[0] if training.query.creator in creators][:12]
    calls = []

    def recording(query, candidates, near, **how):
        calls.append((len(candidates), balance_exclusions(query, candidates, near, **how)))
        return calls[-1][1]

    monkeypatch.setattr(examples_of, "balance_exclusions", recording)
    table, even = split_table(queries, 3), example_gallery(world, reranked[0])
    found = cache_examples(tmp_path / "even", queries, table, even)
    assert len(calls) == len(queries)
    for row, (before, (left, near)) in zip(found.rows, calls, strict=True):
        # The drawn photo may be evidence only; the sum of all rows is compared below.
        assert len(left) <= before
        assert [each.id.bytes for each in left] == [
            each.ljust(16, b"\0") for each in row["id"][row["present"]].tolist()
        ]
        assert evidence_pairs(near) == {
            (left[slot].id, UUID(bytes=row["evidence_id"][slot, at].ljust(16, b"\0")))
            for slot, at in np.argwhere(row["evidence_present"])
        }
    as_served = replace(even, balanced=False)
    whole = cache_examples(tmp_path / "whole", queries, table, as_served)
    assert len(calls) == len(queries), "without `balanced` nothing is balanced"
    assert whole.rows["present"].sum() > found.rows["present"].sum()
