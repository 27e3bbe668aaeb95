"""Manual corrections: the layer `manual` of one image, and the columns derived from it."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, case, func, select, update

from pinpoint.errors import InvalidRequestError, NotFoundError, PreconditionError
from pinpoint.records import (
    ImageUpdate,
    Layer,
    LayerName,
    Layers,
    clear_fields,
    merge_layers,
    overlay_layer,
)
from pinpoint.store.catalog.field_layers import clean_layer, columns_of
from pinpoint.store.catalog.layer_json import layers_of_row
from pinpoint.store.db.tables import images


def correct_image(
    connection: Connection,
    image_id: UUID,
    is_own: ColumnElement[bool],
    image_update: ImageUpdate,
    version: int | None = None,
) -> None:
    """Set and clear manual values of an image. Its version increases and it becomes pending.

    Args:
        connection: Connection of the unit of work.
        image_id: Id of the image.
        is_own: Condition on the rows that may be changed.
        image_update: Values to set and fields to clear.
        version: Version that the caller read; None accepts every version.

    Raises:
        PreconditionError: The image has another version.
        NotFoundError: No such image exists, or it is deleted.
        InvalidRequestError: Nothing would change, or no position would remain.
    """
    row = connection.execute(
        select(images, func.ST_X(images.c.geom).label("lon"), func.ST_Y(images.c.geom).label("lat"))
        .where(is_own, images.c.id == image_id, images.c.state != "deleted")
        .with_for_update(of=images)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"no image {image_id}")
    if version is not None and row.version != version:
        raise PreconditionError(f"image {image_id} was changed concurrently; read it again")
    layers = correct_layers(layers_of_row(row), image_update)
    check_layers(layers)
    connection.execute(
        update(images)
        .where(images.c.id == image_id)
        .values(**compute_columns(layers, row.panorama_id), **mark_changed())
    )


def check_layers(layers: Layers) -> None:
    """Raise `InvalidRequestError` (`no_position`) if no layer has a position."""
    if merge_layers(layers).position is None:
        raise InvalidRequestError(
            "the manual position cannot be cleared: neither a manifest nor the file has another "
            "one; give a new position, or delete the image",
            reason="no_position",
        )


def compute_columns(layers: Layers, panorama_id: str | None) -> dict[str, Any]:
    """Columns of `images` that are derived from the layers of an image.

    Args:
        layers: They have a position (`check_layers`).
        panorama_id: Of the row, for images whose layers have none.
    """
    merged = merge_layers(layers)
    if merged.position is None:
        raise ValueError("an image needs a position")
    values = columns_of(layers, merged.position, merged)
    values["panorama_id"] = merged.panorama_id or panorama_id
    return values


def mark_changed() -> dict[str, Any]:
    """Columns that each correction sets: the version increases, and the image becomes pending."""
    return {
        "state": case((images.c.state == "indexed", "pending"), else_=images.c.state),
        "version": images.c.version + 1,
        "updated_at": func.now(),
    }


def correct_layers(
    stored: dict[LayerName, Layer], image_update: ImageUpdate
) -> dict[LayerName, Layer]:
    """Apply a correction to a row's layers.

    Raises:
        InvalidRequestError: No value is set, and no field to clear has a manual value.
    """
    manual = stored.get("manual", Layer())
    if _read_update(image_update).empty and clear_fields(manual, image_update.clear) == manual:
        if image_update.clear:
            names = ", ".join(sorted(image_update.clear))
            raise InvalidRequestError(f"nothing to clear: {names} was not set manually")
        raise InvalidRequestError("nothing to update: give at least one field")
    return apply_update(stored, image_update)


def apply_update(stored: Layers, image_update: ImageUpdate) -> dict[LayerName, Layer]:
    """The layers after a correction, equal to the stored ones if it changes nothing."""
    cleared = clear_fields(stored.get("manual", Layer()), image_update.clear)
    new_values = clean_layer(_read_update(image_update))
    changed: dict[LayerName, Layer] = {**stored, "manual": overlay_layer(cleared, new_values)}
    return {name: layer for name, layer in changed.items() if not layer.empty}


def _read_update(image_update: ImageUpdate) -> Layer:
    values: dict[str, Any] = {
        field.name: getattr(image_update, field.name)
        for field in dataclasses.fields(image_update)
        if field.name not in ("point", "clear")
    }
    return Layer(position=image_update.point, **values)
