"""Values of an image's fields by layer, and the one rule that decides which value counts.

`docs/metadata-precedence.md` describes the rule for users.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final, Literal

from pinpoint.records.basics import Point

LayerName = Literal["manual", "manifest", "sidecar", "file", "track"]
LAYERS: Final[tuple[LayerName, ...]] = ("manual", "manifest", "sidecar", "file", "track")
"""Highest precedence first."""

FieldName = Literal[
    "position",
    "captured_at",
    "heading_deg",
    "altitude_m",
    "creator",
    "sequence",
    "licence",
    "panorama_id",
]
FIELDS: Final[tuple[FieldName, ...]] = (
    "position",
    "captured_at",
    "heading_deg",
    "altitude_m",
    "creator",
    "sequence",
    "licence",
    "panorama_id",
)
ManualField = Literal["position", "captured_at", "heading_deg", "creator", "sequence", "licence"]
MANUAL_FIELDS: Final[tuple[ManualField, ...]] = (
    "position",
    "captured_at",
    "heading_deg",
    "creator",
    "sequence",
    "licence",
)
"""Fields that a person can set and clear."""

SAME_DEGREES: Final = 1e-6
"""Coordinates and headings that differ by less agree: about 0.1 m on the ground."""
SAME_SECONDS: Final = 1.0

_TRACK_ORIGIN: Final = "gpx"


Attribute = str | float | int | bool | None
Attributes = Mapping[str, Attribute]
_OUTSIDE: Final[tuple[LayerName, ...]] = ("manifest", "sidecar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What one origin says about an image; None where it says nothing."""

    position: Point | None = None
    captured_at: datetime | None = None
    heading_deg: float | None = None
    altitude_m: float | None = None
    creator: str | None = None
    sequence: str | None = None
    licence: str | None = None
    panorama_id: str | None = None
    position_source: str | None = None
    """Origin of the position inside the layer (`exif`, `xmp`, `caller`); None: the layer's name."""
    time_source: str | None = None
    """Origin of the time inside the layer; None: the layer's name."""
    warnings: tuple[str, ...] = ()
    """Sentences about values that this layer could not use."""
    attributes: Attributes = field(default_factory=dict)
    """Further names and values of a manifest row; of a file those that explain its time, of a track
    those that explain the position. What else a file says is read again with it."""

    def named_values(self) -> Iterator[tuple[FieldName, Any]]:
        """Fields that have a value."""
        for name in FIELDS:
            value = getattr(self, name)
            if value is not None:
                yield name, value

    @property
    def empty(self) -> bool:
        """Whether the layer says nothing at all."""
        return self == _NOTHING


_NOTHING: Final = Layer()

Layers = Mapping[LayerName, Layer]
"""At most one entry for each layer; a layer without an entry says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedFields:
    """The values that count, and the origin of each."""

    position: Point | None = None
    captured_at: datetime | None = None
    heading_deg: float | None = None
    altitude_m: float | None = None
    creator: str | None = None
    sequence: str | None = None
    licence: str | None = None
    panorama_id: str | None = None
    sources: Mapping[FieldName, str]
    """Field → origin, for each field that has a value."""
    warnings: tuple[str, ...]
    """The layers' own, and one sentence for each value that was chosen over another one."""

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
        offers = [
            (layer, value)
            for layer in LAYERS
            if layer in layers and (value := getattr(layers[layer], name)) is not None
        ]
        if not offers:
            continue
        (chosen, value), *lower = offers
        values[name] = value
        sources[name] = _name_origin(chosen, layers[chosen], name)
        warnings += [
            f"{name}: {sources[name]} {show_value(value)} is used; "
            f"{_name_origin(other, layers[other], name)} has {show_value(theirs)}"
            for other, theirs in lower
            # A track only fills a gap, so it is no second opinion.
            if other != "track" and not values_agree(value, theirs)
        ]
    return MergedFields(**values, sources=sources, warnings=tuple(warnings))


def merge_attributes(file_attributes: Attributes, layers: Layers) -> dict[str, Attribute]:
    """The attributes of an image: the file's, and above them a manifest's.

    Values that a person set do not matter here: attributes explain what the file was found with.

    Args:
        file_attributes: What the file says besides its fields.
        layers: The image's layers.
    """
    outside = [layers[name] for name in _OUTSIDE if name in layers]
    merged = dict(file_attributes)
    if all(layer.captured_at is None for layer in outside):
        merged.update(layers.get("file", _NOTHING).attributes)
    if layers.get("file", _NOTHING).position is None and all(
        layer.position is None for layer in outside
    ):
        merged.update(layers.get("track", _NOTHING).attributes)
    for layer in reversed(outside):
        merged.update(layer.attributes)
    return merged


