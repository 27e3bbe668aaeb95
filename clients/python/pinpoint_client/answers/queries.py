"""Answers of queries, generated from the OpenAPI document by `generate_answers.py`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pinpoint_client.answers.answer_model import AnswerModel
from pinpoint_client.answers.candidates import Candidate, Channel, LatLon, Posterior, Verification
from pinpoint_client.answers.gallery import GeoPoint, KeptQuery, NearestPlace


class CredibleDisc(AnswerModel):
    """A disc around the answer that contains the photo's position with this probability."""

    probability: float
    """Share of the ranker's weights if the answer is not calibrated."""
    radius_m: float


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


class Circle(AnswerModel):
    """A circle of the filter."""

    lat: float
    lon: float
    radius_m: float


class CountryFilter(AnswerModel):
    """A country of the filter, and the error of its area."""

    code: str
    """ISO 3166-1 alpha-2."""
    name: str
    reach_km: float
    """The area reaches at most this far beyond the border (measured at its corners, error 2
    km): a margin of 5 km for photos at the coast, and simplification."""
    borders: str
    """Source of the borders."""


class Filters(AnswerModel):
    """Filters of a query, as they were applied; null or empty is no restriction."""

    source_kinds: list[str]
    source_ids: list[UUID]
    circle: Circle | None
    bbox: tuple[float, float, float, float] | None
    """Minimum longitude, minimum latitude, maximum longitude, maximum latitude."""
    num_polygons: int
    countries: list[CountryFilter]
    captured_after: datetime | None
    captured_before: datetime | None
    """Exclusive."""


class ClaimArea(AnswerModel):
    """Whether the claimed position is inside a stated area."""

    probability: float
    """Probability of the disc or region."""
    inside: bool


class C2pa(AnswerModel):
    """The C2PA manifest of a photo; never used for the answer."""

    state: str
    """`valid`: signature and hashes match. `trusted`: the signer is also on the server's trust
    list. `invalid`: something does not match or cannot be read. `absent`: no manifest. `remote`:
    only a URL, which is not requested. `not_checked`: see `state_reason`."""
    state_reason: str | None
    failure_codes: list[str]
    """Failure codes of the C2PA specification."""
    data_hash_matches: bool | None
    """Whether the image is the one that was signed; null without such a hash."""
    generator: str | None
    """Program or device that made the manifest."""
    signer: str | None
    """Common name of the signing certificate."""
    signer_organization: str | None
    signed_at: datetime | None
    """Time of a time-stamp authority."""
    digital_source_types: list[str]
    """IPTC digital source types that actions of the photo or of its ingredients declare, such as
    `digitalCapture`."""
    declares_generative_ai: bool
    """A digital source type is `trainedAlgorithmicMedia` or
    `compositeWithTrainedAlgorithmicMedia`."""
    point: LatLon | None
    """Claimed position; null without a usable one."""
    position_source: str | None
    """Label of the assertion."""
    position_note: str | None
    """Why a position in the manifest is not usable."""
    captured_at: datetime | None
    time_source: str | None
    """Label of the assertion."""
    time_assumed_utc: bool
    """The claimed time has no offset from UTC and may be wrong by hours."""
    distance_m: float | None
    """Distance of the claimed position from the answer's point."""
    agrees: bool | None
    """As `agrees` of the claim, for this position."""


class Claim(AnswerModel):
    """Position, time and heading in the metadata of a photo; never used for the answer."""

    photo: int
    """Number of the photo in the query, from 0."""
    point: LatLon | None
    """Claimed position; null without a usable one."""
    position_source: str | None
    """`exif` or `xmp`."""
    position_note: str | None
    """Why a position in the file is not usable."""
    captured_at: datetime | None
    time_source: str | None
    time_assumed_utc: bool
    """The claimed time has no offset from UTC and may be wrong by hours."""
    heading_deg: float | None
    distance_m: float | None
    """Distance of the claimed position from the answer's point."""
    inside_discs: list[ClaimArea]
    inside_regions: list[ClaimArea]
    """Empty without a posterior."""
    agrees: bool | None
    """True if the claimed position is inside the area of the highest probability, or within
    1,000 m of the point; that area is the credible region, or the credible disc of an answer
    that is not calibrated. Null without a claimed position, without a point, and if the point
    is only a guess (`abstention_reason`)."""
    c2pa: C2pa


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


