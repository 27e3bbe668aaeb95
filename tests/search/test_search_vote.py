"""The vote against a loop of its formula, and properties of every vote."""

from __future__ import annotations

import math
from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import destination
from pinpoint.records import VOTE_TEMPERATURE, Candidate, Evidence, Point
from pinpoint.search import vote

WIDTH = 24


def unit(rng, *shape):
    vectors = rng.normal(size=(*shape, WIDTH))
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def candidate(number, point, score, kind="photo"):
    return Candidate(
        id=UUID(int=number),
        source_id=UUID(int=1),
        source_kind=kind,
        point=point,
        captured_at=None,
        group=str(number),
        score=score,
        rank=number,
    )


def random_case(seed, count=12, most=6):
    """A query, candidates in clusters (also at antimeridian and pole), and shared evidence."""
    rng = np.random.default_rng(seed)
    query = unit(rng)
    places = destination(
        np.array([[0.0, 179.999], [48.0, 2.0], [89.999, 0.0]])[rng.integers(0, 3, count)],
        rng.uniform(0, 360, count),
        rng.exponential(400.0, count),
    )
    candidates = [
        candidate(
            i, Point(*place), round(float(rng.uniform(0.2, 0.9)), 6), ("photo", "street")[i % 2]
        )
        for i, place in enumerate(places.tolist())
    ]
    photos = [(UUID(int=1000 + n), ("photo", "street")[n % 2], unit(rng)) for n in range(10)]
    photos += [
        (candidate_row.id, candidate_row.source_kind, unit(rng)) for candidate_row in candidates[:4]
    ]
    evidence = {}
    for candidate_row in candidates:
        chosen = rng.permutation(len(photos))[: rng.integers(0, most + 1)]
        evidence[candidate_row.id] = tuple(
            Evidence(
                id=photos[n][0],
                candidate_id=candidate_row.id,
                source_id=UUID(int=2),
                source_kind=photos[n][1],
                point=candidate_row.point,
                captured_at=None,
                group="g",
                distance_m=float(rng.uniform(0, 1_000)),
                bearing_deg=0.0,
                vector=photos[n][2],
            )
            for n in chosen
            if photos[n][0] != candidate_row.id
        )
    return query, candidates, evidence


def distance_decay(distance_m):
    return sum(math.exp(-distance_m / s) for s in vote.SCALES_M) / len(vote.SCALES_M)


def standardize(values):
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / len(values))
    return [0.0 if spread < 1e-5 else (v - mean) / spread for v in values]


def cosine(query, photo):
    a, b = query.tolist(), photo.tolist()
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return round(dot / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b)), 6)


def vote_by_loop(query, candidates, evidence):
    """Weight and evidence share by candidate id, by the formula in the module's docstring."""
    ids = {candidate.id for candidate in candidates}
    raw = [math.exp(z / VOTE_TEMPERATURE) for z in standardize([c.score for c in candidates])]
    worth = {c.id: w / sum(raw) for c, w in zip(candidates, raw, strict=True)}
    other_evidence = {e.id: e for rows in evidence.values() for e in rows if e.id not in ids}
    z = {}
    for kind in ("photo", "street"):
        these = [e for e in other_evidence.values() if e.source_kind == kind]
        if these:
            scores = standardize([cosine(query, e.vector) for e in these])
            z.update({e.id: s for e, s in zip(these, scores, strict=True)})
    totals, supports = {}, {}
    for c in candidates:
        near_ids = {e.id for e in evidence.get(c.id, ())}
        votes = without_evidence = 0.0
        for voter in candidates:
            a = np.array([c.point.lat, c.point.lon])
            b = np.array([voter.point.lat, voter.point.lon])
            arrived = worth[voter.id] * distance_decay(float(haversine_m(a, b)))
            votes += arrived
            without_evidence += 0.0 if voter.id in near_ids else arrived
        boost = 1.0
        for e in evidence.get(c.id, ()):
            if e.id in ids:
                continue
            share = 1.0 if e.source_kind != c.source_kind else vote.SAME_KIND_SHARE
            loud = max(math.exp(min(z[e.id], vote.Z_MAX) - vote.Z_MIN) - 1, 0)
            boost += vote.EVIDENCE_WEIGHT * share * distance_decay(e.distance_m) * loud
        totals[c.id] = worth[c.id] * votes * boost
        supports[c.id] = 1 - without_evidence / (votes * boost)
    return {i: t / sum(totals.values()) for i, t in totals.items()}, supports


