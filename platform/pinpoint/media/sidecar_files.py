"""Sidecars of photos: XMP files (Adobe, darktable, exiftool) and JSON of Google Takeout.

Formats: XMP part 3, section 2 (external storage); Takeout has no specification, so its names and
keys are those that exports have.
"""

from __future__ import annotations

import codecs
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pinpoint.media.checks import RejectedFileError, check_position, check_time
from pinpoint.media.files import is_below, read_bytes
from pinpoint.media.metadata.clocks import CaptureTime, read_file_time
from pinpoint.media.metadata.positions import choose_position
from pinpoint.media.metadata.raw_metadata import (
    RawMetadata,
    Scalar,
    clean_metadata_text,
    limit_warnings,
    to_finite,
)
from pinpoint.media.metadata.times import choose_time
from pinpoint.media.metadata.xmp import read_xmp
from pinpoint.records import Layer, MetadataOverride, Point, overlay_layer

MAX_SIDECAR_BYTES: Final = 4_000_000
"""Maximum size of a sidecar; edit histories in XMP reach 2 MB."""
TAKEOUT_KEYS: Final = frozenset({"photoTakenTime", "geoData", "geoDataExif", "photoLastModified"})
SUPPLEMENT: Final = "supplemental-metadata"
"""Part of the names of Takeout's files since 2024, which is cut if the name is too long."""
_MAX_TAKEOUT_STEM: Final = 46
_EDITED: Final = re.compile(r"-(?:edited|bearbeitet|modifié|editado|modificato|bewerkt)$")
_NUMBER: Final = re.compile(r"(.*)(\(\d+\))", re.DOTALL)
_LAST_TIME_S: Final = 4_102_444_800


def sidecar_finder(root: Path) -> Callable[[Path], tuple[str, ...]]:
    """A function from a photo below `root` to the absolute paths of its sidecars.

    XMP is first: `a.jpg.xmp`, then `a.xmp`. Takeout: `a.jpg.supplemental-metadata.json`, cut
    anywhere, `a.jpg.json`, and `a.jpg(1).json` for `a(1).jpg`. An edited photo has the sidecar of
    its original. Case does not matter. A link to a file outside of `root` is no sidecar.
    """
    resolved = root.resolve()

    @lru_cache(maxsize=16)
    def list_sidecars(folder: Path) -> _FolderSidecars:
        return _list_sidecars(folder)

    def find(photo: Path) -> tuple[str, ...]:
        sidecars = list_sidecars(photo.parent)
        names = [
            sidecars.xmp.get(f"{photo.name}.xmp".casefold())
            or sidecars.xmp.get(f"{photo.stem}.xmp".casefold()),
            sidecars.find_takeout(photo),
        ]
        paths = [photo.parent / name for name in names if name]
        return tuple(
            str(path.absolute())
            for path in paths
            if path.is_file() and (not path.is_symlink() or is_below(path, resolved))
        )

    return find


def read_sidecars(metadata_override: MetadataOverride, now: datetime) -> Layer | None:
    """The layer of the sidecars of a photo; None if they have no usable value.

    A sidecar or a value that cannot be used becomes a warning of the layer.

    Args:
        metadata_override: Paths of the sidecars, and the options for clock and zone.
        now: Current time, UTC.
    """
    merged = Layer()
    # The first one has precedence.
    for text in reversed(metadata_override.sidecars):
        path = Path(text)
        try:
            data = read_bytes(path, MAX_SIDECAR_BYTES)
            layer = (
                _read_xmp_layer(data, metadata_override, now)
                if path.suffix.lower() == ".xmp"
                else _read_takeout_layer(data, now)
            )
        except RejectedFileError as refused:
            layer = Layer(warnings=(refused.detail,))
        named = tuple(f"sidecar {path.name}: {warning}" for warning in layer.warnings)
        warnings = limit_warnings((*named, *merged.warnings))
        merged = replace(overlay_layer(merged, replace(layer, warnings=())), warnings=warnings)
    return None if merged.empty else merged


def add_sidecar_values(
    metadata_override: MetadataOverride, sidecars: Sequence[str], now: datetime
) -> MetadataOverride:
    """The override with values of sidecars in those fields that it does not have.

    An upload does not send sidecars, so their values are sent in this way.
    """
    layer = read_sidecars(replace(metadata_override, sidecars=tuple(sidecars)), now)
    if layer is None:
        return metadata_override
    values: dict[str, Any] = {
        name: getattr(layer, name)
        for name in ("captured_at", "heading_deg", "altitude_m", "creator")
        if getattr(metadata_override, name) is None
    }
    if layer.position is not None and metadata_override.lat is metadata_override.lon is None:
        values |= {"lat": layer.position.lat, "lon": layer.position.lon}
    attributes = {**layer.attributes, **metadata_override.attributes}
    return replace(metadata_override, **values, attributes=attributes)


@dataclass(frozen=True, slots=True)
class _FolderSidecars:
    """Names of the sidecars of one folder."""

    xmp: dict[str, str] = field(default_factory=dict)
    """Name in lower case → name."""
    takeout: dict[str, str] = field(default_factory=dict)
    """Name of the photo in lower case, which may be cut → name."""

    def find_takeout(self, photo: Path) -> str | None:
        original = _EDITED.sub("", photo.stem) + photo.suffix
        for name in (photo.name, original):
            key = name.casefold()
            sidecar = self.takeout.get(key) or self.takeout.get(key[:_MAX_TAKEOUT_STEM])
            if sidecar is not None:
                return sidecar
        return None


