"""Conversion of database rows to records, and of `lat, lon` to PostGIS's `lon, lat`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from types import NoneType
from typing import Any, Final
from uuid import UUID, uuid5

import numpy as np
from sqlalchemy import ARRAY, ColumnElement, Row, Uuid, cast, func

from pinpoint.records import (
    Batch,
    BatchItem,
    Image,
    MetadataOverride,
    Point,
    Source,
    SourceRoot,
    Vector,
    limits,
)
from pinpoint.records.limits import BAD_METADATA_OVERRIDE, UnstorableError
from pinpoint.store.catalog.layer_json import origins_of_row

_NAMESPACE = UUID("6f1f2d6e-6c0c-5d39-9a4e-2f0d3a5b7c11")
"""Namespace of all image ids; a change would rename every image."""


def image_id(organization_id: UUID, source_id: UUID, external_id: str, face: str | None) -> UUID:
    """Compute an image id: UUIDv5 of organization, source, external id and face (RFC 9562, 5.5)."""
    # \x1f cannot occur in an id or a face name, so different parts never give the same name.
    parts = [str(organization_id), str(source_id), external_id, *([face] if face else [])]
    return uuid5(_NAMESPACE, "\x1f".join(parts))


def geography(point: Point) -> str:
    """Format a point as EWKT for geography columns; `repr` keeps every digit."""
    return f"SRID=4326;POINT({point.lon!r} {point.lat!r})"


def is_any_of(column: ColumnElement[UUID], ids: Sequence[UUID]) -> ColumnElement[bool]:
    """Condition `column = ANY(ids)`, with one bound array for any number of ids."""
    return column == func.any(cast(list(ids), ARRAY(Uuid)))


def pack_vector(vector: Vector) -> bytes:
    """Encode a vector `[D]` as little-endian fp16 bytes."""
    return np.asarray(vector, dtype="<f2").tobytes()


def unpack_vector(data: bytes) -> Vector:
    """Decode a vector `[D]` fp32 that `pack_vector` encoded."""
    return np.frombuffer(data, dtype="<f2").astype(np.float32)


def override_to_json(metadata_override: MetadataOverride | None) -> dict[str, Any] | None:
    """Encode an override as JSON, only fields with a value."""
    if metadata_override is None:
        return None
    values = {
        name: value
        for name, value in asdict(metadata_override).items()
        # Stored layers may change before the item is claimed, so they are not stored here.
        if value not in (None, {}, ()) and name != "stored_layers"
    }
    if metadata_override.captured_at is not None:
        values["captured_at"] = metadata_override.captured_at.isoformat()
    return values


def override_from_json(values: object) -> MetadataOverride | None:
    """Decode an override that `override_to_json` encoded.

    Raises:
        UnstorableError: The value is no override (`bad_metadata_override`), or contains a value
            that cannot be stored.
    """
    if values is None:
        return None
    if not isinstance(values, Mapping):
        raise UnstorableError(
            BAD_METADATA_OVERRIDE, "the stored metadata_override is not a JSON object"
        )
    fields = dict(values)
    for name, value in fields.items():
        if name not in _OVERRIDE_TYPES:
            raise UnstorableError(
                BAD_METADATA_OVERRIDE, "the stored metadata_override has an unknown field"
            )
        # A bool is an int in Python, but not a valid number here.
        if isinstance(value, bool) or not isinstance(value, _OVERRIDE_TYPES[name]):
            raise UnstorableError(
                BAD_METADATA_OVERRIDE,
                f"{name} of the stored metadata_override has a value of the wrong type",
            )
    if "sidecars" in fields:
        fields["sidecars"] = tuple(fields["sidecars"])
    if fields.get("captured_at") is not None:
        fields["captured_at"] = _parse_time(fields["captured_at"])
    metadata_override = MetadataOverride(**fields)
    limits.check_metadata_override(metadata_override)
    return metadata_override


_NUMBER_TYPES, _TEXT_TYPES = (int, float, NoneType), (str, NoneType)
_OVERRIDE_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(
        ("lat", "lon", "heading_deg", "field_of_view_deg", "altitude_m", "camera_clock_offset_s"),
        _NUMBER_TYPES,
    ),
    **dict.fromkeys(("captured_at", "creator", "sequence", "license", "panorama_id"), _TEXT_TYPES),
    **dict.fromkeys(("track", "track_name", "time_zone"), _TEXT_TYPES),
    "position_source": (str,),
    "sidecars": (list,),
    "attributes": (dict,),
}


def _parse_time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UnstorableError(
            BAD_METADATA_OVERRIDE, "captured_at of the stored metadata_override is not a time"
        ) from error
    return limits.to_utc("captured_at", moment)


def parse_override(text: str | None) -> MetadataOverride | None:
    """Parse the override in a row's JSON text.

    Raises:
        UnstorableError: The text is no JSON or no override, or contains a value that cannot
            be stored.
    """
    if text is None:
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnstorableError(
            BAD_METADATA_OVERRIDE, "the stored metadata_override is not valid JSON"
        ) from error
    return override_from_json(values)


def to_source(row: Row[Any], images: int = 0, roots: Sequence[SourceRoot] = ()) -> Source:
    """Convert a row of `sources`."""
    return Source(
        id=row.id,
        name=row.name,
        kind=row.kind,
        license=row.license,
        attribution=row.attribution,
        originals=row.originals,
        created_at=row.created_at,
        images=images,
        image_access=row.image_access,
        roots=tuple(roots),
    )


def to_image(row: Row[Any]) -> Image:
    """Convert a row of the view `visible_images`."""
    return Image(
        id=row.id,
        source_id=row.source_id,
        source=row.source,
        source_kind=row.source_kind,
        external_id=row.external_id,
        cubemap_face=row.cubemap_face,
        panorama_id=row.panorama_id,
        point=Point(lat=row.lat, lon=row.lon),
        captured_at=row.captured_at,
        heading_deg=row.heading_deg,
        field_of_view_deg=row.field_of_view_deg,
        altitude_m=row.altitude_m,
        camera=row.camera,
        creator=row.creator,
        sequence=row.sequence,
        license=row.license,
        attribution=row.attribution,
        sha256=row.sha256.hex(),
        format=row.format,
        width_px=row.width_px,
        height_px=row.height_px,
        uri=row.uri,
        state=row.state,
        error_message=row.error_message,
        version=row.version,
        attributes=row.attributes,
        created_at=row.created_at,
        updated_at=row.updated_at,
        position_source=row.position_source,
        time_source=row.time_source,
        field_sources=origins_of_row(row),
        warnings=tuple(row.warnings),
        image_access=row.image_access,
    )


def to_batch(row: Row[Any], counts: Mapping[str, int]) -> Batch:
    """Convert a row of `batches` with the numbers of its items by state."""
    return Batch(
        id=row.id,
        source_id=row.source_id,
        source=row.source_name,
        state="closed" if row.closed_at else "open",
        created_at=row.created_at,
        closed_at=row.closed_at,
        items=sum(counts.values()),
        received=counts.get("received", 0),
        stored=counts.get("stored", 0),
        indexed=counts.get("indexed", 0),
        updated=counts.get("updated", 0),
        duplicate=counts.get("duplicate", 0),
        rejected=counts.get("rejected", 0),
        failed=counts.get("failed", 0),
        canceled=counts.get("canceled", 0),
    )


def to_item(row: Any) -> BatchItem:
    """Convert a row of `batch_items` with the ids of its images."""
    return BatchItem(
        id=row.id,
        position=row.position,
        file=row.file,
        status=row.status,
        error_stage=row.error_stage,
        error_code=row.error_code,
        error_message=row.error_message,
        image_ids=tuple(row.image_ids or ()),
        attempts=row.attempts,
        notes=tuple(row.notes),
    )


def dedup_group(image: UUID, panorama_id: str | None, sequence: str | None) -> str:
    """De-duplication key of an image: its panorama, else its sequence, else its id."""
    return panorama_id or sequence or str(image)


def content_key(sha256: bytes, face: str | None) -> str:
    """Content key of an image: 32 hex digits of its hash, and the face's name of a panorama.

    Half of SHA-256: a collision in one gallery is improbable (1e-20 at a billion files).
    """
    digest = sha256[:16].hex()
    return digest if face is None else f"{digest}/{face}"


def to_jsonb(values: Mapping[str, Any]) -> dict[str, Any]:
    """Convert attributes for JSONB: no NaN, no NUL characters, no halves of surrogates."""
    return {str(_to_json_value(name)): _to_json_value(value) for name, value in values.items()}


def _to_json_value(value: object) -> object:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value).replace("\x00", "").encode("utf-8", "backslashreplace").decode()