@pytest.mark.parametrize("seed", range(30))
def test_vote_equals_loop(seed):
    query, candidates, evidence = random_case(seed, count=1 + seed % 14)
    mass, support = vote_by_loop(query, candidates, evidence)
    for ranked in vote.rank_by_vote(query, candidates, evidence):
        candidate_id = ranked.candidate.id
        assert ranked.weight == pytest.approx(mass[candidate_id], rel=1e-9)
        assert ranked.evidence_share == pytest.approx(support[candidate_id], abs=1e-9)
        assert ranked.evidence == evidence[candidate_id]
        assert list(ranked.similarities) == pytest.approx(
            [cosine(query, e.vector) for e in ranked.evidence], abs=1.1e-6
        )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 16), st.randoms(use_true_random=False))
def test_vote_weights_sum_to_one_in_any_order(seed, count, random):
    query, candidates, evidence = random_case(seed, count=count)
    ranked = vote.rank_by_vote(query, candidates, evidence)
    assert math.isclose(sum(row.weight for row in ranked), 1, abs_tol=1e-12)
    assert all(0 <= row.evidence_share <= 1 and row.weight > 0 for row in ranked)
    assert [row.weight for row in ranked] == sorted((row.weight for row in ranked), reverse=True)
    shuffled = random.sample(candidates, len(candidates))
    mixed = dict(random.sample(sorted(evidence.items()), len(evidence)))
    assert fingerprint(vote.rank_by_vote(query, shuffled, mixed)) == fingerprint(ranked)


def fingerprint(ranked):
    """All values of a vote, bit by bit."""
    return [(r.candidate, r.weight, r.evidence_share, r.similarities) for r in ranked]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 1.0), st.floats(-0.5, 0.5))
def test_vote_is_invariant_to_score_scale(seed, scale, shift):
    query, candidates, evidence = random_case(seed)
    other = [replace(candidate, score=candidate.score * scale + shift) for candidate in candidates]
    before = {r.candidate.id: r.weight for r in vote.rank_by_vote(query, candidates, evidence)}
    after = {r.candidate.id: r.weight for r in vote.rank_by_vote(query, other, evidence)}
    assert after == pytest.approx(before, rel=1e-6)


def test_vote_with_no_or_one_candidate_is_trivial():
    query = unit(np.random.default_rng(0))
    assert vote.rank_by_vote(query, (), {}) == ()
    (only,) = vote.rank_by_vote(query, [candidate(3, Point(1, 2), 0.4)], {})
    assert (only.weight, only.evidence_share, only.evidence, only.similarities) == (
        1.0,
        0.0,
        (),
        (),
    )


def test_vote_ties_are_ordered_by_id():
    query = unit(np.random.default_rng(0))
    points = [Point(0, 0), Point(0, 90), Point(0, 180), Point(0, -90)]
    same = [candidate(9 - i, point, 0.5) for i, point in enumerate(points)]
    ranked = vote.rank_by_vote(query, same, {})
    assert [row.candidate.id.int for row in ranked] == [6, 7, 8, 9]


def test_vote_cluster_beats_better_isolated_candidate():
    query = unit(np.random.default_rng(0))
    alone = candidate(0, Point(-40, 60), 0.62)
    together = [candidate(1 + i, Point(50, 8 + i * 1e-4), 0.60) for i in range(4)]
    others = [candidate(10 + i, Point(10, i * 20 - 100), 0.3) for i in range(8)]
    ranked = vote.rank_by_vote(query, [alone, *together, *others], {})
    assert {row.candidate.id.int for row in ranked[:4]} == {1, 2, 3, 4}


def test_vote_evidence_of_other_kind_decides_between_equals():
    rng = np.random.default_rng(5)
    query = unit(rng)
    candidates = [candidate(i, Point(i * 10, i * 10), 0.5) for i in range(6)]
    evidence = {}
    for target in candidates:
        vectors = unit(rng, 4)
        if target.id.int == 4:
            vectors[0] = query
        evidence[target.id] = tuple(
            Evidence(
                id=UUID(int=100 * (target.id.int + 1) + n),
                candidate_id=target.id,
                source_id=UUID(int=2),
                source_kind="street",
                point=target.point,
                captured_at=None,
                group="g",
                distance_m=50.0,
                bearing_deg=0.0,
                vector=vectors[n],
            )
            for n in range(4)
        )
    best = vote.rank_by_vote(query, candidates, evidence)[0]
    assert best.candidate.id.int == 4
    assert best.evidence_share > 0.5
    assert best.similarities[0] == 1.0
