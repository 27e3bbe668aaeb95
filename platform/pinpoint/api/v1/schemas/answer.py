"""Response schemas of `locate` and `similar`; a separate module has those of catalog rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.api.v1.schemas.basics import (
    GeoPoint,
    LabeledOut,
    Labels,
    LatLon,
    find_nearest_places,
    make_thumbnail_url,
)
from pinpoint.api.v1.schemas.candidates import CandidateOut, CitationOut
from pinpoint.api.v1.schemas.claims import ClaimOut
from pinpoint.api.v1.schemas.explanation import ExplanationOut
from pinpoint.api.v1.schemas.filters import FiltersOut
from pinpoint.api.v1.schemas.kept_queries import KeptQueryOut
from pinpoint.api.v1.schemas.posterior import CredibleDiscOut, PosteriorOut, describe_calibration
from pinpoint.api.v1.schemas.verification import MatchOut, VerificationThresholdOut
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import (
    Answer,
    Hit,
    ImageLabel,
    KeptQuery,
    Point,
    RankedCoordinate,
    SearchFilter,
    SimilarResult,
)
from pinpoint.records.protected_areas import Granularity
from pinpoint.search.verifier import order_matches

_NO_FILTER: Final = SearchFilter()


class RankedCoordinateOut(BaseModel):
    """A coordinate of the bundle's own list; it has no image."""

    lat: float
    lon: float
    weight: float = Field(description="Normalized weight; all compared coordinates sum to 1.")
    score: float = Field(description="Cosine similarity of photo and location embedding.")

    @classmethod
    def of(cls, coordinate: RankedCoordinate) -> RankedCoordinateOut:
        """Convert one ranked coordinate."""
        point = coordinate.point
        return cls(lat=point.lat, lon=point.lon, weight=coordinate.weight, score=coordinate.score)


class BundleOut(BaseModel):
    """The model bundle that encoded the photo."""

    name: str = Field(examples=["descriptor"])
    digest: str
    note: str = Field(description="Abilities and limits of these weights.")


class IndexOut(BaseModel):
    """The index that was searched."""

    engine: str = Field(
        examples=["qdrant-edge"], description="`coordinates` for the bundle's own coordinate list."
    )
    build: str | None


