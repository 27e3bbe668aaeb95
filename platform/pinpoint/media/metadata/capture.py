"""Builds layers from the file and from outside metadata, and merges them into a `CaptureMetadata`.

Only `pinpoint.records.merge_layers` decides which layer's value is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pinpoint.media.checks import RejectedFileError, check_position, check_time
from pinpoint.media.field_of_view import check_field_of_view, compute_field_of_view
from pinpoint.media.metadata.clocks import CaptureTime, explain_manifest_zone, read_file_time
from pinpoint.media.metadata.raw_metadata import RawMetadata, Scalar, limit_warnings, wrap_heading
from pinpoint.media.sidecar_files import read_sidecars
from pinpoint.media.tracks import explain_gap, position_at
from pinpoint.records import (
    LAYERS,
    CaptureClaim,
    CaptureMetadata,
    Layer,
    LayerName,
    Layers,
    MergedFields,
    MetadataOverride,
    Panorama,
    Point,
    merge_attributes,
    merge_layers,
    update_layers,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProperties:
    """Properties of the file itself, without its metadata."""

    format: str
    width_px: int
    height_px: int
    sha256: str
    size_bytes: int
    panorama: tuple[int, int] | None = None
    """Full width and height of the sphere, if the image was cut into faces."""


def query_capture(properties: FileProperties, creator: str | None) -> CaptureMetadata:
    """The capture of a query photo: of its metadata only the creator, in particular no position."""
    return CaptureMetadata(
        creator=creator,
        point=Point(0.0, 0.0),
        position_source="none",
        panorama=_build_panorama(properties, None),
        format=properties.format,
        width_px=properties.width_px,
        height_px=properties.height_px,
        sha256=properties.sha256,
        size_bytes=properties.size_bytes,
    )


def make_claim(raw_metadata: RawMetadata) -> CaptureClaim:
    """The claim of a query photo; an unusable position is named, not used."""
    point, note = None, None
    try:
        point = Point(
            *check_position(
                raw_metadata.lat,
                raw_metadata.lon,
                raw_metadata.position_note,
                partial=raw_metadata.position_partial,
            )
        )
    except RejectedFileError as refused:
        note = None if refused.reason == "no_position" else refused.detail
    return CaptureClaim(
        point=point,
        position_source=raw_metadata.position_source if point else None,
        position_note=note,
        captured_at=raw_metadata.captured_at,
        time_source=raw_metadata.time_source if raw_metadata.captured_at else None,
        time_assumed_utc=raw_metadata.time_assumed_utc,
        heading_deg=raw_metadata.heading_deg,
    )


def make_capture(
    properties: FileProperties,
    raw_metadata: RawMetadata,
    metadata_override: MetadataOverride,
    now: datetime,
) -> CaptureMetadata:
    """Merge the metadata of the file, the override and the stored layers of the catalog.

    Args:
        properties: Properties of the decoded file.
        raw_metadata: Metadata of the file.
        metadata_override: A manifest row or upload fields, sidecars, a track, and the catalog's
            layers.
        now: Current time, UTC.

    Raises:
        RejectedFileError: The position or time with precedence is unusable, for a reason in
            `checks.REASONS`.
    """
    new_layers: dict[LayerName, Layer] = {}
    capture_time = read_file_time(raw_metadata, metadata_override)
    new_layers["file"], refusals = _read_file_layer(properties, raw_metadata, capture_time, now)
    manifest = _read_manifest_layer(metadata_override)
    if manifest is not None:
        new_layers["manifest"] = manifest
    sidecar = read_sidecars(metadata_override, now) if metadata_override.sidecars else None
    if sidecar is not None:
        new_layers["sidecar"] = sidecar
    refusal = None
    if raw_metadata.lat is None or raw_metadata.lon is None:
        layers_without_track = update_layers(
            metadata_override.stored_layers, new_layers, same_bytes=False
        )
        track, refusal = _read_track_layer(metadata_override, layers_without_track, capture_time)
        if track is not None:
            new_layers["track"] = track
    # A stored track position is valid only for the same bytes; the upsert compares the bytes.
    merged = merge_layers(
        update_layers(metadata_override.stored_layers, new_layers, same_bytes=True)
    )
    if merged.position is None:
        raise refusal or refusals["position"]
    if merged.captured_at is None and "captured_at" in refusals:
        raise refusals["captured_at"]
    if merged.time_source != "manual":
        check_time(merged.captured_at, now)
    new_layers["file"] = _add_refusals(new_layers["file"], refusals)
    merged = merge_layers(
        update_layers(metadata_override.stored_layers, new_layers, same_bytes=True)
    )
    return _build_capture(properties, raw_metadata, metadata_override, new_layers, merged)


def _read_file_layer(
    properties: FileProperties, raw_metadata: RawMetadata, capture_time: CaptureTime, now: datetime
) -> tuple[Layer, dict[str, RejectedFileError]]:
    """The file's layer, and the refusals of its position and time if they are unusable."""
    refusals: dict[str, RejectedFileError] = {}
    point, captured_at = None, capture_time.moment
    try:
        point = Point(
            *check_position(
                raw_metadata.lat,
                raw_metadata.lon,
                raw_metadata.position_note,
                partial=raw_metadata.position_partial,
            )
        )
    except RejectedFileError as refused:
        refusals["position"] = refused
    try:
        check_time(captured_at, now)
    except RejectedFileError as refused:
        refusals["captured_at"], captured_at = refused, None
    pose = raw_metadata.pose_heading_deg if properties.panorama else None
    layer = Layer(
        position=point,
        position_source=raw_metadata.position_source if point else None,
        captured_at=captured_at,
        time_source=raw_metadata.time_source if captured_at else None,
        heading_deg=raw_metadata.heading_deg if pose is None else pose,
        field_of_view_deg=compute_field_of_view(
            raw_metadata, properties.width_px, properties.height_px
        ),
        altitude_m=raw_metadata.altitude_m,
        creator=raw_metadata.creator,
        warnings=limit_warnings(
            [*([capture_time.note] if capture_time.note else []), *raw_metadata.warnings]
        ),
        attributes=_explain_time(capture_time) if captured_at else {},
    )
    return layer, refusals


