"""SQL of vector tiles: positions in a tile, attributes, and the encoding by PostGIS.

Sources: Mapbox Vector Tile specification 2.1; functions `ST_AsMVTGeom` and `ST_AsMVT` of PostGIS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import (
    ColumnCollection,
    ColumnElement,
    Connection,
    Select,
    case,
    func,
    literal_column,
    select,
)

from pinpoint.geo.map_tiles import HALF_WIDTH_M, MapTile
from pinpoint.records import Box

EXTENT: Final = 4096
"""Width of a tile in its integer coordinates."""
BUFFER: Final = 64
"""A tile also contains what is this near to it, in the same unit."""
MARGIN: Final = BUFFER / EXTENT
MAX_TILE_BYTES: Final = 500_000
_WEB_MERCATOR: Final = 3857
_Columns = ColumnCollection[str, Any]
_ISO_TIME: Final = 'YYYY-MM-DD"T"HH24:MI:SS"Z"'


def place_in_tile(columns: _Columns, tile: MapTile, box: Box) -> ColumnElement[Any]:
    """The point `geom` in the coordinates of a tile; null outside the tile and its buffer.

    Args:
        columns: Columns `geom` and `lon` of rows.
        tile: The tile.
        box: Area of the rows.
    """
    return fit_to_tile(project_near_tile(columns, tile, box), tile)


def project_near_tile(columns: _Columns, tile: MapTile, box: Box) -> ColumnElement[Any]:
    """The point `geom` in EPSG:3857, on the side of the map where a tile is.

    Args:
        columns: Columns `geom` and `lon` of rows.
        tile: The tile.
        box: Area of the rows.
    """
    point = func.ST_Transform(columns.geom, _WEB_MERCATOR)
    if box.west > box.east:
        # The area continues on the other edge of the map.
        offset_deg = columns.lon - tile.center_lon
        offset_m = case(
            (offset_deg > 180.0, -2.0 * HALF_WIDTH_M),
            (offset_deg < -180.0, 2.0 * HALF_WIDTH_M),
            else_=0.0,
        )
        point = func.ST_Translate(point, offset_m, 0.0)
    return point


def fit_to_tile(geometry: ColumnElement[Any], tile: MapTile) -> ColumnElement[Any]:
    """A geometry of EPSG:3857 in the coordinates of a tile, cut at its buffer."""
    bounds = func.ST_TileEnvelope(tile.zoom, tile.x, tile.y)
    return func.ST_AsMVTGeom(geometry, bounds, EXTENT, BUFFER, True)


def format_time(column: ColumnElement[Any]) -> ColumnElement[str]:
    """A time as text (RFC 3339, UTC, whole seconds)."""
    return func.to_char(func.timezone("UTC", column), _ISO_TIME)


def encode_layer(connection: Connection, features: Select[Any], layer: str) -> bytes:
    """Encode features as one layer.

    Args:
        connection: A transaction with the views of one organization.
        features: The column `geometry`, in the coordinates of the tile, and attributes.
        layer: Name of the layer.

    Returns:
        A tile with this layer; empty without features.
    """
    # `ST_AsMVT` skips rows without a geometry.
    encoded = func.ST_AsMVT(literal_column("feature"), layer, EXTENT, "geometry")
    statement = select(encoded).select_from(features.subquery("feature"))
    return bytes(connection.execute(statement).scalar_one())


def encode_within_limit(
    connection: Connection,
    select_features: Callable[[int], Select[Any]],
    layer: str,
    max_features: int,
) -> bytes:
    """Encode a layer with fewer features until it has at most `MAX_TILE_BYTES`.

    Args:
        connection: A transaction with the views of one organization.
        select_features: Selects at most so many features, as for `encode_layer`.
        layer: Name of the layer.
        max_features: Limit of the first attempt.
    """
    encoded = encode_layer(connection, select_features(max_features), layer)
    while len(encoded) > MAX_TILE_BYTES and max_features > 1:
        # Texts of attributes can have any length.
        max_features = max(1, int(0.9 * max_features * MAX_TILE_BYTES / len(encoded)))
        encoded = encode_layer(connection, select_features(max_features), layer)
    return encoded
