"""Records of a query: contract, filter, exclusions, candidates, ranking and answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.records.areas import Box, Circle, Polygon
from pinpoint.records.calibration import Calibration
from pinpoint.records.claims import ComparedClaim
from pinpoint.records.index import Hit
from pinpoint.records.posterior import CalibratedResult, CredibleDisc
from pinpoint.records.primitives import Point, SourceKind, Vector
from pinpoint.records.protected_areas import Granularity
from pinpoint.records.verification import ImageMatch, VerificationThreshold

NEAR_DUPLICATE_COSINE: Final = 0.95
"""Cosine from which two images count as near-duplicates. As in the audit of Pinpoint's co-author:
for 4 to 5 % of the photos of the usual benchmarks, another creator had such an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """Inputs and outputs of a bundle of weights."""

    name: str
    digest: str
    tower: str
    dims: Mapping[str, int]
    rendition_px: int
    calibrated: bool
    note: str
    """Capabilities and limits of these weights; part of every answer."""
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    """Calibrations of the bundle, by ranker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFilter:
    """Filter of a query, given by the caller."""

    source_kinds: tuple[SourceKind, ...] = ()
    source_ids: tuple[UUID, ...] = ()
    circle: Circle | None = None
    box: Box | None = None
    polygons: tuple[Polygon, ...] = ()
    """Inside at least one of them."""
    countries: tuple[str, ...] = ()
    """ISO 3166-1 alpha-2 codes; inside the area of at least one of them (`geo.countries`)."""
    captured_after: datetime | None = None
    captured_before: datetime | None = None
    """Half-open: `captured_after <= captured_at < captured_before`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusions:
    """Gallery rows that one query ignores.

    For training and evaluation. Serving excludes nothing: a near-duplicate is the best evidence for
    a user.

    Raises:
        ValueError: The cosine is outside (0, 1].
    """

    ids: tuple[UUID, ...] = ()
    hashes: tuple[str, ...] = ()
    """SHA-256 of files, hex: the photo's own rows, including all faces of a panorama."""
    creators: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    near_duplicate_cosine: float | None = None
    """Rows with at least this cosine to the photo; None excludes none."""
    circle: Circle | None = None
    """Rows inside it are excluded: the gallery then has no image near its center."""

    def __post_init__(self) -> None:
        cosine = self.near_duplicate_cosine
        if cosine is not None and not 0 < cosine <= 1:
            raise ValueError(f"the cosine of near-duplicates must be in (0, 1], not {cosine}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelScore:
    """Score and rank of a candidate in one channel."""

    score: float
    """Cosine similarity of the query to the candidate's vector of this channel."""
    rank: int | None
    """Rank among all hits of the channel, from 0; None if the channel did not return it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A gallery image that may show the queried location."""

    id: UUID
    source_id: UUID
    source_kind: SourceKind
    point: Point
    captured_at: datetime | None
    group: str
    score: float
    """Cosine similarity in channel `image`, whichever channel returned the candidate."""
    rank: int
    channels: Mapping[str, ChannelScore] = field(default_factory=dict)
    """Scores by channel: `image` always, `gps` and `raw` if that channel returned the candidate."""
    content_key: str = ""
    """Equal for images of identical bytes; empty if unknown."""

    @property
    def tie_key(self) -> tuple[str, int]:
        """Order among equal scores, as `Hit.tie_key`."""
        return self.content_key, self.id.int

    @property
    def near_duplicate(self) -> bool:
        """Whether it is probably another copy of the photo, or captured a moment apart."""
        return self.score >= NEAR_DUPLICATE_COSINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A photo near a candidate."""

    id: UUID
    candidate_id: UUID
    source_id: UUID
    source_kind: SourceKind
    point: Point
    captured_at: datetime | None
    group: str
    distance_m: float
    """Distance from the candidate."""
    bearing_deg: float
    vector: Vector
    content_key: str = ""
    """Equal for images of identical bytes."""

    @property
    def tie_key(self) -> tuple[str, int]:
        """Order among equal distances, as `Hit.tie_key`."""
        return self.content_key, self.id.int


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCandidate:
    """A candidate with its normalized weight from the ranker; weights sum to 1."""

    candidate: Candidate
    weight: float
    evidence_share: float
    """Share of the weight that comes from evidence instead of the candidate's own similarity. For a
    reranker: the share of its attention in the candidate's set that evidence has."""
    evidence: tuple[Evidence, ...]
    similarities: tuple[float, ...]
    """Cosine similarity of the query to each evidence photo, same order."""
    rerank_logit: float | None = None
    """Logit of a reranker (fp32), comparable with `no_match_logit`; None if none ran."""
    refined_position: Point | None = None
    """Position estimated by a reranker if this candidate is correct."""
    attention: tuple[float, ...] = ()
    """Share of a reranker's attention in the candidate's set for each evidence photo, same order.
    The remainder to 1 went to none of them. Empty if no reranker ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinateGallery:
    """Coordinates of a bundle, used for answers where there is no gallery.

    Letters: N coordinates, D width of a vector.
    """

    positions: NDArray[np.float64]
    """`[N, 2]` lat, lon in degrees."""
    vectors: Vector
    """`[N, D]` fp32 of unit length, in the space of the image vectors."""
    temperature: float
    """Factor of the cosines before the softmax; not a calibration."""
    digest: str
    """SHA-256 of the list, 64 hex digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedCoordinate:
    """A coordinate of a bundle's list; the weights of all compared coordinates sum to 1."""

    point: Point
    score: float
    """Cosine similarity of the photo to the vector of the coordinate."""
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankOutput:
    """Output of a reranker for the candidates of a query, in their order."""

    logits: tuple[float, ...]
    """Logits, fp32."""
    no_match_logit: float
    """Logit of "none of these"."""
    refined_positions: tuple[Point, ...]
    attention: tuple[Mapping[UUID, float], ...]
    """Share of a candidate's attention for each photo of its evidence, by id; unread photos are
    absent. The sum is in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All candidates of a query, best first, and the ranker."""

    ranked: tuple[RankedCandidate, ...]
    ranker: str
    fallback_reason: str | None = None
    """Reason why no reranker ran; None if one ran, or if another ranker was requested."""
    no_match_logit: float | None = None
    """Logit of "none of these" from a reranker; None if none ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedCopy:
    """An image with the bytes of a cited one, in another source: both are attributed."""

    image_id: UUID
    source_id: UUID
    source: str
    file_name: str
    source_kind: SourceKind
    license: str | None
    attribution: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A photo that supports the answer."""

    image_id: UUID
    file_name: str
    role: Literal["candidate", "evidence"]
    source_id: UUID
    source: str
    source_kind: SourceKind
    license: str | None
    attribution: str | None
    point: Point
    distance_m: float
    """Distance from the answer."""
    similarity: float
    copies: tuple[CitedCopy, ...] = ()
    """Other images with the same bytes, by source; they have no separate vote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Estimated position of a photo, and its support."""

    point: Point | None
    """None if the gallery, or the coordinate list, has no usable entry."""
    credible_discs: tuple[CredibleDisc, ...]
    calibrated: bool
    ranked: tuple[RankedCandidate, ...]
    citations: tuple[Citation, ...]
    bundle: str
    bundle_digest: str
    bundle_note: str
    ranker: str
    ranker_fallback_reason: str | None
    """Reason why no reranker ran, if one was expected."""
    index_engine: str
    """`coordinates` if the bundle's coordinate list was compared instead of a gallery."""
    index_build: str | None
    num_candidates: int
    timings_ms: Mapping[str, float]
    coordinates: tuple[RankedCoordinate, ...] = ()
    """Best coordinates of the bundle's list, if it was compared; then there are no candidates."""
    warnings: tuple[str, ...] = ()
    """Limitations of this answer compared with others."""
    calibrated_result: CalibratedResult = field(default_factory=CalibratedResult)
    matches: Mapping[UUID, ImageMatch] = field(default_factory=dict)
    """Matches of the query with candidates and cited images that were compared, by image id."""
    verification_threshold: VerificationThreshold | None = None
    """Threshold of `matches`; None if nothing was to be compared."""
    claims: tuple[ComparedClaim, ...] = ()
    """Claims of the photos, in their order; the rest of the answer does not depend on them."""
    granularity: Granularity = "exact"
    """Precision of the point: anything but `exact` replaces it by a disc, a city or a country."""
    place: str | None = None
    """Name of the city or country, if the granularity is one."""

    @property
    def outer_disc(self) -> CredibleDisc | None:
        """The credible disc of the highest probability."""
        return max(self.credible_discs, key=lambda disc: disc.probability, default=None)

    @property
    def verified(self) -> bool:
        """Whether a cited image is verified."""
        cited = (self.matches.get(citation.image_id) for citation in self.citations)
        return any(match is not None and match.verification.verified for match in cited)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarGroup:
    """Images of one panorama or sequence that are similar to the photo, best first."""

    group: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarResult:
    """Nearest images, grouped so that one sequence does not dominate the page."""

    groups: Sequence[SimilarGroup]
    bundle: str
    index_build: str | None
    timings_ms: Mapping[str, float]
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each part of the query; their sum is 1."""
    by_distance: bool = False
    """Whether groups are ordered by their distance from a point; scores are then 0."""
    warnings: tuple[str, ...] = ()
    """Limitations of this result compared with others."""
