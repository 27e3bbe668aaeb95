"""Answers of `locate` and `similar` as GeoJSON (RFC 7946): layers that a GIS opens directly.

Every feature of a collection has the same properties, null where they do not apply, so that a GIS
shows one table. `feature_type` says what a feature is, as `featureType` of OGC JSON-FG does. What
holds for the whole answer is a foreign member of the collection (6.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal, Self
from uuid import UUID

import numpy as np
from pydantic import BaseModel, Field

from pinpoint.api.v1.schemas.answer import (
    AnswerOut,
    BundleOut,
    HitOut,
    IndexOut,
    SimilarOut,
)
from pinpoint.api.v1.schemas.basics import GeoPoint, find_nearest_places
from pinpoint.api.v1.schemas.candidates import CandidateOut, CitationOut, EvidenceOut
from pinpoint.api.v1.schemas.claims import ClaimOut
from pinpoint.api.v1.schemas.disc_polygons import outline_disc
from pinpoint.api.v1.schemas.kept_queries import KeptQueryOut
from pinpoint.api.v1.schemas.posterior import MultiPolygonOut, NameOut, ProbabilityWithinOut
from pinpoint.api.v1.schemas.verification import VerificationOut, VerificationThresholdOut
from pinpoint.geo.distance import haversine_m
from pinpoint.records import Point
from pinpoint.records.protected_areas import Granularity


class CopyProperties(BaseModel):
    """An image of another source with the same bytes, which must be attributed as well."""

    image_id: UUID
    source: str
    license: str | None
    attribution: str | None


class FeatureProperties(BaseModel):
    """Properties of all features; those that do not apply to a feature are null."""

    feature_type: Literal[
        "point", "credible_region", "credible_disc", "candidate", "evidence", "coordinate", "hit"
    ] = Field(
        description="`point`: the answer. `credible_region`: highest-density region of a "
        "calibrated answer. `credible_disc`: disc around the point of an answer that is not "
        "calibrated. `candidate`, `evidence`: gallery images. `coordinate`: of the bundle's list. "
        "`hit`: an image that is similar to the query."
    )
    rank: int | None = Field(
        default=None, description="Order among the features of this type, from 0."
    )
    probability: float | None = Field(
        default=None,
        description="Probability that the region, disc, or circle of `radius_m` contains the "
        "photo's position; a share of the ranker's weights if the answer is not calibrated.",
    )
    radius_m: float | None = None
    area_km2: float | None = None
    weight: float | None = Field(default=None, description="Normalized weight by the ranker.")
    score: float | None = Field(
        default=None, description="Cosine similarity to the query photo, or to its embedding."
    )
    distance_m: float | None = Field(
        default=None, description="Great-circle distance from the answer's point."
    )
    cited: bool | None = Field(
        default=None, description="Whether the image is among the citations of the answer."
    )
    verified: bool | None = Field(
        default=None, description="Whether the image shows the same surfaces as the photo."
    )
    inliers: int | None = None
    near_duplicate: bool | None = None
    candidate_id: UUID | None = Field(
        default=None, description="Candidate that this evidence image is near."
    )
    group: str | None = Field(default=None, description="Panorama or sequence of a hit.")
    image_id: UUID | None = None
    file_name: str | None = None
    source: str | None = None
    source_kind: str | None = None
    captured_at: datetime | None = None
    license: str | None = None
    attribution: str | None = None
    nearest_place: str | None = Field(
        default=None, description="Nearest GeoNames city.", examples=["Paris, FR"]
    )
    thumbnail_url: str | None = Field(
        default=None, description="Absolute, so that it works in a file of the answer."
    )
    copies: list[CopyProperties] | None = None


class AnswerFeature(BaseModel):
    """A GeoJSON Feature."""

    type: Literal["Feature"] = "Feature"
    geometry: GeoPoint | MultiPolygonOut
    properties: FeatureProperties


class SimilarFeaturesOut(BaseModel):
    """Similar images as a GeoJSON FeatureCollection; other members are foreign members."""

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[AnswerFeature]
    warnings: list[str]
    bundle: str
    index_build: str | None
    timings_ms: dict[str, float]

    @classmethod
    def of(cls, similar: SimilarOut, base_url: str) -> Self:
        """Convert all hits, best group first.

        Args:
            similar: The answer.
            base_url: Base URL of the API, without a slash at its end.
        """
        hits = [(group.group, hit) for group in similar.groups for hit in group.hits]
        return cls(
            features=[
                _make_image_feature(
                    hit, base_url, feature_type="hit", rank=rank, group=group, score=hit.score
                )
                for rank, (group, hit) in enumerate(hits)
            ],
            warnings=similar.warnings,
            bundle=similar.bundle,
            index_build=similar.index_build,
            timings_ms=similar.timings_ms,
        )


class AnswerFeaturesOut(BaseModel):
    """An answer as a GeoJSON FeatureCollection; other members are foreign members.

    Without a point there are no point and no regions, and there may be no feature at all.
    """

    type: Literal["FeatureCollection"] = "FeatureCollection"
    features: list[AnswerFeature] = Field(
        description="Regions first, the largest one first; then evidence, candidates and the "
        "point, so that a GIS draws the most important feature last."
    )
    granularity: Granularity
    place: str | None
    abstention_reason: str | None
    calibrated: bool
    calibration_note: str
    probability_within_km: list[ProbabilityWithinOut]
    names: list[NameOut]
    p_outside_candidates: float | None
    p_not_in_gallery: float | None
    calibration_group: str | None
    no_match_logit: float | None
    num_candidates: int
    verified: bool
    verification_threshold: VerificationThresholdOut | None
    warnings: list[str]
    bundle: BundleOut
    ranker: str
    ranker_fallback_reason: str | None
    index: IndexOut
    claims: list[ClaimOut]
    kept_query: KeptQueryOut | None
    timings_ms: dict[str, float]

    @classmethod
    def of(cls, answer: AnswerOut, base_url: str) -> Self:
        """Convert an answer.

        Args:
            answer: The answer.
            base_url: Base URL of the API, without a slash at its end.
        """
        posterior = answer.posterior
        return cls(
            features=[
                *_make_region_features(answer),
                *_ImageFeatures(answer, base_url).make_all(),
                *_make_coordinate_features(answer),
                *_make_point_features(answer),
            ],
            probability_within_km=[] if posterior is None else posterior.probability_within_km,
            names=[] if posterior is None else posterior.names,
            p_outside_candidates=posterior and posterior.p_outside_candidates,
            p_not_in_gallery=posterior and posterior.p_not_in_gallery,
            calibration_group=posterior and posterior.calibration_group,
            **{
                name: getattr(answer, name)
                for name in cls.model_fields
                if name in AnswerOut.model_fields
            },
        )


def _make_region_features(answer: AnswerOut) -> Iterator[AnswerFeature]:
    """Yield the credible regions, or the discs if there are none, the largest one first."""
    if answer.posterior is not None:
        regions = sorted(answer.posterior.credible_regions, key=lambda region: -region.probability)
        for region in regions:
            properties = FeatureProperties(
                feature_type="credible_region",
                probability=region.probability,
                area_km2=region.area_km2,
            )
            yield AnswerFeature(geometry=region.geometry, properties=properties)
    elif answer.point is not None:
        center = Point(answer.point.lat, answer.point.lon)
        for disc in sorted(answer.credible_discs, key=lambda disc: -disc.radius_m):
            yield AnswerFeature(
                geometry=MultiPolygonOut(coordinates=outline_disc(center, disc.radius_m)),
                properties=FeatureProperties(
                    feature_type="credible_disc",
                    probability=disc.probability,
                    radius_m=disc.radius_m,
                ),
            )


class _ImageFeatures:
    """Makes the features of the images of one answer."""

    def __init__(self, answer: AnswerOut, base_url: str) -> None:
        self._answer, self._base_url = answer, base_url
        self._citations = {
            citation.image_id: citation
            for citations in answer.citations.values()
            for citation in citations
        }

    def make_all(self) -> list[AnswerFeature]:
        """Return evidence, then candidates, the best ones last.

        An evidence image near several candidates occurs once, with the nearest of them. Citations
        that are not among the listed candidates and their evidence precede all others.
        """
        nearest: dict[UUID, tuple[EvidenceOut, CandidateOut]] = {}
        for candidate in self._answer.candidates:
            for evidence in candidate.evidence:
                previous = nearest.get(evidence.image_id)
                if previous is None or evidence.distance_m < previous[0].distance_m:
                    nearest[evidence.image_id] = evidence, candidate
        listed = {("evidence", image_id) for image_id in nearest}
        listed |= {("candidate", candidate.image_id) for candidate in self._answer.candidates}
        candidates = [
            self._make_candidate(rank, candidate)
            for rank, candidate in enumerate(self._answer.candidates)
        ]
        evidence_features = [
            self._make_evidence(rank, evidence, candidate)
            for rank, (evidence, candidate) in enumerate(nearest.values())
        ]
        unlisted = [
            self._make_feature(citation, feature_type=citation.role, score=citation.similarity)
            for image_id, citation in self._citations.items()
            if (citation.role, image_id) not in listed
        ]
        return [*unlisted, *reversed(evidence_features), *reversed(candidates)]

    def _make_candidate(self, rank: int, candidate: CandidateOut) -> AnswerFeature:
        return self._make_feature(
            candidate,
            feature_type="candidate",
            rank=rank,
            weight=candidate.weight,
            score=candidate.score,
            near_duplicate=candidate.near_duplicate,
            **_describe_match(candidate.verification),
        )

    def _make_evidence(
        self, rank: int, evidence: EvidenceOut, candidate: CandidateOut
    ) -> AnswerFeature:
        return self._make_feature(
            evidence,
            feature_type="evidence",
            rank=rank,
            score=evidence.similarity,
            candidate_id=candidate.image_id,
        )

    def _make_feature(
        self, image: CandidateOut | EvidenceOut | CitationOut, **properties: Any
    ) -> AnswerFeature:
        point, citation = self._answer.point, self._citations.get(image.image_id)
        if point is not None:
            here, there = np.array([(point.lat, point.lon), (image.lat, image.lon)])
            properties["distance_m"] = float(haversine_m(here, there))
        if citation is not None:
            properties |= _describe_match(citation.verification)
            properties["copies"] = [
                CopyProperties(
                    image_id=copy.image_id,
                    source=copy.source,
                    license=copy.license,
                    attribution=copy.attribution,
                )
                for copy in citation.copies
            ]
        return _make_image_feature(image, self._base_url, cited=citation is not None, **properties)


def _describe_match(verification: VerificationOut | None) -> dict[str, Any]:
    """Return the properties of a comparison by local features, if there was one."""
    if verification is None:
        return {}
    return {"verified": verification.verified, "inliers": verification.inliers}


def _make_image_feature(
    image: CandidateOut | EvidenceOut | CitationOut | HitOut, base_url: str, **properties: Any
) -> AnswerFeature:
    """Make the feature of a gallery image at its position."""
    place = image.nearest_place
    return AnswerFeature(
        geometry=GeoPoint.of(Point(image.lat, image.lon)),
        properties=FeatureProperties(
            image_id=image.image_id,
            file_name=image.file_name,
            source=image.source,
            source_kind=image.source_kind,
            captured_at=getattr(image, "captured_at", None),
            license=image.license,
            attribution=image.attribution,
            nearest_place=None if place is None else f"{place.name}, {place.country}",
            thumbnail_url=base_url + image.thumbnail_url,
            **properties,
        ),
    )


def _make_coordinate_features(answer: AnswerOut) -> list[AnswerFeature]:
    """Return the listed coordinates of the bundle, the best one last."""
    features = [
        AnswerFeature(
            geometry=GeoPoint.of(Point(coordinate.lat, coordinate.lon)),
            properties=FeatureProperties(
                feature_type="coordinate",
                rank=rank,
                weight=coordinate.weight,
                score=coordinate.score,
            ),
        )
        for rank, coordinate in enumerate(answer.coordinates)
    ]
    return features[::-1]


def _make_point_features(answer: AnswerOut) -> Iterator[AnswerFeature]:
    """Yield the answer's point with the radius of its largest credible disc, if there is one."""
    if answer.point is None or answer.geometry is None:
        return
    disc = max(answer.credible_discs, key=lambda disc: disc.probability, default=None)
    (place,) = find_nearest_places([Point(answer.point.lat, answer.point.lon)])
    yield AnswerFeature(
        geometry=answer.geometry,
        properties=FeatureProperties(
            feature_type="point",
            probability=disc and disc.probability,
            radius_m=disc and disc.radius_m,
            distance_m=0.0,
            nearest_place=f"{place.name}, {place.country}",
        ),
    )