def _explain_time(capture_time: CaptureTime) -> dict[str, Scalar]:
    return {} if capture_time.zone is None else {"time_zone": capture_time.zone}


def _read_manifest_layer(metadata_override: MetadataOverride) -> Layer | None:
    """The layer of a manifest row or upload fields; None if they are empty.

    Raises:
        RejectedFileError: The position is incomplete or out of range.
    """
    point = None
    if metadata_override.lat is not None or metadata_override.lon is not None:
        point = Point(*check_position(metadata_override.lat, metadata_override.lon))
    layer = Layer(
        position=point,
        position_source=metadata_override.position_source if point else None,
        captured_at=None
        if metadata_override.captured_at is None
        else _to_utc(metadata_override.captured_at),
        time_source=None
        if metadata_override.captured_at is None
        else metadata_override.position_source,
        heading_deg=wrap_heading(metadata_override.heading_deg),
        field_of_view_deg=check_field_of_view(metadata_override.field_of_view_deg),
        altitude_m=metadata_override.altitude_m,
        creator=metadata_override.creator or None,
        sequence=metadata_override.sequence,
        license=metadata_override.license,
        panorama_id=metadata_override.panorama_id,
        attributes=dict(metadata_override.attributes),
    )
    return None if layer.empty else layer


def _read_track_layer(
    metadata_override: MetadataOverride, layers: Layers, capture_time: CaptureTime
) -> tuple[Layer | None, RejectedFileError | None]:
    """The layer with the track's position at the capture time, or the refusal without one.

    Args:
        metadata_override: The track and its name.
        layers: All layers except the track; they decide the capture time.
        capture_time: The file's time.
    """
    captured_at = merge_layers(layers).captured_at
    if metadata_override.track is None or captured_at is None:
        return None, None
    path = Path(metadata_override.track)
    problem = _find_zone_problem(layers, capture_time)
    if problem:
        return None, RejectedFileError(
            "time_zone_unknown", f"next to the track {path.name}: {problem}"
        )
    try:
        match = position_at(path, captured_at, metadata_override.track_name)
        if match is None:
            return None, RejectedFileError(
                "no_position", explain_gap(path, captured_at, metadata_override.track_name)
            )
        lat, lon, label = match
        point = Point(*check_position(lat, lon))
        return Layer(position=point, attributes={"track": label}), None
    except RejectedFileError as refused:
        return None, refused


def _find_zone_problem(layers: Layers, capture_time: CaptureTime) -> str:
    """Why the capture time may be wrong by hours; empty if its UTC offset is known."""
    for name in LAYERS:
        layer = layers.get(name)
        if layer is None or layer.captured_at is None:
            continue
        if name == "manual":
            return ""
        return capture_time.zone_problem if name == "file" else explain_manifest_zone(layer)
    return ""


def _add_refusals(layer: Layer, refusals: dict[str, RejectedFileError]) -> Layer:
    """The file's layer with a warning for each of its values that is ignored."""
    ignored = tuple(
        f"{name}: the file's own value is ignored: {refused.detail}"
        for name, refused in refusals.items()
        if refused.reason != "no_position"
    )
    return replace(layer, warnings=(*layer.warnings, *ignored))


def _build_capture(
    properties: FileProperties,
    raw_metadata: RawMetadata,
    metadata_override: MetadataOverride,
    new_layers: dict[LayerName, Layer],
    merged: MergedFields,
) -> CaptureMetadata:
    if merged.position is None:
        raise ValueError("a capture needs a position")
    layers = update_layers(metadata_override.stored_layers, new_layers, same_bytes=True)
    return CaptureMetadata(
        point=merged.position,
        position_source=merged.position_source,
        captured_at=merged.captured_at,
        time_source=merged.time_source,
        warnings=merged.warnings,
        heading_deg=merged.heading_deg,
        field_of_view_deg=merged.field_of_view_deg,
        altitude_m=merged.altitude_m,
        camera=raw_metadata.camera,
        creator=merged.creator,
        sequence=merged.sequence,
        license=merged.license,
        panorama_id=merged.panorama_id,
        panorama=_build_panorama(properties, merged.heading_deg),
        format=properties.format,
        width_px=properties.width_px,
        height_px=properties.height_px,
        sha256=properties.sha256,
        size_bytes=properties.size_bytes,
        attributes=merge_attributes(raw_metadata.attributes, layers),
        file_attributes=dict(raw_metadata.attributes),
        layers=new_layers,
    )


def _build_panorama(properties: FileProperties, heading_deg: float | None) -> Panorama | None:
    if properties.panorama is None:
        return None
    return Panorama(
        heading_deg=heading_deg,
        full_width_px=properties.panorama[0],
        full_height_px=properties.panorama[1],
    )


def _to_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
