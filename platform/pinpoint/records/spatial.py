"""Spatial queries about the gallery: neighbors of points, and images that look at a point."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from pinpoint.records.primitives import Point, SourceKind


@dataclass(frozen=True, slots=True)
class PointNeighbor:
    """An image near a point."""

    id: UUID
    source: str
    source_kind: SourceKind
    file_name: str
    lat: float
    lon: float
    captured_at: datetime | None
    heading_deg: float | None
    license: str | None
    attribution: str | None
    distance_m: float
    """Length of the geodesic on the WGS84 ellipsoid."""
    bearing_deg: float
    """Initial bearing of the geodesic from the point to the image, in [0, 360); 0 if both have the
    same position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LooksAt:
    """Images that look at a point.

    The bearing of the point differs from the heading by at most half of the horizontal field of
    view plus a tolerance.

    An unknown field of view counts as 0. Images of 360° always look at the point; other images
    without a heading never do, nor those at the point itself.

    Raises:
        ValueError: The distances are not in order, or the tolerance is not in [0, 180].
    """

    point: Point
    distance_m: float
    """Maximum geodesic distance."""
    tolerance_deg: float
    min_distance_m: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_distance_m <= self.distance_m:
            raise ValueError(f"no distance is from {self.min_distance_m} m to {self.distance_m} m")
        if not 0 <= self.tolerance_deg <= 180:
            raise ValueError(f"the tolerance {self.tolerance_deg}° is not in [0, 180]")
