"""The OpenAPI document of `/ogc` (OpenAPI 3.0.3), with one literal path for each collection.

QGIS reads the size of its pages from the component `limit`, and the filters that it may send from
the parameters at `/collections/{name}/items`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pinpoint import __version__
from pinpoint.api.ogc import item_parameters
from pinpoint.api.ogc.layer_collections import COLLECTIONS, LayerCollection
from pinpoint.api.ogc.layer_schemas import describe_property
from pinpoint.api.problems import MEDIA_TYPE, Problem
from pinpoint.records import (
    COVERAGE_RESOLUTIONS,
    DEFAULT_RESOLUTION,
    SOURCE_KINDS,
    FeatureLayer,
)

_JSON: Final = "application/json"
_GEOJSON: Final = "application/geo+json"
_SCHEMA: Final = "application/schema+json"
_TILE: Final = "application/vnd.mapbox-vector-tile"

_CRS84: Final = {"type": "string", "enum": [item_parameters.CRS84]}
_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "limit": {
        "name": "limit",
        "description": "Maximum number of features of a page.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": item_parameters.MAX_PAGE_FEATURES,
            "default": item_parameters.DEFAULT_PAGE_FEATURES,
        },
    },
    "bbox": {
        "name": "bbox",
        "description": "Minimum longitude, minimum latitude, maximum longitude, maximum latitude "
        "(with heights: six numbers). A minimum longitude above the maximum crosses the "
        "antimeridian.",
        "schema": {
            "type": "array",
            "oneOf": [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}],
            "items": {"type": "number"},
        },
    },
    "datetime": {
        "name": "datetime",
        "description": "A time, or `start/end` with both ends included and `..` as an open end. "
        "Features without a time do not match.",
        "schema": {"type": "string"},
    },
    "ids": {
        "name": "ids",
        "description": "Ids of features.",
        "schema": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": item_parameters.MAX_ITEM_IDS,
        },
    },
    "properties": {
        "name": "properties",
        "description": "Properties to return; license and attribution are always returned.",
        "schema": {"type": "array", "items": {"type": "string"}},
    },
    "filter": {
        "name": "filter",
        "description": "A CQL2 expression over the queryables; functions are not supported.",
        "schema": {"type": "string"},
    },
    "filter-lang": {
        "name": "filter-lang",
        "description": "Encoding of `filter`.",
        "schema": {"type": "string", "enum": ["cql2-text", "cql2-json"], "default": "cql2-text"},
    },
    "filter-crs": {"name": "filter-crs", "description": "CRS of `filter`.", "schema": _CRS84},
    "bbox-crs": {"name": "bbox-crs", "description": "CRS of `bbox`.", "schema": _CRS84},
    "crs": {"name": "crs", "description": "CRS of the geometries.", "schema": _CRS84},
    "cursor": {
        "name": "cursor",
        "description": "Position of a page; part of the `next` link of the page before it.",
        "schema": {"type": "string"},
    },
    "resolution": {
        "name": "resolution",
        "description": "H3 resolution of the cells.",
        "schema": {
            "type": "integer",
            "enum": list(COVERAGE_RESOLUTIONS),
            "default": DEFAULT_RESOLUTION,
        },
    },
    "source": {
        "name": "source",
        "description": "Sources of the images, by name or id; repeatable.",
        "explode": True,
        "schema": {"type": "array", "items": {"type": "string"}},
    },
    "source_kind": {
        "name": "source_kind",
        "description": "Source kinds of the images; repeatable.",
        "explode": True,
        "schema": {"type": "array", "items": {"type": "string", "enum": list(SOURCE_KINDS)}},
    },
    "creator": {
        "name": "creator",
        "description": "Creators of the images; repeatable.",
        "explode": True,
        "schema": {"type": "array", "items": {"type": "string"}},
    },
    "polygon": {
        "name": "polygon",
        "description": "Area of the images: GeoJSON Polygon, MultiPolygon, Feature or "
        "FeatureCollection with polygons.",
        "schema": {"type": "string"},
    },
    "f": {
        "name": "f",
        "description": "Encoding of the response.",
        "schema": {"type": "string", "enum": ["json", "geojson"], "default": "json"},
    },
}
_TILE_FILTER: Final = ("source", "source_kind", "creator", "datetime", "polygon")
_PATH_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "featureId": {"description": "Id of a feature.", "schema": {"type": "string"}},
    "tileMatrixSetId": {
        "description": "Tile matrix set.",
        "schema": {"type": "string", "enum": ["WebMercatorQuad"]},
    },
    "z": {"description": "Zoom level.", "schema": {"type": "integer", "minimum": 0}},
    "x": {"description": "Column of the tile.", "schema": {"type": "integer", "minimum": 0}},
    "y": {"description": "Row of the tile.", "schema": {"type": "integer", "minimum": 0}},
}


def build_openapi_document(url: str) -> dict[str, Any]:
    """Build the document.

    Args:
        url: Address of the landing page.
    """
    paths = _describe_common_paths()
    for collection in COLLECTIONS.values():
        paths.update(_describe_collection_paths(collection))
    parameters = {
        name: {"in": "query", "required": False, "style": "form", "explode": False, **document}
        for name, document in _PARAMETERS.items()
    }
    for name, document in _PATH_PARAMETERS.items():
        parameters[name] = {"name": name, "in": "path", "required": True, **document}
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = _to_openapi_3_0({**schema.pop("$defs", {}), "Problem": schema})
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "Pinpoint layers",
            "version": __version__,
            "description": "Images of the gallery as OGC API - Features and Tiles. Each caller "
            "sees the rows of its own organization.",
        },
        "servers": [{"url": url}],
        "security": [{"basic": []}, {"bearer": []}, {"header": []}],
        "tags": [{"name": "Capabilities"}, {"name": "Data"}, {"name": "Tiles"}],
        "paths": paths,
        "components": {
            "parameters": parameters,
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "Problem details (RFC 9457).",
                    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Any user name; the API key as password.",
                },
                "bearer": {"type": "http", "scheme": "bearer", "description": "The API key."},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _describe_common_paths() -> dict[str, Any]:
    return {
        "/": _describe_path("getLandingPage", "Landing page", _JSON, "Capabilities"),
        "/api": _describe_path(
            "getApi",
            "This document",
            "application/vnd.oai.openapi+json;version=3.0",
            "Capabilities",
        ),
        "/conformance": _describe_path(
            "getConformance", "Conformance classes", _JSON, "Capabilities"
        ),
        "/collections": _describe_path("getCollections", "Collections", _JSON, "Capabilities"),
        "/tileMatrixSets": _describe_path("getTileMatrixSets", "Tile matrix sets", _JSON, "Tiles"),
        "/tileMatrixSets/{tileMatrixSetId}": _describe_path(
            "getTileMatrixSet", "A tile matrix set", _JSON, "Tiles", ["tileMatrixSetId"]
        ),
    }


def _describe_collection_paths(collection: LayerCollection) -> dict[str, Any]:
    layer = collection.layer
    path, name = f"/collections/{layer.name}", layer.name
    items = _describe_path(
        f"{name}.getItems",
        f"{layer.title}: features",
        _GEOJSON,
        "Data",
        [
            "limit",
            "bbox",
            "bbox-crs",
            "crs",
            "datetime",
            "ids",
            "properties",
            "filter",
            "filter-lang",
            "filter-crs",
            "cursor",
            *(["resolution"] if layer.is_gridded else []),
        ],
    )
    items["get"]["parameters"] += _describe_property_parameters(layer)
    paths = {
        path: _describe_path(f"{name}.getCollection", layer.title, _JSON, "Capabilities"),
        f"{path}/queryables": _describe_path(
            f"{name}.getQueryables", f"{layer.title}: queryables", _SCHEMA, "Capabilities"
        ),
        f"{path}/schema": _describe_path(
            f"{name}.getSchema", f"{layer.title}: schema", _SCHEMA, "Capabilities"
        ),
        f"{path}/schema/feature": _describe_path(
            f"{name}.getFeatureSchema",
            f"{layer.title}: schema of a GeoJSON feature",
            _SCHEMA,
            "Capabilities",
        ),
        f"{path}/items": items,
        f"{path}/items/{{featureId}}": _describe_path(
            f"{name}.getItem", f"{layer.title}: one feature", _GEOJSON, "Data", ["featureId", "crs"]
        ),
    }
    if collection.has_tiles:
        paths |= _describe_tile_paths(collection)
    return paths


def _describe_property_parameters(layer: FeatureLayer) -> list[dict[str, Any]]:
    """Parameters of equality with a property."""
    return [
        {
            "name": entry.name,
            "in": "query",
            "required": False,
            "style": "form",
            "explode": False,
            "description": f"Features with this value. {entry.description}",
            "schema": {
                key: value
                for key, value in describe_property(layer, entry).items()
                if key in ("type", "format", "enum")
            },
        }
        for entry in item_parameters.list_parameters(layer)
    ]


def _describe_tile_paths(collection: LayerCollection) -> dict[str, Any]:
    layer = collection.layer
    path, name = f"/collections/{layer.name}", layer.name
    tiles, matrix_set = f"{path}/tiles", f"{path}/tiles/{{tileMatrixSetId}}"
    return {
        tiles: _describe_path(f"{name}.getTileSets", f"{layer.title}: tile sets", _JSON, "Tiles"),
        matrix_set: _describe_path(
            f"{name}.getTileSet",
            f"{layer.title}: tile set",
            _JSON,
            "Tiles",
            ["tileMatrixSetId"],
        ),
        f"{matrix_set}/tilejson.json": _describe_path(
            f"{name}.getTileJson",
            f"{layer.title}: TileJSON",
            _JSON,
            "Tiles",
            ["tileMatrixSetId"],
        ),
        f"{matrix_set}/{{z}}/{{x}}/{{y}}": _describe_path(
            f"{name}.getTile",
            f"{layer.title}: vector tile",
            _TILE,
            "Tiles",
            ["tileMatrixSetId", "z", "x", "y", *_TILE_FILTER],
        ),
    }


def _describe_path(
    operation_id: str, summary: str, media_type: str, tag: str, parameters: list[str] | None = None
) -> dict[str, Any]:
    """An entry of `paths` with the operation `get`."""
    names = [*(parameters or []), "f"] if media_type != _TILE else parameters or []
    content = (
        {"schema": {"type": "string", "format": "binary"}}
        if media_type == _TILE
        else {"schema": {"type": "object"}}
    )
    problem = {"$ref": "#/components/responses/Problem"}
    return {
        "get": {
            "operationId": operation_id,
            "summary": summary,
            "tags": [tag],
            "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in names],
            "responses": {
                "200": {"description": summary, "content": {media_type: content}},
                **dict.fromkeys(("400", "401", "403", "404", "503"), problem),
            },
        }
    }


def _to_openapi_3_0(node: Any) -> Any:
    """Convert the schemas of pydantic: OpenAPI 3.0 has `nullable`, no type `null`."""
    if isinstance(node, list):
        return [_to_openapi_3_0(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    converted = {key: _to_openapi_3_0(value) for key, value in node.items() if key != "examples"}
    choices = converted.get("anyOf", [])
    if {"type": "null"} in choices:
        del converted["anyOf"]
        remaining = [choice for choice in choices if choice != {"type": "null"}]
        converted |= {"allOf": remaining, "nullable": True}
    return converted
