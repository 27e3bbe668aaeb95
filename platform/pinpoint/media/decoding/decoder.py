"""Decodes untrusted files in limited child processes; implements `ports.Decoder`.

Parent and child communicate over pipes (`pipe`). A file that crashes its child fails alone.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import numpy as np

from pinpoint.errors import UnavailableError
from pinpoint.media.c2pa.reader import C2paReader
from pinpoint.media.checks import REASONS, RejectedFileError, rejected
from pinpoint.media.decoding.child_process import CHILD_MODULE, ChildProcess
from pinpoint.media.decoding.decode_request import (
    LONGEST_SIDES,
    THREADS,
    DecodeRequest,
    JpegRequest,
)
from pinpoint.media.decoding.pipe import Header, PipeBrokenError, TimedPipes
from pinpoint.media.files import check_file_size, read_bytes, sha256
from pinpoint.media.metadata.capture import (
    FileProperties,
    make_capture,
    make_claim,
    query_capture,
)
from pinpoint.media.metadata.raw_metadata import RawMetadata, from_wire
from pinpoint.media.panoramas import FACES
from pinpoint.media.sniff import HEAD_BYTES, guess_format, sniff_format
from pinpoint.records import (
    C2paClaim,
    Crop,
    DecodedImage,
    ImageFace,
    MetadataOverride,
    Pixels,
    Rejected,
)
from pinpoint.settings import MediaSettings

_TURNS: Final = dict(FACES)
_MAX_THUMBNAIL_BYTES: Final = 4_000_000

MAX_ATTEMPTS: Final = 2
"""Maximum number of children for one file; the first may have died for another reason."""
_RETRIED_REASONS: Final = frozenset({"decoder_crashed", "out_of_memory"})
"""Reasons for a second attempt. `timeout` is not one: it would double the maximum time of 64 files,
which is 256 s with two children."""

DecodedFace = tuple[str | None, Pixels, bytes]
T = TypeVar("T")
AnswerReader = Callable[[Header, TimedPipes, float], T]


class ChildDecoder:
    """A pool of decoding children; thread-safe, each call uses one child.

    Args:
        settings: Limits and sizes.
        children: Number of files decoded concurrently. Children start on first use.
        module: Module that the children run.
    """

    def __init__(
        self, settings: MediaSettings, children: int = 1, module: str = CHILD_MODULE
    ) -> None:
        if children < 1:
            raise ValueError("a decoder needs at least one child")
        self._settings = settings
        self._lock = threading.Lock()
        self._closed = False
        self._children = [ChildProcess(settings, module) for _ in range(children)]
        # Last in, first out: decoding one file at a time uses only one child.
        self._free_children: queue.LifoQueue[ChildProcess] = queue.LifoQueue()
        for child in self._children:
            self._free_children.put(child)
        self._c2pa_reader = C2paReader(settings, children)

    @property
    def children(self) -> int:
        """Number of files decoded concurrently."""
        return len(self._children)

    def pids(self) -> tuple[int, ...]:
        """Process ids of the running children."""
        return tuple(child.pid for child in self._children if child.pid is not None)

    def read(
        self,
        file: str,
        data: bytes | str,
        metadata_override: MetadataOverride | None = None,
        *,
        query: bool = False,
        crop: Crop | None = None,
    ) -> DecodedImage | Rejected:
        """Read one file; see `ports.Decoder.read`.

        Raises:
            UnavailableError: No child can be started, or the decoder is closed.
        """
        self._check_open()
        try:
            return self._read_file(data, metadata_override or MetadataOverride(), query, crop)
        except RejectedFileError as refused:
            return rejected(file, refused.reason, refused.detail)

    def convert_to_jpeg(
        self, file: str, data: bytes, *, width: int | None = None, face: str | None = None
    ) -> bytes | Rejected:
        """Convert one file to a JPEG; see `ports.JpegConverter.convert_to_jpeg`.

        Raises:
            UnavailableError: No child can be started, or the decoder is closed.
        """
        self._check_open()
        settings = self._settings
        try:
            request = JpegRequest(
                size=len(data),
                format=_find_format(data, settings.max_bytes),
                max_pixels=settings.max_pixels,
                max_frames=settings.max_frames,
                max_metadata_bytes=settings.max_metadata_bytes,
                cpu_s=THREADS * settings.timeout_s + 1.0,
                width=width,
                face=face,
            )
            return self._exchange(request, data, partial(_read_jpeg, request))
        except RejectedFileError as refused:
            return rejected(file, refused.reason, refused.detail)

    def read_c2pa(self, data: bytes) -> C2paClaim:
        """Read the C2PA manifest of one file; see `ports.Decoder.read_c2pa`."""
        self._check_open()
        return self._c2pa_reader.read(data)

    def close(self) -> None:
        """End the children after their current files; repeated calls have no effect."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        # Only free children are ended, because a thread may still use the pipes of a busy one.
        for child in [self._free_children.get() for _ in self._children]:
            child.kill()
            self._free_children.put(child)
        self._c2pa_reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the decoder is closed", reason="decoder_unavailable")

    def _read_file(
        self,
        data: bytes | str,
        metadata_override: MetadataOverride,
        query: bool,
        crop: Crop | None,
    ) -> DecodedImage:
        settings = self._settings
        if isinstance(data, str):
            data = read_bytes(Path(data), settings.max_bytes)
        kind = _find_format(data, settings.max_bytes)
        request = self._make_request(len(data), kind, metadata_override, query)
        if crop is not None:
            request = replace(request, crop=(crop.x, crop.y, crop.width, crop.height))
        answer = self._exchange(request, data, partial(_read_answer, request))
        return answer.reading(data, metadata_override, query)

    def _exchange(
        self, request: DecodeRequest | JpegRequest, data: bytes, read_answer: AnswerReader[T]
    ) -> T:
        """Send one file to a free child, and to a new child if the first one died.

        Raises:
            RejectedFileError: The child refused the file, or the last child died.
        """
        child = self._free_children.get()
        try:
            self._check_open()
            for _ in range(MAX_ATTEMPTS - 1):
                try:
                    return child.exchange(request.to_wire(), data, read_answer)
                except RejectedFileError as refused:
                    if refused.reason not in _RETRIED_REASONS:
                        raise
            return child.exchange(request.to_wire(), data, read_answer)
        finally:
            self._free_children.put(child)

    def _make_request(
        self, size: int, kind: str, metadata_override: MetadataOverride, query: bool
    ) -> DecodeRequest:
        settings = self._settings
        has_position = bool(
            (metadata_override.lat, metadata_override.lon, metadata_override.track)
            != (None, None, None)
            or metadata_override.sidecars
        ) or any(layer.position is not None for layer in metadata_override.stored_layers.values())
        return DecodeRequest(
            size=size,
            format=kind,
            need_position=not (query or has_position),
            query=query,
            crop=None,
            max_pixels=settings.max_pixels,
            max_frames=settings.max_frames,
            max_metadata_bytes=settings.max_metadata_bytes,
            rendition_px=settings.rendition_px,
            thumbnail_px=settings.thumbnail_px,
            cpu_s=THREADS * settings.timeout_s + 1.0,
        )


