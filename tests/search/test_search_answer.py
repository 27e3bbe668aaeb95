"""The answer: position, credible discs, and citations with sources and licenses."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import numpy as np
import pytest

from pinpoint.geo.distance import geodesic_m, haversine_m
from pinpoint.records import (
    CalibratedResult,
    Candidate,
    CredibleDisc,
    Evidence,
    Point,
    Posterior,
    RankedCandidate,
)
from pinpoint.search import answer
from search.in_memory import US, DictDatabase, gallery


def ranked_of(points, masses, evidence=None):
    """Ranked records for gallery points, in this order."""
    return [
        RankedCandidate(
            candidate=Candidate(
                id=p.id,
                source_id=p.source_id,
                source_kind=p.kind,
                point=p.point,
                captured_at=None,
                group=p.group,
                score=0.9 - 0.01 * i,
                rank=i,
            ),
            weight=mass,
            evidence_share=0.0,
            evidence=(evidence or {}).get(i, ((), ()))[0],
            similarities=(evidence or {}).get(i, ((), ()))[1],
        )
        for i, (p, mass) in enumerate(zip(points, masses, strict=True))
    ]


def evidence_of(candidate, point):
    return Evidence(
        id=point.id,
        candidate_id=candidate.id,
        source_id=point.source_id,
        source_kind=point.kind,
        point=point.point,
        captured_at=None,
        group=point.group,
        distance_m=1.0,
        bearing_deg=0.0,
        vector=point.vectors["image"],
    )


@pytest.fixture(scope="module")
def points():
    return gallery(places=5, views=4)


def decide_over(points, ranked, cited=3, gone=()):
    database = DictDatabase(points, gone=set(gone))
    with database.read(US) as reader:
        return answer.decide_answer(
            ranked, CalibratedResult(), reader=reader, cited=cited
        ), database.log


def test_decide_answer_without_candidates_has_no_point_and_reads_nothing(points):
    decision, log = decide_over(points, [])
    assert (decision.point, decision.credible_discs, decision.citations) == (None, (), ())
    assert log == ["read"]


def test_credible_discs_have_stated_probability(points):
    rng = np.random.default_rng(3)
    masses = rng.dirichlet(np.ones(len(points)))
    decision, _ = decide_over(points, ranked_of(points, masses))
    at = np.array([decision.point.lat, decision.point.lon])
    away = haversine_m(np.array([(p.point.lat, p.point.lon) for p in points]), at)
    assert [region.probability for region in decision.credible_discs] == [0.5, 0.9]
    for region in decision.credible_discs:
        assert masses[away <= region.radius_m].sum() >= region.probability - 1e-9
        assert masses[away < region.radius_m - 1e-6].sum() < region.probability
    assert decision.credible_discs[0].radius_m <= decision.credible_discs[1].radius_m


def test_credible_discs_certain_answer_keeps_position_error(points):
    decision, _ = decide_over(points, ranked_of(points[:1], [1.0]))
    assert decision.point == points[0].point
    assert {region.radius_m for region in decision.credible_discs} == {answer.POSITION_ERROR_M}


def test_decide_answer_at_antimeridian_stays_there(points):
    pair = [
        replace(points[0], point=Point(10.0, 179.9999)),
        replace(points[1], point=Point(10.0, -179.9999)),
    ]
    decision, _ = decide_over(points, ranked_of(pair, [0.5, 0.5]))
    assert abs(abs(decision.point.lon) - 180) < 1e-9
    assert decision.point.lat == pytest.approx(10.0, abs=1e-6)
    assert decision.credible_discs[1].radius_m < 15


def test_citations_contain_source_license_and_distance(points):
    same_place = points[:8]  # one place: four photos, four street views
    photos, streets = same_place[:4], same_place[4:]
    evidence = {
        0: (tuple(evidence_of(photos[0], p) for p in (*streets, photos[2], photos[3])),
            (0.5, 0.7, 0.6, 0.4, 0.3, 0.2)),
        2: ((evidence_of(points[9], points[12]),), (0.99,)),
    }  # fmt: skip
    ranked = ranked_of([photos[0], photos[1], points[9]], [0.5, 0.3, 0.2], evidence)
    decision, log = decide_over(points, ranked, cited=2)
    assert log == ["read", "images", "copies"]
    cited = [(c.role, c.source_kind, c.image_id, c.similarity) for c in decision.citations]
    assert cited == [
        ("candidate", "photo", photos[0].id, 0.9),
        ("candidate", "photo", photos[1].id, 0.89),
        ("evidence", "photo", photos[2].id, 0.3),
        ("evidence", "photo", photos[3].id, 0.2),
        ("evidence", "street", streets[1].id, 0.7),
        ("evidence", "street", streets[2].id, 0.6),
    ]
    for citation in decision.citations:
        assert citation.source == f"the {citation.source_kind} source"
        assert citation.license == "CC BY 4.0"
        assert citation.attribution == f"people of {citation.source_kind}"
        exact = geodesic_m(decision.point, citation.point)
        assert citation.distance_m == pytest.approx(exact, abs=5e-4)


@pytest.mark.parametrize("calibrated", [True, False])
def test_citations_contain_best_candidate_of_refined_position(points, calibrated):
    ranked = ranked_of(points[:4], [0.7, 0.1, 0.1, 0.1])
    moved = Point(points[0].point.lat + 0.04, points[0].point.lon)
    ranked[0] = replace(ranked[0], refined_position=moved)
    posterior = Posterior(
        stratum="all", point=moved, probability_within_km={25.0: 0.9},
        p_outside_candidates=0.0, p_not_in_gallery=None,
        credible_discs=(CredibleDisc(probability=0.9, radius_m=50.0),), credible_regions=(),
        names=(), abstention_reason=None,
    )  # fmt: skip
    calibrated_result = CalibratedResult(posterior=posterior) if calibrated else CalibratedResult()
    with DictDatabase(points).read(US) as reader:
        decision = answer.decide_answer(ranked, calibrated_result, reader=reader, cited=3)
    assert decision.point == moved
    assert [c.image_id for c in decision.citations] == [points[0].id]
    assert decision.citations[0].distance_m == pytest.approx(4_450, rel=0.01)


def test_citations_skip_deleted_images(points):
    ranked = ranked_of(points[:4], [0.4, 0.3, 0.2, 0.1])
    decision, _ = decide_over(points, ranked, cited=2, gone={points[0].id})
    assert [c.image_id for c in decision.citations] == [points[1].id, points[2].id]


def test_citations_of_unknown_source_kinds_come_last(points):
    other = replace(points[0], id=UUID(int=5), kind="aerial")
    ranked = ranked_of([other, points[1]], [0.6, 0.4])
    decision, _ = decide_over([*points, other], ranked)
    assert [c.source_kind for c in decision.citations] == ["photo", "aerial"]
