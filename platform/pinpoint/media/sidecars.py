"""Classifies the files of a folder that are not photos: tracks, manifests, sidecars."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pinpoint.media.files import SIDECARS, find_files
from pinpoint.media.manifests.manifest_files import is_manifest, names_files
from pinpoint.media.sidecar_files import SUPPLEMENT, TAKEOUT_KEYS

OtherKind = Literal["track", "manifest", "xmp", "takeout", "json", "other_track", "other"]
"""`xmp`: sidecars of Adobe and exiftool; `takeout`: Google Photos; `json`: other JSON named after a
photo, or of exiftool; `other_track`: tracks in formats other than GPX."""

SIDECAR_KINDS: Final[tuple[OtherKind, ...]] = ("xmp", "takeout")
"""Kinds that are read with the photo that they are named after (`media.sidecar_files`)."""
UNREAD_KINDS: Final[tuple[OtherKind, ...]] = ("json", "other_track")
"""Kinds that may contain positions and times of photos, and are not read."""
LABELS: Final = {
    "xmp": "XMP",
    "takeout": "Google Takeout",
    "json": "other JSON",
    "other_track": "track that is not GPX",
}
MAX_CLASSIFIED_BYTES: Final = 16_000_000
"""Maximum size of JSON files that are opened for classification."""

_PHOTO_NAME = re.compile(
    r".+\.(?:jpe?g|jpe|hei[cf]|avif|webp|png|tiff?|dng|gif|mp4|mov|insp|360|cr2|cr3|nef|arw|rw2|orf"
    r"|raf)(?:[.(_-].*)?",
    re.IGNORECASE,
)
_EXIFTOOL_KEYS: Final = frozenset({"SourceFile"})
_TRACKS: Final = frozenset({".kml", ".kmz", ".tcx", ".fit", ".nmea", ".igc"})


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFile:
    """A file below a folder that is not tried as a photo."""

    name: str
    """Relative to the folder."""
    kind: OtherKind


def find_other_files(root: Path) -> Iterator[OtherFile]:
    """Files that are not tried as photos, sorted, with their kinds.

    JSON files up to `MAX_CLASSIFIED_BYTES` are opened if their names are not sufficient. Folders
    that cannot be opened are skipped; the reader of the photos reports them.

    Raises:
        NotADirectoryError: `root` is not a folder.
    """
    for path in find_files(root, lambda folder, error: None):
        if path.suffix.lower() in SIDECARS:
            name = path.relative_to(root).as_posix()
            yield OtherFile(name=name, kind=classify_file(path))


def classify_file(path: Path) -> OtherKind:
    """The kind of a file that is not tried as a photo."""
    suffix = path.suffix.lower()
    if suffix == ".gpx":
        return "track"
    if suffix == ".xmp":
        return "xmp"
    if suffix in _TRACKS:
        return "other_track"
    if suffix in (".json", ".geojson"):
        return _classify_json(path)
    return "manifest" if is_manifest(path) and names_files(path) else "other"


def is_takeout_name(name: str) -> bool:
    """Whether a name has a form of Google Takeout: `a.jpg[.supplemental-metadata].json`.

    The second part is truncated at any character if the name is too long, and a number in
    parentheses may follow: `a.jpg.supplemental-me(1).json`.
    """
    stem = re.sub(r"\(\d+\)$", "", name.removesuffix(".json"))
    photo, _, rest = stem.rpartition(".")
    return bool(rest) and SUPPLEMENT.startswith(rest) and bool(_PHOTO_NAME.fullmatch(photo))


def _classify_json(path: Path) -> OtherKind:
    """Kind of a JSON document, by its name if that is certain, otherwise by its keys."""
    if is_takeout_name(path.name):
        return "takeout"
    keys = _read_keys(path)
    if keys & TAKEOUT_KEYS:
        return "takeout"
    if names_files(path):
        return "manifest"
    return "json" if keys & _EXIFTOOL_KEYS or _PHOTO_NAME.fullmatch(path.stem) else "other"


def _read_keys(path: Path) -> set[str]:
    """Keys of an object, or of the first objects of a list; empty if it cannot be read."""
    try:
        if path.stat().st_size > MAX_CLASSIFIED_BYTES:
            return set()
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return set()
    objects = document if isinstance(document, list) else [document]
    return {key for entry in objects[:10] if isinstance(entry, dict) for key in entry}
