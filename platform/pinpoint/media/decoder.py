"""Reads hostile files in limited child processes; implements `ports.Decoder`.

Parent and child speak over pipes (`wire`); whatever a file does to its child costs that file.
"""

from __future__ import annotations

import queue
import threading
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import numpy as np

from pinpoint.errors import Unavailable
from pinpoint.media.capture import Picture, make_capture, query_capture
from pinpoint.media.checks import REASONS, Refused, rejected
from pinpoint.media.facts import Facts, from_wire
from pinpoint.media.files import check_size, read_bytes, sha256
from pinpoint.media.panoramas import FACES
from pinpoint.media.process import CHILD_MODULE, ChildProcess
from pinpoint.media.request import LONGEST_SIDES, THREADS, Ask
from pinpoint.media.sniff import HEAD_BYTES, guess, sniff
from pinpoint.media.wire import BrokenWire, Header, TimedPipes
from pinpoint.records import Face, Hint, Pixels, Reading, Rejected
from pinpoint.settings import MediaSettings

_TURNS: Final = dict(FACES)
_MAX_THUMBNAIL_BYTES: Final = 4_000_000

TRIES: Final = 2
"""Children that one file may cost: the first may have died of something else."""
_AGAIN: Final = frozenset({"decoder_crashed", "out_of_memory"})
"""Not `timeout`: it would double the longest time that 64 files can take, in two children 256 s."""

Cut = tuple[str | None, Pixels, bytes]


