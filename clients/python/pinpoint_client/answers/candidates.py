"""Answers of candidates, generated from the OpenAPI document by `generate_answers.py`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pinpoint_client.answers.answer_model import AnswerModel
from pinpoint_client.answers.gallery import NearestPlace


class LatLon(AnswerModel):
    """A position in degrees (WGS84)."""

    lat: float
    lon: float


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
