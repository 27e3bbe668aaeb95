"""Answers of queries as records."""

from __future__ import annotations

from uuid import UUID, uuid4

from api.memory import NOW
from pinpoint.records import (
    Answer,
    Candidate,
    Citation,
    CredibleDisc,
    Evidence,
    Hit,
    Point,
    RankedCandidate,
    SimilarGroup,
    SimilarResult,
)


def answer() -> Answer:
    source, ids = uuid4(), [UUID(int=n) for n in range(3)]
    spot = Point(48.85, 2.35)
    ranked = [
        RankedCandidate(
            candidate=Candidate(
                id=image_id, source_id=source, source_kind="photo", point=spot,
                captured_at=NOW, group="g", score=0.9, rank=rank,
            ),
            weight=1 / 3,
            evidence_share=0.5,
            evidence=(
                Evidence(
                    id=ids[0], candidate_id=image_id, source_id=source, source_kind="street",
                    point=spot, captured_at=None, group="h", distance_m=3.0, bearing_deg=1.0,
                    vector=None,
                ),
            ),
            similarities=(0.5,),
        )
        for rank, image_id in enumerate(ids)
    ]  # fmt: skip
    cited = Citation(
        image_id=ids[0], file_name="a.jpg", role="candidate", source_id=source, source="s",
        source_kind="photo", license="CC0", attribution="we", point=spot, distance_m=1.5,
        similarity=0.9,
    )  # fmt: skip
    return Answer(
        point=spot,
        credible_discs=(
            CredibleDisc(probability=0.5, radius_m=10.0),
            CredibleDisc(probability=0.9, radius_m=99.0),
        ),
        calibrated=False, ranked=tuple(ranked), citations=(cited,), bundle="descriptor",
        bundle_digest="d", bundle_note="sees colors", ranker="vote", ranker_fallback_reason=None,
        index_engine="qdrant-edge", index_build="b", num_candidates=3,
        timings_ms={"total": 1.0},
    )  # fmt: skip


def similar() -> SimilarResult:
    hit = Hit(
        id=uuid4(), score=0.7, version=1, source_id=uuid4(), kind="street",
        point=Point(1.0, 2.0), captured_at=None, group="g",
    )  # fmt: skip
    group = SimilarGroup(group="g", hits=(hit,))
    return SimilarResult(
        groups=[group], bundle="descriptor", index_build="b", timings_ms={"total": 1.0}
    )
