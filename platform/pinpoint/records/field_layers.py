"""Values of an image's fields by layer, and the rule of their precedence.

`docs/explanation/metadata-precedence.md` describes the rule for users.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final, Literal, get_args

from pinpoint.records.primitives import Point

LayerName = Literal["manual", "manifest", "sidecar", "file", "track"]
LAYERS: Final[tuple[LayerName, ...]] = get_args(LayerName)
"""Highest precedence first."""

FieldName = Literal[
    "position",
    "captured_at",
    "heading_deg",
    "field_of_view_deg",
    "altitude_m",
    "creator",
    "sequence",
    "license",
    "panorama_id",
]
FIELDS: Final[tuple[FieldName, ...]] = get_args(FieldName)
ManualField = Literal["position", "captured_at", "heading_deg", "creator", "sequence", "license"]
MANUAL_FIELDS: Final[tuple[ManualField, ...]] = get_args(ManualField)
"""Fields that a person can set and clear."""

SAME_DEGREES: Final = 1e-6
"""Coordinates and headings with a smaller difference agree: about 0.1 m on the ground."""
SAME_SECONDS: Final = 1.0

_TRACK_ORIGIN: Final = "gpx"


Attribute = str | float | int | bool | None
Attributes = Mapping[str, Attribute]
_OUTSIDE_LAYERS: Final[tuple[LayerName, ...]] = ("manifest", "sidecar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Values of one origin for an image; None for fields without a value."""

    position: Point | None = None
    captured_at: datetime | None = None
    heading_deg: float | None = None
    field_of_view_deg: float | None = None
    altitude_m: float | None = None
    creator: str | None = None
    sequence: str | None = None
    license: str | None = None
    panorama_id: str | None = None
    position_source: str | None = None
    """Origin of the position inside the layer (`exif`, `xmp`, `caller`); None: the layer's name."""
    time_source: str | None = None
    """Origin of the time inside the layer; None: the layer's name."""
    warnings: tuple[str, ...] = ()
    """Sentences about values that this layer could not use."""
    attributes: Attributes = field(default_factory=dict)
    """Further names and values of a manifest row. For a file: those that explain its time; for a
    track: those that explain the position. Other attributes of a file are read again with it."""

    def named_values(self) -> Iterator[tuple[FieldName, Any]]:
        """Fields that have a value."""
        for name in FIELDS:
            value = getattr(self, name)
            if value is not None:
                yield name, value

    @property
    def empty(self) -> bool:
        """Whether the layer has no value at all."""
        return self == _EMPTY_LAYER


_EMPTY_LAYER: Final = Layer()

Layers = Mapping[LayerName, Layer]
"""At most one entry per layer; a layer without an entry has no values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedFields:
    """The merged values, and the origin of each."""

    position: Point | None = None
    captured_at: datetime | None = None
    heading_deg: float | None = None
    field_of_view_deg: float | None = None
    altitude_m: float | None = None
    creator: str | None = None
    sequence: str | None = None
    license: str | None = None
    panorama_id: str | None = None
    sources: Mapping[FieldName, str]
    """Field → origin, for each field that has a value."""
    warnings: tuple[str, ...]
    """Warnings of the layers, and one sentence for each value that was chosen over another one."""

    @property
    def position_source(self) -> str:
        """Origin of the position; `none` without a position."""
        return self.sources.get("position", "none")

    @property
    def time_source(self) -> str | None:
        """Origin of the time; None without a time."""
        return self.sources.get("captured_at")


def merge_layers(layers: Layers) -> MergedFields:
    """Choose each field's value from the highest layer that has one."""
    values: dict[str, Any] = {}
    sources: dict[FieldName, str] = {}
    warnings = [text for name in LAYERS if name in layers for text in layers[name].warnings]
    for name in FIELDS:
        layer_values = [
            (layer, value)
            for layer in LAYERS
            if layer in layers and (value := getattr(layers[layer], name)) is not None
        ]
        if not layer_values:
            continue
        (chosen, value), *lower = layer_values
        values[name] = value
        sources[name] = _name_origin(chosen, layers[chosen], name)
        warnings += [
            f"{name}: {sources[name]} {show_value(value)} is used; "
            f"{_name_origin(other, layers[other], name)} has {show_value(other_value)}"
            for other, other_value in lower
            # A track only fills a gap, so it does not conflict.
            if other != "track" and not values_agree(value, other_value)
        ]
    return MergedFields(**values, sources=sources, warnings=tuple(warnings))


def merge_attributes(file_attributes: Attributes, layers: Layers) -> dict[str, Attribute]:
    """Merge the attributes of an image: those of a manifest override those of the file.

    Manual values are irrelevant here: attributes explain the values found in the file.

    Args:
        file_attributes: Attributes of the file besides its fields.
        layers: The image's layers.
    """
    outside = [layers[name] for name in _OUTSIDE_LAYERS if name in layers]
    merged = dict(file_attributes)
    if all(layer.captured_at is None for layer in outside):
        merged.update(layers.get("file", _EMPTY_LAYER).attributes)
    if layers.get("file", _EMPTY_LAYER).position is None and all(
        layer.position is None for layer in outside
    ):
        merged.update(layers.get("track", _EMPTY_LAYER).attributes)
    for layer in reversed(outside):
        merged.update(layer.attributes)
    return merged


