"""STAC items of images and panoramas.

STAC 1.1.0 with the extensions view (1.0.0) and perspective imagery (1.0.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pinpoint.api.panoramax.licenses import find_spdx_id, list_license_links
from pinpoint.api.panoramax.links import JPEG, Links, make_link
from pinpoint.api.v1.media_types import GEOJSON, JSON
from pinpoint.media.panoramas import FACES
from pinpoint.records import (
    FACE_FIELD_OF_VIEW_DEG,
    PANORAMA_TOP_ATTRIBUTE,
    CollectionItem,
    ItemReference,
)

STAC_VERSION: Final = "1.1.0"
VIEW_EXTENSION: Final = "https://stac-extensions.github.io/view/v1.0.0/schema.json"
PERSPECTIVE_EXTENSION: Final = (
    "https://stac-extensions.github.io/perspective-imagery/v1.0.0/schema.json"
)
SD_WIDTH_PX: Final = 2_048
"""Width of the asset `sd`, as in Panoramax."""
THUMBNAIL_WIDTH_PX: Final = 500
_FULL_CIRCLE_DEG: Final = 360
_TURNS_DEG: Final = dict(FACES)


def make_item(
    item: CollectionItem, links: Links, related: Sequence[ItemReference] = ()
) -> dict[str, Any]:
    """A STAC item.

    Args:
        item: The item.
        links: Links of this answer.
        related: Items of other collections nearby.
    """
    coordinates = [item.point.lon, item.point.lat]
    providers = list_providers(item.attribution, item.creator)
    return {
        "type": "Feature",
        "stac_version": STAC_VERSION,
        "stac_extensions": [VIEW_EXTENSION, PERSPECTIVE_EXTENSION],
        "id": str(item.id),
        "collection": str(item.collection_id),
        "geometry": {"type": "Point", "coordinates": coordinates},
        "bbox": coordinates * 2,
        # The viewer reads providers here, STAC defines them as a property.
        "providers": providers,
        "properties": _make_properties(item, providers),
        "assets": _make_assets(item, links),
        "links": _list_links(item, links, related),
    }


def make_feature_collection(
    items: Sequence[CollectionItem], links: Links, page_links: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """A page of items."""
    return {
        "type": "FeatureCollection",
        "features": [make_item(item, links) for item in items],
        "links": list(page_links),
    }


def list_providers(attribution: str | None, creator: str | None) -> list[dict[str, Any]]:
    """Providers by role: the creator of an image, and the attribution of its source."""
    if attribution and creator and attribution != creator:
        return [
            {"name": creator, "roles": ["producer"]},
            {"name": attribution, "roles": ["licensor", "producer"]},
        ]
    name = attribution or creator
    return [{"name": name, "roles": ["licensor", "producer"]}] if name else []


def format_stac_time(time: datetime) -> str:
    """RFC 3339 in UTC."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _make_properties(item: CollectionItem, providers: list[dict[str, Any]]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        # STAC needs the property also if the time is unknown, and an interval then.
        "datetime": None if item.captured_at is None else format_stac_time(item.captured_at),
        "created": format_stac_time(item.created_at),
        "updated": format_stac_time(item.updated_at),
        "license": find_spdx_id(item.license),
        "providers": providers,
        "attribution": item.attribution,
        "license_name": item.license,
        "original_file:name": item.file_name,
        "pers:interior_orientation": _make_interior_orientation(item),
        # Panels of the viewer fail without these: metadata of the file are not public, and there
        # are no tags.
        "exif": {},
        "semantics": [],
        "annotations": [],
    }
    if item.captured_at is None:
        properties |= {
            "start_datetime": format_stac_time(datetime(1, 1, 1, tzinfo=UTC)),
            "end_datetime": format_stac_time(item.created_at),
        }
    else:
        properties["datetimetz"] = properties["datetime"]
    if item.heading_deg is not None:
        # The heading of a panorama is that of its front face, which may not be in the gallery.
        turn_deg = _TURNS_DEG.get(item.cubemap_face or "", 0.0) if item.is_panorama else 0.0
        properties["view:azimuth"] = (item.heading_deg - turn_deg) % 360.0
    for name in ("pitch", "roll"):
        angle = item.attributes.get(f"{name}_deg")
        if isinstance(angle, int | float) and not isinstance(angle, bool):
            properties[f"pers:{name}"] = angle
    return properties


