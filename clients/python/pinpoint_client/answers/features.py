"""Answers of features, generated from the OpenAPI document by `generate_answers.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pinpoint_client.answers.answer_model import AnswerModel
from pinpoint_client.answers.candidates import MultiPolygon, Name, ProbabilityWithin
from pinpoint_client.answers.gallery import GeoPoint, KeptQuery
from pinpoint_client.answers.queries import Bundle, Claim, Index, VerificationThreshold


class CopyProperties(AnswerModel):
    """An image of another source with the same bytes, which must be attributed as well."""

    image_id: UUID
    source: str
    license: str | None
    attribution: str | None


class FeatureProperties(AnswerModel):
    """Properties of all features; those that do not apply to a feature are null."""

    feature_type: str
    """`point`: the answer. `credible_region`: highest-density region of a calibrated answer.
    `credible_disc`: disc around the point of an answer that is not calibrated. `candidate`,
    `evidence`: gallery images. `coordinate`: of the bundle's list. `hit`: an image that is
    similar to the query."""
    rank: int | None = None
    """Order among the features of this type, from 0."""
    probability: float | None = None
    """Probability that the region, disc, or circle of `radius_m` contains the photo's position;
    a share of the ranker's weights if the answer is not calibrated."""
    radius_m: float | None = None
    area_km2: float | None = None
    weight: float | None = None
    """Normalized weight by the ranker."""
    score: float | None = None
    """Cosine similarity to the query photo, or to its embedding."""
    distance_m: float | None = None
    """Great-circle distance from the answer's point."""
    cited: bool | None = None
    """Whether the image is among the citations of the answer."""
    verified: bool | None = None
    """Whether the image shows the same surfaces as the photo."""
    inliers: int | None = None
    near_duplicate: bool | None = None
    candidate_id: UUID | None = None
    """Candidate that this evidence image is near."""
    group: str | None = None
    """Panorama or sequence of a hit."""
    image_id: UUID | None = None
    file_name: str | None = None
    source: str | None = None
    source_kind: str | None = None
    captured_at: datetime | None = None
    license: str | None = None
    attribution: str | None = None
    nearest_place: str | None = None
    """Nearest GeoNames city."""
    thumbnail_url: str | None = None
    """Absolute, so that it works in a file of the answer."""
    copies: list[CopyProperties] | None = None


class AnswerFeature(AnswerModel):
    """A GeoJSON Feature."""

    type: str | None = None
    geometry: GeoPoint | MultiPolygon
    properties: FeatureProperties


class AnswerFeatures(AnswerModel):
    """An answer as a GeoJSON FeatureCollection; other members are foreign members."""

    type: str | None = None
    features: list[AnswerFeature]
    """Regions first, the largest one first; then evidence, candidates and the point, so that a
    GIS draws the most important feature last."""
    granularity: str
    place: str | None
    abstention_reason: str | None
    calibrated: bool
    calibration_note: str
    probability_within_km: list[ProbabilityWithin]
    names: list[Name]
    p_outside_candidates: float | None
    p_not_in_gallery: float | None
    calibration_group: str | None
    no_match_logit: float | None
    num_candidates: int
    verified: bool
    verification_threshold: VerificationThreshold | None
    warnings: list[str]
    bundle: Bundle
    ranker: str
    ranker_fallback_reason: str | None
    index: Index
    claims: list[Claim]
    kept_query: KeptQuery | None
    timings_ms: dict[str, float]


class SimilarFeatures(AnswerModel):
    """Similar images as a GeoJSON FeatureCollection; other members are foreign members."""

    type: str | None = None
    features: list[AnswerFeature]
    warnings: list[str]
    bundle: str
    index_build: str | None
    timings_ms: dict[str, float]


class ImageFeature(AnswerModel):
    """An image as a GeoJSON Feature."""

    type: str | None = None
    id: UUID
    geometry: GeoPoint
    properties: dict[str, Any]
    """The fields of an image except `id`, `lat`, `lon` and `geometry`."""


class PageLink(AnswerModel):
    """A link to the next page."""

    rel: str | None = None
    type: str | None = None
    href: str
    """Path and query string."""


class ImageFeatures(AnswerModel):
    """A page of images as a GeoJSON FeatureCollection."""

    type: str | None = None
    features: list[ImageFeature]
    links: list[PageLink]
    """Empty on the last page."""


class CellFeature(AnswerModel):
    """A cell as a GeoJSON Feature."""

    type: str | None = None
    id: str
    geometry: dict[str, Any]
    """Polygon, or MultiPolygon cut at the antimeridian (RFC 7946, 3.1.9)."""
    properties: dict[str, Any]
    """The fields of a cell; for each source kind, `counts` become fields such as
    `photo_images`, `photo_first_captured_at` and `photo_last_captured_at`."""


class CellFeatures(AnswerModel):
    """A page of cells as a GeoJSON FeatureCollection."""

    type: str | None = None
    features: list[CellFeature]
    links: list[PageLink]
    """Empty on the last page."""
