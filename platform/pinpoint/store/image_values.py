"""The columns of `images` that a reading fills."""

from __future__ import annotations

from typing import Any, Final

from pinpoint.geo.cells import cells_of
from pinpoint.records import ClaimedItem, Reading
from pinpoint.store.rows import geography, image_id, jsonable

FIXABLE: Final = frozenset({"geog", "captured_at", "heading_deg", "creator", "sequence", "licence"})
"""Columns that a person may correct; a later ingest of the file leaves a correction alone."""

METADATA: Final = (
    "sha256",
    "captured_at",
    "heading_deg",
    "altitude_m",
    "camera",
    "creator",
    "sequence",
    "licence",
    "panorama_id",
    "attributes",
)
"""Columns besides the position in which a new reading of the same file can differ."""


def image_values(item: ClaimedItem, reading: Reading) -> list[dict[str, Any]]:
    """One row for each face, all but the locator; `lat` and `lon` are there for comparing."""
    capture = reading.capture
    cells = cells_of(capture.point)
    shared = {
        "organization_id": item.organization_id,
        "source_id": item.source.id,
        "kind": item.source.kind,
        "external_id": item.external_id,
        "geog": geography(capture.point),
        "lat": capture.point.lat,
        "lon": capture.point.lon,
        "captured_at": capture.captured_at,
        "altitude_m": capture.altitude_m,
        "camera": _clean(capture.camera),
        "creator": _clean(capture.creator),
        "sequence": _clean(capture.sequence),
        "licence": _clean(capture.licence),
        "position_source": capture.position_source,
        "time_source": capture.time_source,
        "warnings": list(capture.warnings),
        "sha256": bytes.fromhex(capture.sha256),
        "size_bytes": capture.size_bytes,
        "format": capture.format,
        "width_px": capture.width_px,
        "height_px": capture.height_px,
        "cell_r5": cells.r5,
        "cell_r7": cells.r7,
        "cell_r9": cells.r9,
        "attributes": jsonable(capture.attributes),
        "state": "pending",
        "arrival": item.arrival,
    }
    return [
        shared
        | {
            "id": image_id(item.organization_id, item.source.id, item.external_id, face.name),
            "face": face.name,
            "heading_deg": capture.heading_deg if face.heading_deg is None else face.heading_deg,
            "panorama_id": _panorama(item, reading),
        }
        for face in reading.faces
    ]


def _panorama(item: ClaimedItem, reading: Reading) -> str | None:
    """Name of the panorama that a face belongs to: the manifest's, or the file's own."""
    if reading.capture.panorama_id:
        return _clean(reading.capture.panorama_id)
    if any(face.name for face in reading.faces):
        return f"{item.source.id}/{item.external_id}"
    return None


def _clean(value: str | None) -> str | None:
    """PostgreSQL's text cannot hold NUL, which cameras do write."""
    return value.replace("\x00", "").strip() or None if value else None
