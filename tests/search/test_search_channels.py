"""Two channels in one request: whose hits become candidates, and what each channel says of them."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
import pytest

from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.cli.locate import show_answer
from pinpoint.geo.points import destination, lat_lon, unit_xyz
from pinpoint.records import Exclusions, Hit, Point, SearchFilter
from pinpoint.search import pipeline, retrieve
from pinpoint.search.candidate_slots import CandidateSlots
from pinpoint.settings import SearchSettings
from search.in_memory import (
    CONTRACT,
    THEM,
    US,
    DictDatabase,
    NumpyIndex,
    PixelEncoder,
    gallery,
    picture,
    search_context,
)
from search.slots_by_loop import slots_by_loop

SETTINGS = SearchSettings(candidates=12, oversampling=2)
KINDS = ("photo", "street")
BOTH = dataclasses.replace(CONTRACT, dims={**CONTRACT.dims, "gps": CONTRACT.dims["image"]})
WAVES = np.random.default_rng(5).normal(0, 1, (3, BOTH.dims["gps"]))


def place_vector(point):
    """A vector that follows from the position alone; near places have near vectors."""
    turned = np.cos(unit_xyz(lat_lon([point]))[0] @ WAVES * 4.0 + np.arange(WAVES.shape[1]))
    return (turned / np.linalg.norm(turned)).astype(np.float32)


def with_places(points):
    return [
        dataclasses.replace(p, vectors={**p.vectors, "gps": place_vector(p.point)}) for p in points
    ]


@dataclass
class CountingIndex(NumpyIndex):
    fetched: list = field(default_factory=list)
    gone: frozenset = frozenset()

    def fetch(self, ids, *, vectors=False):
        self.fetched.append(list(ids))
        return [p for p in super().fetch(ids, vectors=vectors) if p.id not in self.gone]


@pytest.fixture(scope="module")
def points():
    ours = gallery(places=10, views=4, apart_m=2_000_000.0)
    return with_places(ours + gallery(places=10, views=2, organization=THEM))


@pytest.fixture
def index(points):
    return CountingIndex(points)


def ask(index, vector, gps=True, settings=SETTINGS, **options):
    context = search_context(index, contract=BOTH if gps else CONTRACT, settings=settings)
    limits = options.pop("limits", SearchFilter())
    found, _ = retrieve.retrieve_candidates(
        vector, limits, context, snapshot=index.info(), **options
    )
    return found


def mixed(points, seen, where):
    """A query that looks like one place and, as a vector, lies near another."""
    both = PixelEncoder().encode_query(picture(seen, 50)) + 2.0 * place_vector(where)
    return (both / np.linalg.norm(both)).astype(np.float32)


@pytest.mark.parametrize("seed", range(30))
def test_merge_channels_equals_loop(seed):
    rng = random.Random(seed)
    noise = np.random.default_rng(seed)
    count = rng.choice([3, 12, 40])
    spots = destination(
        np.full((count, 2), [5.0, 179.9999]), noise.uniform(0, 360, count), noise.uniform(0, 90)
    )
    rows = [
        Hit(
            id=UUID(int=n),
            score=0.0,
            version=1,
            source_id=UUID(int=1),
            kind=KINDS[n % 2],
            point=Point(*spot),
            captured_at=None,
            group=f"g{n % 3}",
        )
        for n, spot in enumerate(spots.tolist())
    ]

    def answers():
        some = [rng.sample(rows, rng.randint(0, count)) for _ in range(2)]
        return [
            retrieve.sort_hits(
                dataclasses.replace(hit, score=rng.randint(0, 20) / 20)
                for hit in own
                if hit.kind == kind
            )
            for own, kind in zip(some, KINDS, strict=True)
        ]

    limit = rng.randint(1, 16)
    slots = CandidateSlots(candidates=limit, gps_quota=rng.randint(0, limit))
    for image, gps in ((answers(), answers()), (answers(), None)):
        dedupe_m = rng.choice([0.0, 25.0])
        given = retrieve.merge_channels(image, gps, slots=slots, dedupe_m=dedupe_m)
        assert {hit.id for hit in given} == slots_by_loop(image, gps, slots, dedupe_m)
        assert len({hit.id for hit in given}) == len(given) <= limit
        assert given == retrieve.sort_hits(given)


def test_retrieve_both_channels_needs_one_request_and_one_fetch(index, points):
    own = [p for p in points if p.organization_id == US]
    vector = mixed(points, 3, own[8 * 7].point)
    found = ask(index, vector)
    (queries,) = index.requests
    assert [(q.channel, q.filter.source_kinds) for q in queries] == [
        (channel, (kind,)) for channel in ("image", "gps") for kind in KINDS
    ]
    by_id = {p.id: p for p in own}
    assert len(found) == 12
    for each in found:
        exact = float(by_id[each.id].vectors["image"].astype(float) @ vector.astype(float))
        assert each.score == each.channels["image"].score == pytest.approx(exact, abs=2e-6)
        if "gps" in each.channels:
            exact = float(by_id[each.id].vectors["gps"].astype(float) @ vector.astype(float))
            assert each.channels["gps"].score == pytest.approx(exact, abs=2e-6)
    assert [each.rank for each in found] == list(range(12))
    assert [each.score for each in found] == sorted((e.score for e in found), reverse=True)
    only_gps = [each.id for each in found if each.channels["image"].rank is None]
    assert only_gps, "the place alone found somebody"
    assert [sorted(ids) for ids in index.fetched] == [sorted(only_gps)]
    assert {each.group for each in found if each.id in only_gps} <= {"photo-7", "street-7"}
    assert any("gps" in e.channels and e.channels["image"].rank is not None for e in found)


def test_channel_ranks_count_all_hits_of_the_channel(index, points):
    own = [p for p in points if p.organization_id == US]
    vector = mixed(points, 3, own[8 * 7].point)
    everything = SearchSettings(candidates=512, oversampling=1, dedupe_m=0)
    found = {each.id: each for each in ask(index, vector, settings=everything)}
    assert len(found) == len(own)
    for channel in ("image", "gps"):
        order = sorted(own, key=lambda p: (-round(float(p.vectors[channel] @ vector), 6), p.id))
        ranks = [found[p.id].channels[channel].rank for p in order]
        assert ranks == list(range(len(own)))


@pytest.mark.parametrize(("gps", "share"), [(False, 0.5), (True, 0.0), (True, 0.05)])
def test_retrieve_unused_gps_channel_is_not_requested(index, points, gps, share):
    vector = mixed(points, 3, points[8 * 7].point)
    settings = SearchSettings(candidates=12, gps_channel_fraction=share)
    found = ask(index, vector, gps=gps, settings=settings)
    assert {query.channel for queries in index.requests for query in queries} == {"image"}
    assert index.fetched == []
    assert found == ask(NumpyIndex(points), vector, gps=False)
    assert all(list(each.channels) == ["image"] for each in found)


def test_gps_channel_fraction_of_one_fills_rest_from_images(index, points):
    vector = mixed(points, 3, points[8 * 7].point)
    found = ask(index, vector, settings=SearchSettings(candidates=12, gps_channel_fraction=1.0))
    assert all(each.channels["gps"].rank is not None for each in found)
    assert len(found) == 12


def test_retrieve_image_deleted_before_fetch_is_dropped(index, points):
    vector = mixed(points, 3, points[8 * 7].point)
    before = ask(index, vector)
    lost = next(each.id for each in before if each.channels["image"].rank is None)
    index.gone = frozenset({lost})
    after = ask(index, vector)
    assert {each.id for each in after} == {each.id for each in before} - {lost}
    assert [each.rank for each in after] == list(range(len(after)))


@pytest.mark.parametrize("seed", range(12))
def test_exclusions_apply_to_both_channels(seed):
    rng = random.Random(seed)
    points = with_places(gallery(places=8, views=4))
    vector = mixed(points, rng.randrange(8), rng.choice(points).point)
    cosine = rng.choice([None, 0.3, 0.5, 0.9])
    ids = {p.id for p in rng.sample(points, rng.choice([0, 5, 40]))}
    kept = [
        p
        for p in points
        if p.id not in ids
        and (cosine is None or round(float(p.vectors["image"] @ vector), 6) < cosine)
    ]

    def locate(gallery, exclusions):
        answer = pipeline.locate_encoded(
            vector,
            SearchFilter(),
            search_context(
                NumpyIndex(gallery, NumpyIndex(points).info()),
                DictDatabase(gallery),
                contract=BOTH,
                settings=SearchSettings(candidates=6, oversampling=1, evidence_per_kind=2),
            ),
            exclusions=exclusions,
        )
        with np.printoptions(threshold=0):  # abbreviates the vectors
            return repr(dataclasses.replace(answer, timings_ms={}))

    exclusions = Exclusions(ids=tuple(sorted(ids)), near_duplicate_cosine=cosine)
    assert locate(points, exclusions) == locate(kept, None)


def test_answer_shows_channels_of_two_channel_bundles(index, points, capsys):
    vector = mixed(points, 3, points[8 * 7].point)
    shown = {}
    for name, contract in (("both", BOTH), ("one", CONTRACT)):
        answer = pipeline.locate_encoded(
            vector,
            SearchFilter(),
            search_context(index, DictDatabase(points), contract=contract, settings=SETTINGS),
        )
        wire = AnswerOut.of(answer, top=12).model_dump(mode="json")
        for out, ranked in zip(wire["candidates"], answer.ranked, strict=True):
            said = {n: (c["score"], c["rank"]) for n, c in out["channels"].items()}
            found = ranked.candidate.channels
            assert said == {n: (c.score, c.rank) for n, c in found.items()}
        show_answer("q.jpg", wire)
        shown[name] = capsys.readouterr().out
    assert "by position" in shown["both"]
    assert "not found" in shown["both"]
    assert "by position" not in shown["one"]
