"""Records of the vector index: points, filters, queries and hits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from pinpoint.records.areas import Box, Circle, Polygon
from pinpoint.records.primitives import Point, SourceKind, Vector

SCORE_DIGITS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """Specification of an index: one per contract."""

    contract: str
    """Digest of the bundle whose vectors it holds."""
    dims: Mapping[str, int]
    """Named vectors and their width, e.g. `{"image": 512}`."""
    installation: str | None = None
    """Id of the installation that the index belongs to; None disables the check."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPoint:
    """One image in the index.

    `group` is its de-duplication key: panorama, else sequence, else id.
    """

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
    """Equal for images of identical bytes; empty if unknown, as in an index built by an earlier
    version. The four faces of a panorama have different keys."""
    vectors: Mapping[str, Vector] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFilter:
    """Filter of a search. The organization is mandatory."""

    organization_id: UUID
    source_kinds: tuple[SourceKind, ...] = ()
    source_ids: tuple[UUID, ...] = ()
    circle: Circle | None = None
    box: Box | None = None
    polygons: tuple[Polygon, ...] = ()
    """Inside at least one of them."""
    country_polygons: tuple[Polygon, ...] = ()
    """Inside at least one of these too."""
    captured_after: datetime | None = None
    captured_before: datetime | None = None
    """Half-open: `captured_after <= captured_at < captured_before`; images without a time do not
    match."""
    exclude_ids: tuple[UUID, ...] = ()
    exclude_groups: tuple[str, ...] = ()
    exclude_circle: Circle | None = None
    """Images inside it do not match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexQuery:
    """One nearest-neighbor query; several are sent in one request."""

    channel: str
    vector: Vector
    filter: IndexFilter
    limit: int
    exact: bool = False
    contract: str | None = None
    """Digest of the bundle that computed the vector; an index of another contract rejects the
    query. None is for vectors that came from the index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An image returned by the index. `score` is the cosine similarity."""

    id: UUID
    score: float
    version: int
    source_id: UUID
    kind: SourceKind
    point: Point
    captured_at: datetime | None
    group: str
    content_key: str = ""
    """See `IndexPoint`."""

    @property
    def similarity(self) -> float:
        """The score rounded to six digits: engines differ beyond, and ties must remain ties."""
        return round(float(self.score), SCORE_DIGITS)

    @property
    def tie_key(self) -> tuple[str, int]:
        """Order among equal scores: by content, then by id.

        Ids depend on those of organization and source, which are random. With the content first,
        two installations with the same images give the same answer.
        """
        return self.content_key, self.id.int

    @property
    def order(self) -> tuple[float, str, int]:
        """Sort key: best first, ties by `tie_key`, independent of the engine's order."""
        return -self.similarity, *self.tie_key


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexInfo:
    """Status of an index."""

    engine: Literal["qdrant-edge", "qdrant"]
    ready: bool
    contract: str | None
    build: str | None
    """Name of the index build in answers."""
    points: int
    indexed_vectors: int
    loading: str | None = None
    installation: str | None = None
    """Id of the installation that it belongs to."""
    shards: int | None = None
    """Number of shards; None for the embedded index."""
    replicas: int | None = None
    """Number of copies of each shard; None for the embedded index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Differences that `reconcile` detected and repaired."""

    checked: int
    missing: int
    """Rows without a point, or with a tombstone instead."""
    stale: int
    """Points with another version than their row; a higher version if PostgreSQL was restored."""
    extra: int
    """Points without a row."""
    repaired: int

    @property
    def total(self) -> int:
        """Number of points that differed from PostgreSQL."""
        return self.missing + self.stale + self.extra
