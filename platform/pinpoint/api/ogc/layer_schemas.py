"""JSON Schemas of a layer: queryables (OGC 19-079r2) and returnables (OGC 23-058r1, Part 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pinpoint.records import FeatureLayer, LayerProperty, PropertyType

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_TYPES: Final[Mapping[PropertyType, Mapping[str, str]]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "time": {"type": "string", "format": "date-time"},
    "uuid": {"type": "string", "format": "uuid"},
    "json": {"type": "object"},
}
GEOMETRY: Final = "geometry"


def describe_queryables(layer: FeatureLayer, url: str) -> dict[str, Any]:
    """Schema of the properties that filters may contain."""
    properties = {
        "id": _describe_id(layer),
        GEOMETRY: _describe_geometry(layer),
        **{
            entry.name: describe_property(layer, entry)
            for entry in layer.properties
            if entry.is_queryable
        },
    }
    return _make_document(layer, url, properties)


def describe_returnables(layer: FeatureLayer, url: str) -> dict[str, Any]:
    """Schema of the properties of a feature; clients read the types of their fields from it."""
    properties = {
        "id": _describe_id(layer),
        GEOMETRY: _describe_geometry(layer),
        **{entry.name: describe_property(layer, entry) for entry in layer.properties},
    }
    for sequence, document in enumerate(properties.values(), 1):
        document["x-ogc-propertySeq"] = sequence
        document["readOnly"] = True
    return _make_document(layer, url, properties)


def describe_feature(layer: FeatureLayer, url: str) -> dict[str, Any]:
    """Schema of a GeoJSON feature, which GDAL reads the types of its fields from.

    GDAL does not read the flat properties of Part 5, and needs one name as type of each property.
    """
    properties = {
        "type": {"type": "string", "enum": ["Feature"]},
        "id": _describe_id(layer),
        GEOMETRY: {"type": "object"},
        "properties": {
            "type": "object",
            "properties": {
                entry.name: describe_property(layer, entry) for entry in layer.properties
            },
        },
    }
    return _make_document(layer, url, properties)


def describe_property(layer: FeatureLayer, entry: LayerProperty) -> dict[str, Any]:
    """JSON Schema of one property."""
    document: dict[str, Any] = {
        "title": entry.name,
        "description": entry.description,
        **_TYPES[entry.type],
    }
    if entry.values:
        document["enum"] = list(entry.values)
    if entry.unit is not None:
        document["x-ogc-unit"] = entry.unit
    role = _find_time_role(layer, entry.name)
    if role is not None:
        document["x-ogc-role"] = role
    return document


def _find_time_role(layer: FeatureLayer, name: str) -> str | None:
    if layer.start_property == layer.end_property:
        return "primary-instant" if name == layer.start_property else None
    if name == layer.start_property:
        return "primary-interval-start"
    return "primary-interval-end" if name == layer.end_property else None


def _describe_id(layer: FeatureLayer) -> dict[str, Any]:
    return {"title": "id", **_TYPES[layer.id_type], "x-ogc-role": "id"}


def _describe_geometry(layer: FeatureLayer) -> dict[str, Any]:
    return {
        "title": GEOMETRY,
        "format": f"geometry-{layer.geometry_type.lower()}",
        "x-ogc-role": "primary-geometry",
    }


def _make_document(
    layer: FeatureLayer, url: str, properties: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "$schema": _DIALECT,
        "$id": url,
        "title": layer.title,
        "description": layer.description,
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
    }
