"""Filter of gallery images: lists, layers, tiles and exports share it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pinpoint.records.areas import Box, Circle, Polygon
from pinpoint.records.primitives import ImageState, SourceKind
from pinpoint.records.spatial import LooksAt


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFilter:
    """Filter of gallery images; an image must match all conditions that are given.

    Empty fields are no condition; several values of one field are alternatives. Deleted images
    never match.
    """

    ids: tuple[UUID, ...] = ()
    id_prefix: str | None = None
    """First hex digits of the id, without dashes."""
    source_ids: tuple[UUID, ...] = ()
    source_kinds: tuple[SourceKind, ...] = ()
    file_name: str | None = None
    """Last part of the path in the source; `*` matches any text, `?` one character."""
    states: tuple[ImageState, ...] = ()
    cells: tuple[str, ...] = ()
    """In at least one of these H3 cells, hex ids; as in the counters, by the parent of the cell of
    resolution 7."""
    box: Box | None = None
    """Edges included; `west > east` crosses the antimeridian."""
    polygons: tuple[Polygon, ...] = ()
    """Inside at least one of them."""
    circle: Circle | None = None
    """Within the radius on the sphere, as in the index."""
    looks_at: LooksAt | None = None
    captured_after: datetime | None = None
    captured_before: datetime | None = None
    """Half-open: `captured_after <= captured_at < captured_before`; images without a time do not
    match."""
    creators: tuple[str, ...] = ()
    sequences: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    """Names and values of attributes; all of them must be equal. A number or Boolean equals its
    text."""
