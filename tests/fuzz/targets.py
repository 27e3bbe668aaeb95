"""What is fuzzed: each target takes bytes and raises `Finding` where a promise is broken.

A promise here: only the errors that a room declares leave it, and what it accepts can be stored,
sent and compared (finite numbers, text that PostgreSQL takes, times inside the calendar).
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import UUID

from PIL import Image

from index_gallery import DIMS, gallery
from pinpoint.errors import BadManifestError, PinpointError, TooLargeError
from pinpoint.media.checks import REASONS, RejectedFileError
from pinpoint.media.decoding.pipe import pack_header, unpack_header
from pinpoint.media.manifests.manifest_files import read_manifest
from pinpoint.media.manifests.manifest_rows import ManifestRow
from pinpoint.media.metadata.capture import FileProperties, make_capture
from pinpoint.media.metadata.file_metadata import read_raw_metadata
from pinpoint.media.metadata.raw_metadata import from_wire, to_wire
from pinpoint.media.renditions import orientation_of
from pinpoint.records import CaptureMetadata, IndexInfo, IndexSpec, MetadataOverride, Rejected
from pinpoint.settings import MediaSettings
from pinpoint.store.db.rows import image_id, override_from_json, override_to_json
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.rpc import codec, handlers, server

NOW = datetime(2026, 1, 1, tzinfo=UTC)
_PICTURE = FileProperties(format="jpeg", width_px=1, height_px=1, sha256="00" * 32, size_bytes=1)
_ORG, _SOURCE = UUID(int=1), UUID(int=2)
_IMAGE = Image.new("RGB", (1, 1))


class FindingError(Exception):
    """A promise that does not hold."""


def exif(data: bytes) -> None:
    """An EXIF block, from bytes to a capture."""
    image = _IMAGE.copy()
    image.info = {"exif": data}
    if orientation_of(image) not in range(1, 9):
        raise FindingError("an orientation that is none")
    _facts(image)


def xmp(data: bytes) -> None:
    """An XMP packet, from bytes to a capture."""
    image = _IMAGE.copy()
    image.info = {"xmp": data}
    _facts(image)


def _facts(image: Image.Image) -> None:
    facts = read_raw_metadata(image)
    # `from_wire` is the parent, which calls a child that says more than it may crashed.
    again = from_wire(unpack_header(pack_header(to_wire(facts))[4:]))
    try:
        capture = make_capture(_PICTURE, again, MetadataOverride(), NOW)
    except RejectedFileError as refused:
        _check_refusal(refused.reason, refused.detail)
        return
    _check_capture(capture)


def csv(data: bytes) -> None:
    """A CSV manifest."""
    _manifest("m.csv", data)


def geojson(data: bytes) -> None:
    """A GeoJSON manifest."""
    _manifest("m.geojson", data)


def _manifest(name: str, data: bytes) -> None:
    path = folder() / name
    path.write_bytes(data)
    settings = MediaSettings(max_manifest_rows=200)
    with _promised(BadManifestError, TooLargeError):
        for row in read_manifest(path, settings):
            if isinstance(row, Rejected):
                _check_refusal(row.error_code, row.error_message)
                _check_text(row.file)
            else:
                _check_row(row)


def _check_row(row: ManifestRow) -> None:
    if not row.file.is_relative_to(folder()) or not row.file.is_file():
        raise FindingError(f"{row.file} is no file of the manifest's folder")
    for text in (row.external_id, row.name):
        _check_text(text)
    image_id(_ORG, _SOURCE, row.external_id, None)
    stored = json.dumps(override_to_json(row.metadata_override), allow_nan=False)
    for key, value in row.metadata_override.attributes.items():
        _check_text(f"{key} {value}")
    if override_from_json(json.loads(stored)) != row.metadata_override:
        raise FindingError("a metadata_override changes on its way through the database")


def frames(data: bytes) -> None:
    """A frame sent to the index owner, and one that reached its engine: both are answered."""
    for reply in (
        server.handle_frame(_Owner(), data),
        handlers.handle_request(_index(), data),
    ):
        fields, _ = codec.decode(reply)
        name, reason, message = fields.get("error", ("", "", ""))
        if name == "IndexUnavailable" and "engine failed" in str(message):
            raise FindingError(
                f"the engine met what should have been refused: {message} ({reason})"
            )


class _Owner:
    """Front of an engine in this process; a build of the next one is not what is fuzzed."""

    def info(self) -> IndexInfo:
        return _index().info()

    def ensure(self, spec: IndexSpec) -> None:
        _index().ensure(spec)

    def rebuild(self, contract: str | None = None) -> None:
        return None

    def progress(self) -> dict[str, object]:
        return {"state": "idle", "build": None, "points": 0, "error": None}

    def exchange(self, frame: bytes) -> bytes:
        return handlers.handle_request(_index(), frame)

    def write(self, ids: Iterable[UUID], frame: bytes) -> bytes:
        set(ids)
        return handlers.handle_request(_index(), frame)


@cache
def _index() -> EdgeIndex:
    index = EdgeIndex(folder() / "index")
    index.ensure(IndexSpec(contract="fuzz", dims=DIMS))
    index.upsert(gallery(20))
    return index


@cache
def folder() -> Path:
    """A folder with a few files that manifests may name; `sweep` takes it away."""
    made = Path(tempfile.mkdtemp(prefix="pinpoint-fuzz-")).resolve()
    (made / "sub").mkdir()
    for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
        (made / name).write_bytes(b"\xff\xd8\xff")
    with_bytes = os.fsencode(made) + b"/\xff.jpg"
    Path(os.fsdecode(with_bytes)).write_bytes(b"\xff\xd8\xff")
    return made


def sweep() -> None:
    """Remove what fuzzing left on the disk."""
    if _index.cache_info().currsize:
        _index().close()
    shutil.rmtree(folder(), ignore_errors=True)


@contextmanager
def _promised(*kinds: type[PinpointError]) -> Iterator[None]:
    try:
        yield
    except kinds as error:
        _check_text(error.message)


def _check_refusal(reason: str, detail: str) -> None:
    if reason not in REASONS:
        raise FindingError(f"unknown reason {reason!r}")
    _check_text(detail)


def _check_capture(capture: CaptureMetadata) -> None:
    point = capture.point
    if not (abs(point.lat) <= 90 and abs(point.lon) <= 180):
        raise FindingError(f"{point} is not on Earth")
    for number in (capture.heading_deg, capture.altitude_m):
        if number is not None and not math.isfinite(number):
            raise FindingError(f"{number} is not finite")
    if (capture.captured_at is None) != (capture.time_source is None):
        raise FindingError(f"{capture.captured_at} is from {capture.time_source}")
    if capture.captured_at is not None:
        capture.captured_at.isoformat()
        codec.check_aware_time(capture.captured_at)
    for text in (
        capture.camera,
        capture.creator,
        *capture.warnings,
        *capture.attributes,
        *capture.attributes.values(),
    ):
        if isinstance(text, str):
            _check_text(text)


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise FindingError(f"PostgreSQL keeps no NUL: {text[:80]!r}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise FindingError(f"this cannot be UTF-8: {text[:80]!r}") from error


TARGETS: dict[str, Callable[[bytes], None]] = {
    "exif": exif,
    "xmp": xmp,
    "csv": csv,
    "geojson": geojson,
    "frames": frames,
}
