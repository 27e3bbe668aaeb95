"""The layers as collections of `tipg`, which builds the metadata of tile sets from them.

The database code of `tipg` is not used: it counts all rows for each page, and its CQL2 reaches SQL
functions.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, NoReturn

from fastapi import Depends, Path
from tipg.collections import Collection, Column

from pinpoint.api.problems import shorten
from pinpoint.errors import NotFoundError
from pinpoint.records import FEATURE_LAYERS, FeatureLayer, PropertyType

MERCATOR_LAT: Final = 85.0511287798066
"""Latitude of the edge of the tile matrix set WebMercatorQuad, degrees."""
_WORLD: Final = [-180.0, -MERCATOR_LAT, 180.0, MERCATOR_LAT]
TILE_LAYERS: Final = frozenset({"images", "coverage", "gaps"})
_COLUMN_TYPES: Final[dict[PropertyType, str]] = {
    "text": "text",
    "integer": "integer",
    "number": "double precision",
    "boolean": "boolean",
    "time": "timestamptz",
    "uuid": "uuid",
    "json": "jsonb",
}


class LayerCollection(Collection):
    """A layer, with the properties in the form that `tipg` reads."""

    layer: FeatureLayer

    @property
    def has_tiles(self) -> bool:
        """Whether the layer has vector tiles."""
        return self.layer.name in TILE_LAYERS

    async def features(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Not used: the routes read features from the services."""
        raise RuntimeError("features are read by `FeatureRoutes`")

    async def get_tile(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Not used: the routes read tiles from the services."""
        raise RuntimeError("tiles are read by `TileRoutes`")


def describe_collection(layer: FeatureLayer) -> LayerCollection:
    """Describe a layer as a collection."""
    columns = [
        Column(name=entry.name, type=_COLUMN_TYPES[entry.type]) for entry in layer.properties
    ]
    geometry = Column(
        name="geometry", type="geometry", geometry_type=layer.geometry_type, bounds=_WORLD
    )
    return LayerCollection(
        type="Table",
        id=layer.name,
        table=layer.name,
        title=layer.title,
        description=layer.description,
        table_columns=[*columns, geometry],
        properties=columns,
        geometry_column=geometry,
        layer=layer,
    )


COLLECTIONS: Final = {name: describe_collection(layer) for name, layer in FEATURE_LAYERS.items()}


def find_collection(
    name: Annotated[str, Path(alias="collectionId", description="Name of the layer.")],
) -> LayerCollection:
    """Return the collection of a path.

    Raises:
        NotFoundError: There is no layer of this name.
    """
    collection = COLLECTIONS.get(name)
    if collection is None:
        raise NotFoundError(
            f"no collection `{shorten(name, 40)}`; /ogc/collections lists the collections"
        )
    return collection


def find_tiled_collection(
    collection: Annotated[LayerCollection, Depends(find_collection)],
) -> LayerCollection:
    """Return the collection of a path, if it has vector tiles.

    Raises:
        NotFoundError: There is no such layer, or it has no tiles.
    """
    if not collection.has_tiles:
        raise NotFoundError(f"the collection {collection.id} has no tiles")
    return collection
