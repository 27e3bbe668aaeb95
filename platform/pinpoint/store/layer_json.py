"""Layers of an image's fields as the JSON that the column `field_layers` keeps."""

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
    "altitude_m",
    "creator",
    "sequence",
    "licence",
    "panorama_id",
)
"""Columns of `images` with the name of their field; a position has several columns."""
_LAYER_OF_SOURCE: Final[Mapping[str, LayerName]] = {
    "manual": "manual",
    "manifest": "manifest",
    "caller": "manifest",
    "gpx": "track",
}


def layers_to_json(layers: Layers) -> dict[str, Any]:
    """Layers as the column `field_layers` keeps them: only what is given."""
    return {name: _layer_to_json(layers[name]) for name in LAYERS if name in layers}


def layers_from_json(values: Mapping[str, Any]) -> dict[LayerName, Layer]:
    """The layers that `layers_to_json` wrote."""
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
    known = {name: value for name, value in values.items() if name in LAYER_KEYS}
    if "position" in known:
        known["position"] = Point(*known["position"])
    if "captured_at" in known:
        known["captured_at"] = datetime.fromisoformat(known["captured_at"]).astimezone(UTC)
    if "warnings" in known:
        known["warnings"] = tuple(known["warnings"])
    return Layer(**known)


def origins_of_row(row: Any) -> dict[str, str]:
    """Field → origin of its value, as `merge_layers` has them, without reading the values.

    An answer shows dozens of rows, so this is read from the JSON as it is.
    """
    if not row.field_layers:
        return {
            str(name): origin for name, origin in merge_layers(layers_of_row(row)).sources.items()
        }
    origins: dict[str, str] = {}
    for layer in reversed(LAYERS):
        given = row.field_layers.get(layer)
        if given is None:
            continue
        where, when = given.get("position_source"), given.get("time_source")
        for name in FIELDS:
            if name in given:
                origins[name] = name_origin(layer, name, where, when)
    return origins


def layers_of_row(row: Any) -> dict[LayerName, Layer]:
    """Layers of a stored row; of one that was written before layers were kept, its columns.

    Args:
        row: Columns of `images`, and `lat` and `lon` of its position.
    """
    if row.field_layers:
        return layers_from_json(row.field_layers)
    # Before layers were kept, a position set by a person was the field `geog`.
    by_hand = {"position", "geog"} & set(row.manual_fields)
    position = "manual" if by_hand else _LAYER_OF_SOURCE.get(row.position_source, "file")
    values: dict[LayerName, dict[str, Any]] = {"file": {}}
    values.setdefault(position, {}).update(
        position=Point(row.lat, row.lon), position_source=row.position_source
    )
    for name in FIELD_COLUMNS:
        layer: LayerName = "manual" if name in row.manual_fields else "file"
        values.setdefault(layer, {})[name] = getattr(row, name)
    return {name: Layer(**given) for name, given in values.items()}