def _find_format(data: bytes, max_bytes: int) -> str:
    """Format of a file by its first bytes.

    Raises:
        RejectedFileError: `empty_file`, `too_large` or `unsupported_format`.
    """
    check_file_size(len(data), max_bytes)
    kind = sniff_format(data[:HEAD_BYTES])
    if kind is None:
        format_name = guess_format(data[:HEAD_BYTES])
        raise RejectedFileError(
            "unsupported_format", f"{format_name}; JPEG, HEIC, AVIF, WebP, PNG, TIFF are read"
        )
    return kind


class _ChildAnswer:
    """A child's answer for one file, with all sizes and ranges checked."""

    __slots__ = ("_raw_metadata", "_faces", "_format", "_panorama", "_size")

    def __init__(
        self,
        kind: str,
        raw_metadata: RawMetadata,
        size: tuple[int, int],
        panorama: tuple[int, int] | None,
        faces: list[DecodedFace],
    ) -> None:
        self._format, self._raw_metadata, self._size = kind, raw_metadata, size
        self._panorama, self._faces = panorama, faces

    def reading(
        self, data: bytes, metadata_override: MetadataOverride, query: bool
    ) -> DecodedImage:
        """The record of the decoded file.

        Raises:
            RejectedFileError: The file has no usable position or time.
        """
        properties = FileProperties(
            format=self._format,
            width_px=self._size[0],
            height_px=self._size[1],
            sha256=sha256(data),
            size_bytes=len(data),
            panorama=self._panorama,
        )
        if query:
            capture = query_capture(properties, self._raw_metadata.creator)
        else:
            capture = make_capture(
                properties, self._raw_metadata, metadata_override, datetime.now(UTC)
            )
        if not self._faces:
            raise RejectedFileError("decoder_crashed", "the decoding child sent no image")
        faces = tuple(
            ImageFace(
                name=name,
                heading_deg=_face_heading(name, capture.heading_deg),
                turn_deg=0.0 if name is None else _TURNS[name],
                pixels=pixels,
                thumbnail=small,
            )
            for name, pixels, small in self._faces
        )
        claim = make_claim(self._raw_metadata) if query else None
        return DecodedImage(capture=capture, faces=faces, claim=claim)


