"""Wire forms of questions and answers; `schemas_catalogue` holds those of rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.api.schemas_basics import (
    GeoPoint,
    LabeledOut,
    Labels,
    Place,
    name_places,
    thumbnail_url,
)
from pinpoint.api.schemas_belief import BeliefOut, RegionOut, calibration_note
from pinpoint.api.schemas_candidates import CandidateOut, CitationOut
from pinpoint.records import Answer, Hit, ImageLabel, Point, RankedPlace, Similar


class PlaceOut(BaseModel):
    """A place of the bundle's own list; no image stands for it."""

    lat: float
    lon: float
    mass: float = Field(description="Its share; all places that were compared have 1 together.")
    score: float = Field(description="Cosine similarity of the photo to the place itself.")

    @classmethod
    def of(cls, place: RankedPlace) -> PlaceOut:
        """One ranked place."""
        point = place.point
        return cls(lat=point.lat, lon=point.lon, mass=place.mass, score=place.score)


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
    null_score: float | None = Field(
        description="The reranker's logit of \"none of these\", beside the candidates' own; null "
        "where none ran."
    )
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
    def of(
        cls, answer: Answer, top: int, names: Mapping[UUID, ImageLabel] = MappingProxyType({})
    ) -> AnswerOut:
        """An answer with its `top` candidates; `names` are those of `shown_ids`."""
        labels = Labels(names, _shown_points(answer, top))
        cited: dict[str, list[CitationOut]] = {}
        nearest_places = name_places([citation.point for citation in answer.citations])
        for citation, nearest_place in zip(answer.citations, nearest_places, strict=True):
            cited.setdefault(citation.kind, []).append(CitationOut.of(citation, nearest_place))
        point, belief, query_features = answer.point, answer.believed.belief, answer.believed.asked
        return cls(
            point=None if point is None else Place(lat=point.lat, lon=point.lon),
            geometry=None if point is None else GeoPoint.of(point),
            regions=[RegionOut(mass=disc.mass, radius_m=disc.radius_m) for disc in answer.regions],
            calibrated=answer.calibrated,
            abstained=answer.believed.abstained,
            calibration_note=calibration_note(answer),
            belief=belief and BeliefOut.of(belief),
            candidates=[CandidateOut.of(ranked, labels) for ranked in answer.ranked[:top]],
            null_score=query_features and query_features.null_logit,
            candidates_considered=answer.candidates_considered,
            places=[PlaceOut.of(nearest_place) for nearest_place in answer.places[:top]],
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


def shown_ids(answer: Answer, top: int) -> list[UUID]:
    """Images of an answer whose names its wire form asks for."""
    return list(_shown_points(answer, top))


def _shown_points(answer: Answer, top: int) -> dict[UUID, Point]:
    """Candidates that are shown, and their evidence."""
    ranked_candidates = answer.ranked[:top]
    evidence_points = {
        photo.id: photo.point for ranked in ranked_candidates for photo in ranked.evidence
    }
    return evidence_points | {
        ranked.candidate.id: ranked.candidate.point for ranked in ranked_candidates
    }


class HitOut(LabeledOut):
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
    def of(cls, hit: Hit, labels: Labels) -> HitOut:
        """One hit."""
        return cls(
            image_id=hit.id,
            **labels.fields(hit.id),
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
    def of(
        cls, result: Similar, names: Mapping[UUID, ImageLabel] = MappingProxyType({})
    ) -> SimilarOut:
        """All groups, best first."""
        points = {hit.id: hit.point for group in result.groups for hit in group.hits}
        labels = Labels(names, points)
        return cls(
            groups=[
                GroupOut(group=group.group, hits=[HitOut.of(hit, labels) for hit in group.hits])
                for group in result.groups
            ],
            bundle=result.bundle,
            index_build=result.index_build,
            timings_ms=dict(result.timings_ms),
        )
