"""Manual corrections: the layer `manual` of one image, and the columns derived from it."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, case, func, select, update

from pinpoint.errors import BadRequestError, NotFoundError
from pinpoint.records import (
    ImageUpdate,
    Layer,
    LayerName,
    clear_fields,
    merge_layers,
    overlay_layer,
)
from pinpoint.store.catalog.field_layers import clean_layer, columns_of
from pinpoint.store.catalog.layer_json import layers_of_row
from pinpoint.store.db.tables import images


def correct_image(
    connection: Connection, image_id: UUID, mine: ColumnElement[bool], fix: ImageUpdate
) -> None:
    """Set and clear manual values of an image. Its version increases and it becomes pending.

    Args:
        connection: Connection of the unit of work.
        image_id: Id of the image.
        mine: Condition on the rows that may be changed.
        fix: Values to set and fields to clear.

    Raises:
        NotFoundError: No such image exists, or it is deleted.
        BadRequestError: Nothing would change, or no position would remain.
    """
    row = connection.execute(
        select(images, func.ST_X(images.c.geom).label("lon"), func.ST_Y(images.c.geom).label("lat"))
        .where(mine, images.c.id == image_id, images.c.state != "deleted")
        .with_for_update(of=images)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"no image {image_id}")
    layers = correct_layers(layers_of_row(row), fix)
    merged = merge_layers(layers)
    if merged.position is None:
        raise BadRequestError(
            "the manual position cannot be cleared: neither a manifest nor the file has another "
            "one; give a new position, or delete the image",
            reason="no_position",
        )
    values = columns_of(layers, merged.position, merged)
    values["panorama_id"] = merged.panorama_id or row.panorama_id
    connection.execute(
        update(images)
        .where(images.c.id == image_id)
        .values(
            **values,
            state=case((images.c.state == "indexed", "pending"), else_=images.c.state),
            version=images.c.version + 1,
            updated_at=func.now(),
        )
    )


def correct_layers(stored: dict[LayerName, Layer], fix: ImageUpdate) -> dict[LayerName, Layer]:
    """Apply a correction to a row's layers.

    Raises:
        BadRequestError: No value is set, and no field to clear has a manual value.
    """
    manual = stored.get("manual", Layer())
    new_values = clean_layer(_read_fix(fix))
    cleared = clear_fields(manual, fix.clear)
    if new_values.empty and cleared == manual:
        if fix.clear:
            names = ", ".join(sorted(fix.clear))
            raise BadRequestError(f"nothing to clear: {names} was not set manually")
        raise BadRequestError("nothing to fix: give at least one field")
    changed: dict[LayerName, Layer] = {**stored, "manual": overlay_layer(cleared, new_values)}
    return {name: layer for name, layer in changed.items() if not layer.empty}


def _read_fix(fix: ImageUpdate) -> Layer:
    values: dict[str, Any] = {
        field.name: getattr(fix, field.name)
        for field in dataclasses.fields(fix)
        if field.name not in ("point", "clear")
    }
    return Layer(position=fix.point, **values)