class AnswerOut(BaseModel):
    """The estimated position of a photo, with evidence."""

    point: LatLon | None = Field(
        description="Best estimate; null if the search space has no candidate."
    )
    geometry: GeoPoint | None
    granularity: Granularity = Field(
        description="`exact`, or why the point is coarse: the place is in a protected area, or the "
        "key has a minimum radius. The point is then the center of a `radius`, a `city` or a "
        "`country`, and the answer has no candidates."
    )
    place: str | None = Field(
        description="Name of the city or country of a coarse answer; otherwise null.",
        examples=["Paris, Ile-de-France, FR"],
    )
    abstention_reason: str | None = Field(
        description="Reason for abstaining; null for an answer. `no_candidates`: the search space "
        "has no candidate. `not_in_gallery`: the gallery probably has no image near the photo. "
        "`outside_candidates`: probably no candidate is near the photo. The point is then a best "
        "guess."
    )
    credible_discs: list[CredibleDiscOut]
    calibrated: bool
    calibration_note: str
    posterior: PosteriorOut | None = Field(
        description="Calibrated probabilities; null if not calibrated."
    )
    candidates: list[CandidateOut] = Field(description="The best `top` candidates, best first.")
    no_match_logit: float | None = Field(
        description="The reranker's logit of \"none of these\", comparable with the candidates' "
        "logits; null without a reranker."
    )
    num_candidates: int = Field(
        description="Number of candidates or coordinates with a weight above 0."
    )
    coordinates: list[RankedCoordinateOut] = Field(
        description="With search_space=coordinates, replaces candidates: the best `top` ones."
    )
    warnings: list[str] = Field(description="Limitations of this answer, such as missing evidence.")
    citations: dict[str, list[CitationOut]] = Field(description="Citations by source kind.")
    verified: bool = Field(
        description="Whether a cited image is verified: it shows the same surfaces as the photo."
    )
    verification_threshold: VerificationThresholdOut | None = Field(
        description="Threshold of verified matches; null if verification is disabled."
    )
    matches: list[MatchOut] | None = Field(
        description="With include=matches: the inliers of each compared image, best match first; "
        "otherwise null."
    )
    filters: FiltersOut
    claims: list[ClaimOut] = Field(
        description="What the metadata of each photo claim, compared with the answer, in the order "
        "of the photos."
    )
    bundle: BundleOut
    ranker: str = Field(examples=["rerank", "vote", "coordinates"])
    ranker_fallback_reason: str | None = Field(
        description="Reason why an available reranker did not run."
    )
    index: IndexOut
    explanation: ExplanationOut | None = Field(
        description="With include=explain, if the gallery was searched: why each image was kept or "
        "dropped; otherwise null."
    )
    kept_query: KeptQueryOut | None = Field(
        description="With keep=true: what is kept of this answer; null without a point."
    )
    timings_ms: dict[str, float] = Field(
        description="Milliseconds by stage; empty if a protected area could be inferred from them."
    )

    @classmethod
    def of(
        cls,
        answer: Answer,
        top: int,
        names: Mapping[UUID, ImageLabel] = MappingProxyType({}),
        *,
        search_filter: SearchFilter = _NO_FILTER,
        with_matches: bool = False,
        explanation: ExplanationOut | None = None,
        kept_query: KeptQuery | None = None,
    ) -> AnswerOut:
        """Convert an answer with its `top` candidates.

        Args:
            answer: The answer.
            top: Maximum number of candidates or coordinates.
            names: Labels of the images in `list_image_ids`.
            search_filter: The filter that was applied.
            with_matches: Whether to include the positions of the inliers.
            explanation: The explanation, if the caller asked for it.
            kept_query: What is kept of the answer, if its caller asked to keep it.
        """
        labels = Labels(names, _shown_points(answer, top))
        cited: dict[str, list[CitationOut]] = {}
        nearest_places = find_nearest_places([citation.point for citation in answer.citations])
        for citation, nearest_place in zip(answer.citations, nearest_places, strict=True):
            cited.setdefault(citation.source_kind, []).append(
                CitationOut.of(citation, nearest_place, answer.matches.get(citation.image_id))
            )
        point, calibrated_result = answer.point, answer.calibrated_result
        posterior, query_features = calibrated_result.posterior, calibrated_result.features
        return cls(
            point=None if point is None else LatLon(lat=point.lat, lon=point.lon),
            geometry=None if point is None else GeoPoint.of(point),
            granularity=answer.granularity,
            place=answer.place,
            credible_discs=[
                CredibleDiscOut(probability=disc.probability, radius_m=disc.radius_m)
                for disc in answer.credible_discs
            ],
            calibrated=answer.calibrated,
            abstention_reason=calibrated_result.abstention_reason,
            calibration_note=describe_calibration(answer),
            posterior=posterior and PosteriorOut.of(posterior),
            candidates=[
                CandidateOut.of(ranked, labels, answer.matches.get(ranked.candidate.id))
                for ranked in answer.ranked[:top]
            ],
            no_match_logit=query_features and query_features.no_match_logit,
            num_candidates=answer.num_candidates,
            coordinates=[
                RankedCoordinateOut.of(coordinate) for coordinate in answer.coordinates[:top]
            ],
            warnings=list(answer.warnings),
            citations=cited,
            verified=answer.verified,
            verification_threshold=VerificationThresholdOut.of(answer.verification_threshold),
            matches=_list_matches(answer) if with_matches else None,
            filters=FiltersOut.of(search_filter),
            claims=[ClaimOut.of(claim, answer) for claim in answer.claims],
            bundle=BundleOut(
                name=answer.bundle, digest=answer.bundle_digest, note=answer.bundle_note
            ),
            ranker=answer.ranker,
            ranker_fallback_reason=answer.ranker_fallback_reason,
            index=IndexOut(engine=answer.index_engine, build=answer.index_build),
            explanation=explanation,
            kept_query=None if kept_query is None else KeptQueryOut.of(kept_query),
            timings_ms=dict(answer.timings_ms),
        )


def list_image_ids(answer: Answer, top: int) -> list[UUID]:
    """Return the ids of all images in the response, whose labels are needed."""
    return list(_shown_points(answer, top))


