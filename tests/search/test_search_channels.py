"""Several channels in one request: which hits become candidates, and their rank in each."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass, field
from itertools import product
from uuid import UUID

import numpy as np
import pytest

from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.cli.locate import show_answer
from pinpoint.geo.points import destination, lat_lon, unit_xyz
from pinpoint.records import Exclusions, Hit, Point, SearchFilter
from pinpoint.search import pipeline, retrieve
from pinpoint.search.candidate_slots import CandidateSlots, divide_slots
from pinpoint.settings import SearchSettings
from search.in_memory import (
    CONTRACT,
    THEM,
    US,
    DictDatabase,
    NumpyIndex,
    PixelEncoder,
    gallery,
    search_context,
    view_pixels,
)
from search.slots_by_loop import slots_by_loop

SETTINGS = SearchSettings(candidates=12, oversampling=2)
KINDS = ("photo", "street")
BOTH = dataclasses.replace(CONTRACT, dims={**CONTRACT.dims, "gps": CONTRACT.dims["image"]})
ALL = dataclasses.replace(BOTH, dims={**BOTH.dims, "raw": BOTH.dims["image"] // 3})
WAVES = np.random.default_rng(5).normal(0, 1, (3, BOTH.dims["gps"]))


def gps_vector(point):
    """A vector that depends on the position only; near places have similar vectors."""
    turned = np.cos(unit_xyz(lat_lon([point]))[0] @ WAVES * 4.0 + np.arange(WAVES.shape[1]))
    return (turned / np.linalg.norm(turned)).astype(np.float32)


def with_gps_vectors(points):
    return [
        dataclasses.replace(p, vectors={**p.vectors, "gps": gps_vector(p.point)}) for p in points
    ]


@dataclass
class CountingIndex(NumpyIndex):
    fetched: list = field(default_factory=list)
    deleted: frozenset = frozenset()

    def fetch(self, ids, *, vectors=False):
        self.fetched.append(list(ids))
        return [p for p in super().fetch(ids, vectors=vectors) if p.id not in self.deleted]


@pytest.fixture(scope="module")
def points():
    ours = gallery(places=10, views=4, apart_m=2_000_000.0)
    return with_gps_vectors(ours + gallery(places=10, views=2, organization=THEM))


@pytest.fixture
def index(points):
    return CountingIndex(points)


def ask(index, vector, gps=True, settings=SETTINGS, contract=None, **options):
    contract = contract or (BOTH if gps else CONTRACT)
    context = search_context(index, contract=contract, settings=settings)
    limits = options.pop("limits", SearchFilter())
    candidates, _ = retrieve.retrieve_candidates(
        vector, limits, context, snapshot=index.info(), **options
    )
    return candidates


def raw_vector(vector):
    """A raw vector of another width: every third value of an image vector."""
    kept = vector[::3].astype(np.float64)
    return (kept / np.linalg.norm(kept)).astype(np.float32)


def with_raw_vectors(points):
    return [
        dataclasses.replace(p, vectors={**p.vectors, "raw": raw_vector(p.vectors["image"])})
        for p in points
    ]


def mixed_query(points, seen, where):
    """A query whose image matches one place and whose GPS vector matches another."""
    both = PixelEncoder().encode_query(view_pixels(seen, 50)) + 2.0 * gps_vector(where)
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
        samples = [rng.sample(rows, rng.randint(0, count)) for _ in range(2)]
        return [
            retrieve.sort_hits(
                dataclasses.replace(hit, score=rng.randint(0, 20) / 20)
                for hit in hits
                if hit.kind == kind
            )
            for hits, kind in zip(samples, KINDS, strict=True)
        ]

    limit = rng.randint(1, 16)
    gps_quota = rng.randint(0, limit)
    slots = CandidateSlots(
        candidates=limit, gps_quota=gps_quota, raw_quota=rng.randint(0, limit - gps_quota)
    )
    for searches_gps, searches_raw in product((True, False), repeat=2):
        image = answers()
        gps, raw = answers() if searches_gps else None, answers() if searches_raw else None
        dedupe_m = rng.choice([0.0, 25.0])
        merged = retrieve.merge_channels(image, gps, raw, slots=slots, dedupe_m=dedupe_m)
        assert {hit.id for hit in merged} == slots_by_loop(image, gps, slots, dedupe_m, raw)
        assert len({hit.id for hit in merged}) == len(merged) <= limit
        assert merged == retrieve.sort_hits(merged)


def test_retrieve_both_channels_needs_one_request_and_one_fetch(index, points):
    rows = [p for p in points if p.organization_id == US]
    vector = mixed_query(points, 3, rows[8 * 7].point)
    candidates = ask(index, vector)
    (queries,) = index.requests
    assert [(q.channel, q.filter.source_kinds) for q in queries] == [
        (channel, (kind,)) for channel in ("image", "gps") for kind in KINDS
    ]
    by_id = {p.id: p for p in rows}
    assert len(candidates) == 12
    for candidate in candidates:
        exact = float(by_id[candidate.id].vectors["image"].astype(float) @ vector.astype(float))
        assert (
            candidate.score == candidate.channels["image"].score == pytest.approx(exact, abs=2e-6)
        )
        if "gps" in candidate.channels:
            exact = float(by_id[candidate.id].vectors["gps"].astype(float) @ vector.astype(float))
            assert candidate.channels["gps"].score == pytest.approx(exact, abs=2e-6)
    assert [candidate.rank for candidate in candidates] == list(range(12))
    assert [candidate.score for candidate in candidates] == sorted(
        (e.score for e in candidates), reverse=True
    )
    only_gps = [
        candidate.id for candidate in candidates if candidate.channels["image"].rank is None
    ]
    assert only_gps, "the GPS channel alone finds some candidates"
    assert [sorted(ids) for ids in index.fetched] == [sorted(only_gps)]
    assert {candidate.group for candidate in candidates if candidate.id in only_gps} <= {
        "photo-7",
        "street-7",
    }
    assert any("gps" in e.channels and e.channels["image"].rank is not None for e in candidates)


def test_channel_ranks_count_all_hits_of_the_channel(index, points):
    rows = [p for p in points if p.organization_id == US]
    vector = mixed_query(points, 3, rows[8 * 7].point)
    settings = SearchSettings(candidates=512, oversampling=1, dedupe_m=0)
    candidates = {candidate.id: candidate for candidate in ask(index, vector, settings=settings)}
    assert len(candidates) == len(rows)
    for channel in ("image", "gps"):
        order = sorted(rows, key=lambda p: (-round(float(p.vectors[channel] @ vector), 6), p.id))
        ranks = [candidates[p.id].channels[channel].rank for p in order]
        assert ranks == list(range(len(rows)))


@pytest.mark.parametrize(("gps", "share"), [(False, 0.5), (True, 0.0), (True, 0.05)])
def test_retrieve_unused_gps_channel_is_not_requested(index, points, gps, share):
    vector = mixed_query(points, 3, points[8 * 7].point)
    settings = SearchSettings(candidates=12, gps_channel_fraction=share)
    candidates = ask(index, vector, gps=gps, settings=settings)
    assert {query.channel for queries in index.requests for query in queries} == {"image"}
    assert index.fetched == []
    assert candidates == ask(NumpyIndex(points), vector, gps=False)
    assert all(list(candidate.channels) == ["image"] for candidate in candidates)


def test_gps_channel_fraction_of_one_fills_rest_from_images(index, points):
    vector = mixed_query(points, 3, points[8 * 7].point)
    candidates = ask(
        index, vector, settings=SearchSettings(candidates=12, gps_channel_fraction=1.0)
    )
    assert all(candidate.channels["gps"].rank is not None for candidate in candidates)
    assert len(candidates) == 12


def best_by_channel(points, channel, vector):
    """Hits of both kinds, as the index returns them for 12 candidates with oversampling 2."""
    return [
        [
            Hit(
                id=p.id,
                score=round(float(p.vectors[channel] @ vector), 6),
                version=1,
                source_id=p.source_id,
                kind=kind,
                point=p.point,
                captured_at=None,
                group=p.group,
            )
            for p in sorted(
                (p for p in points if p.kind == kind),
                key=lambda p: (-round(float(p.vectors[channel] @ vector), 6), p.id),
            )[:24]
        ]
        for kind in KINDS
    ]


@pytest.mark.parametrize("place", range(4))
def test_retrieve_three_channels_divides_slots_as_the_paper(points, place):
    """12 candidates: 8 of `image`, 2 of `gps`, 2 of `raw`, from one request."""
    rows = with_raw_vectors([p for p in points if p.organization_id == US])
    vector, index = mixed_query(points, place, rows[8 * 7].point), CountingIndex(rows)
    other = raw_vector(PixelEncoder().encode_query(view_pixels(place + 1, 70)))
    settings = SETTINGS.model_copy(update={"dedupe_m": 0.0})
    candidates = ask(index, vector, contract=ALL, settings=settings, raw_vector=other)
    (queries,) = index.requests
    assert [(q.channel, q.filter.source_kinds) for q in queries] == [
        (channel, (kind,)) for channel in ("image", "gps", "raw") for kind in KINDS
    ]
    slots = CandidateSlots(candidates=12, gps_quota=2, raw_quota=2)
    image, gps, raw = (
        best_by_channel(rows, channel, query)
        for channel, query in (("image", vector), ("gps", vector), ("raw", other))
    )
    expected = slots_by_loop(image, gps, slots, dedupe_m=0.0, raw=raw)
    assert {candidate.id for candidate in candidates} == expected
    assert len(candidates) == 12
    by_id = {p.id: p for p in rows}
    by_raw = [candidate for candidate in candidates if "raw" in candidate.channels]
    assert len(by_raw) >= 2
    for candidate in candidates:
        score = float(by_id[candidate.id].vectors["image"] @ vector)
        assert candidate.channels["image"].score == pytest.approx(score, abs=2e-6)
    for candidate in by_raw:
        score = float(by_id[candidate.id].vectors["raw"] @ other)
        assert candidate.channels["raw"].score == pytest.approx(score, abs=2e-6)


@pytest.mark.parametrize(
    ("contract", "fraction", "has_vector"), [(BOTH, 0.5, True), (ALL, 0.0, True), (ALL, 0.5, False)]
)
def test_retrieve_unused_raw_channel_changes_nothing(points, contract, fraction, has_vector):
    """No channel in the bundle, no quota or no vector: the request and its result are as before."""
    rows = with_raw_vectors(points)
    vector, index = mixed_query(points, 3, points[8 * 7].point), CountingIndex(rows)
    settings = SETTINGS.model_copy(update={"raw_channel_fraction": fraction})
    other = raw_vector(vector) if has_vector else None
    candidates = ask(index, vector, contract=contract, settings=settings, raw_vector=other)
    assert {query.channel for queries in index.requests for query in queries} == {"image", "gps"}
    assert candidates == ask(NumpyIndex(points), vector)


@pytest.mark.parametrize(
    ("candidates", "fractions", "quotas"),
    [(12, (1 / 6, 1 / 6), (2, 2)), (48, (0.1667, 0.1667), (8, 8)), (10, (1.0, 0.5), (10, 0))],
)
def test_divide_slots_gives_each_channel_its_quota(candidates, fractions, quotas):
    gps, raw = fractions
    settings = SearchSettings(gps_channel_fraction=gps, raw_channel_fraction=raw)
    assert divide_slots(settings, candidates, ALL) == CandidateSlots(candidates, *quotas)
    assert divide_slots(settings, candidates, BOTH) == CandidateSlots(candidates, quotas[0])


def test_retrieve_image_deleted_before_fetch_is_dropped(index, points):
    vector = mixed_query(points, 3, points[8 * 7].point)
    before = ask(index, vector)
    deleted = next(candidate.id for candidate in before if candidate.channels["image"].rank is None)
    index.deleted = frozenset({deleted})
    after = ask(index, vector)
    assert {candidate.id for candidate in after} == {candidate.id for candidate in before} - {
        deleted
    }
    assert [candidate.rank for candidate in after] == list(range(len(after)))


@pytest.mark.parametrize("seed", range(12))
def test_exclusions_apply_to_both_channels(seed):
    rng = random.Random(seed)
    points = with_gps_vectors(gallery(places=8, views=4))
    vector = mixed_query(points, rng.randrange(8), rng.choice(points).point)
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
    vector = mixed_query(points, 3, points[8 * 7].point)
    shown = {}
    for name, contract in (("both", BOTH), ("one", CONTRACT)):
        answer = pipeline.locate_encoded(
            vector,
            SearchFilter(),
            search_context(index, DictDatabase(points), contract=contract, settings=SETTINGS),
        )
        wire = AnswerOut.of(answer, top=12).model_dump(mode="json")
        for out, ranked in zip(wire["candidates"], answer.ranked, strict=True):
            sent = {n: (c["score"], c["rank"]) for n, c in out["channels"].items()}
            channels = ranked.candidate.channels
            assert sent == {n: (c.score, c.rank) for n, c in channels.items()}
        show_answer("q.jpg", wire)
        shown[name] = capsys.readouterr().out
    assert "by position" in shown["both"]
    assert "not found" in shown["both"]
    assert "by position" not in shown["one"]