def _make_interior_orientation(item: CollectionItem) -> dict[str, Any]:
    """Camera, field of view and size; a face has the size of its panorama, so it has none here."""
    orientation: dict[str, Any] = {}
    if item.camera:
        orientation["camera_model"] = item.camera
    if item.is_panorama:
        orientation |= {"field_of_view": _FULL_CIRCLE_DEG, **_make_visible_area(item)}
        return orientation
    if item.cubemap_face is not None:
        return orientation | {
            "field_of_view": round(item.field_of_view_deg or FACE_FIELD_OF_VIEW_DEG)
        }
    orientation["sensor_array_dimensions"] = [item.width_px, item.height_px]
    if item.field_of_view_deg is not None:
        orientation["field_of_view"] = round(item.field_of_view_deg)
    return orientation


def _make_visible_area(item: CollectionItem) -> dict[str, Any]:
    """Size of the full sphere, and the margins around the image: left, top, right, bottom.

    A panorama covers 360°. If it lacks rows, as many are missing above as below, unless the
    attributes state the rows above.
    """
    full_height_px = max(item.height_px, round(item.width_px / 2))
    missing_px = full_height_px - item.height_px
    dimensions: dict[str, Any] = {"sensor_array_dimensions": [item.width_px, full_height_px]}
    if missing_px:
        stated = item.attributes.get(PANORAMA_TOP_ATTRIBUTE)
        top_px = missing_px // 2
        if isinstance(stated, int) and 0 <= stated <= missing_px:
            top_px = stated
        dimensions["visible_area"] = [0, top_px, 0, missing_px - top_px]
    return dimensions


def _make_assets(item: CollectionItem, links: Links) -> dict[str, Any]:
    panorama = "true" if item.is_panorama else None
    thumbnail = (
        links.image(item.id, "file", panorama=panorama, width=THUMBNAIL_WIDTH_PX)
        if item.is_panorama
        else links.image(item.id, "thumbnail")
    )
    return {
        "hd": {
            "title": "Full size",
            "href": links.image(item.id, "file", panorama=panorama),
            "type": JPEG,
            "roles": ["data"],
        },
        "sd": {
            "title": f"At most {SD_WIDTH_PX} pixels wide",
            "href": links.image(item.id, "file", panorama=panorama, width=SD_WIDTH_PX),
            "type": JPEG,
            "roles": ["visual"],
        },
        "thumb": {
            "title": "Thumbnail",
            "href": thumbnail,
            "type": JPEG,
            "roles": ["thumbnail"],
        },
    }


def _list_links(
    item: CollectionItem, links: Links, related: Sequence[ItemReference]
) -> list[dict[str, Any]]:
    collection = links.collection(item.collection_id)
    references = [
        ("prev", item.previous_item),
        ("next", item.next_item),
        *(("related", reference) for reference in related),
    ]
    return [
        make_link("self", links.item(item), GEOJSON),
        links.root(),
        make_link("parent", collection, JSON),
        make_link("collection", collection, JSON),
        *list_license_links(item.license),
        *(
            _make_reference(rel, reference, links)
            for rel, reference in references
            if reference is not None
        ),
    ]


def _make_reference(rel: str, item: ItemReference, links: Links) -> dict[str, Any]:
    """A link to another item, with the fields that clients draw an arrow from."""
    return make_link(
        rel,
        links.item(item),
        GEOJSON,
        id=str(item.id),
        geometry={"type": "Point", "coordinates": [item.point.lon, item.point.lat]},
        datetime=None if item.captured_at is None else format_stac_time(item.captured_at),
    )
