"""Collections and their items (`records.image_collections`), by keyset pages over one index."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    ColumnCollection,
    ColumnElement,
    Connection,
    Select,
    and_,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import distinct_on

from pinpoint.errors import NotFoundError
from pinpoint.records import (
    Box,
    CollectionItem,
    ImageCollection,
    ImageFilter,
    ItemPosition,
    ItemReference,
    LooksAt,
    Point,
)
from pinpoint.store.db.rows import geography, is_any_of
from pinpoint.store.db.views import layer_images
from pinpoint.store.gallery.image_conditions import image_conditions
from pinpoint.store.gallery.looks_at import looks_at_point
from pinpoint.store.gallery.pictures import is_picture

_Columns = ColumnCollection[str, Any]

RELATED_RADIUS_M: Final = 20.0
"""Radius of the related items of an item, meters."""
MAX_RELATED: Final = 10
_REFERENCE_COLUMNS: Final = ("id", "lon", "lat", "captured_at")
_ITEM_COLUMNS: Final = (
    *("id", "collection_id", "is_panorama", "external_id", "file_name", "source", "source_kind"),
    *("cubemap_face", "lat", "lon", "captured_at", "heading_deg", "field_of_view_deg", "camera"),
    *("creator", "license", "attribution", "width_px", "height_px", "attributes"),
    *("created_at", "updated_at"),
)
_LAST_TIME: Final[ColumnElement[Any]] = literal_column("'infinity'::timestamptz")
"""Time of items without one; written as in the index `ix_images_collection_items`."""


def list_collections(
    connection: Connection,
    *,
    ids: Sequence[UUID] = (),
    after: UUID | None = None,
    limit: int,
) -> list[ImageCollection]:
    """List collections by id.

    Args:
        connection: Connection of a gallery reader.
        ids: Only these collections; empty for all.
        after: Id of the last collection of the previous page.
        limit: Maximum number of collections.
    """
    columns = layer_images.c
    statement = select(*_collection_columns(columns)).group_by(columns.collection_id)
    if ids:
        statement = statement.where(is_any_of(columns.collection_id, ids))
    if after is not None:
        statement = statement.where(columns.collection_id > after)
    rows = connection.execute(statement.order_by(columns.collection_id).limit(limit))
    return [_to_collection(row) for row in rows]


def list_items(
    connection: Connection,
    collection_id: UUID,
    *,
    after: ItemPosition | None = None,
    limit: int,
) -> list[CollectionItem]:
    """List the items of a collection by capture time, external id and id.

    Args:
        connection: Connection of a gallery reader.
        collection_id: The collection.
        after: Position of the last item of the previous page.
        limit: Maximum number of items.
    """
    columns = layer_images.c
    page = _select_items(columns).where(columns.collection_id == collection_id)
    if after is not None:
        time = func.coalesce(literal(after.captured_at, columns.captured_at.type), _LAST_TIME)
        start = tuple_(time, after.external_id, after.item_id)
        page = page.where(_order_key(columns) > start)
    return _read_items(connection, page, _order_columns, limit)


def search_items(
    connection: Connection,
    image_filter: ImageFilter,
    *,
    collection_ids: Sequence[UUID] = (),
    min_distance_m: float = 0.0,
    after: UUID | None = None,
    limit: int,
) -> list[CollectionItem]:
    """List the items that match a filter, by id.

    Args:
        connection: Connection of a gallery reader.
        image_filter: The filter; a panorama looks at every point.
        collection_ids: Only items of these collections; empty for all.
        min_distance_m: Minimum distance to the point of `looks_at`, if there is one.
        after: Id of the last item of the previous page.
        limit: Maximum number of items.
    """
    columns = layer_images.c
    plain_filter = dataclasses.replace(image_filter, looks_at=None)
    page = _select_items(columns).where(*image_conditions(columns, plain_filter))
    if image_filter.looks_at is not None:
        page = page.where(_looks_at(columns, image_filter.looks_at, min_distance_m))
    if collection_ids:
        page = page.where(is_any_of(columns.collection_id, collection_ids))
    if after is not None:
        page = page.where(columns.id > after)
    return _read_items(connection, page, _order_by_id, limit)


def _looks_at(columns: _Columns, looks_at: LooksAt, min_distance_m: float) -> ColumnElement[bool]:
    """Whether an item shows a point; a panorama shows all directions around it."""
    point = func.ST_GeogFromText(geography(looks_at.point))
    return and_(
        func.ST_DWithin(columns.geog, point, looks_at.distance_m),
        func.ST_Distance(columns.geog, point) >= min_distance_m,
        or_(columns.is_panorama, looks_at_point(columns, looks_at)),
    )


def find_item(connection: Connection, collection_id: UUID, item_id: UUID) -> CollectionItem:
    """Find one item of a collection.

    Raises:
        NotFoundError: The collection has no such item.
    """
    columns = layer_images.c
    page = _select_items(columns).where(
        columns.id == item_id, columns.collection_id == collection_id
    )
    items = _read_items(connection, page, _order_by_id, 1)
    if not items:
        raise NotFoundError(f"no item {item_id} in collection {collection_id}")
    return items[0]


def list_related_items(connection: Connection, item: CollectionItem) -> list[ItemReference]:
    """Nearest item of each other collection within `RELATED_RADIUS_M`, nearest first."""
    columns = layer_images.c
    center = func.ST_GeogFromText(geography(item.point))
    distance_m = func.ST_Distance(columns.geog, center)
    nearest = (
        select(*(columns[name] for name in (*_REFERENCE_COLUMNS, "collection_id")))
        .add_columns(distance_m.label("distance_m"))
        .ext(distinct_on(columns.collection_id))
        .where(
            func.ST_DWithin(columns.geog, center, RELATED_RADIUS_M),
            columns.collection_id != item.collection_id,
            is_picture(columns),
        )
        .order_by(columns.collection_id, distance_m, columns.id)
        .subquery()
    )
    rows = connection.execute(
        select(nearest).order_by(nearest.c.distance_m, nearest.c.id).limit(MAX_RELATED)
    )
    return [_to_reference(row, row.collection_id) for row in rows]


def _collection_columns(columns: _Columns) -> list[ColumnElement[Any]]:
    # Longitudes from 0 to 360 give the narrower box of a collection across the antimeridian.
    eastern_lon = case((columns.lon < 0, columns.lon + 360.0), else_=columns.lon)
    return [
        columns.collection_id,
        func.min(columns.source).label("source"),
        func.min(columns.source_kind).label("source_kind"),
        func.min(func.nullif(columns.sequence, "")).label("sequence"),
        _count_items(columns).label("num_items"),
        func.min(columns.lon).label("west"),
        func.max(columns.lon).label("east"),
        func.min(eastern_lon).label("eastern_west"),
        func.max(eastern_lon).label("eastern_east"),
        func.min(columns.lat).label("south"),
        func.max(columns.lat).label("north"),
        func.min(columns.captured_at).label("first_captured_at"),
        func.max(columns.captured_at).label("last_captured_at"),
        func.array_agg(columns.license.distinct()).label("licenses"),
        func.array_agg(columns.attribution.distinct()).label("attributions"),
        func.min(columns.created_at).label("created_at"),
        func.max(columns.updated_at).label("updated_at"),
    ]


def _count_items(columns: _Columns) -> ColumnElement[int]:
    """Number of items of a group of images: the faces of a panorama share one file.

    Faster than `is_picture`, which looks up the faces of each image.
    """
    num_panoramas = func.count(columns.external_id.distinct()).filter(columns.is_panorama)
    return func.count().filter(~columns.is_panorama) + num_panoramas


def _to_collection(row: Any) -> ImageCollection:
    west, east = row.west, row.east
    if row.eastern_east - row.eastern_west < east - west:
        west, east = ((lon + 180.0) % 360.0 - 180.0 for lon in (row.eastern_west, row.eastern_east))
    return ImageCollection(
        id=row.collection_id,
        source=row.source,
        source_kind=row.source_kind,
        sequence=row.sequence,
        num_items=row.num_items,
        box=Box(west=west, south=row.south, east=east, north=row.north),
        first_captured_at=row.first_captured_at,
        last_captured_at=row.last_captured_at,
        licenses=tuple(license for license in row.licenses if license),
        attributions=tuple(attribution for attribution in row.attributions if attribution),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _order_columns(columns: _Columns) -> list[ColumnElement[Any]]:
    """Order of `pictures.capture_order`, as the index has it."""
    time = func.coalesce(columns.captured_at, _LAST_TIME)
    return [time, columns.external_id.collate("C"), columns.id]


def _select_items(columns: _Columns) -> Select[Any]:
    return select(*(columns[name] for name in _ITEM_COLUMNS)).where(is_picture(columns))


def _order_by_id(columns: _Columns) -> list[ColumnElement[Any]]:
    return [columns.id]


def _order_key(columns: _Columns) -> Any:
    return tuple_(*_order_columns(columns))


def _read_items(
    connection: Connection,
    statement: Select[Any],
    list_order: Callable[[_Columns], list[ColumnElement[Any]]],
    limit: int,
) -> list[CollectionItem]:
    """First rows of a statement in an order, each with its neighbors in its collection."""
    page = statement.order_by(*list_order(layer_images.c)).limit(limit).subquery("page")
    links = []
    for name, is_next in (("previous", False), ("next", True)):
        other = layer_images.alias(f"other_{name}")
        order = _order_columns(other.c)
        key, start = _order_key(other.c), _order_key(page.c)
        links.append(
            select(*(other.c[column].label(f"{name}_{column}") for column in _REFERENCE_COLUMNS))
            .where(
                and_(
                    other.c.collection_id == page.c.collection_id,
                    key > start if is_next else key < start,
                    is_picture(other.c),
                )
            )
            .order_by(*(order if is_next else [column.desc() for column in order]))
            .limit(1)
            .lateral(name)
        )
    joined = page.outerjoin(links[0], true()).outerjoin(links[1], true())
    columns = (*page.c, *links[0].c, *links[1].c)
    rows = connection.execute(select(*columns).select_from(joined).order_by(*list_order(page.c)))
    return [_to_item(row) for row in rows]


def _to_item(row: Any) -> CollectionItem:
    values = row._mapping
    references = {}
    for name in ("previous", "next"):
        fields = {column: values[f"{name}_{column}"] for column in _REFERENCE_COLUMNS}
        references[name] = (
            None
            if fields["id"] is None
            else ItemReference(
                id=fields["id"],
                collection_id=row.collection_id,
                point=Point(lat=fields["lat"], lon=fields["lon"]),
                captured_at=fields["captured_at"],
            )
        )
    return CollectionItem(
        id=row.id,
        collection_id=row.collection_id,
        is_panorama=row.is_panorama,
        external_id=row.external_id,
        file_name=row.file_name,
        source=row.source,
        source_kind=row.source_kind,
        cubemap_face=row.cubemap_face,
        point=Point(lat=row.lat, lon=row.lon),
        captured_at=row.captured_at,
        heading_deg=row.heading_deg,
        field_of_view_deg=row.field_of_view_deg,
        camera=row.camera,
        creator=row.creator,
        license=row.license,
        attribution=row.attribution,
        width_px=row.width_px,
        height_px=row.height_px,
        attributes=row.attributes,
        created_at=row.created_at,
        updated_at=row.updated_at,
        previous_item=references["previous"],
        next_item=references["next"],
    )


def _to_reference(row: Any, collection_id: UUID) -> ItemReference:
    return ItemReference(
        id=row.id,
        collection_id=collection_id,
        point=Point(lat=row.lat, lon=row.lon),
        captured_at=row.captured_at,
    )


def count_faces(connection: Connection, image_id: UUID) -> int:
    """Number of visible faces that come from the same file as a face, including itself."""
    face, other = layer_images.alias("face"), layer_images.alias("other")
    statement = select(func.count()).where(
        face.c.id == image_id,
        other.c.source_id == face.c.source_id,
        other.c.external_id == face.c.external_id,
        other.c.cubemap_face.is_not(None),
    )
    return int(connection.execute(statement).scalar_one())