def _list_sidecars(folder: Path) -> _FolderSidecars:
    sidecars = _FolderSidecars()
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return sidecars
    for name in names:
        lowered = name.casefold()
        if lowered.endswith(".xmp"):
            sidecars.xmp.setdefault(lowered, name)
        elif lowered.endswith(".json"):
            sidecars.takeout.setdefault(_find_photo_name(lowered.removesuffix(".json")), name)
    return sidecars


def _find_photo_name(stem: str) -> str:
    """Name of the photo that a file of Takeout describes: `a.jpg.supple(1)` → `a(1).jpg`."""
    match = _NUMBER.fullmatch(stem)
    plain, number = (match[1], match[2]) if match else (stem, "")
    photo, mark, rest = plain.rpartition(".")
    if mark and "." in photo and SUPPLEMENT.startswith(rest):
        plain = photo
    name = Path(plain)
    return f"{name.stem}{number}{name.suffix}"


def _read_xmp_layer(data: bytes, metadata_override: MetadataOverride, now: datetime) -> Layer:
    xmp = read_xmp(_decode_packet(data))
    if xmp.damaged and not xmp.properties:
        raise RejectedFileError("undecodable", f"it cannot be read: {xmp.damaged}")
    position, notes = choose_position(xmp.positions)
    time = choose_time(list(xmp.clocks), [xmp.satellite] if xmp.satellite else [])
    raw_metadata = RawMetadata(
        captured_at=time.captured_at,
        time_source=time.source,
        time_assumed_utc=time.assumed_utc,
    )
    capture_time = read_file_time(raw_metadata, metadata_override)
    warnings = [
        *notes,
        *time.warnings,
        *xmp.notes,
        *([capture_time.note] if capture_time.note else []),
    ]
    headings = (xmp.heading_deg, xmp.gimbal_heading_deg, xmp.pose_heading_deg)
    return _make_layer(
        (position.lat, position.lon, position.note, position.partial),
        capture_time,
        now,
        warnings,
        heading_deg=next((value for value in headings if value is not None), None),
        altitude_m=xmp.altitude_m,
        creator=xmp.creator,
    )


def _decode_packet(data: bytes) -> bytes | str:
    """The packet as text if its byte order mark says UTF-16, which old programs of Adobe write."""
    if not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data
    text = data.decode("utf-16", "replace")
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text)


def _read_takeout_layer(data: bytes, now: datetime) -> Layer:
    """The layer of a JSON of Takeout; empty for any other JSON.

    Raises:
        RejectedFileError: It is not JSON.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RejectedFileError("undecodable", "it is not JSON that can be read") from error
    if not isinstance(document, dict) or not TAKEOUT_KEYS & set(document):
        return Layer()
    lat, lon, altitude_m = _read_geo_data(document)
    taken = document.get("photoTakenTime")
    seconds = to_finite(taken.get("timestamp")) if isinstance(taken, dict) else None
    moment = None
    if seconds is not None and 0 < abs(seconds) < _LAST_TIME_S:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return _make_layer(
        (lat, lon, "", False), CaptureTime(moment=moment), now, [], altitude_m=altitude_m
    )


def _read_geo_data(
    document: Mapping[str, Any],
) -> tuple[float | None, float | None, float | None]:
    """Latitude, longitude and altitude: those of Google Photos, else those of the camera.

    0/0 marks a photo without a position.
    """
    for name in ("geoData", "geoDataExif"):
        geo = document.get(name)
        if not isinstance(geo, dict):
            continue
        lat, lon = to_finite(geo.get("latitude")), to_finite(geo.get("longitude"))
        if lat is not None and lon is not None and (lat, lon) != (0.0, 0.0):
            return lat, lon, to_finite(geo.get("altitude")) or None
    return None, None, None


def _make_layer(
    position: tuple[float | None, float | None, str, bool],
    capture_time: CaptureTime,
    now: datetime,
    warnings: Sequence[str],
    **values: Any,
) -> Layer:
    """The layer with the position and time that are usable, and a warning for those that are not.

    Args:
        position: Latitude, longitude, a note, and whether only a part exists.
        capture_time: The time.
        now: Current time, UTC.
        warnings: Further warnings.
        values: Other fields of the layer.
    """
    texts = list(warnings)
    point, moment = None, capture_time.moment
    lat, lon, note, is_partial = position
    try:
        if lat is not None or lon is not None or note or is_partial:
            point = Point(*check_position(lat, lon, note, partial=is_partial))
    except RejectedFileError as refused:
        texts.append(f"its position is not used: {refused.detail}")
    try:
        check_time(moment, now)
    except RejectedFileError as refused:
        texts.append(f"its time is not used: {refused.detail}")
        moment = None
    attributes: dict[str, Scalar] = {}
    if moment is not None and capture_time.zone is not None:
        attributes["time_zone"] = capture_time.zone
    values["creator"] = clean_metadata_text(values.get("creator"))
    return Layer(
        position=point,
        captured_at=moment,
        warnings=tuple(texts),
        attributes=attributes,
        **values,
    )
