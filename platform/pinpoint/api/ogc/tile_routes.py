"""Routes of OGC API - Tiles: tile matrix sets, tile sets, TileJSON and vector tiles."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from fastapi import Path, Response
from morecantile.defaults import TileMatrixSets
from morecantile.defaults import tms as all_tile_matrix_sets
from tipg.factory import OGCTilesFactory
from tipg.resources.enums import MediaType

from pinpoint.api.dependencies import AppServices, ReadCaller
from pinpoint.api.ogc.feature_routes import PathCollection
from pinpoint.errors import NotFoundError

TILE_MATRIX_SET: Final = "WebMercatorQuad"
MAX_ZOOM: Final = 22

TileMatrixSetName = Annotated[
    Literal["WebMercatorQuad"],
    Path(alias="tileMatrixSetId", description="Name of the tile matrix set."),
]
Zoom = Annotated[int, Path(ge=0, le=MAX_ZOOM, description="Zoom level.")]
Column = Annotated[int, Path(ge=0, description="Column of the tile, from the west.")]
Row = Annotated[int, Path(ge=0, description="Row of the tile, from the north.")]


def _select_tile_matrix_sets() -> TileMatrixSets:
    return TileMatrixSets({TILE_MATRIX_SET: all_tile_matrix_sets.get(TILE_MATRIX_SET)})


@dataclass
class TileRoutes(OGCTilesFactory):
    """Registers the routes on its router; `tipg` builds the metadata of tile sets."""

    supported_tms: TileMatrixSets = field(default_factory=_select_tile_matrix_sets)
    with_viewer: bool = False
    with_common: bool = False

    def _stylejson_routes(self) -> None:
        """Styles are documentation of the project, not routes."""

    def _tile_routes(self) -> None:
        @self.router.get("/collections/{collectionId}/tiles/{tileMatrixSetId}/{z}/{x}/{y}")
        def collection_get_tile(
            collection: PathCollection,
            tile_matrix_set: TileMatrixSetName,
            z: Zoom,
            x: Column,
            y: Row,
            caller: ReadCaller,
            services: AppServices,
        ) -> Response:
            """Return a Mapbox vector tile; one without features is empty."""
            if max(x, y) >= 2**z:
                raise NotFoundError(f"{tile_matrix_set} has no tile {z}/{x}/{y}")
            with services.gallery.read(caller.organization_id) as gallery:
                data = gallery.layer_tile(collection.layer.name, z, x, y)
            return Response(data, media_type=MediaType.mvt.value)