def _face_heading(name: str | None, heading_deg: float | None) -> float | None:
    if name is None or heading_deg is None:
        return heading_deg
    return (heading_deg + _TURNS[name]) % 360.0


def _read_answer(
    request: DecodeRequest, header: Header, pipes: TimedPipes, deadline: float
) -> _ChildAnswer:
    """Read and validate a child's answer; the child is not trusted.

    Raises:
        RejectedFileError: The child refused the file.
        PipeBrokenError: The answer is not valid.
    """
    _raise_refusal(header)
    try:
        raw_metadata = from_wire(header.get("metadata"))
        size = _check_dimensions(header.get("width"), header.get("height"), request.max_pixels)
        sphere = header.get("panorama")
        panorama = (
            _check_dimensions(sphere[0], sphere[1], 2**40) if isinstance(sphere, list) else None
        )
        shapes = _check_shapes(header.get("faces"), request)
    except (ValueError, TypeError, IndexError) as error:
        raise PipeBrokenError(f"nonsense from the child: {error}") from error
    faces: list[DecodedFace] = []
    for name, height, width, small in shapes:
        pixels = np.frombuffer(pipes.body(height * width * 3, deadline), dtype=np.uint8)
        thumbnail = bytes(pipes.body(small, deadline))
        if small and not thumbnail.startswith(b"\xff\xd8"):
            raise PipeBrokenError("a thumbnail that is no JPEG")
        faces.append((name, pixels.reshape(height, width, 3), thumbnail))
    return _ChildAnswer(request.format, raw_metadata, size, panorama, faces)


def _read_jpeg(request: JpegRequest, header: Header, pipes: TimedPipes, deadline: float) -> bytes:
    """Read and validate a JPEG from a child; the child is not trusted.

    Raises:
        RejectedFileError: The child refused the file.
        PipeBrokenError: The answer is not valid.
    """
    _raise_refusal(header)
    size = header.get("bytes")
    # Encoding adds at most a few bytes to three of each pixel, or removes segments of the file.
    if not isinstance(size, int) or not 0 < size <= request.size + 4 * request.max_pixels:
        raise PipeBrokenError("a JPEG's size makes no sense")
    jpeg = bytes(pipes.body(size, deadline))
    if not jpeg.startswith(b"\xff\xd8"):
        raise PipeBrokenError("a file that is no JPEG")
    return jpeg


def _raise_refusal(header: Header) -> None:
    """Raise the refusal of a child's answer, if it is one."""
    if "reason" not in header:
        return
    reason, detail = header["reason"], header.get("detail")
    if reason not in REASONS or not isinstance(detail, str):
        raise PipeBrokenError("a refusal without a known reason")
    raise RejectedFileError(str(reason), detail[:300])


def _check_dimensions(width: object, height: object, max_pixels: int) -> tuple[int, int]:
    if not isinstance(width, int) or not isinstance(height, int):
        raise ValueError("a size is no number")
    if width < 1 or height < 1 or width * height > max_pixels:
        raise ValueError(f"a size of {width} x {height}")
    return width, height


def _check_shapes(value: object, request: DecodeRequest) -> list[tuple[str | None, int, int, int]]:
    """`(name, height, width, thumbnail bytes)` of no face, of one photo, or of all faces."""
    if not isinstance(value, list):
        raise ValueError("faces are no list")
    names = [item[0] for item in value if isinstance(item, list) and len(item) == 4]
    if names not in ([], [None], [name for name, _ in FACES]) or len(names) != len(value):
        raise ValueError("faces are not named as faces are")
    shapes = []
    for name, height, width, small in value:
        _check_dimensions(width, height, (LONGEST_SIDES * request.rendition_px) ** 2)
        if min(height, width) > request.rendition_px:
            raise ValueError("a rendition is too large")
        if not isinstance(small, int) or not 0 <= small <= _MAX_THUMBNAIL_BYTES:
            raise ValueError("a thumbnail's size makes no sense")
        if (small == 0) != request.query:
            raise ValueError("a thumbnail where none was asked for, or none where one was")
        shapes.append((name, height, width, small))
    return shapes
