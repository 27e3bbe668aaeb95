"""Routes of OGC API - Tiles: tile matrix sets, tile sets, TileJSON and vector tiles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Path, Query, Request, Response
from morecantile.defaults import TileMatrixSets
from morecantile.defaults import tms as all_tile_matrix_sets
from tipg import model
from tipg.factory import OGCTilesFactory
from tipg.resources.enums import MediaType
from tipg.resources.response import ORJSONResponse

from pinpoint.api.dependencies import AppServices, ReadCaller
from pinpoint.api.ogc.gallery_access import open_gallery
from pinpoint.api.ogc.layer_collections import LayerCollection, find_tiled_collection
from pinpoint.api.ogc.tile_filter import TileFilterParameters, read_tile_filter
from pinpoint.errors import NotFoundError
from pinpoint.geo.map_tiles import MAX_ZOOM, MapTile

TILE_MATRIX_SET: Final = "WebMercatorQuad"

TiledCollection = Annotated[LayerCollection, Depends(find_tiled_collection)]
TileMatrixSetName = Annotated[
    Literal["WebMercatorQuad"],
    Path(alias="tileMatrixSetId", description="Name of the tile matrix set."),
]
Zoom = Annotated[int, Path(ge=0, le=MAX_ZOOM, description="Zoom level.")]
TileIndex = Annotated[int, Path(ge=0, description="Column from the west, or row from the north.")]


def find_tile(tile_matrix_set: TileMatrixSetName, z: Zoom, x: TileIndex, y: TileIndex) -> MapTile:
    """Return the tile of a path.

    Raises:
        NotFoundError: The tile matrix set has no such tile.
    """
    if max(x, y) >= 2**z:
        raise NotFoundError(f"{tile_matrix_set} has no tile {z}/{x}/{y}")
    return MapTile(z, x, y)


def _select_tile_matrix_sets() -> TileMatrixSets:
    return TileMatrixSets({TILE_MATRIX_SET: all_tile_matrix_sets.get(TILE_MATRIX_SET)})


@dataclass
class TileRoutes(OGCTilesFactory):
    """Registers the routes on its router; `tipg` builds the metadata of tile sets."""

    collection_dependency: Any = find_tiled_collection
    supported_tms: TileMatrixSets = field(default_factory=_select_tile_matrix_sets)
    with_viewer: bool = False
    with_common: bool = False

    def _stylejson_routes(self) -> None:
        """Styles are files of the documentation, not routes."""

    def _tilejson_routes(self) -> None:
        @self.router.get("/collections/{collectionId}/tiles/{tileMatrixSetId}/tilejson.json")
        def collection_tilejson(
            request: Request, collection: TiledCollection, tile_matrix_set: TileMatrixSetName
        ) -> ORJSONResponse:
            """Describe the tiles for MapLibre (TileJSON 3.0.0)."""
            # Not `url_for`, which would escape the braces.
            url = self.url_for(
                request,
                "collection_tileset",
                collectionId=collection.id,
                tileMatrixSetId=tile_matrix_set,
            )
            document = model.TileJSON(
                name=collection.id,
                description=collection.description,
                tiles=[f"{url}/{{z}}/{{x}}/{{y}}"],
                bounds=collection.bounds,
                minzoom=0,
                maxzoom=MAX_ZOOM,
                vector_layers=[
                    model.LayerJSON(id=collection.id, fields={}, description=collection.description)
                ],
            )
            return ORJSONResponse(document.model_dump(mode="json", exclude_none=True))

    def _tile_routes(self) -> None:
        @self.router.get("/collections/{collectionId}/tiles/{tileMatrixSetId}/{z}/{x}/{y}")
        def collection_get_tile(
            collection: TiledCollection,
            tile: Annotated[MapTile, Depends(find_tile)],
            parameters: Annotated[TileFilterParameters, Query()],
            caller: ReadCaller,
            services: AppServices,
        ) -> Response:
            """Return a Mapbox vector tile of images that match a filter; it may be empty."""
            image_filter = read_tile_filter(services, caller, parameters)
            with open_gallery(services, caller) as gallery:
                data = gallery.layer_tile(
                    collection.layer.name, tile.zoom, tile.x, tile.y, image_filter
                )
            return Response(data, media_type=MediaType.mvt.value)
