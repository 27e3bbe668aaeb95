"""Read-only units of work with the layers of one organization (`ports.Gallery`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from sqlalchemy import Connection

from pinpoint.errors import NotFoundError
from pinpoint.geo.map_tiles import MapTile
from pinpoint.records import (
    FEATURE_LAYERS,
    CellFilter,
    CollectionItem,
    CoverageCell,
    ExportRequest,
    ExportRows,
    Feature,
    FeaturePage,
    FeatureQuery,
    ImageCollection,
    ImageFilter,
    ItemPosition,
    ItemReference,
    LayerExtent,
    Point,
    PointNeighbor,
    SourceKind,
)
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.views import LAYERS_SCHEMA, READER_ROLE
from pinpoint.store.gallery import (
    cell_features,
    collection_items,
    coverage_cells,
    export_rows,
    feature_pages,
    point_neighbors,
)
from pinpoint.store.gallery.cell_tiles import build_coverage_tile
from pinpoint.store.gallery.image_tiles import build_image_tile
from pinpoint.store.gallery.panoramax_tiles import build_map_tile


class LayerReader:
    """Implements `ports.GalleryReader` on one connection with the role `pinpoint_reader`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list_collections(
        self, *, ids: Sequence[UUID] = (), after: UUID | None = None, limit: int
    ) -> list[ImageCollection]:
        """Collections by id, after the collection `after`; with `ids` only these."""
        return collection_items.list_collections(
            self._connection, ids=ids, after=after, limit=limit
        )

    def list_items(
        self, collection_id: UUID, *, after: ItemPosition | None = None, limit: int
    ) -> list[CollectionItem]:
        """Items of a collection by capture time, external id and id, after a position."""
        return collection_items.list_items(
            self._connection, collection_id, after=after, limit=limit
        )

    def search_items(
        self,
        image_filter: ImageFilter,
        *,
        collection_ids: Sequence[UUID] = (),
        min_distance_m: float = 0.0,
        after: UUID | None = None,
        limit: int,
    ) -> list[CollectionItem]:
        """Items that match a filter, by id, after the item `after`."""
        return collection_items.search_items(
            self._connection,
            image_filter,
            collection_ids=collection_ids,
            min_distance_m=min_distance_m,
            after=after,
            limit=limit,
        )

    def find_item(self, collection_id: UUID, item_id: UUID) -> CollectionItem:
        """One item of a collection; raise `NotFoundError` if there is none."""
        return collection_items.find_item(self._connection, collection_id, item_id)

    def list_related_items(self, item: CollectionItem) -> list[ItemReference]:
        """Nearest item of each other collection within 20 m, nearest first."""
        return collection_items.list_related_items(self._connection, item)

    def count_faces(self, image_id: UUID) -> int:
        """Number of visible faces that come from the same file as a face."""
        return collection_items.count_faces(self._connection, image_id)

    def features(self, layer_name: str, query: FeatureQuery) -> FeaturePage:
        """A page of the features of a layer."""
        layer = FEATURE_LAYERS[layer_name]
        if layer.is_gridded:
            return cell_features.read_cell_features(self._connection, layer, query)
        return feature_pages.read_row_features(self._connection, layer, query)

    def feature(self, layer_name: str, feature_id: str) -> Feature | None:
        """One feature of a layer; None if there is none with this id."""
        page = self.features(layer_name, FeatureQuery(limit=1, ids=(feature_id,)))
        return page.features[0] if page.features else None

    def layer_tile(
        self, layer_name: str, zoom: int, x: int, y: int, image_filter: ImageFilter
    ) -> bytes:
        """A vector tile of a layer; cells count the images of a filter.

        Raises:
            NotFoundError: The layer has no tiles, or the map has no such tile.
        """
        match layer_name:
            case "images":
                return build_image_tile(self._connection, zoom, x, y, image_filter)
            case "coverage" | "gaps":
                tile = MapTile(zoom, x, y)
                return build_coverage_tile(self._connection, layer_name, tile, image_filter)
            case _:
                raise NotFoundError(f"the layer {layer_name} has no tiles")

    def build_map_tile(self, zoom: int, x: int, y: int) -> bytes:
        """A vector tile of the Panoramax map.

        Raises:
            NotFoundError: The map has no such tile.
        """
        return build_map_tile(self._connection, zoom, x, y)

    def layer_extents(self, layer_names: Collection[str]) -> dict[str, LayerExtent]:
        """Bounds of layers by name; images and cells have the same ones."""
        counted = None
        extents = {}
        for name in layer_names:
            if name == "queries" or counted is None:
                extents[name] = feature_pages.read_extent(self._connection, FEATURE_LAYERS[name])
                counted = counted if name == "queries" else extents[name]
            else:
                extents[name] = counted
        return extents

    def neighbors(
        self,
        points: Sequence[Point],
        *,
        radius_m: float,
        per_kind: int,
        source_kinds: Sequence[SourceKind] = (),
    ) -> list[list[PointNeighbor]]:
        """Nearest indexed images of each point, by distance and id, in one statement."""
        return point_neighbors.read_neighbors(
            self._connection,
            points,
            radius_m=radius_m,
            per_kind=per_kind,
            source_kinds=source_kinds,
        )

    def coverage_cells(
        self, cell_filter: CellFilter, *, limit: int, after_cell: str | None = None
    ) -> list[CoverageCell]:
        """A page of cells with images, ordered by id."""
        return coverage_cells.read_coverage_cells(
            self._connection, cell_filter, limit=limit, after_cell=after_cell
        )


class GalleryDatabase:
    """Opens gallery readers on one engine.

    Args:
        transactions: Units of work of the API or of the owner.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    @contextmanager
    def read(
        self, organization_id: UUID, *, timeout_s: float | None = None
    ) -> Iterator[LayerReader]:
        """A read-only transaction with the views of one organization, and no other rights."""
        with self._transactions.begin(
            organization_id,
            read_only=True,
            role=READER_ROLE,
            schema=LAYERS_SCHEMA,
            timeout_s=timeout_s,
        ) as unit:
            yield LayerReader(unit.connection)

    @contextmanager
    def export(
        self, organization_id: UUID, request: ExportRequest, limit_s: float
    ) -> Iterator[ExportRows]:
        """A read-only transaction with the rows of an export, all of one state of the gallery.

        It keeps the role of the API: the views of the reader's role hide paths and embeddings.

        Args:
            organization_id: Organization of the rows.
            request: Rows and columns.
            limit_s: Time limit of reading all rows, seconds.

        Raises:
            InvalidRequestError: No image has an embedding of the requested channel.
        """
        # One statement reads the whole export, at the speed of the client.
        with (
            self._transactions.begin(organization_id, snapshot=True, timeout_s=limit_s) as unit,
            export_rows.open_export(unit.connection, request) as rows,
        ):
            yield rows
