"""What flows through the house: frozen records, no behaviour beyond checking themselves.

Latitude before longitude everywhere; degrees (WGS84), metres, aware UTC.
Letters for shapes: B images in a batch, D vector width, H and W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""One decoded image, upright sRGB, `[H, W, 3]`."""
Vector = NDArray[np.float32]
"""One unit vector, `[D]`; a batch of them is `[B, D]`."""

SourceKind = str
"""What sort of imagery a source holds: `photo` (internet photos) or `street` (street view)."""
KINDS: tuple[SourceKind, ...] = ("photo", "street")

OriginalsPolicy = Literal["reference", "copy", "rendition"]
Verdict = Literal["indexed", "updated", "duplicate", "rejected", "failed"]
VERDICTS: tuple[Verdict, ...] = ("indexed", "updated", "duplicate", "rejected", "failed")
ItemState = Literal["received", "stored"] | Verdict
ImageState = Literal["pending", "indexed", "failed", "deleted"]
Scope = Literal["locate", "read", "ingest", "export", "admin"]
SCOPES: tuple[Scope, ...] = ("locate", "read", "ingest", "export", "admin")


@dataclass(frozen=True, slots=True)
class Point:
    """A place: `lat` in [-90, 90], `lon` in [-180, 180], degrees.

    Raises:
        ValueError: A coordinate is not finite or out of range.
    """

    lat: float
    lon: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lat) and math.isfinite(self.lon)):
            raise ValueError(f"position ({self.lat}, {self.lon}) is not finite")
        if abs(self.lat) > 90 or abs(self.lon) > 180:
            raise ValueError(f"position ({self.lat}, {self.lon}) is out of range")