def name_origin(
    name: LayerName, of: FieldName, position_source: str | None, time_source: str | None
) -> str:
    """The word that `position_source`, `time_source` and `field_sources` show.

    Args:
        name: The layer.
        of: The field.
        position_source: The layer's, see `Layer`.
        time_source: The layer's, see `Layer`.
    """
    if of == "position":
        return position_source or (_TRACK_ORIGIN if name == "track" else name)
    if of == "captured_at":
        return time_source or name
    return name


def _name_origin(name: LayerName, layer: Layer, of: FieldName) -> str:
    return name_origin(name, of, layer.position_source, layer.time_source)


def update_layers(stored: Layers, given: Layers, *, same_bytes: bool) -> dict[LayerName, Layer]:
    """What a row's layers become when its file is read again.

    Args:
        stored: The row's layers.
        given: What the reading brought: the file, and where they were there a manifest row, a
            sidecar and a track.
        same_bytes: Whether the file's bytes are those that the row has.

    Returns:
        `manual` as stored; `manifest` field by field, the new values over the stored ones; `file`
        as given; `sidecar` as given, else as stored; `track` as given, else as stored for the same
        bytes (other bytes may have another time).
    """
    manifest = overlay_layer(stored.get("manifest", _NOTHING), given.get("manifest", _NOTHING))
    track = given.get("track") or (stored.get("track") if same_bytes else None)
    updated: dict[LayerName, Layer] = {
        "manual": stored.get("manual", _NOTHING),
        "manifest": manifest,
        "sidecar": given.get("sidecar") or stored.get("sidecar", _NOTHING),
        "file": given.get("file", _NOTHING),
        "track": track or _NOTHING,
    }
    return {name: layer for name, layer in updated.items() if not layer.empty}


def overlay_layer(lower: Layer, upper: Layer) -> Layer:
    """`upper` where it has a value, else `lower`; origins go with their values."""
    values: dict[str, Any] = dict(upper.named_values())
    kept = dict(lower.attributes)
    if upper.captured_at is not None:
        # It explains the time that is replaced.
        kept.pop("time_zone", None)
    if upper.position is not None:
        values["position_source"] = upper.position_source
    if upper.captured_at is not None:
        values["time_source"] = upper.time_source
    return replace(
        lower,
        **values,
        warnings=upper.warnings or lower.warnings,
        attributes={**kept, **upper.attributes},
    )


def clear_fields(layer: Layer, names: frozenset[ManualField]) -> Layer:
    """The layer without these fields."""
    cleared: dict[str, Any] = dict.fromkeys(names)
    if "position" in names:
        cleared["position_source"] = None
    if "captured_at" in names:
        cleared["time_source"] = None
    return replace(layer, **cleared)


def describe_manual_conflicts(manual: Layer, given: Layer) -> list[str]:
    """One sentence for each manual value that a manifest contradicts."""
    return [
        f"{name}: set manually; kept (the manifest gives {show_value(value)})"
        for name, value in given.named_values()
        if (kept := getattr(manual, name)) is not None and not values_agree(kept, value)
    ]


def describe_kept_fields(stored: Layers, given: Layers) -> list[str]:
    """What is said when a row's bytes are replaced and values given from outside stay."""
    manual = [name for name, _ in stored.get("manual", _NOTHING).named_values()]
    now = {name for name, _ in given.get("manifest", _NOTHING).named_values()}
    earlier = [
        name
        for name, _ in stored.get("manifest", _NOTHING).named_values()
        if name not in now and name not in manual
    ]
    notes = []
    if manual:
        notes.append(f"{', '.join(manual)}: set manually; kept for the new bytes")
    if earlier:
        notes.append(f"{', '.join(earlier)}: from an earlier manifest; kept for the new bytes")
    return notes


def values_agree(first: Any, second: Any) -> bool:
    """Whether two values of a field are the same but for rounding."""
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
    """A value as people read it in a note; long texts are cut."""
    if isinstance(value, Point):
        return f"{value.lat:.6f}, {value.lon:.6f}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, float | int):
        return f"{value:g}"
    return repr(str(value)[:60])


LAYER_KEYS: Final = tuple(one.name for one in fields(Layer))
