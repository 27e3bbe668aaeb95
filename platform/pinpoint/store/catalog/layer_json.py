"""JSON codec of the column `field_layers`: the layers of an image's fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pinpoint.records import (
    FIELDS,
    LAYER_KEYS,
    LAYERS,
    Layer,
    LayerName,
    Layers,
    Point,
    merge_layers,
    name_origin,
)

FIELD_COLUMNS: Final = (
    "captured_at",
    "heading_deg",
    "field_of_view_deg",
    "altitude_m",
    "creator",
    "sequence",
    "license",
    "panorama_id",
)
"""Columns of `images` named like their field; a position has several columns."""
_LAYER_OF_SOURCE: Final[Mapping[str, LayerName]] = {
    "manual": "manual",
    "manifest": "manifest",
    "caller": "manifest",
    "gpx": "track",
}


def layers_to_json(layers: Layers) -> dict[str, Any]:
    """Encode layers for the column `field_layers`: only fields with a value."""
    return {name: _layer_to_json(layers[name]) for name in LAYERS if name in layers}


def layers_from_json(values: Mapping[str, Any]) -> dict[LayerName, Layer]:
    """Decode layers that `layers_to_json` encoded."""
    return {name: _layer_from_json(values[name]) for name in LAYERS if name in values}


def _layer_to_json(layer: Layer) -> dict[str, Any]:
    values = {
        name: value
        for name in LAYER_KEYS
        if (value := getattr(layer, name)) is not None and value not in ((), {})
    }
    if layer.position is not None:
        values["position"] = [layer.position.lat, layer.position.lon]
    if layer.captured_at is not None:
        values["captured_at"] = layer.captured_at.astimezone(UTC).isoformat()
    if layer.warnings:
        values["warnings"] = list(layer.warnings)
    if layer.attributes:
        values["attributes"] = dict(layer.attributes)
    return values


def _layer_from_json(values: Mapping[str, Any]) -> Layer:
    fields = {name: value for name, value in values.items() if name in LAYER_KEYS}
    if "position" in fields:
        fields["position"] = Point(*fields["position"])
    if "captured_at" in fields:
        fields["captured_at"] = datetime.fromisoformat(fields["captured_at"]).astimezone(UTC)
    if "warnings" in fields:
        fields["warnings"] = tuple(fields["warnings"])
    return Layer(**fields)


def origins_of_row(row: Any) -> dict[str, str]:
    """Map fields to the origins of their values, as `merge_layers` does, without the values.

    An answer contains dozens of rows, so this is read directly from the JSON.
    """
    if not row.field_layers:
        return {
            str(name): origin for name, origin in merge_layers(layers_of_row(row)).sources.items()
        }
    origins: dict[str, str] = {}
    for layer in reversed(LAYERS):
        values = row.field_layers.get(layer)
        if values is None:
            continue
        position_source, time_source = values.get("position_source"), values.get("time_source")
        for name in FIELDS:
            if name in values:
                origins[name] = name_origin(layer, name, position_source, time_source)
    return origins


def layers_of_row(row: Any) -> dict[LayerName, Layer]:
    """Layers of a stored row; derived from its columns if the row predates layers.

    Args:
        row: Columns of `images`, and `lat` and `lon` of its position.
    """
    if row.field_layers:
        return layers_from_json(row.field_layers)
    # Before layers existed, a position set by a person was the field `geog`.
    is_manual = {"position", "geog"} & set(row.manual_fields)
    position_layer = "manual" if is_manual else _LAYER_OF_SOURCE.get(row.position_source, "file")
    values: dict[LayerName, dict[str, Any]] = {"file": {}}
    values.setdefault(position_layer, {}).update(
        position=Point(row.lat, row.lon), position_source=row.position_source
    )
    for name in FIELD_COLUMNS:
        layer: LayerName = "manual" if name in row.manual_fields else "file"
        values.setdefault(layer, {})[name] = getattr(row, name)
    return {name: Layer(**fields) for name, fields in values.items()}
