"""What goes to the vector index and comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from pinpoint.records.basics import Point, SourceKind, Vector

SCORE_DIGITS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """What an index must be made for: one per contract."""

    contract: str
    """Digest of the bundle whose vectors it holds."""
    dims: Mapping[str, int]
    """Named vectors and their width, e.g. `{"image": 512}`."""
    installation: str | None = None
    """Id of the installation that the index belongs to; None is checked by nobody."""


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
    content_key: str = ""
    """The same for images of identical bytes; empty where it is not known, as in an index that an
    earlier version has built. The four faces of a panorama have different keys."""
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
    contract: str | None = None
    """Digest of the bundle that made the vector; an index of another refuses the question. None
    is for vectors that the index itself gave."""


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
    content_key: str = ""
    """As `IndexPoint`."""

    @property
    def similarity(self) -> float:
        """The score to six digits: engines differ beyond, and ties must stay ties."""
        return round(float(self.score), SCORE_DIGITS)

    @property
    def order(self) -> tuple[float, int]:
        """Sorts best first, ties by id, whatever order the engine gave."""
        return -self.similarity, self.id.int


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
    installation: str | None = None
    """Id of the installation that it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What `reconcile` found and mended."""

    checked: int
    missing: int
    """Rows without a point, or with a tombstone in its place."""
    stale: int
    """Points of another version than their row; of a higher one where PostgreSQL was restored."""
    extra: int
    """Points without a row."""
    mended: int

    @property
    def total(self) -> int:
        """Points that were not as PostgreSQL says."""
        return self.missing + self.stale + self.extra
