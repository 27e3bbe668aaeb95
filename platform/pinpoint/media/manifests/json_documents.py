"""JSON manifests: GeoJSON, STAC items, and descriptions of mapillary_tools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import BadManifestError, TooLargeError
from pinpoint.media.manifests import mapillary_descriptions, stac_items
from pinpoint.media.manifests.geojson_features import open_collection
from pinpoint.media.manifests.manifest_rows import ManifestTable
from pinpoint.settings import MediaSettings

MAX_JSON_BYTES: Final = 64_000_000
"""Maximum size, because a JSON document is loaded into memory."""
_MAX_SNIFFED: Final = 10


def open_document(
    path: Path, settings: MediaSettings, requested: Mapping[str, str], *, has_files: bool = False
) -> ManifestTable:
    """Open a JSON document as a manifest.

    Args:
        path: A GeoJSON FeatureCollection, STAC items, or descriptions of mapillary_tools.
        settings: `max_manifest_rows` applies.
        requested: Name → column, as given by the user.
        has_files: Rows need not name files.

    Raises:
        BadManifestError: It is none of these, or see `columns.resolve_columns`.
        TooLargeError: Over `MAX_JSON_BYTES`, or more rows than allowed.
    """
    document = load_document(path)
    if is_mapillary(document):
        return mapillary_descriptions.open_descriptions(path, settings, document)
    features = document.get("features") if isinstance(document, dict) else None
    if not isinstance(features, list) or document.get("type") != "FeatureCollection":
        raise BadManifestError(f"{path.name} is not a GeoJSON FeatureCollection")
    if stac_items.has_items(features):
        return stac_items.open_items(path, settings, features)
    return open_collection(path, settings, document, requested, has_files=has_files)


def load_document(path: Path) -> Any:
    """Parse a JSON file of limited size.

    Raises:
        BadManifestError: It is not JSON.
        TooLargeError: Over `MAX_JSON_BYTES`.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise TooLargeError(
            f"{path.name} is over {MAX_JSON_BYTES} bytes; give a CSV, GeoJSON lines (.geojsonl), "
            "FlatGeobuf or GeoParquet instead"
        )
    try:
        return json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadManifestError(f"{path.name} is not JSON ({where})") from error
    except (ValueError, RecursionError) as error:
        why = "it is not UTF-8, too deep, or has a number of thousands of digits"
        raise BadManifestError(f"{path.name} is not JSON that can be read: {why}") from error


def is_mapillary(document: object) -> bool:
    """Whether a document is a list of descriptions of mapillary_tools."""
    return isinstance(document, list) and any(
        mapillary_descriptions.is_description(entry) for entry in document[:_MAX_SNIFFED]
    )
