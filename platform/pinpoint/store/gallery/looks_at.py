"""Condition of images that look at a point, by distance, heading and field of view."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnCollection, ColumnElement, and_, func, or_

from pinpoint.records import LooksAt
from pinpoint.store.db.rows import geography

_FULL_CIRCLE_DEG: Final = 360.0


def looks_at_point(columns: ColumnCollection[str, Any], looks_at: LooksAt) -> ColumnElement[bool]:
    """Build the condition; distance and bearing are geodesic (WGS84).

    Args:
        columns: Columns of `visible_images` or `layer_images`.
        looks_at: Point, distance and tolerance.
    """
    point = func.ST_GeogFromText(geography(looks_at.point))
    distance_m = func.ST_Distance(columns.geog, point)
    # Null without a heading, which does not match. At the point itself the bearing is undefined.
    turn_deg = func.abs(func.degrees(func.ST_Azimuth(columns.geog, point)) - columns.heading_deg)
    half_angle_deg = func.coalesce(columns.field_of_view_deg, 0.0) / 2.0 + looks_at.tolerance_deg
    is_in_view = and_(
        distance_m > 0, func.least(turn_deg, _FULL_CIRCLE_DEG - turn_deg) <= half_angle_deg
    )
    return and_(
        func.ST_DWithin(columns.geog, point, looks_at.distance_m),
        distance_m >= looks_at.min_distance_m,
        or_(columns.field_of_view_deg >= _FULL_CIRCLE_DEG, is_in_view),
    )
