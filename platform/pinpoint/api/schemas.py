"""Wire forms of questions and answers; `schemas_catalogue` holds those of rows."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.api.schemas_belief import BeliefOut, RegionOut, calibration_note
from pinpoint.records import Answer, Citation, Hit, Point, Ranked, RankedPlace, Similar


def thumbnail_url(image_id: UUID) -> str:
    """Where an image's thumbnail is, relative to the API's address."""
    return f"/v1/images/{image_id}/thumbnail"


class GeoPoint(BaseModel):
    """A GeoJSON point: longitude first."""

    type: Literal["Point"] = "Point"
    coordinates: tuple[float, float] = Field(examples=[(2.3522, 48.8566)])

    @classmethod
    def of(cls, point: Point) -> GeoPoint:
        """Flip to GeoJSON's order."""
        return cls(coordinates=(point.lon, point.lat))


class Place(BaseModel):
    """A position in degrees (WGS84)."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class EvidenceOut(BaseModel):
    """A photo near a candidate that was weighed."""

    image_id: UUID
    kind: str
    lat: float
    lon: float
    distance_m: float = Field(description="From the candidate.")
    similarity: float = Field(description="Cosine similarity to the photo asked about.")
    thumbnail_url: str


class ChannelOut(BaseModel):
    """What one channel of the index says of a candidate."""

    score: float = Field(description="Cosine similarity of the photo to this vector of it.")
    rank: int | None = Field(
        description="Place among all that the channel found, from 0; null where it did not find it."
    )


class CandidateOut(BaseModel):
    """A gallery image that may show the place."""

    rank: int
    image_id: UUID
    source_id: UUID
    kind: str
    lat: float
    lon: float
    captured_at: datetime | None
    mass: float = Field(description="Share of the vote; all candidates together have 1.")
    support: float = Field(description="Share of that mass that comes from evidence nearby.")
    score: float = Field(description="Cosine similarity to the photo asked about.")
    near_duplicate: bool = Field(description="So similar that it is as good as the same picture.")
    channels: dict[str, ChannelOut] = Field(
        description="By channel: `image` compares pictures, `gps` the photo with the place itself."
    )
    thumbnail_url: str
    evidence: list[EvidenceOut]

    @classmethod
    def of(cls, ranked: Ranked) -> CandidateOut:
        """One ranked candidate with all its evidence."""
        one = ranked.candidate
        pairs = zip(ranked.evidence, ranked.similarities, strict=True)
        return cls(
            rank=one.rank,
            image_id=one.id,
            source_id=one.source_id,
            kind=one.kind,
            lat=one.point.lat,
            lon=one.point.lon,
            captured_at=one.captured_at,
            mass=ranked.mass,
            support=ranked.support,
            score=one.score,
            near_duplicate=one.near_duplicate,
            channels={
                name: ChannelOut(score=found.score, rank=found.rank)
                for name, found in one.channels.items()
            },
            thumbnail_url=thumbnail_url(one.id),
            evidence=[
                EvidenceOut(
                    image_id=near.id,
                    kind=near.kind,
                    lat=near.point.lat,
                    lon=near.point.lon,
                    distance_m=near.distance_m,
                    similarity=similarity,
                    thumbnail_url=thumbnail_url(near.id),
                )
                for near, similarity in pairs
            ],
        )


class PlaceOut(BaseModel):
    """A place of the bundle's own list; no image stands for it."""

    lat: float
    lon: float
    mass: float = Field(description="Its share; all places that were compared have 1 together.")
    score: float = Field(description="Cosine similarity of the photo to the place itself.")

    @classmethod
    def of(cls, place: RankedPlace) -> PlaceOut:
        """One ranked place."""
        at = place.point
        return cls(lat=at.lat, lon=at.lon, mass=place.mass, score=place.score)


class CitationOut(BaseModel):
    """A photo that speaks for the answer, with what must be said when it is shown."""

    image_id: UUID
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

    @classmethod
    def of(cls, cited: Citation) -> CitationOut:
        """One citation."""
        return cls(
            image_id=cited.image_id,
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
        )


class BundleOut(BaseModel):
    """The weights that looked at the photo."""

    name: str = Field(examples=["descriptor"])
    digest: str
    note: str = Field(description="What these weights can and cannot do.")


