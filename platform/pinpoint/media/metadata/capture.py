"""Builds layers from the file and from outside metadata, and merges them into a `CaptureMetadata`.

Only `pinpoint.records.merge_layers` decides which layer's value is used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pinpoint.media.checks import RejectedFileError, check_position, check_time
from pinpoint.media.metadata.clocks import CaptureTime, explain_manifest_zone, read_file_time
from pinpoint.media.metadata.raw_metadata import RawMetadata, Scalar, limit_warnings, wrap_heading
from pinpoint.media.tracks import explain_gap, position_at
from pinpoint.records import (
    LAYERS,
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


def query_capture(picture: FileProperties) -> CaptureMetadata:
    """The capture of a query photo, without any of its metadata, in particular its position."""
    return CaptureMetadata(
        point=Point(0.0, 0.0),
        position_source="none",
        panorama=_build_panorama(picture, None),
        format=picture.format,
        width_px=picture.width_px,
        height_px=picture.height_px,
        sha256=picture.sha256,
        size_bytes=picture.size_bytes,
    )


def make_capture(
    picture: FileProperties, facts: RawMetadata, hint: MetadataOverride, now: datetime
) -> CaptureMetadata:
    """Merge the metadata of the file, the hint and the stored layers of the catalog.

    Args:
        picture: Properties of the decoded file.
        facts: Metadata of the file.
        hint: A manifest row or upload fields, a track, and the catalog's layers.
        now: Current time, UTC.

    Raises:
        RejectedFileError: The position or time with precedence is unusable, for a reason in
            `checks.REASONS`.
    """
    new_layers: dict[LayerName, Layer] = {}
    capture_time = read_file_time(facts, hint)
    new_layers["file"], refusals = _read_file_layer(picture, facts, capture_time, now)
    manifest = _read_manifest_layer(hint)
    if manifest is not None:
        new_layers["manifest"] = manifest
    refusal = None
    if facts.lat is None or facts.lon is None:
        layers_without_track = update_layers(hint.stored_layers, new_layers, same_bytes=False)
        track, refusal = _read_track_layer(hint, layers_without_track, capture_time)
        if track is not None:
            new_layers["track"] = track
    # A stored track position is valid only for the same bytes; the upsert compares the bytes.
    merged = merge_layers(update_layers(hint.stored_layers, new_layers, same_bytes=True))
    if merged.position is None:
        raise refusal or refusals["position"]
    if merged.captured_at is None and "captured_at" in refusals:
        raise refusals["captured_at"]
    if merged.time_source != "manual":
        check_time(merged.captured_at, now)
    new_layers["file"] = _add_refusals(new_layers["file"], refusals)
    merged = merge_layers(update_layers(hint.stored_layers, new_layers, same_bytes=True))
    return _build_capture(picture, facts, hint, new_layers, merged)


def _read_file_layer(
    picture: FileProperties, facts: RawMetadata, capture_time: CaptureTime, now: datetime
) -> tuple[Layer, dict[str, RejectedFileError]]:
    """The file's layer, and the refusals of its position and time if they are unusable."""
    refusals: dict[str, RejectedFileError] = {}
    point, captured_at = None, capture_time.moment
    try:
        point = Point(
            *check_position(
                facts.lat, facts.lon, facts.position_note, partial=facts.position_partial
            )
        )
    except RejectedFileError as refused:
        refusals["position"] = refused
    try:
        check_time(captured_at, now)
    except RejectedFileError as refused:
        refusals["captured_at"], captured_at = refused, None
    pose = facts.pose_heading_deg if picture.panorama else None
    layer = Layer(
        position=point,
        position_source=facts.position_source if point else None,
        captured_at=captured_at,
        time_source=facts.time_source if captured_at else None,
        heading_deg=facts.heading_deg if pose is None else pose,
        altitude_m=facts.altitude_m,
        creator=facts.creator,
        warnings=limit_warnings(
            [*([capture_time.note] if capture_time.note else []), *facts.warnings]
        ),
        attributes=_explain_time(capture_time) if captured_at else {},
    )
    return layer, refusals


def _explain_time(capture_time: CaptureTime) -> dict[str, Scalar]:
    return {} if capture_time.zone is None else {"time_zone": capture_time.zone}


def _read_manifest_layer(hint: MetadataOverride) -> Layer | None:
    """The layer of a manifest row or upload fields; None if they are empty.

    Raises:
        RejectedFileError: The position is incomplete or out of range.
    """
    point = None
    if hint.lat is not None or hint.lon is not None:
        point = Point(*check_position(hint.lat, hint.lon))
    layer = Layer(
        position=point,
        position_source=hint.position_source if point else None,
        captured_at=None if hint.captured_at is None else _to_utc(hint.captured_at),
        time_source=None if hint.captured_at is None else hint.position_source,
        heading_deg=wrap_heading(hint.heading_deg),
        altitude_m=hint.altitude_m,
        creator=hint.creator or None,
        sequence=hint.sequence,
        license=hint.license,
        panorama_id=hint.panorama_id,
        attributes=dict(hint.attributes),
    )
    return None if layer.empty else layer


def _read_track_layer(
    hint: MetadataOverride, layers: Layers, capture_time: CaptureTime
) -> tuple[Layer | None, RejectedFileError | None]:
    """The layer with the track's position at the capture time, or the refusal without one.

    Args:
        hint: The track and its name.
        layers: All layers except the track; they decide the capture time.
        capture_time: The file's time.
    """
    captured_at = merge_layers(layers).captured_at
    if hint.track is None or captured_at is None:
        return None, None
    path = Path(hint.track)
    problem = _find_zone_problem(layers, capture_time)
    if problem:
        return None, RejectedFileError(
            "time_zone_unknown", f"next to the track {path.name}: {problem}"
        )
    try:
        match = position_at(path, captured_at, hint.track_name)
        if match is None:
            return None, RejectedFileError(
                "no_position", explain_gap(path, captured_at, hint.track_name)
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
    picture: FileProperties,
    facts: RawMetadata,
    hint: MetadataOverride,
    new_layers: dict[LayerName, Layer],
    merged: MergedFields,
) -> CaptureMetadata:
    if merged.position is None:
        raise ValueError("a capture needs a position")
    layers = update_layers(hint.stored_layers, new_layers, same_bytes=True)
    return CaptureMetadata(
        point=merged.position,
        position_source=merged.position_source,
        captured_at=merged.captured_at,
        time_source=merged.time_source,
        warnings=merged.warnings,
        heading_deg=merged.heading_deg,
        altitude_m=merged.altitude_m,
        camera=facts.camera,
        creator=merged.creator,
        sequence=merged.sequence,
        license=merged.license,
        panorama_id=merged.panorama_id,
        panorama=_build_panorama(picture, merged.heading_deg),
        format=picture.format,
        width_px=picture.width_px,
        height_px=picture.height_px,
        sha256=picture.sha256,
        size_bytes=picture.size_bytes,
        attributes=merge_attributes(facts.attributes, layers),
        file_attributes=dict(facts.attributes),
        layers=new_layers,
    )


def _build_panorama(picture: FileProperties, heading_deg: float | None) -> Panorama | None:
    if picture.panorama is None:
        return None
    return Panorama(
        heading_deg=heading_deg,
        full_width_px=picture.panorama[0],
        full_height_px=picture.panorama[1],
    )


def _to_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
