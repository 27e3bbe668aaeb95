"""What other towns lose, so that nothing tells the truth but pictures."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest

from pinpoint.evaluation.labels import Question
from pinpoint.geo.distance import haversine_m
from pinpoint.records import KINDS, Candidate, Exclusions, Limits
from pinpoint.search import evidence, exclude
from pinpoint.training import examples as examples_of
from pinpoint.training import reranker
from pinpoint.training.as_if import TOWN_M, as_if_elsewhere
from training.reranked import gallery

NOBODY = SimpleNamespace(images=lambda ids: {}, ids_by=lambda **asked: [])


@pytest.fixture(scope="module")
def images(world):
    """All of the gallery, by id."""
    rig, org = world
    with rig.database.read(org) as reader:
        return reader.images([each for each, _, _ in rig.index.scroll(None, 1_000)])


@pytest.fixture(scope="module", params=KINDS)
def case(request, world, images):
    """The gallery asked about a picture of its own: candidates, evidence, what is out."""
    rig, org = world
    own = next(each for each in images.values() if each.kind == request.param)
    question = Question(
        file=own.external_id,
        truth=own.point,
        creator=own.creator,
        sequence=own.sequence,
        kind=own.kind,
        areas={},
        strata={},
    )
    out = exclude.resolve(
        Exclusions(creators=(question.creator,)), organization_id=org, database=rig.database
    )
    candidates = [candidate(each, seat) for seat, each in enumerate(images.values())]
    candidates = [each for each in candidates if each.id not in out.ids]
    with rig.database.read(org) as reader:
        near = evidence.gather(
            candidates,
            vector=np.ones(rig.encoder.contract.dims["image"], dtype=np.float32),
            reader=reader,
            contract=rig.encoder.contract.digest,
            limits=Limits(),
            radius_m=10_000.0,
            per_kind=5,
            exclusions=out,
        )
    return question, candidates, near, out


def candidate(image, seat):
    return Candidate(
        id=image.id,
        source_id=image.source_id,
        kind=image.kind,
        point=image.point,
        captured_at=None,
        group=str(image.id),
        score=0.5,
        rank=seat + 1,
    )


def test_every_town_but_that_of_the_truth_loses_all_that_one_of_its_makers_took(
    world, images, case
):
    rig, org = world
    question, candidates, near, out = case
    with rig.database.read(org) as reader:
        every = as_if_elsewhere(question, candidates, near, exclusions=out, reader=reader)
        again = as_if_elsewhere(question, candidates, near, exclusions=out, reader=reader)
    assert every == again
    assert set(out.ids) < set(every.ids)
    gone = set(every.ids) - set(out.ids)
    towns = defaultdict(list)
    for each in images.values():
        towns[each.external_id.split("/")[0]].append(each)
    here = [question.truth.lat, question.truth.lon]
    assert len(towns) > 2
    for there in towns.values():
        place = [there[0].point.lat, there[0].point.lon]
        at_truth = haversine_m(np.array([place]), np.array([here]))[0] < TOWN_M
        lost = [each for each in there if each.id in gone]
        makers = {each.creator for each in lost}
        assert len(makers) == (0 if at_truth else 1)
        assert {each.id for each in there if each.creator in makers} == {e.id for e in lost}
        assert at_truth or question.kind in {each.kind for each in lost}


def test_other_questions_choose_other_photos(world, case):
    rig, org = world
    question, candidates, near, out = case
    with rig.database.read(org) as reader:
        found = {
            as_if_elsewhere(
                replace(question, file=f"{number}.jpg"),
                candidates,
                near,
                exclusions=out,
                reader=reader,
            ).ids
            for number in range(8)
        }
    assert len(found) > 1


def test_a_photo_of_nobody_is_left_out_by_itself(case):
    question, candidates, near, out = case
    every = as_if_elsewhere(question, candidates, near, exclusions=out, reader=NOBODY)
    gone = set(every.ids) - set(out.ids)
    seen = {photo.id: photo.kind for photos in near.values() for photo in photos}
    assert gone
    assert {seen[each] for each in gone} == {question.kind}


def test_nothing_is_taken_where_nothing_was_kept_out(case):
    question, candidates, near, _ = case
    nothing = Exclusions(near_duplicate_cosine=0.95)
    found = as_if_elsewhere(question, candidates, near, exclusions=nothing, reader=NOBODY)
    assert found == nothing


def test_a_question_without_candidates_loses_what_it_lost(case):
    question, _, _, out = case
    assert as_if_elsewhere(question, [], {}, exclusions=out, reader=NOBODY) == out


def test_rows_are_written_without_what_other_towns_lose(
    world, images, examples, reranked, tmp_path, monkeypatch
):
    """And the seats of evidence are taken by who stands behind, as near the truth."""
    makers = {each.creator for each in images.values()}
    asked = [each for each in examples[0] if each.question.creator in makers][:12]
    told = []

    def spies(question, candidates, near, *, exclusions, reader):
        found = as_if_elsewhere(question, candidates, near, exclusions=exclusions, reader=reader)
        told.append((set(exclusions.ids), set(found.ids)))
        return found

    monkeypatch.setattr(examples_of, "as_if_elsewhere", spies)
    table, even = reranker.table_of(asked, 3), gallery(world, reranked[0])
    found = reranker.cache_examples(tmp_path / "even", asked, table, even)
    assert len(told) == len(asked)
    assert all(own < every for own, every in told)
    for row, (_, every) in zip(found.rows, told, strict=True):
        named = [*row["id"][row["present"]], *row["near_id"][row["near_present"]].ravel()]
        assert not every & {UUID(bytes=each.ljust(16, b"\0")) for each in named}
    as_served = replace(even, evened=False)
    whole = reranker.cache_examples(tmp_path / "whole", asked, table, as_served)
    assert len(told) == len(asked), "nobody is asked for more"
    assert whole.rows["near_present"].sum() > found.rows["near_present"].sum()
