"""Values of the columns of `images` for one reading."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from pinpoint.records import (
    FACE_FIELD_OF_VIEW_DEG,
    ClaimedItem,
    DecodedImage,
    ImageFace,
    Layer,
    LayerName,
    Layers,
    merge_attributes,
    merge_layers,
    update_layers,
)
from pinpoint.store.catalog.field_layers import clean_layer, clean_text, columns_of
from pinpoint.store.catalog.layer_json import layers_of_row
from pinpoint.store.db.rows import image_id, to_jsonb

METADATA_COLUMNS: Final = (
    "sha256",
    "captured_at",
    "heading_deg",
    "field_of_view_deg",
    "altitude_m",
    "camera",
    "creator",
    "sequence",
    "license",
    "panorama_id",
    "attributes",
)
"""Columns, besides the position, in which a new reading of the same file can differ."""


def image_values(
    item: ClaimedItem, reading: DecodedImage, rows: Sequence[Any]
) -> list[dict[str, Any]] | None:
    """Compute one row per face, without the URI; `lat` and `lon` serve for comparisons.

    Args:
        item: Item of the file.
        reading: The decoded file.
        rows: Rows of the catalog with its id; values from outside the file are kept.

    Returns:
        None if no layer of a face has a position: it was cleared while the file was read.
    """
    capture = reading.capture
    stored_rows = {row.id: row for row in rows if row.state != "deleted"}
    sha256 = bytes.fromhex(capture.sha256)
    shared = {
        "organization_id": item.organization_id,
        "source_id": item.source.id,
        "source_kind": item.source.kind,
        "external_id": item.external_id,
        "camera": clean_text(capture.camera),
        "sha256": sha256,
        "size_bytes": capture.size_bytes,
        "format": capture.format,
        "width_px": capture.width_px,
        "height_px": capture.height_px,
        "state": "pending",
        "ingest_seq": item.ingest_seq,
    }
    file_attributes = to_jsonb(capture.file_attributes)
    face_rows = []
    for face in reading.faces:
        face_id = image_id(item.organization_id, item.source.id, item.external_id, face.name)
        row = stored_rows.get(face_id)
        stored: Layers = {} if row is None else layers_of_row(row)
        layers = update_layers(
            stored, face_layers(reading, face), same_bytes=row is not None and row.sha256 == sha256
        )
        merged = merge_layers(layers)
        if merged.position is None:
            return None
        face_rows.append(
            shared
            | columns_of(layers, merged.position, merged)
            | {
                "id": face_id,
                "cubemap_face": face.name,
                "lat": merged.position.lat,
                "lon": merged.position.lon,
                "panorama_id": merged.panorama_id or _name_panorama(item, reading),
                "attributes": merge_attributes(file_attributes, layers),
            }
        )
    return face_rows


def face_layers(reading: DecodedImage, face: ImageFace) -> dict[LayerName, Layer]:
    """Layers of a reading for one face: headings are rotated with the face.

    The field of view of a panorama becomes that of a face, whatever the origin of the former.
    """
    layers = {name: clean_layer(layer) for name, layer in reading.capture.layers.items()}
    if face.name is None:
        return layers
    layers = {
        name: dataclasses.replace(
            layer, field_of_view_deg=FACE_FIELD_OF_VIEW_DEG if name == "file" else None
        )
        for name, layer in layers.items()
    }
    return {
        name: layer
        if layer.heading_deg is None
        else dataclasses.replace(layer, heading_deg=(layer.heading_deg + face.turn_deg) % 360.0)
        for name, layer in layers.items()
    }


def _name_panorama(item: ClaimedItem, reading: DecodedImage) -> str | None:
    """Name of the panorama of the faces, if no manifest names one."""
    if any(face.name for face in reading.faces):
        return f"{item.source.id}/{item.external_id}"
    return None