def name_origin(
    name: LayerName, field_name: FieldName, position_source: str | None, time_source: str | None
) -> str:
    """Name of an origin in `position_source`, `time_source` and `field_sources`.

    Args:
        name: Name of the layer.
        field_name: Name of the field.
        position_source: Position source of the layer, see `Layer`.
        time_source: Time source of the layer, see `Layer`.
    """
    if field_name == "position":
        return position_source or (_TRACK_ORIGIN if name == "track" else name)
    if field_name == "captured_at":
        return time_source or name
    return name


def _name_origin(name: LayerName, layer: Layer, field_name: FieldName) -> str:
    return name_origin(name, field_name, layer.position_source, layer.time_source)


def update_layers(
    stored: Layers, new_layers: Layers, *, same_bytes: bool
) -> dict[LayerName, Layer]:
    """Compute a row's layers after its file was read again.

    Args:
        stored: The row's layers.
        new_layers: Layers of the new reading: the file and, if present, a manifest row, a sidecar
            and a track.
        same_bytes: Whether the file's bytes equal those of the row.

    Returns:
        `manual` as stored; `manifest` field by field, with new values over stored ones; `file` as
        new; `sidecar` as new, else as stored. `track` as new, else as stored for the same bytes
        (other bytes may have another time).
    """
    manifest = overlay_layer(
        stored.get("manifest", _EMPTY_LAYER), new_layers.get("manifest", _EMPTY_LAYER)
    )
    track = new_layers.get("track") or (stored.get("track") if same_bytes else None)
    updated: dict[LayerName, Layer] = {
        "manual": stored.get("manual", _EMPTY_LAYER),
        "manifest": manifest,
        "sidecar": new_layers.get("sidecar") or stored.get("sidecar", _EMPTY_LAYER),
        "file": new_layers.get("file", _EMPTY_LAYER),
        "track": track or _EMPTY_LAYER,
    }
    return {name: layer for name, layer in updated.items() if not layer.empty}


def overlay_layer(lower: Layer, upper: Layer) -> Layer:
    """Merge two layers: `upper` if it has a value, else `lower`; origins follow their values."""
    values: dict[str, Any] = dict(upper.named_values())
    attributes = dict(lower.attributes)
    if upper.captured_at is not None:
        # It explains the replaced time.
        attributes.pop("time_zone", None)
    if upper.position is not None:
        values["position_source"] = upper.position_source
    if upper.captured_at is not None:
        values["time_source"] = upper.time_source
    return replace(
        lower,
        **values,
        warnings=upper.warnings or lower.warnings,
        attributes={**attributes, **upper.attributes},
    )


def clear_fields(layer: Layer, names: frozenset[ManualField]) -> Layer:
    """Remove these fields from a layer."""
    cleared: dict[str, Any] = dict.fromkeys(names)
    if "position" in names:
        cleared["position_source"] = None
    if "captured_at" in names:
        cleared["time_source"] = None
    return replace(layer, **cleared)


def describe_manual_conflicts(manual: Layer, manifest: Layer) -> list[str]:
    """Describe each manual value that a manifest contradicts."""
    return [
        f"{name}: set manually; kept (the manifest gives {show_value(value)})"
        for name, value in manifest.named_values()
        if (manual_value := getattr(manual, name)) is not None
        and not values_agree(manual_value, value)
    ]


def describe_kept_fields(stored: Layers, new_layers: Layers) -> list[str]:
    """Describe values from outside the file that are kept when its bytes are replaced."""
    manual = [name for name, _ in stored.get("manual", _EMPTY_LAYER).named_values()]
    renewed = {name for name, _ in new_layers.get("manifest", _EMPTY_LAYER).named_values()}
    earlier = [
        name
        for name, _ in stored.get("manifest", _EMPTY_LAYER).named_values()
        if name not in renewed and name not in manual
    ]
    notes = []
    if manual:
        notes.append(f"{', '.join(manual)}: set manually; kept for the new bytes")
    if earlier:
        notes.append(f"{', '.join(earlier)}: from an earlier manifest; kept for the new bytes")
    return notes


def values_agree(first: Any, second: Any) -> bool:
    """Whether two values of a field are equal except for rounding."""
    if isinstance(first, Point):
        return bool(
            abs(first.lat - second.lat) < SAME_DEGREES
            # 180 and -180 are one meridian.
            and abs((first.lon - second.lon + 180.0) % 360.0 - 180.0) < SAME_DEGREES
        )
    if isinstance(first, datetime):
        return bool(abs((first - second).total_seconds()) < SAME_SECONDS)
    if isinstance(first, float | int):
        return bool(abs(first - second) < SAME_DEGREES)
    return bool(first == second)


def show_value(value: Any) -> str:
    """Format a value for a note; long texts are cut."""
    if isinstance(value, Point):
        return f"{value.lat:.6f}, {value.lon:.6f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, float | int):
        return f"{value:g}"
    return repr(str(value)[:60])


LAYER_KEYS: Final = tuple(layer_field.name for layer_field in fields(Layer))
