"""Areas of filters: circle, box and polygon."""

from __future__ import annotations

from dataclasses import dataclass

from pinpoint.records.primitives import Point

Ring = tuple[Point, ...]
"""A closed line: its first position equals its last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """Within `radius_m` of a point, measured along the ground."""

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
class Polygon:
    """An area with holes; planar in degrees, and no edge may cross the antimeridian."""

    exterior: Ring
    holes: tuple[Ring, ...] = ()
