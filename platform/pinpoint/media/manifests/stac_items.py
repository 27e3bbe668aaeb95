"""STAC items as rows: answers of Panoramax and of other catalogs of street-level images.

Format: https://github.com/radiantearth/stac-spec (item), with the extensions `view` and
`perspective-imagery`, as Panoramax serves them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pinpoint.media.checks import RejectedFileError, rejected
from pinpoint.media.manifests.columns import Columns
from pinpoint.media.manifests.file_names import IMAGE_SUFFIXES
from pinpoint.media.manifests.geojson_features import read_point
from pinpoint.media.manifests.manifest_rows import ManifestTable, RawRow
from pinpoint.media.manifests.row_limits import check_row_count
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings

_NAMES: Final = {
    "id": "external_id",
    "datetime": "captured_at",
    "view:azimuth": "heading_deg",
    "pers:interior_orientation": "field_of_view_deg",
    "collection": "sequence",
    "license": "license",
    "providers": "creator",
}
_ASSETS: Final = ("hd", "data", "visual", "image", "sd")
"""Assets whose address may name the file, in order of preference."""
_INTERIOR: Final = "pers:interior_orientation"
_MAX_SNIFFED: Final = 10


def has_items(features: list[Any]) -> bool:
    """Whether the features of a collection are STAC items."""
    return any(
        isinstance(feature, dict) and isinstance(feature.get("assets"), dict)
        for feature in features[:_MAX_SNIFFED]
    )


def open_items(path: Path, settings: MediaSettings, features: list[Any]) -> ManifestTable:
    """Open the features of a collection as STAC items.

    The file of an item is one with its original name (`original_file:name`), with the last part of
    the address of an asset, or with its id.

    Raises:
        TooLargeError: More rows than allowed.
    """
    check_row_count(path, settings, len(features))
    columns = Columns(meanings=tuple(_NAMES.values()), names=tuple(_NAMES))
    return ManifestTable(columns=columns, rows=_read_items(features), layout="STAC items")


def _read_items(features: list[Any]) -> Iterator[RawRow | Rejected]:
    for number, feature in enumerate(features, start=1):
        try:
            yield _read_item(feature)
        except RejectedFileError as refused:
            item_id = feature.get("id") if isinstance(feature, dict) else None
            named = item_id[:300] if isinstance(item_id, str) else f"item {number}"
            detail = f"item {number}: {refused.detail}"
            yield rejected(named, refused.reason, detail, error_stage="find")


def _read_item(feature: object) -> RawRow:
    """Sort the members of an item.

    Raises:
        RejectedFileError: `bad_row`; it has no properties, or its geometry is not one point.
    """
    if not isinstance(feature, dict) or not isinstance(feature.get("properties"), dict):
        raise RejectedFileError("bad_row", "it is not an item with properties")
    properties: dict[str, Any] = feature["properties"]
    coordinates = read_point(feature.get("geometry"))
    interior = properties.get(_INTERIOR)
    values: dict[str, Any] = {
        "external_id": feature.get("id"),
        "captured_at": properties.get("datetime") or properties.get("start_datetime"),
        "heading_deg": properties.get("view:azimuth"),
        "field_of_view_deg": interior.get("field_of_view") if isinstance(interior, dict) else None,
        "sequence": feature.get("collection"),
        "license": properties.get("license"),
        "creator": _find_producer(feature, properties),
    }
    if coordinates is not None:
        values["longitude"], values["latitude"] = coordinates[:2]
        if len(coordinates) == 3:
            values["altitude_m"] = coordinates[2]
    attributes: dict[str, Any] = {
        name: properties[name] for name in ("pers:pitch", "pers:roll") if name in properties
    }
    return RawRow(
        values=values, attributes=attributes, file_candidates=_list_candidates(feature, properties)
    )


def _find_producer(feature: dict[str, Any], properties: dict[str, Any]) -> object:
    """Name of the producer; Panoramax has its own property and the providers of STAC."""
    if isinstance(properties.get("geovisio:producer"), str):
        return properties["geovisio:producer"]
    providers = feature.get("providers") or properties.get("providers")
    for provider in providers if isinstance(providers, list) else ():
        roles = provider.get("roles") if isinstance(provider, dict) else None
        if isinstance(roles, list) and "producer" in roles:
            return provider.get("name")
    return None


def _list_candidates(feature: dict[str, Any], properties: dict[str, Any]) -> tuple[str, ...]:
    names: list[str] = []
    original_name = properties.get("original_file:name")
    if isinstance(original_name, str):
        names.append(original_name)
    assets = feature.get("assets")
    for asset in (assets.get(name) for name in _ASSETS) if isinstance(assets, dict) else ():
        href = asset.get("href") if isinstance(asset, dict) else None
        if isinstance(href, str):
            name = _last_part(href)
            # `hd.jpg` and `sd.jpg` of Panoramax name the size, not the photo.
            if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and len(name) > 8:
                names.append(name)
    if isinstance(feature.get("id"), str):
        names.append(feature["id"])
    return tuple(dict.fromkeys(name for name in names if name))


def _last_part(href: str) -> str:
    try:
        return PurePosixPath(unquote(urlsplit(href).path)).name
    except ValueError:  # an address with a damaged host
        return ""
