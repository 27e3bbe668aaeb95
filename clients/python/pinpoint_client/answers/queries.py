"""Answers of queries, generated from the OpenAPI document by `generate_answers.py`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pinpoint_client.answers.answer_model import AnswerModel
from pinpoint_client.answers.gallery import GeoPoint, KeptQuery, NearestPlace


class LatLon(AnswerModel):
    """A position in degrees (WGS84)."""

    lat: float
    lon: float


class CredibleDisc(AnswerModel):
    """A disc around the answer that contains the photo's position with this probability."""

    probability: float
    """Share of the ranker's weights if the answer is not calibrated."""
    radius_m: float


class ProbabilityWithin(AnswerModel):
    """Probability that the photo was taken within a radius of the answer's point."""

    radius_km: float
    probability: float


class MultiPolygon(AnswerModel):
    """A GeoJSON MultiPolygon (RFC 7946): longitude first, cut at the antimeridian."""

    type: str | None = None
    coordinates: list[list[list[tuple[float, float]]]]


class CredibleRegion(AnswerModel):
    """Highest-density region that contains the photo's position with the stated probability."""

    probability: float
    level: float
    """Posterior mass of the region that reaches this coverage on held-out photos
    (split-conformal)."""
    area_km2: float
    geometry: MultiPolygon


class Name(AnswerModel):
    """The most probable country, region or city."""

    level: str
    name: str
    probability: float
    """Posterior mass of the candidates in it."""


class Posterior(AnswerModel):
    """Calibrated posterior of an answer."""

    probability_within_km: list[ProbabilityWithin]
    credible_regions: list[CredibleRegion]
    names: list[Name]
    """Determined by the nearest GeoNames city."""
    p_outside_candidates: float
    """Probability that the photo is near none of the candidates."""
    p_not_in_gallery: float | None
    """Probability that the gallery has no image within 25 km of the photo, with a prior of 0.5
    against a correct answer; null if the calibration has no such photos."""
    calibration_group: str
    """Calibration group: `all`, or a query kind in a sparse or dense gallery."""


class Channel(AnswerModel):
    """Score of a candidate in one channel of the index."""

    score: float
    """Cosine similarity of the query photo to this vector."""
    rank: int | None
    """Rank in the channel's hits, from 0; null if not among them."""


class Verification(AnswerModel):
    """Comparison of the query photo with one gallery image by local features."""

    inliers: int
    """Correspondences that agree on one geometry."""
    spread: float
    """Share of the image that the inliers cover, the smaller one of both images."""
    verified: bool
    """Whether the match passes the `verification_threshold`."""
    false_match_rate: float | None
    """Share of impostor pairs of this gallery with a match at least as good; null if it was not
    measured."""
    status: str
    """`matched`: verified. `not_matched`: compared, not verified. `no_texture`: an image has
    too few key points. `image_unavailable`: the original of the gallery image cannot be read.
    `time_budget_used`: not compared within the time limit of the request."""


class Evidence(AnswerModel):
    """An evidence image near a candidate."""

    file_name: str | None
    """Last part of the file's path in its source; null if the image was deleted since the
    search."""
    source: str | None
    """Name of its source; null like `file_name`."""
    license: str | None
    attribution: str | None
    nearest_place: NearestPlace | None
    image_id: UUID
    source_kind: str
    lat: float
    lon: float
    distance_m: float
    """Distance from the candidate."""
    similarity: float
    """Cosine similarity to the query photo."""
    attention: float | None
    """Share of the reranker's attention for this image among the candidate's evidence; the rest
    to 1 is attention to no evidence. Null without a reranker."""
    thumbnail_url: str


class Candidate(AnswerModel):
    """A gallery image that may show the photo's location."""

    file_name: str | None
    """Last part of the file's path in its source; null if the image was deleted since the
    search."""
    source: str | None
    """Name of its source; null like `file_name`."""
    license: str | None
    attribution: str | None
    nearest_place: NearestPlace | None
    rank: int
    """Retrieval rank, from 0; the list itself is in the ranker's order."""
    image_id: UUID
    source_id: UUID
    source_kind: str
    lat: float
    lon: float
    captured_at: datetime | None
    weight: float
    """Normalized weight by the ranker; all candidates sum to 1."""
    evidence_share: float
    """Share of this weight that comes from evidence nearby; with a reranker, share of its
    attention to evidence."""
    score: float
    """Cosine similarity to the query photo."""
    rerank_logit: float | None
    """The reranker's logit, comparable with `no_match_logit`; null without one."""
    refined_position: LatLon | None
    """The reranker's position estimate, if this candidate is correct; probabilities are
    centered on it. Null without a reranker."""
    near_duplicate: bool
    """So similar that it is practically the same image."""
    channels: dict[str, Channel]
    """Scores by channel: `image` compares images, `gps` compares photo and location, `raw`
    compares the tower's own features."""
    verification: Verification | None
    """Comparison by local features; null if it was not among the first `verify` candidates and
    is not cited."""
    thumbnail_url: str
    evidence: list[Evidence]


