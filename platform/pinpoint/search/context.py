"""Records that callers pass to the search flows, and that the stages share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from pinpoint.ports import Database, Decoder, Encoder, Reranker, VectorIndex
from pinpoint.records import Crop, SourceKind
from pinpoint.search.search_trace import SearchTrace
from pinpoint.search.stopwatch import Stopwatch
from pinpoint.search.verifier import Verifier
from pinpoint.settings import SearchSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryPhoto:
    """A query photo as received."""

    data: bytes
    """Untrusted until decoded."""
    file: str
    """File name, for messages."""
    kind: SourceKind | None = None
    """Source kind, if known; selects the encoder's adapter."""
    crop: Crop | None = None
    """Region of the photo that is the query; None for the whole photo."""


@dataclass(slots=True, kw_only=True)
class HiddenImages:
    """Images that the caller of one query may not see (`search.visible_hits`)."""

    find: Callable[[Sequence[UUID]], set[UUID]]
    """Which of these images are hidden."""
    cut_searches: bool = False
    """Whether a search ended before it had as many visible hits as the gallery could give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchContext:
    """The gallery, the components and the settings of one query."""

    organization_id: UUID
    """Organization of the gallery."""
    decoder: Decoder
    encoder: Encoder
    """Its contract must be that of the index."""
    index: VectorIndex
    """Returns candidates."""
    database: Database
    """Returns evidence, names and licenses."""
    settings: SearchSettings
    verifier: Verifier | None = None
    """Compares the query with gallery images, if given and `settings.verify_candidates` > 0."""
    reranker: Reranker | None = None
    """Ranks the candidates, if the bundle has one; otherwise they vote."""
    trace: SearchTrace | None = None
    """Records why images were dropped, if given."""
    hidden_images: HiddenImages | None = None
    """Images that the caller may not see; None if it may see all."""
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    """Measures the stages of this query."""


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """How much evidence each candidate gets."""

    radius_m: float
    """Maximum distance of evidence from its candidate."""
    per_kind: int
    """Maximum number of photos per candidate and source kind; 0 requests none."""
