"""Geometries of CQL2: GeoJSON, WKT (which the parser converts to GeoJSON) and bounding boxes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NoReturn

import shapely
from geojson_pydantic.geometries import parse_geometry_obj
from pydantic import ValidationError

MAX_POSITIONS: Final = 2_000


class GeometryParser:
    """Parses the geometries of one filter, which share one limit of positions.

    Args:
        reject: Raises the error with a detail.
    """

    def __init__(self, reject: Callable[[str], NoReturn]) -> None:
        self._reject = reject
        self._num_positions = 0

    def parse(self, node: Any) -> bytes:
        """Convert a geometry literal to WKB, longitude first."""
        if not isinstance(node, dict):
            self._reject("a geometry is required")
        if set(node) == {"bbox"}:
            shape = self._make_box(node["bbox"])
        elif "op" in node or "type" not in node:
            self._reject("a geometry must be WKT, GeoJSON or BBOX, without functions")
        else:
            shape = self._make_shape(node)
        if not shapely.is_valid(shape):
            self._reject(f"a geometry is not valid: {shapely.is_valid_reason(shape)}")
        return bytes(shape.wkb)

    def _make_box(self, node: Any) -> Any:
        if not isinstance(node, list) or len(node) not in (4, 6):
            self._reject("BBOX has four or six numbers")
        numbers = [self._read_number(number) for number in node]
        self._num_positions += 5
        west, south, *_, east, north = (
            numbers if len(numbers) == 4 else [*numbers[:2], *numbers[3:5]]
        )
        if abs(south) > 90 or abs(north) > 90 or south > north or max(abs(west), abs(east)) > 180:
            self._reject("BBOX must be min lon, min lat, max lon, max lat in degrees")
        if west <= east:
            return _make_rectangle(west, south, east, north)
        # It crosses the antimeridian.
        return shapely.union(
            _make_rectangle(west, south, 180.0, north), _make_rectangle(-180.0, south, east, north)
        )

    def _make_shape(self, node: dict[str, Any]) -> Any:
        try:
            document = self._copy_geometry(node, 0)
            geometry = parse_geometry_obj(document)
            return shapely.from_geojson(geometry.model_dump_json())
        except (ValidationError, ValueError, TypeError, shapely.errors.ShapelyError):
            self._reject("a geometry is not valid GeoJSON or WKT")

    def _copy_geometry(self, node: Any, depth: int) -> Any:
        """Copy the members of GeoJSON, and count and check the positions."""
        if depth > 12:
            self._reject("a geometry is nested too deep")
        if isinstance(node, dict) and "op" not in node:
            members = ("type", "coordinates", "geometries")
            return {
                name: node[name] if name == "type" else self._copy_geometry(node[name], depth + 1)
                for name in members
                if name in node
            }
        if isinstance(node, list):
            if node and not isinstance(node[0], list | dict):
                self._num_positions += 1
                if self._num_positions > MAX_POSITIONS:
                    self._reject(f"its geometries have more than {MAX_POSITIONS:,} positions")
            return [self._copy_geometry(item, depth + 1) for item in node]
        return self._read_number(node)

    def _read_number(self, node: Any) -> float:
        if isinstance(node, bool) or not isinstance(node, int | float):
            self._reject("a coordinate must be a number")
        # Compared before the conversion, because an integer of 400 digits does not fit a float.
        if not abs(node) < 1e9 or not math.isfinite(node):
            self._reject("a coordinate is out of range")
        return float(node)


def _make_rectangle(west: float, south: float, east: float, north: float) -> Any:
    """A box; without width or height it is a line or a point."""
    corners = [(west, south), (east, south), (east, north), (west, north)]
    distinct = list(dict.fromkeys(corners))
    if len(distinct) == 4:
        return shapely.Polygon(corners)
    return shapely.LineString(distinct) if len(distinct) == 2 else shapely.Point(distinct[0])