class IndexOut(BaseModel):
    """What was searched."""

    engine: str = Field(
        examples=["qdrant-edge"], description="`places` where that was the bundle's own list."
    )
    build: str | None


class AnswerOut(BaseModel):
    """Where a photo was taken, and the evidence for it."""

    point: Place | None = Field(
        description="Null where the gallery, or the list of places, holds nothing to answer with."
    )
    geometry: GeoPoint | None
    abstained: str | None = Field(
        description="Null for an answer. `no_candidates`: there is nothing to answer with. "
        "`unsupported`, `elsewhere`: too likely that the gallery has nothing near the photo, or "
        "that none of the candidates is; the point is then only the best guess."
    )
    regions: list[RegionOut]
    calibrated: bool
    calibration_note: str
    belief: BeliefOut | None = Field(description="Probabilities; null where not calibrated.")
    candidates: list[CandidateOut] = Field(description="Best first, the `top` first of them.")
    candidates_considered: int = Field(description="Candidates, or places, that had a share.")
    places: list[PlaceOut] = Field(
        description="With over=places instead of candidates: best first, the `top` first of them."
    )
    note: str | None = Field(description="What this answer lacks, such as evidence.")
    citations: dict[str, list[CitationOut]] = Field(description="By source kind.")
    bundle: BundleOut
    ranker: str = Field(examples=["rerank", "vote", "places"])
    ranker_reason: str | None = Field(description="Why no reranker ran, where one would have.")
    index: IndexOut
    timings_ms: dict[str, float]

    @classmethod
    def of(cls, answer: Answer, top: int) -> AnswerOut:
        """An answer with its `top` candidates."""
        cited: dict[str, list[CitationOut]] = {}
        for citation in answer.citations:
            cited.setdefault(citation.kind, []).append(CitationOut.of(citation))
        point, belief = answer.point, answer.believed.belief
        return cls(
            point=None if point is None else Place(lat=point.lat, lon=point.lon),
            geometry=None if point is None else GeoPoint.of(point),
            regions=[RegionOut(mass=one.mass, radius_m=one.radius_m) for one in answer.regions],
            calibrated=answer.calibrated,
            abstained=answer.believed.abstained,
            calibration_note=calibration_note(answer),
            belief=belief and BeliefOut.of(belief),
            candidates=[CandidateOut.of(ranked) for ranked in answer.ranked[:top]],
            candidates_considered=answer.candidates_considered,
            places=[PlaceOut.of(place) for place in answer.places[:top]],
            note=answer.note,
            citations=cited,
            bundle=BundleOut(
                name=answer.bundle, digest=answer.bundle_digest, note=answer.bundle_note
            ),
            ranker=answer.ranker,
            ranker_reason=answer.ranker_reason,
            index=IndexOut(engine=answer.index_engine, build=answer.index_build),
            timings_ms=dict(answer.timings_ms),
        )


class HitOut(BaseModel):
    """An image that looks like the photo."""

    image_id: UUID
    source_id: UUID
    kind: str
    lat: float
    lon: float
    captured_at: datetime | None
    score: float = Field(description="Cosine similarity.")
    thumbnail_url: str

    @classmethod
    def of(cls, hit: Hit) -> HitOut:
        """One hit."""
        return cls(
            image_id=hit.id,
            source_id=hit.source_id,
            kind=hit.kind,
            lat=hit.point.lat,
            lon=hit.point.lon,
            captured_at=hit.captured_at,
            score=hit.score,
            thumbnail_url=thumbnail_url(hit.id),
        )


class GroupOut(BaseModel):
    """Images of one panorama or sequence, best first."""

    group: str
    hits: list[HitOut]


class SimilarOut(BaseModel):
    """Nearest images, grouped so that one sequence does not flood the page."""

    groups: list[GroupOut]
    bundle: str
    index_build: str | None
    timings_ms: dict[str, float]

    @classmethod
    def of(cls, found: Similar) -> SimilarOut:
        """All groups, best first."""
        return cls(
            groups=[
                GroupOut(group=one.group, hits=[HitOut.of(hit) for hit in one.hits])
                for one in found.groups
            ],
            bundle=found.bundle,
            index_build=found.index_build,
            timings_ms=dict(found.timings_ms),
        )
