"""Port of entry points: read access to the layers of one organization."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from pinpoint.records import (
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


class GalleryReader(Protocol):
    """Rows of one organization's layers; rows of other organizations cannot be reached."""

    def list_collections(
        self, *, ids: Sequence[UUID] = (), after: UUID | None = None, limit: int
    ) -> list[ImageCollection]:
        """Collections by id, after the collection `after`; with `ids` only these."""
        ...

    def list_items(
        self, collection_id: UUID, *, after: ItemPosition | None = None, limit: int
    ) -> list[CollectionItem]:
        """Items of a collection by capture time, external id and id, after a position."""
        ...

    def search_items(
        self,
        image_filter: ImageFilter,
        *,
        collection_ids: Sequence[UUID] = (),
        min_distance_m: float = 0.0,
        after: UUID | None = None,
        limit: int,
    ) -> list[CollectionItem]:
        """Items that match a filter, by id, after the item `after`.

        A panorama looks at every point. `min_distance_m` is the minimum distance to the point of
        `looks_at`, if there is one.
        """
        ...

    def find_item(self, collection_id: UUID, item_id: UUID) -> CollectionItem:
        """One item of a collection.

        Raises:
            NotFoundError: The collection has no such item.
        """
        ...

    def list_related_items(self, item: CollectionItem) -> list[ItemReference]:
        """Nearest item of each other collection within 20 m, nearest first."""
        ...

    def build_map_tile(self, zoom: int, x: int, y: int) -> bytes:
        """A vector tile of the Panoramax map."""
        ...

    def count_faces(self, image_id: UUID) -> int:
        """Number of visible faces that come from the same file as a face, including itself."""
        ...

    def features(self, layer_name: str, query: FeatureQuery) -> FeaturePage:
        """A page of the features of a layer, ordered by id."""
        ...

    def feature(self, layer_name: str, feature_id: str) -> Feature | None:
        """One feature of a layer; None if there is none with this id."""
        ...

    def layer_tile(
        self, layer_name: str, zoom: int, x: int, y: int, image_filter: ImageFilter
    ) -> bytes:
        """A vector tile of a layer (Mapbox Vector Tile 2.1); cells count the images of a filter.

        Raises:
            NotFoundError: The layer has no tiles, or the map has no such tile.
        """
        ...

    def layer_extents(self, layer_names: Collection[str]) -> dict[str, LayerExtent]:
        """Bounds of layers by name; each contains all features of its layer."""
        ...

    def neighbors(
        self,
        points: Sequence[Point],
        *,
        radius_m: float,
        per_kind: int,
        source_kinds: Sequence[SourceKind] = (),
    ) -> list[list[PointNeighbor]]:
        """Nearest indexed images of each point, by distance and id.

        Args:
            points: 1 to 10,000 points.
            radius_m: Maximum geodesic distance.
            per_kind: Maximum number of images of each source kind for each point.
            source_kinds: Source kinds; empty for all.
        """
        ...

    def coverage_cells(
        self, cell_filter: CellFilter, *, limit: int, after_cell: str | None = None
    ) -> list[CoverageCell]:
        """A page of cells with images, ordered by id.

        Args:
            cell_filter: Resolution, area and kinds.
            limit: Maximum number of cells.
            after_cell: Last id of the previous page.

        Raises:
            ValueError: `after_cell` is no id of an H3 cell.
        """
        ...


class Gallery(Protocol):
    """Opens gallery readers."""

    def read(
        self, organization_id: UUID, *, timeout_s: float | None = None
    ) -> AbstractContextManager[GalleryReader]:
        """A read-only transaction in one organization; `timeout_s` limits each statement."""
        ...

    def export(
        self, organization_id: UUID, request: ExportRequest, limit_s: float
    ) -> AbstractContextManager[ExportRows]:
        """A read-only transaction with the rows of an export, all of one state of the gallery.

        Args:
            organization_id: Organization of the rows.
            request: Rows and columns.
            limit_s: Time limit of reading all rows, seconds.

        Raises:
            BadRequestError: No image has an embedding of the requested channel.
        """
        ...