class ChildDecoder:
    """A pool of decoding children; thread-safe, each call uses one child.

    Args:
        settings: Limits and sizes.
        children: How many files are decoded at once. Children start when first needed.
        module: What the children run.
    """

    def __init__(
        self, settings: MediaSettings, children: int = 1, module: str = CHILD_MODULE
    ) -> None:
        if children < 1:
            raise ValueError("a decoder needs at least one child")
        self._settings = settings
        self._lock = threading.Lock()
        self._closed = False
        self._all = [ChildProcess(settings, module) for _ in range(children)]
        # Last in, first out: who decodes one file at a time keeps only one child alive.
        self._free: queue.LifoQueue[ChildProcess] = queue.LifoQueue()
        for child in self._all:
            self._free.put(child)

    @property
    def children(self) -> int:
        """How many files are decoded at once."""
        return len(self._all)

    def pids(self) -> tuple[int, ...]:
        """Process ids of the children that run."""
        return tuple(child.pid for child in self._all if child.pid is not None)

    def read(
        self, file: str, data: bytes | str, hint: Hint | None = None, *, query: bool = False
    ) -> Reading | Rejected:
        """Read one file; see `ports.Decoder.read`.

        Raises:
            Unavailable: No child can be started, or the decoder is closed.
        """
        self._check_open()
        try:
            return self._read(data, hint or Hint(), query)
        except Refused as refused:
            return rejected(file, refused.reason, refused.detail)

    def close(self) -> None:
        """End the children once their files are read; closing twice changes nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        # Only a free child may be ended: its pipes' numbers must not be used by anybody else.
        for child in [self._free.get() for _ in self._all]:
            child.kill()
            self._free.put(child)

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
            raise Unavailable("the decoder is closed", reason="decoder_unavailable")

    def _read(self, data: bytes | str, hint: Hint, query: bool) -> Reading:
        settings = self._settings
        if isinstance(data, str):
            data = read_bytes(Path(data), settings.max_bytes)
        check_size(len(data), settings.max_bytes)
        kind = sniff(data[:HEAD_BYTES])
        if kind is None:
            what = guess(data[:HEAD_BYTES])
            raise Refused(
                "unsupported_format", f"{what}; JPEG, HEIC, AVIF, WebP, PNG, TIFF are read"
            )
        ask = self._ask(len(data), kind, hint, query)
        child = self._free.get()
        try:
            self._check_open()
            answer = _exchange(child, ask, data)
        finally:
            self._free.put(child)
        return answer.reading(data, hint, query)

    def _ask(self, size: int, kind: str, hint: Hint, query: bool) -> Ask:
        settings = self._settings
        elsewhere = (hint.lat, hint.lon, hint.track) != (None, None, None) or any(
            layer.position is not None for layer in hint.stored_layers.values()
        )
        return Ask(
            size=size,
            format=kind,
            need_position=not (query or elsewhere),
            query=query,
            max_pixels=settings.max_pixels,
            max_frames=settings.max_frames,
            max_metadata_bytes=settings.max_metadata_bytes,
            rendition_px=settings.rendition_px,
            thumbnail_px=settings.thumbnail_px,
            cpu_s=THREADS * settings.timeout_s + 1.0,
        )


def _exchange(child: ChildProcess, ask: Ask, data: bytes) -> _Answer:
    """One file through one child, and through a fresh one where the first did not survive it.

    Raises:
        Refused: What the child found, or how its last successor ended.
    """
    for _ in range(TRIES - 1):
        try:
            return child.exchange(ask.to_wire(), data, partial(_take, ask))
        except Refused as refused:
            if refused.reason not in _AGAIN:
                raise
    return child.exchange(ask.to_wire(), data, partial(_take, ask))


class _Answer:
    """What a child said of one file, every size and range checked."""

    __slots__ = ("_facts", "_faces", "_format", "_panorama", "_size")

    def __init__(
        self,
        kind: str,
        facts: Facts,
        size: tuple[int, int],
        panorama: tuple[int, int] | None,
        faces: list[Cut],
    ) -> None:
        self._format, self._facts, self._size = kind, facts, size
        self._panorama, self._faces = panorama, faces

    def reading(self, data: bytes, hint: Hint, query: bool) -> Reading:
        """The record that leaves the room.

        Raises:
            Refused: The file has no usable position or time.
        """
        picture = Picture(
            format=self._format,
            width_px=self._size[0],
            height_px=self._size[1],
            sha256=sha256(data),
            size_bytes=len(data),
            panorama=self._panorama,
        )
        if query:
            capture = query_capture(picture)
        else:
            capture = make_capture(picture, self._facts, hint, datetime.now(UTC))
        if not self._faces:
            raise Refused("decoder_crashed", "the decoding child sent no picture")
        faces = tuple(
            Face(
                name=name,
                heading_deg=_face_heading(name, capture.heading_deg),
                turn_deg=0.0 if name is None else _TURNS[name],
                pixels=pixels,
                thumbnail=small,
            )
            for name, pixels, small in self._faces
        )
        return Reading(capture=capture, faces=faces)


def _face_heading(name: str | None, heading_deg: float | None) -> float | None:
    if name is None or heading_deg is None:
        return heading_deg
    return (heading_deg + _TURNS[name]) % 360.0


def _take(ask: Ask, header: Header, pipes: TimedPipes, deadline: float) -> _Answer:
    """Read a child's answer without believing a word of it.

    Raises:
        Refused: What the child found.
        BrokenWire: The answer is not one a child gives.
    """
    if "reason" in header:
        reason, detail = header["reason"], header.get("detail")
        if reason not in REASONS or not isinstance(detail, str):
            raise BrokenWire("a refusal without a known reason")
        raise Refused(str(reason), detail[:300])
    try:
        facts = from_wire(header.get("facts"))
        size = _pair(header.get("width"), header.get("height"), ask.max_pixels)
        sphere = header.get("panorama")
        panorama = _pair(sphere[0], sphere[1], 2**40) if isinstance(sphere, list) else None
        shapes = _shapes(header.get("faces"), ask)
    except (ValueError, TypeError, IndexError) as error:
        raise BrokenWire(f"nonsense from the child: {error}") from error
    faces: list[Cut] = []
    for name, height, width, small in shapes:
        pixels = np.frombuffer(pipes.body(height * width * 3, deadline), dtype=np.uint8)
        thumbnail = bytes(pipes.body(small, deadline))
        if small and not thumbnail.startswith(b"\xff\xd8"):
            raise BrokenWire("a thumbnail that is no JPEG")
        faces.append((name, pixels.reshape(height, width, 3), thumbnail))
    return _Answer(ask.format, facts, size, panorama, faces)


def _pair(width: object, height: object, most: int) -> tuple[int, int]:
    if not isinstance(width, int) or not isinstance(height, int):
        raise ValueError("a size is no number")
    if width < 1 or height < 1 or width * height > most:
        raise ValueError(f"a size of {width} x {height}")
    return width, height


def _shapes(value: object, ask: Ask) -> list[tuple[str | None, int, int, int]]:
    """`(name, height, width, thumbnail bytes)` of no face, one photo, or the faces in order."""
    if not isinstance(value, list):
        raise ValueError("faces are no list")
    names = [item[0] for item in value if isinstance(item, list) and len(item) == 4]
    if names not in ([], [None], [name for name, _ in FACES]) or len(names) != len(value):
        raise ValueError("faces are not named as faces are")
    shapes = []
    for name, height, width, small in value:
        _pair(width, height, (LONGEST_SIDES * ask.rendition_px) ** 2)
        if min(height, width) > ask.rendition_px:
            raise ValueError("a rendition is too large")
        if not isinstance(small, int) or not 0 <= small <= _MAX_THUMBNAIL_BYTES:
            raise ValueError("a thumbnail's size makes no sense")
        if (small == 0) != ask.query:
            raise ValueError("a thumbnail where none was asked for, or none where one was")
        shapes.append((name, height, width, small))
    return shapes