def _list_matches(answer: Answer) -> list[MatchOut]:
    """Return the matches of all compared images, best first."""
    matches = [
        MatchOut.of(image_id, answer.matches[image_id])
        for image_id in order_matches(answer.matches)
    ]
    return [match for match in matches if match is not None]


def _shown_points(answer: Answer, top: int) -> dict[UUID, Point]:
    """Return the positions of the returned candidates and of their evidence."""
    ranked_candidates = answer.ranked[:top]
    evidence_points = {
        photo.id: photo.point for ranked in ranked_candidates for photo in ranked.evidence
    }
    return evidence_points | {
        ranked.candidate.id: ranked.candidate.point for ranked in ranked_candidates
    }


class HitOut(LabeledOut):
    """An image that is similar to the query."""

    image_id: UUID
    source_id: UUID
    source_kind: str
    lat: float
    lon: float
    captured_at: datetime | None
    score: float | None = Field(
        description="Cosine similarity; null in a search that orders images by distance."
    )
    distance_m: float | None = Field(
        description="Distance from the point of a search; null without a point."
    )
    thumbnail_url: str

    @classmethod
    def of(
        cls, hit: Hit, labels: Labels, *, point: Point | None = None, by_distance: bool = False
    ) -> HitOut:
        """Convert one hit of a search, around a point if it has one."""
        return cls(
            image_id=hit.id,
            **labels.fields(hit.id),
            source_id=hit.source_id,
            source_kind=hit.kind,
            lat=hit.point.lat,
            lon=hit.point.lon,
            captured_at=hit.captured_at,
            score=None if by_distance else hit.score,
            distance_m=None if point is None else geodesic_m(point, hit.point),
            thumbnail_url=make_thumbnail_url(hit.id),
        )


class GroupOut(BaseModel):
    """Images of one panorama or sequence, best first."""

    group: str
    hits: list[HitOut]


class SimilarOut(BaseModel):
    """Most similar images, grouped so that one sequence does not dominate the result."""

    groups: list[GroupOut]
    warnings: list[str] = Field(
        description="Limitations of this result: whether images may be missing from it."
    )
    bundle: str
    index_build: str | None
    timings_ms: dict[str, float]

    @classmethod
    def of(
        cls, result: SimilarResult, names: Mapping[UUID, ImageLabel] = MappingProxyType({})
    ) -> SimilarOut:
        """Convert all groups, best first."""
        return cls(
            groups=make_groups(result, names, point=None),
            warnings=list(result.warnings),
            bundle=result.bundle,
            index_build=result.index_build,
            timings_ms=dict(result.timings_ms),
        )


class SearchOut(SimilarOut):
    """Images of a search, best group first."""

    weights: dict[str, float] = Field(
        description="Weight of each part of the query; their sum is 1.",
        examples=[{"text": 0.7, "photo": 0.3}],
    )
    order: Literal["similarity", "distance"] = Field(
        description="`distance` for a point with a bundle without a location encoder."
    )
    filters: FiltersOut

    @classmethod
    def of_search(
        cls,
        result: SimilarResult,
        names: Mapping[UUID, ImageLabel],
        search_filter: SearchFilter,
        point: Point | None,
    ) -> SearchOut:
        """Convert the result of a search, with the point and filter of its query."""
        return cls(
            groups=make_groups(result, names, point=point),
            warnings=list(result.warnings),
            bundle=result.bundle,
            index_build=result.index_build,
            timings_ms=dict(result.timings_ms),
            weights=dict(result.weights),
            order="distance" if result.by_distance else "similarity",
            filters=FiltersOut.of(search_filter),
        )


def make_groups(
    result: SimilarResult, names: Mapping[UUID, ImageLabel], *, point: Point | None
) -> list[GroupOut]:
    """Convert the groups of a result, best first."""
    points = {hit.id: hit.point for group in result.groups for hit in group.hits}
    labels = Labels(names, points)
    return [
        GroupOut(
            group=group.group,
            hits=[
                HitOut.of(hit, labels, point=point, by_distance=result.by_distance)
                for hit in group.hits
            ],
        )
        for group in result.groups
    ]
