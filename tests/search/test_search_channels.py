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
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import destination, lat_lon, unit_xyz
from pinpoint.records import Exclusions, Hit, Point, SearchFilter
from pinpoint.search import pipeline, retrieve
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
)

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
    found, _ = retrieve.retrieve_candidates(
        vector,
        index=index,
        organization_id=US,
        limits=options.pop("limits", SearchFilter()),
        settings=settings,
        info=index.info(),
        gps=gps,
        **options,
    )
    return found


def mixed(points, seen, where):
    """A query that looks like one place and, as a vector, lies near another."""
    both = PixelEncoder().encode_query(picture(seen, 50)) + 2.0 * place_vector(where)
    return (both / np.linalg.norm(both)).astype(np.float32)


def seats_by_loop(image, gps, limit, share, dedupe_m):
    """Three rounds, each walked hit by hit."""
    seats = []
    rounds = [(image, limit)]
    if gps is not None:
        rounds = [(image, limit - share), (gps, limit), (image, limit)]
    for answers, until in rounds:
        fresh = []
        for hits in answers:
            own = []
            for hit in sorted(hits, key=lambda each: (-each.score, each.id)):
                if any(hit.id == seat.id for seat in seats):
                    continue
                if not any(clash(hit, seat, dedupe_m) for seat in [*seats, *own]):
                    own.append(hit)
            fresh.append(own)
        free = until - len(seats)
        sure = [hit for own in fresh for hit in own[: free // (2 * len(answers))]]
        rest = [hit for own in fresh for hit in own if hit not in sure]
        rest.sort(key=lambda each: (-each.score, each.id))
        seats += sure + rest[: free - len(sure)]
    return {seat.id for seat in seats}


def clash(a, b, dedupe_m):
    at_a, at_b = np.array([a.point.lat, a.point.lon]), np.array([b.point.lat, b.point.lon])
    return a.kind == b.kind and a.group == b.group and haversine_m(at_a, at_b) < dedupe_m


@pytest.mark.parametrize("seed", range(30))
def test_seats_are_given_as_the_loop_gives_them(seed):
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
    share = rng.randint(0, limit)
    for image, gps in ((answers(), answers()), (answers(), None)):
        asked = {"limit": limit, "share": share, "dedupe_m": rng.choice([0.0, 25.0])}
        given = retrieve.merge_channels(image, gps, **asked)
        assert {hit.id for hit in given} == seats_by_loop(image, gps, **asked)
        assert len({hit.id for hit in given}) == len(given) <= limit
        if gps is None:
            apart = [retrieve.suppress_nearby(hits, asked["dedupe_m"]) for hits in image]
            assert retrieve.sort_hits(given) == retrieve.round_robin_merge(apart, limit)


def test_one_request_asks_both_channels_and_one_fetch_knows_the_rest(index, points):
    own = [p for p in points if p.organization_id == US]
    vector = mixed(points, 3, own[8 * 7].point)
    found = ask(index, vector)
    (queries,) = index.requests
    assert [(q.channel, q.filter.kinds) for q in queries] == [
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


def test_ranks_are_places_among_all_that_a_channel_has_found(index, points):
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
def test_without_the_channel_or_a_share_nothing_is_asked_of_it(index, points, gps, share):
    vector = mixed(points, 3, points[8 * 7].point)
    settings = SearchSettings(candidates=12, gps_channel_fraction=share)
    found = ask(index, vector, gps=gps, settings=settings)
    assert {query.channel for queries in index.requests for query in queries} == {"image"}
    assert index.fetched == []
    assert found == ask(NumpyIndex(points), vector, gps=False)
    assert all(list(each.channels) == ["image"] for each in found)


def test_a_share_of_all_leaves_the_pictures_what_places_do_not_take(index, points):
    vector = mixed(points, 3, points[8 * 7].point)
    found = ask(index, vector, settings=SearchSettings(candidates=12, gps_channel_fraction=1.0))
    assert all(each.channels["gps"].rank is not None for each in found)
    assert len(found) == 12


def test_an_image_that_goes_between_search_and_fetch_is_no_candidate(index, points):
    vector = mixed(points, 3, points[8 * 7].point)
    before = ask(index, vector)
    lost = next(each.id for each in before if each.channels["image"].rank is None)
    index.gone = frozenset({lost})
    after = ask(index, vector)
    assert {each.id for each in after} == {each.id for each in before} - {lost}
    assert [each.rank for each in after] == list(range(len(after)))


@pytest.mark.parametrize("seed", range(12))
def test_exclusions_hold_in_both_channels(seed):
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
            limits=SearchFilter(),
            organization_id=US,
            contract=BOTH,
            index=NumpyIndex(gallery, NumpyIndex(points).info()),
            database=DictDatabase(gallery),
            settings=SearchSettings(candidates=6, oversampling=1, evidence_per_kind=2),
            exclusions=exclusions,
        )
        with np.printoptions(threshold=0):  # abbreviates the vectors
            return repr(dataclasses.replace(answer, timings_ms={}))

    exclusions = Exclusions(ids=tuple(sorted(ids)), near_duplicate_cosine=cosine)
    assert locate(points, exclusions) == locate(kept, None)


def test_answers_show_channels_where_there_are_several(index, points, capsys):
    vector = mixed(points, 3, points[8 * 7].point)
    shown = {}
    for name, contract in (("both", BOTH), ("one", CONTRACT)):
        answer = pipeline.locate_encoded(
            vector,
            limits=SearchFilter(),
            organization_id=US,
            contract=contract,
            index=index,
            database=DictDatabase(points),
            settings=SETTINGS,
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
