"""Columns of `images` that are derived from the layers of its fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, func, select

from pinpoint.geo.cells import cells_of
from pinpoint.records import (
    ClaimedItem,
    Layer,
    LayerName,
    Layers,
    MergedFields,
    MetadataOverride,
    Point,
)
from pinpoint.store.catalog.layer_json import FIELD_COLUMNS, layers_of_row, layers_to_json
from pinpoint.store.db.rows import geography, to_jsonb
from pinpoint.store.db.tables import batch_items, batches, images

PROVENANCE: Final = ("position_source", "time_source", "warnings", "manual_fields", "field_layers")
"""Columns with the origin of values; the index does not hold them."""
_TEXT_FIELDS: Final = ("creator", "sequence", "license", "panorama_id")


def clean_layer(layer: Layer) -> Layer:
    """Clean the texts of a layer for PostgreSQL: some cameras write NUL characters."""
    texts = {name: clean_text(getattr(layer, name)) for name in _TEXT_FIELDS}
    warnings = tuple(text for warning in layer.warnings if (text := clean_text(warning)))
    return dataclasses.replace(
        layer,
        **texts,  # type: ignore[arg-type]
        warnings=warnings,
        attributes=to_jsonb(layer.attributes),
    )


def clean_text(value: str | None) -> str | None:
    """Text without NUL characters and outer blanks; None if nothing remains."""
    return value.replace("\x00", "").strip() or None if value else None


def columns_of(layers: Layers, point: Point, merged: MergedFields) -> dict[str, Any]:
    """Compute the columns of `images` that depend on a row's layers.

    Args:
        layers: The row's layers.
        point: The merged position; every row has one.
        merged: `merge_layers(layers)`.
    """
    cells = cells_of(point)
    manual = layers.get("manual", Layer())
    return {
        "geog": geography(point),
        "cell_r5": cells.r5,
        "cell_r7": cells.r7,
        "cell_r9": cells.r9,
        **{name: getattr(merged, name) for name in FIELD_COLUMNS},
        "position_source": merged.position_source,
        "time_source": merged.time_source,
        "warnings": list(merged.warnings),
        "manual_fields": sorted(name for name, _ in manual.named_values()),
        "field_layers": layers_to_json(layers),
    }


def with_stored_layers(connection: Connection, items: Sequence[ClaimedItem]) -> list[ClaimedItem]:
    """Add to each item the layers that the catalog already holds for its file.

    A file without a position can then be read if a person or a manifest gave one. The row is
    checked again when the reading is stored; this result is only for the reader.
    """
    if not items:
        return []
    rows = connection.execute(
        select(
            batch_items.c.id.label("item_id"),
            images,
            func.ST_X(images.c.geom).label("lon"),
            func.ST_Y(images.c.geom).label("lat"),
        )
        .join(batches, batches.c.id == batch_items.c.batch_id)
        .join(
            images,
            (images.c.source_id == batches.c.source_id)
            & (images.c.external_id == batch_items.c.external_id)
            & (images.c.state != "deleted"),
        )
        .where(batch_items.c.id.in_([item.id for item in items]))
        # For the faces of a panorama, which share one file, the first face by id counts below.
        .order_by(images.c.id.desc())
    )
    stored: dict[UUID, Layers] = {row.item_id: _stored_layers(row) for row in rows}
    return [
        dataclasses.replace(
            item,
            metadata_override=dataclasses.replace(
                item.metadata_override or MetadataOverride(), stored_layers=stored[item.id]
            ),
        )
        if item.id in stored
        else item
        for item in items
    ]


def _stored_layers(row: Any) -> dict[LayerName, Layer]:
    """Layers that a new reading does not replace; for a face without its own heading."""
    layers = layers_of_row(row)
    layers.pop("file", None)
    if row.cubemap_face is None:
        return layers
    return {name: dataclasses.replace(layer, heading_deg=None) for name, layer in layers.items()}