class RankedCoordinate(AnswerModel):
    """A coordinate of the bundle's own list; it has no image."""

    lat: float
    lon: float
    weight: float
    """Normalized weight; all compared coordinates sum to 1."""
    score: float
    """Cosine similarity of photo and location embedding."""


class CitedCopy(AnswerModel):
    """An image with the same bytes as a cited one, which must be attributed as well."""

    image_id: UUID
    source_id: UUID
    source: str
    file_name: str
    source_kind: str
    license: str | None
    attribution: str | None
    thumbnail_url: str


class Citation(AnswerModel):
    """An image that supports the answer, with license and attribution."""

    image_id: UUID
    file_name: str
    """Last part of the file's path in its source."""
    nearest_place: NearestPlace
    role: str
    source_id: UUID
    source: str
    source_kind: str
    license: str | None
    attribution: str | None
    lat: float
    lon: float
    distance_m: float
    """Distance from the answer."""
    similarity: float
    verification: Verification | None
    """Comparison by local features; null if verification is disabled."""
    thumbnail_url: str
    copies: list[CitedCopy]
    """Images with the same bytes, mostly from other sources. Together they count as one vote,
    and never as evidence for each other."""


class VerificationThreshold(AnswerModel):
    """Inliers and spread from which a match is verified."""

    min_inliers: int
    min_spread: float
    false_match_rate: float | None
    """Share of impostor pairs of this gallery that pass; null if not measured."""
    calibrated: bool
    """Whether it was measured on impostor pairs of this gallery; otherwise it is a conservative
    default."""


class Match(AnswerModel):
    """Positions of the inliers of the query photo and one gallery image."""

    image_id: UUID
    photo: int
    """Number of the query photo with this match, from 0; equal photos count once."""
    model: str | None
    """Geometry that the inliers agree on."""
    query_width_px: int
    """Size that `query_points` refer to: the query photo, or its crop, reduced."""
    query_height_px: int
    image_width_px: int
    """Size that `image_points` refer to: the gallery image, reduced."""
    image_height_px: int
    query_points: list[tuple[float, float]]
    """x and y of each inlier in the query photo, from its top left corner."""
    image_points: list[tuple[float, float]]
    """x and y of each inlier in the gallery image, in the same order."""


class Bundle(AnswerModel):
    """The model bundle that encoded the photo."""

    name: str
    digest: str
    note: str
    """Abilities and limits of these weights."""


class Index(AnswerModel):
    """The index that was searched."""

    engine: str
    """`coordinates` for the bundle's own coordinate list."""
    build: str | None


class Answer(AnswerModel):
    """The estimated position of a photo, with evidence."""

    point: LatLon | None
    """Best estimate; null if the search space has no candidate."""
    geometry: GeoPoint | None
    abstention_reason: str | None
    """Reason for abstaining; null for an answer. `no_candidates`: the search space has no
    candidate. `not_in_gallery`: the gallery probably has no image near the photo.
    `outside_candidates`: probably no candidate is near the photo. The point is then a best
    guess."""
    credible_discs: list[CredibleDisc]
    calibrated: bool
    calibration_note: str
    posterior: Posterior | None
    """Calibrated probabilities; null if not calibrated."""
    candidates: list[Candidate]
    """The best `top` candidates, best first."""
    no_match_logit: float | None
    """The reranker's logit of 'none of these', comparable with the candidates' logits; null
    without a reranker."""
    num_candidates: int
    """Number of candidates or coordinates with a weight above 0."""
    coordinates: list[RankedCoordinate]
    """With search_space=coordinates, replaces candidates: the best `top` ones."""
    warnings: list[str]
    """Limitations of this answer, such as missing evidence."""
    citations: dict[str, list[Citation]]
    """Citations by source kind."""
    verified: bool
    """Whether a cited image is verified: it shows the same surfaces as the photo."""
    verification_threshold: VerificationThreshold | None
    """Threshold of verified matches; null if verification is disabled."""
    matches: list[Match] | None
    """With include=matches: the inliers of each compared image, best match first; otherwise
    null."""
    bundle: Bundle
    ranker: str
    ranker_fallback_reason: str | None
    """Reason why an available reranker did not run."""
    index: Index
    kept_query: KeptQuery | None
    """With keep=true: what is kept of this answer; null without a point."""
    timings_ms: dict[str, float]


class Hit(AnswerModel):
    """An image that is similar to the query."""

    file_name: str | None
    """Last part of the file's path in its source; null if the image was deleted since the
    search."""
    source: str | None
    """Name of its source; null like `file_name`."""
    license: str | None
    attribution: str | None
    nearest_place: NearestPlace | None
    image_id: UUID
    source_id: UUID
    source_kind: str
    lat: float
    lon: float
    captured_at: datetime | None
    score: float
    """Cosine similarity."""
    thumbnail_url: str


class Group(AnswerModel):
    """Images of one panorama or sequence, best first."""

    group: str
    hits: list[Hit]


class Similar(AnswerModel):
    """Most similar images, grouped so that one sequence does not dominate the result."""

    groups: list[Group]
    bundle: str
    index_build: str | None
    timings_ms: dict[str, float]
