"""STAC collections: the sequences of a gallery."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pinpoint.api.panoramax.licenses import OTHER, find_spdx_id, list_license_links
from pinpoint.api.panoramax.links import JPEG, Links, make_link
from pinpoint.api.panoramax.stac_items import STAC_VERSION, format_stac_time
from pinpoint.api.v1.media_types import GEOJSON, JSON
from pinpoint.records import ImageCollection

STATS_EXTENSION: Final = "https://stac-extensions.github.io/stats/v0.2.0/schema.json"


def make_stac_collection(collection: ImageCollection, links: Links) -> dict[str, Any]:
    """A STAC collection."""
    box = collection.box
    href = links.collection(collection.id)
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [STATS_EXTENSION],
        "id": str(collection.id),
        "title": _describe_title(collection),
        "description": f"{collection.num_items} images of the source {collection.source}.",
        "keywords": ["images", collection.source_kind],
        "license": _choose_license(collection.licenses),
        "license_names": list(collection.licenses),
        "attribution": "; ".join(collection.attributions) or None,
        "providers": [
            {"name": attribution, "roles": ["licensor", "producer"]}
            for attribution in collection.attributions
        ],
        "extent": {
            "spatial": {"bbox": [[box.west, box.south, box.east, box.north]]},
            "temporal": {"interval": [_make_interval(collection)]},
        },
        "created": format_stac_time(collection.created_at),
        "updated": format_stac_time(collection.updated_at),
        "stats:items": {"count": collection.num_items},
        "links": [
            make_link("self", href, JSON),
            links.root(),
            make_link("parent", links.api(), JSON),
            make_link("items", f"{href}/items", GEOJSON),
            make_link("preview", f"{href}/thumb.jpg", JPEG),
            *(link for license in collection.licenses for link in list_license_links(license)),
        ],
    }


def make_collection_page(
    collections: Sequence[ImageCollection], links: Links, page_links: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """A page of collections."""
    return {
        "collections": [make_stac_collection(collection, links) for collection in collections],
        "links": [links.root(), *page_links],
    }


def _describe_title(collection: ImageCollection) -> str:
    if collection.sequence is not None:
        return collection.sequence
    if collection.first_captured_at is None:
        return f"{collection.source}, without a time"
    return f"{collection.source}, {collection.first_captured_at:%Y-%m-%d}"


def _make_interval(collection: ImageCollection) -> list[str | None]:
    """First and last capture; STAC needs one end, so the first upload replaces unknown times."""
    if collection.first_captured_at is None or collection.last_captured_at is None:
        return [format_stac_time(collection.created_at), None]
    return [
        format_stac_time(collection.first_captured_at),
        format_stac_time(collection.last_captured_at),
    ]


def _choose_license(licenses: Sequence[str]) -> str:
    identifiers = {find_spdx_id(license) for license in licenses}
    return identifiers.pop() if len(identifiers) == 1 else OTHER
