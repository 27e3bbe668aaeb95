"""Wire forms of what speaks for an answer: candidates, their evidence, and what is cited."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.api.schemas_basics import LabeledOut, Labels, NearestPlaceOut, Place, thumbnail_url
from pinpoint.records import Citation, Ranked


class EvidenceOut(LabeledOut):
    """A photo near a candidate that was weighed."""

    image_id: UUID
    kind: str
    lat: float
    lon: float
    distance_m: float = Field(description="From the candidate.")
    similarity: float = Field(description="Cosine similarity to the photo asked about.")
    attention: float | None = Field(
        description="Share of the reranker's attention to the candidate's evidence that this photo "
        "had; what is missing to 1 went to none of it. Null where no reranker ran."
    )
    thumbnail_url: str


class ChannelOut(BaseModel):
    """What one channel of the index says of a candidate."""

    score: float = Field(description="Cosine similarity of the photo to this vector of it.")
    rank: int | None = Field(
        description="Place among all that the channel found, from 0; null where it did not find it."
    )


class CandidateOut(LabeledOut):
    """A gallery image that may show the place."""

    rank: int = Field(
        description="Place in the order of retrieval, from 0; the list itself is the ranker's."
    )
    image_id: UUID
    source_id: UUID
    kind: str
    lat: float
    lon: float
    captured_at: datetime | None
    mass: float = Field(description="The ranker's share; all candidates together have 1.")
    support: float = Field(
        description="Share of that mass that comes from evidence nearby; of a reranker, the share "
        "of its attention that evidence had."
    )
    score: float = Field(description="Cosine similarity to the photo asked about.")
    rerank_score: float | None = Field(
        description="The reranker's logit, beside `null_score`; null where none ran."
    )
    refined: Place | None = Field(
        description="Where the photo was taken, by the reranker, if this candidate is right; "
        "probabilities stand around it. Null where none ran."
    )
    near_duplicate: bool = Field(description="So similar that it is as good as the same picture.")
    channels: dict[str, ChannelOut] = Field(
        description="By channel: `image` compares pictures, `gps` the photo with the place itself."
    )
    thumbnail_url: str
    evidence: list[EvidenceOut]

    @classmethod
    def of(cls, ranked: Ranked, labels: Labels) -> CandidateOut:
        """One ranked candidate with all its evidence."""
        candidate = ranked.candidate
        attention = ranked.attention or (None,) * len(ranked.evidence)
        evidence = zip(ranked.evidence, ranked.similarities, attention, strict=True)
        return cls(
            rank=candidate.rank,
            image_id=candidate.id,
            **labels.fields(candidate.id),
            source_id=candidate.source_id,
            kind=candidate.kind,
            lat=candidate.point.lat,
            lon=candidate.point.lon,
            captured_at=candidate.captured_at,
            mass=ranked.mass,
            support=ranked.support,
            score=candidate.score,
            rerank_score=ranked.score,
            refined=ranked.refined and Place(lat=ranked.refined.lat, lon=ranked.refined.lon),
            near_duplicate=candidate.near_duplicate,
            channels={
                name: ChannelOut(score=channel.score, rank=channel.rank)
                for name, channel in candidate.channels.items()
            },
            thumbnail_url=thumbnail_url(candidate.id),
            evidence=[
                EvidenceOut(
                    image_id=photo.id,
                    **labels.fields(photo.id),
                    kind=photo.kind,
                    lat=photo.point.lat,
                    lon=photo.point.lon,
                    distance_m=photo.distance_m,
                    similarity=similarity,
                    attention=share,
                    thumbnail_url=thumbnail_url(photo.id),
                )
                for photo, similarity, share in evidence
            ],
        )


class CitedCopyOut(BaseModel):
    """An image with the bytes of a cited one, in another source, which is to be named too."""

    image_id: UUID
    source_id: UUID
    source: str
    file_name: str
    kind: str
    licence: str | None
    attribution: str | None
    thumbnail_url: str


class CitationOut(BaseModel):
    """A photo that speaks for the answer, with what must be said when it is shown."""

    image_id: UUID
    file_name: str = Field(description="Last part of the file's path in its source.")
    nearest_place: NearestPlaceOut
    role: Literal["candidate", "evidence"]
    source_id: UUID
    source: str
    kind: str
    licence: str | None
    attribution: str | None
    lat: float
    lon: float
    distance_m: float = Field(description="From the answer.")
    similarity: float
    thumbnail_url: str
    copies: list[CitedCopyOut] = Field(
        description="Images with the same bytes, mostly of other sources. They count as one vote "
        "together, and never as evidence for each other."
    )

    @classmethod
    def of(cls, cited: Citation, place: NearestPlaceOut) -> CitationOut:
        """One citation."""
        return cls(
            image_id=cited.image_id,
            file_name=cited.file_name,
            nearest_place=place,
            role=cited.role,
            source_id=cited.source_id,
            source=cited.source,
            kind=cited.kind,
            licence=cited.licence,
            attribution=cited.attribution,
            lat=cited.point.lat,
            lon=cited.point.lon,
            distance_m=cited.distance_m,
            similarity=cited.similarity,
            thumbnail_url=thumbnail_url(cited.image_id),
            copies=[
                CitedCopyOut(
                    image_id=copy.image_id,
                    source_id=copy.source_id,
                    source=copy.source,
                    file_name=copy.file_name,
                    kind=copy.kind,
                    licence=copy.licence,
                    attribution=copy.attribution,
                    thumbnail_url=thumbnail_url(copy.image_id),
                )
                for copy in cited.copies
            ],
        )
