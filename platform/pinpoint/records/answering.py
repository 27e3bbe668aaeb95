"""A question about a photo, from contract to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.records.basics import Point, SourceKind, Vector
from pinpoint.records.believing import Believed, Region
from pinpoint.records.calibrating import Calibration
from pinpoint.records.index import Box, Circle, Hit

NEAR_DUPLICATE_COSINE: Final = 0.95
"""From this on two pictures count as one. As in the audit of Pinpoint's co-author, who found such a
picture at another author for 4 to 5 % of the photos of the usual benchmarks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What a bundle of weights expects and produces."""

    name: str
    digest: str
    tower: str
    dims: Mapping[str, int]
    rendition_px: int
    calibrated: bool
    note: str
    """Said in every answer: what these weights can and cannot do."""
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    """By ranker, as they lie in the bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How a caller narrows a question."""

    kinds: tuple[SourceKind, ...] = ()
    source_ids: tuple[UUID, ...] = ()
    circle: Circle | None = None
    box: Box | None = None
    polygon: tuple[Point, ...] = ()
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusions:
    """Gallery rows that are as if they were not in the gallery, for one question.

    For training and evaluation. In serving nothing is excluded: a near-duplicate is the best
    evidence a user can have.

    Raises:
        ValueError: The cosine is not in (0, 1].
    """

    ids: tuple[UUID, ...] = ()
    hashes: tuple[str, ...] = ()
    """SHA-256 of files, hex: the photo's own rows, all faces of a panorama too."""
    creators: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    near_duplicate_cosine: float | None = None
    """Rows at least this similar to the photo; None keeps them all."""

    def __post_init__(self) -> None:
        cosine = self.near_duplicate_cosine
        if cosine is not None and not 0 < cosine <= 1:
            raise ValueError(f"the cosine of near-duplicates must lie in (0, 1], not {cosine}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one channel says of a candidate."""

    score: float
    """Cosine similarity of the query to the candidate's vector of this channel."""
    rank: int | None
    """Place among all that the channel brought, from 0; None where it did not bring this one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A gallery image that may show the place asked for."""

    id: UUID
    source_id: UUID
    kind: SourceKind
    point: Point
    captured_at: datetime | None
    group: str
    score: float
    """Similarity of the pictures: that of channel `image`, whichever channel brought it."""
    rank: int
    channels: Mapping[str, Found] = field(default_factory=dict)
    """By channel: `image` always, `gps` where that channel brought it."""
    content_key: str = ""
    """The same for images of identical bytes; empty where it is not known."""

    @property
    def near_duplicate(self) -> bool:
        """Whether it looks like another copy of the photo, or one taken a moment later."""
        return self.score >= NEAR_DUPLICATE_COSINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A photo near a candidate."""

    id: UUID
    candidate_id: UUID
    source_id: UUID
    kind: SourceKind
    point: Point
    captured_at: datetime | None
    group: str
    distance_m: float
    """From the candidate."""
    bearing_deg: float
    vector: Vector
    content_key: str = ""
    """The same for images of identical bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A candidate with the mass the ranker gives it; masses sum to 1."""

    candidate: Candidate
    mass: float
    support: float
    """Share of the mass that comes from evidence, not from the candidate's own similarity; of a
    reranker's, the share of its attention to the candidate's set that evidence has."""
    evidence: tuple[Evidence, ...]
    similarities: tuple[float, ...]
    """Cosine similarity of the query to each evidence photo, same order."""
    score: float | None = None
    """Logit of a reranker (fp32), beside the `null_score` of the question; None where none ran."""
    refined: Point | None = None
    """Where a reranker thinks the photo was taken, if this candidate is right."""
    attention: tuple[float, ...] = ()
    """Share of a reranker's attention to the candidate's set that each evidence photo has, same
    order; what is missing to 1 went to none of them. Empty where none ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceList:
    """Places that a bundle knows by itself and can answer with where there is no gallery.

    Letters: N places, D width of a vector.
    """

    positions: NDArray[np.float64]
    """`[N, 2]` lat, lon in degrees."""
    vectors: Vector
    """`[N, D]` fp32 of unit length, in the space of the pictures."""
    temperature: float
    """What cosines are multiplied by before the softmax; no calibration."""
    digest: str
    """SHA-256 of the list, 64 hex digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedPlace:
    """A place of a bundle's list; the masses of all places that were compared sum to 1."""

    point: Point
    score: float
    """Cosine similarity of the photo to the vector of the place."""
    mass: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a reranker says of a question's candidates, in their order."""

    scores: tuple[float, ...]
    """Logits, fp32."""
    null: float
    """Logit of "none of these"."""
    refined: tuple[Point, ...]
    heard: tuple[Mapping[UUID, float], ...]
    """Share of a candidate's attention that each photo of its evidence has, by id; those that were
    not read are not in it. The sum lies in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All candidates of a question, best first, and who put them in this order."""

    ranked: tuple[Ranked, ...]
    ranker: str
    reason: str | None = None
    """Why no reranker ran; None where one did, or where another ranker was asked for."""
    null_score: float | None = None
    """Logit of "none of these", beside the scores of a reranker; None where none ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedCopy:
    """An image with the bytes of a cited one, in another source: both are to be named."""

    image_id: UUID
    source_id: UUID
    source: str
    file_name: str
    kind: SourceKind
    licence: str | None
    attribution: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A photo that speaks for the answer."""

    image_id: UUID
    file_name: str
    role: Literal["candidate", "evidence"]
    source_id: UUID
    source: str
    kind: SourceKind
    licence: str | None
    attribution: str | None
    point: Point
    distance_m: float
    """From the answer."""
    similarity: float
    copies: tuple[CitedCopy, ...] = ()
    """Other images with the same bytes, by source; they have no vote of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Where a photo was taken, and what speaks for it."""

    point: Point | None
    """None when the gallery, or the list of places, holds nothing to answer with."""
    regions: tuple[Region, ...]
    calibrated: bool
    ranked: tuple[Ranked, ...]
    citations: tuple[Citation, ...]
    bundle: str
    bundle_digest: str
    bundle_note: str
    ranker: str
    ranker_reason: str | None
    """Why no reranker ran, where one would have."""
    index_engine: str
    """`places` where the bundle's list of places was compared instead of a gallery."""
    index_build: str | None
    candidates_considered: int
    timings_ms: Mapping[str, float]
    places: tuple[RankedPlace, ...] = ()
    """The best of the bundle's list, where that was compared; there are no candidates then."""
    note: str | None = None
    """What this answer lacks that others have."""
    believed: Believed = field(default_factory=Believed)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarGroup:
    """Images of one panorama or sequence that look like the photo, best first."""

    group: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """Nearest images, grouped so that one sequence does not flood the page."""

    groups: Sequence[SimilarGroup]
    bundle: str
    index_build: str | None
    timings_ms: Mapping[str, float]
