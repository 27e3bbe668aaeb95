"""Response schemas of candidates, their evidence and citations."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.api.v1.schemas.basics import (
    LabeledOut,
    Labels,
    LatLon,
    NearestPlaceOut,
    make_thumbnail_url,
)
from pinpoint.api.v1.schemas.verification import VerificationOut
from pinpoint.records import Citation, ImageMatch, RankedCandidate


class EvidenceOut(LabeledOut):
    """An evidence image near a candidate."""

    image_id: UUID
    source_kind: str
    lat: float
    lon: float
    distance_m: float = Field(description="Distance from the candidate.")
    similarity: float = Field(description="Cosine similarity to the query photo.")
    attention: float | None = Field(
        description="Share of the reranker's attention for this image among the candidate's "
        "evidence; the rest to 1 is attention to no evidence. Null without a reranker."
    )
    thumbnail_url: str


class ChannelOut(BaseModel):
    """Score of a candidate in one channel of the index."""

    score: float = Field(description="Cosine similarity of the query photo to this vector.")
    rank: int | None = Field(
        description="Rank in the channel's hits, from 0; null if not among them."
    )


class CandidateOut(LabeledOut):
    """A gallery image that may show the photo's location."""

    rank: int = Field(
        description="Retrieval rank, from 0; the list itself is in the ranker's order."
    )
    image_id: UUID
    source_id: UUID
    source_kind: str
    lat: float
    lon: float
    captured_at: datetime | None
    weight: float = Field(description="Normalized weight by the ranker; all candidates sum to 1.")
    evidence_share: float = Field(
        description="Share of this weight that comes from evidence nearby; with a reranker, share "
        "of its attention to evidence."
    )
    score: float = Field(description="Cosine similarity to the query photo.")
    rerank_logit: float | None = Field(
        description="The reranker's logit, comparable with `no_match_logit`; null without one."
    )
    refined_position: LatLon | None = Field(
        description="The reranker's position estimate, if this candidate is correct; probabilities "
        "are centered on it. Null without a reranker."
    )
    near_duplicate: bool = Field(description="So similar that it is practically the same image.")
    channels: dict[str, ChannelOut] = Field(
        description="Scores by channel: `image` compares images, `gps` compares photo and "
        "location, `raw` compares the tower's own features."
    )
    verification: VerificationOut | None = Field(
        description="Comparison by local features; null if it was not among the first `verify` "
        "candidates and is not cited."
    )
    thumbnail_url: str
    evidence: list[EvidenceOut]

    @classmethod
    def of(
        cls, ranked: RankedCandidate, labels: Labels, match: ImageMatch | None = None
    ) -> CandidateOut:
        """Convert one ranked candidate with all its evidence."""
        candidate = ranked.candidate
        attention = ranked.attention or (None,) * len(ranked.evidence)
        evidence = zip(ranked.evidence, ranked.similarities, attention, strict=True)
        return cls(
            rank=candidate.rank,
            image_id=candidate.id,
            **labels.fields(candidate.id),
            source_id=candidate.source_id,
            source_kind=candidate.source_kind,
            lat=candidate.point.lat,
            lon=candidate.point.lon,
            captured_at=candidate.captured_at,
            weight=ranked.weight,
            evidence_share=ranked.evidence_share,
            score=candidate.score,
            rerank_logit=ranked.rerank_logit,
            refined_position=ranked.refined_position
            and LatLon(lat=ranked.refined_position.lat, lon=ranked.refined_position.lon),
            near_duplicate=candidate.near_duplicate,
            channels={
                name: ChannelOut(score=channel.score, rank=channel.rank)
                for name, channel in candidate.channels.items()
            },
            verification=VerificationOut.of(match),
            thumbnail_url=make_thumbnail_url(candidate.id),
            evidence=[
                EvidenceOut(
                    image_id=photo.id,
                    **labels.fields(photo.id),
                    source_kind=photo.source_kind,
                    lat=photo.point.lat,
                    lon=photo.point.lon,
                    distance_m=photo.distance_m,
                    similarity=similarity,
                    attention=share,
                    thumbnail_url=make_thumbnail_url(photo.id),
                )
                for photo, similarity, share in evidence
            ],
        )


class CitedCopyOut(BaseModel):
    """An image with the same bytes as a cited one, which must be attributed as well."""

    image_id: UUID
    source_id: UUID
    source: str
    file_name: str
    source_kind: str
    license: str | None
    attribution: str | None
    thumbnail_url: str


class CitationOut(BaseModel):
    """An image that supports the answer, with license and attribution."""

    image_id: UUID
    file_name: str = Field(description="Last part of the file's path in its source.")
    nearest_place: NearestPlaceOut
    role: Literal["candidate", "evidence"]
    source_id: UUID
    source: str
    source_kind: str
    license: str | None
    attribution: str | None
    lat: float
    lon: float
    distance_m: float = Field(description="Distance from the answer.")
    similarity: float
    verification: VerificationOut | None = Field(
        description="Comparison by local features; null if verification is disabled."
    )
    thumbnail_url: str
    copies: list[CitedCopyOut] = Field(
        description="Images with the same bytes, mostly from other sources. Together they count as "
        "one vote, and never as evidence for each other."
    )

    @classmethod
    def of(
        cls, cited: Citation, place: NearestPlaceOut, match: ImageMatch | None = None
    ) -> CitationOut:
        """Convert one citation."""
        return cls(
            image_id=cited.image_id,
            file_name=cited.file_name,
            nearest_place=place,
            role=cited.role,
            source_id=cited.source_id,
            source=cited.source,
            source_kind=cited.source_kind,
            license=cited.license,
            attribution=cited.attribution,
            lat=cited.point.lat,
            lon=cited.point.lon,
            distance_m=cited.distance_m,
            similarity=cited.similarity,
            verification=VerificationOut.of(match),
            thumbnail_url=make_thumbnail_url(cited.image_id),
            copies=[
                CitedCopyOut(
                    image_id=copy.image_id,
                    source_id=copy.source_id,
                    source=copy.source,
                    file_name=copy.file_name,
                    source_kind=copy.source_kind,
                    license=copy.license,
                    attribution=copy.attribution,
                    thumbnail_url=make_thumbnail_url(copy.image_id),
                )
                for copy in cited.copies
            ],
        )
