"""Response schemas of an explanation: why each image of a query was kept or dropped.

The only place that shows images which are no candidates of the answer.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.api.v1.schemas.candidates import ChannelOut
from pinpoint.records import Answer, RankedCandidate
from pinpoint.search.search_trace import DroppedHit, SearchTrace
from pinpoint.settings import SearchSettings

_EXPLAINED_SETTINGS: Final = (
    "candidates",
    "oversampling",
    "gps_channel_fraction",
    "raw_channel_fraction",
    "dedupe_m",
    "evidence_radius_m",
    "evidence_per_kind",
)


class ExplainedCandidateOut(BaseModel):
    """A candidate, with what each stage made of it."""

    image_id: UUID
    rank: int = Field(description="Rank in the answer, from 0.")
    is_shown: bool = Field(description="Whether it is among the best `top` candidates.")
    retrieval_rank: int = Field(description="Rank by its similarity alone, from 0.")
    channels: dict[str, ChannelOut]
    num_evidence: dict[str, int] = Field(description="Evidence images by source kind.")
    evidence_share: float
    weight: float = Field(description="Normalized weight from the ranker.")
    rerank_logit: float | None
    num_inliers: int | None = Field(description="Null if it was not compared by local features.")
    verified: bool | None
    is_cited: bool

    @classmethod
    def of(
        cls, rank: int, ranked: RankedCandidate, answer: Answer, top: int
    ) -> ExplainedCandidateOut:
        """Convert one candidate of an answer."""
        candidate = ranked.candidate
        match = answer.matches.get(candidate.id)
        verification = None if match is None else match.verification
        return cls(
            image_id=candidate.id,
            rank=rank,
            is_shown=rank < top,
            retrieval_rank=candidate.rank,
            channels={
                name: ChannelOut(score=score.score, rank=score.rank)
                for name, score in candidate.channels.items()
            },
            num_evidence=dict(Counter(photo.source_kind for photo in ranked.evidence)),
            evidence_share=ranked.evidence_share,
            weight=ranked.weight,
            rerank_logit=ranked.rerank_logit,
            num_inliers=verification and verification.inliers,
            verified=verification and verification.verified,
            is_cited=any(citation.image_id == candidate.id for citation in answer.citations),
        )


class DroppedOut(BaseModel):
    """An image that the index returned and that is no candidate."""

    image_id: UUID
    source_kind: str
    drop_reason: Literal["redundant", "no_slot"] = Field(
        description="`redundant`: next to a better candidate of the same panorama or sequence "
        "(`kept_image_id`). `no_slot`: better images filled the slots of its source kind and "
        "channel."
    )
    kept_image_id: UUID | None
    channels: dict[str, ChannelOut]

    @classmethod
    def of(cls, dropped: DroppedHit) -> DroppedOut:
        """Convert one dropped image."""
        return cls(
            image_id=dropped.id,
            source_kind=dropped.source_kind,
            drop_reason=dropped.reason,
            kept_image_id=dropped.kept_id,
            channels={
                name: ChannelOut(score=score.score, rank=score.rank)
                for name, score in dropped.channels.items()
            },
        )


class ExplanationOut(BaseModel):
    """How an answer came about; the answer has timings, bundle and filters itself."""

    num_hits: dict[str, int] = Field(
        description="Images that the index returned, by channel, without copies of equal bytes."
    )
    candidates: list[ExplainedCandidateOut] = Field(description="All candidates, best first.")
    num_dropped: int
    dropped: list[DroppedOut] = Field(description="The best 50 of the dropped images.")
    settings: dict[str, float | int | None] = Field(
        description="Search settings that decide which images become candidates and evidence."
    )

    @classmethod
    def of(
        cls,
        answer: Answer,
        trace: SearchTrace,
        top: int,
        settings: SearchSettings,
    ) -> ExplanationOut:
        """Explain an answer by the trace of its query."""
        return cls(
            num_hits=trace.num_hits,
            candidates=[
                ExplainedCandidateOut.of(rank, ranked, answer, top)
                for rank, ranked in enumerate(answer.ranked)
            ],
            num_dropped=trace.num_dropped,
            dropped=list(map(DroppedOut.of, trace.dropped)),
            settings={name: getattr(settings, name) for name in _EXPLAINED_SETTINGS},
        )