class ExplainedCandidate(AnswerModel):
    """A candidate, with what each stage made of it."""

    image_id: UUID
    rank: int
    """Rank in the answer, from 0."""
    is_shown: bool
    """Whether it is among the best `top` candidates."""
    retrieval_rank: int
    """Rank by its similarity alone, from 0."""
    channels: dict[str, Channel]
    num_evidence: dict[str, int]
    """Evidence images by source kind."""
    evidence_share: float
    weight: float
    """Normalized weight from the ranker."""
    rerank_logit: float | None
    num_inliers: int | None
    """Null if it was not compared by local features."""
    verified: bool | None
    is_cited: bool


class Dropped(AnswerModel):
    """An image that the index returned and that is no candidate."""

    image_id: UUID
    source_kind: str
    drop_reason: str
    """`redundant`: next to a better candidate of the same panorama or sequence
    (`kept_image_id`). `no_slot`: better images filled the slots of its source kind and
    channel."""
    kept_image_id: UUID | None
    channels: dict[str, Channel]


class Explanation(AnswerModel):
    """How an answer came about; the answer has timings, bundle and filters itself."""

    num_hits: dict[str, int]
    """Images that the index returned, by channel, without copies of equal bytes."""
    candidates: list[ExplainedCandidate]
    """All candidates, best first."""
    num_dropped: int
    dropped: list[Dropped]
    """The best 50 of the dropped images."""
    settings: dict[str, float | int | None]
    """Search settings that decide which images become candidates and evidence."""


class Answer(AnswerModel):
    """The estimated position of a photo, with evidence."""

    point: LatLon | None
    """Best estimate; null if the search space has no candidate."""
    geometry: GeoPoint | None
    granularity: str
    """`exact`, or why the point is coarse: the place is in a protected area, or the key has a
    minimum radius. The point is then the center of a `radius`, a `city` or a `country`, and the
    answer has no candidates."""
    place: str | None
    """Name of the city or country of a coarse answer; otherwise null."""
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
    filters: Filters
    claims: list[Claim]
    """What the metadata of each photo claim, compared with the answer, in the order of the
    photos."""
    bundle: Bundle
    ranker: str
    ranker_fallback_reason: str | None
    """Reason why an available reranker did not run."""
    index: Index
    explanation: Explanation | None
    """With include=explain, if the gallery was searched: why each image was kept or dropped;
    otherwise null."""
    kept_query: KeptQuery | None
    """With keep=true: what is kept of this answer; null without a point."""
    timings_ms: dict[str, float]
    """Milliseconds by stage; empty if a protected area could be inferred from them."""


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
    score: float | None
    """Cosine similarity; null in a search that orders images by distance."""
    distance_m: float | None
    """Distance from the point of a search; null without a point."""
    thumbnail_url: str


class Group(AnswerModel):
    """Images of one panorama or sequence, best first."""

    group: str
    hits: list[Hit]


class Similar(AnswerModel):
    """Most similar images, grouped so that one sequence does not dominate the result."""

    groups: list[Group]
    warnings: list[str]
    """Limitations of this result: whether images may be missing from it."""
    bundle: str
    index_build: str | None
    timings_ms: dict[str, float]


class Search(AnswerModel):
    """Images of a search, best group first."""

    groups: list[Group]
    warnings: list[str]
    """Limitations of this result: whether images may be missing from it."""
    bundle: str
    index_build: str | None
    timings_ms: dict[str, float]
    weights: dict[str, float]
    """Weight of each part of the query; their sum is 1."""
    order: str
    """`distance` for a point with a bundle without a location encoder."""
    filters: Filters