# --- reading a file -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Panorama:
    """An equirectangular 360° picture (GPano), before it becomes faces."""

    heading_deg: float | None
    """Compass direction of the picture's centre column."""
    full_width_px: int
    full_height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """What a file, or its manifest row, says of itself."""

    point: Point
    position_from: str
    """`exif`, `xmp`, `gpx`, `manifest` or `caller`."""
    captured_at: datetime | None = None
    heading_deg: float | None = None
    altitude_m: float | None = None
    camera: str | None = None
    creator: str | None = None
    sequence: str | None = None
    licence: str | None = None
    panorama_id: str | None = None
    """Set by a manifest whose rows are faces of one panorama already cut."""
    panorama: Panorama | None = None
    format: str
    width_px: int
    height_px: int
    sha256: str
    size_bytes: int
    attributes: Mapping[str, str | float | int | bool | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A file that cannot be used, where that was found out, and why."""

    file: str
    stage: Literal["find", "read", "check", "decode", "store", "embed"]
    reason: str
    """A stable word, listed in the README: `no_position`, `null_island`, `undecodable` …"""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One picture to embed: a whole photo, or one face of a panorama."""

    name: str | None
    """None for a plain photo; `front`, `right`, `back`, `left` for panorama faces."""
    heading_deg: float | None
    pixels: Pixels
    """Rendition `[H, W, 3]`: upright sRGB, shorter side at most the reading's `rendition_px`."""
    thumbnail: bytes
    """JPEG without metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """All that one accepted file yields."""

    capture: Capture
    faces: tuple[Face, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """What the outside says of a file: a manifest row, upload fields, a GPX track. All optional.

    A hint's field wins over what the file says of itself.
    """

    lat: float | None = None
    lon: float | None = None
    captured_at: datetime | None = None
    heading_deg: float | None = None
    altitude_m: float | None = None
    creator: str | None = None
    sequence: str | None = None
    licence: str | None = None
    panorama_id: str | None = None
    track: str | None = None
    """Path of a GPX file; used where neither hint nor file has a position but a time is known."""
    position_from: str = "manifest"
    attributes: Mapping[str, str | float | int | bool | None] = field(default_factory=dict)


# --- the catalogue --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A customer; walls stand between organisations."""

    id: UUID
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key as it may be shown: never the secret."""

    id: UUID
    organization_id: UUID
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, decided at the door from a key, the local operator's secret, or loopback."""

    organization_id: UUID
    organization: str
    scopes: frozenset[Scope]
    key_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A collection of images of one kind, with its licence and originals policy."""

    id: UUID
    name: str
    kind: SourceKind
    licence: str | None
    attribution: str | None
    originals: OriginalsPolicy
    root: str | None
    """Folder that external ids of folder ingests are relative to."""
    created_at: datetime
    images: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A gallery row as users see it."""

    id: UUID
    source_id: UUID
    source: str
    kind: SourceKind
    external_id: str
    face: str | None
    panorama_id: str | None
    point: Point
    captured_at: datetime | None
    heading_deg: float | None
    altitude_m: float | None
    camera: str | None
    creator: str | None
    sequence: str | None
    licence: str | None
    attribution: str | None
    sha256: str
    format: str
    width_px: int
    height_px: int
    locator: str | None
    state: ImageState
    failure: str | None
    version: int
    attributes: Mapping[str, object]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFix:
    """A correction by a person; None leaves a field as it is."""

    point: Point | None = None
    captured_at: datetime | None = None
    heading_deg: float | None = None
    creator: str | None = None
    sequence: str | None = None
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """An upload set and where its items stand; `received + stored + verdicts == items`."""

    id: UUID
    source_id: UUID
    source: str
    state: Literal["open", "closed"]
    """`closed`: no more items will come."""
    created_at: datetime
    closed_at: datetime | None
    items: int
    received: int
    stored: int
    indexed: int
    updated: int
    duplicate: int
    rejected: int
    failed: int

    @property
    def settled(self) -> int:
        """Items that have their verdict."""
        return self.indexed + self.updated + self.duplicate + self.rejected + self.failed

    @property
    def complete(self) -> bool:
        """Closed, and every item has its verdict."""
        return self.state == "closed" and self.settled == self.items


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem:
    """One file of a batch."""

    id: UUID
    seq: int
    """Rises with arrival inside the batch; pages are cut after it."""
    file: str
    state: ItemState
    stage: str | None
    reason: str | None
    detail: str | None
    image_ids: tuple[UUID, ...]
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """A file to be ingested, before anything was read of it."""

    external_id: str
    file: str
    """The name shown to people."""
    locator: str
    """`file:///path` or `blob:<organization>/<name>`."""
    hint: Hint | None = None
    rejected: Rejected | None = None
    """Set where the file was refused before it could be registered (a bad manifest row)."""


# --- the index ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """What an index must be made for: one per contract."""

    contract: str
    """Digest of the bundle whose vectors it holds."""
    dims: Mapping[str, int]
    """Named vectors and their width, e.g. `{"image": 512}`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPoint:
    """One image as the index holds it. `group` is what floods: panorama, else sequence, else id."""

    id: UUID
    version: int
    organization_id: UUID
    source_id: UUID
    kind: SourceKind
    point: Point
    captured_at: datetime | None
    cell: int
    """H3 cell of resolution 7."""
    group: str
    vectors: Mapping[str, Vector] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """Within `radius_m` of a point, along the ground."""

    center: Point
    radius_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """South-west to north-east; `west > east` crosses the antimeridian."""

    south: float
    west: float
    north: float
    east: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFilter:
    """What a search may see. The organisation is not optional."""

    organization_id: UUID
    kinds: tuple[SourceKind, ...] = ()
    source_ids: tuple[UUID, ...] = ()
    circle: Circle | None = None
    box: Box | None = None
    polygon: tuple[Point, ...] = ()
    """Outer ring, closed or not; may not cross the antimeridian."""
    since: datetime | None = None
    until: datetime | None = None
    """Half-open: `since <= captured_at < until`; images without a time do not match."""
    exclude_ids: tuple[UUID, ...] = ()
    exclude_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexQuery:
    """One nearest-neighbour question; several travel in one request."""

    channel: str
    vector: Vector
    filter: IndexFilter
    limit: int
    exact: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An image the index found. `score` is the cosine similarity."""

    id: UUID
    score: float
    version: int
    source_id: UUID
    kind: SourceKind
    point: Point
    captured_at: datetime | None
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInfo:
    """What an index says of itself."""

    engine: Literal["qdrant-edge", "qdrant"]
    ready: bool
    contract: str | None
    build: str | None
    """Names the index build in answers."""
    points: int
    indexed_vectors: int
    loading: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What `reconcile` found and mended."""

    checked: int
    missing: int
    stale: int
    extra: int
    mended: int

    @property
    def total(self) -> int:
        """Points that were not as PostgreSQL says."""
        return self.missing + self.stale + self.extra


# --- locating a photo -----------------------------------------------------------------------


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
class Candidate:
    """A gallery image that may show the place asked for."""

    id: UUID
    source_id: UUID
    kind: SourceKind
    point: Point
    captured_at: datetime | None
    group: str
    score: float
    rank: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """A candidate with the mass the ranker gives it; masses sum to 1."""

    candidate: Candidate
    mass: float
    support: float
    """Share of the mass that comes from evidence, not from the candidate's own similarity."""
    evidence: tuple[Evidence, ...]
    similarities: tuple[float, ...]
    """Cosine similarity of the query to each evidence photo, same order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A photo that speaks for the answer."""

    image_id: UUID
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A disc around the answer that holds a share of the mass."""

    mass: float
    radius_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Where a photo was taken, and what speaks for it."""

    point: Point | None
    """None when the gallery holds nothing to answer with."""
    regions: tuple[Region, ...]
    calibrated: bool
    ranked: tuple[Ranked, ...]
    citations: tuple[Citation, ...]
    bundle: str
    bundle_digest: str
    bundle_note: str
    ranker: str
    index_engine: str
    index_build: str | None
    candidates_considered: int
    timings_ms: Mapping[str, float]


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


# --- a worker's view of an ingest -----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedItem:
    """A batch item under this worker's lease, with all that reading it needs."""

    id: UUID
    organization_id: UUID
    source: Source
    external_id: str
    file: str
    locator: str
    hint: Hint | None
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptImage:
    """A row that an item has become; `face` points into the reading's faces."""

    id: UUID
    face: int
    needs_vector: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the catalogue made of one reading."""

    item_id: UUID
    duplicate_of: str | None
    """Set where nothing was to be done: `unchanged`, or the other external id with these bytes."""
    images: tuple[KeptImage, ...]
    replaced: tuple[str, ...] = ()
    """Locators of earlier bytes that no row names any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A vector for an image, good only for the bytes it was made from."""

    image_id: UUID
    sha256: str
    vector: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Grave:
    """A deleted image whose index point and blob still stand."""

    id: UUID
    version: int
    locator: str | None
