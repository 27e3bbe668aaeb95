"""Counts of gallery images by H3 cell: coverage, and gaps of one source kind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from pinpoint.records.areas import Box, Polygon
from pinpoint.records.primitives import Point, SourceKind

COVERAGE_RESOLUTIONS: Final = (3, 4, 5, 6, 7)
"""H3 resolutions with counters: cells of 12,393 km² to 5.2 km² (mean area)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFilter:
    """Filter of cells with images; a cell must match all conditions that are given.

    Raises:
        ValueError: No counters exist for the resolution.
    """

    resolution: int
    """One of `COVERAGE_RESOLUTIONS`."""
    box: Box | None = None
    """The cell intersects it."""
    polygons: tuple[Polygon, ...] = ()
    """The cell intersects at least one of them."""
    source_ids: tuple[UUID, ...] = ()
    """Count only images of these sources."""
    source_kinds: tuple[SourceKind, ...] = ()
    """Count only images of these kinds."""
    only_gaps: bool = False
    """Only cells with images of exactly one of the counted kinds."""
    missing_kind: SourceKind | None = None
    """Only cells without images of this kind; needs `only_gaps`."""
    min_images: int = 1

    def __post_init__(self) -> None:
        if self.resolution not in COVERAGE_RESOLUTIONS:
            raise ValueError(f"no cells of resolution {self.resolution} are counted")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellCount:
    """Images of one source kind in a cell."""

    source_kind: SourceKind
    images: int
    first_captured_at: datetime | None
    last_captured_at: datetime | None
    """None if no image of this kind has a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageCell:
    """A cell with images."""

    cell: str
    """H3 id, 15 hex digits."""
    resolution: int
    center: Point
    """Center of its images, not of the cell."""
    counts: tuple[CellCount, ...]
    """For each source kind with images, in the order of `SOURCE_KINDS`."""
    license: str | None
    """Licenses of its sources, separated by semicolons."""
    attribution: str | None
    """Attributions of its sources, separated by semicolons."""

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(count.images for count in self.counts)

    @property
    def first_captured_at(self) -> datetime | None:
        """Earliest capture time; None if no image has a time."""
        times = [count.first_captured_at for count in self.counts if count.first_captured_at]
        return min(times, default=None)

    @property
    def last_captured_at(self) -> datetime | None:
        """Latest capture time; None if no image has a time."""
        times = [count.last_captured_at for count in self.counts if count.last_captured_at]
        return max(times, default=None)
