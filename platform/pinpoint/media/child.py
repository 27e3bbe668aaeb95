"""The decoding child: `python -m pinpoint.media.child LIMITS`, one hostile file after another.

Imports Pillow, pillow-heif, numpy, msgpack and defusedxml; never torch, SQL or settings. It gets
bytes, never paths. Before the first file it gives up everything else (`sandbox.confine`), so code
that runs here imports nothing inside functions and opens no file.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import resource
import signal
import sys
import warnings
from collections.abc import Iterable, Mapping
from types import FrameType
from typing import BinaryIO

from PIL import AvifImagePlugin, Image, ImageFile, PngImagePlugin

from pinpoint.media.checks import Refused
from pinpoint.media.picture import open_picture, read_picture
from pinpoint.media.request import THREADS, Ask
from pinpoint.media.sandbox import Measure, confine
from pinpoint.media.warmup import load_everything
from pinpoint.media.wire import read_header, write_all

_PR_SET_PDEATHSIG = 1
_MANY_FILES = 65_536
"""Descriptors looked at when all are closed: the system's own limit may be a billion."""


def main(argv: list[str]) -> int:
    """Serve files from stdin to stdout until the parent closes."""
    stream_in, stream_out, measures = start_confined(json.loads(argv[1]))
    write_ready(stream_out, measures)
    while (header := read_header(stream_in)) is not None:
        ask = Ask.from_wire(header)
        data = stream_in.read(ask.size)
        if len(data) < ask.size:
            break
        _allow_cpu(ask.cpu_s)
        _answer(stream_out, data, ask)
        del data
    return 0


def start_confined(
    limits: Mapping[str, int],
) -> tuple[BinaryIO, BinaryIO, tuple[Measure, ...]]:
    """Load everything, then give up all but two pipes.

    Args:
        limits: `parent` (process id), `max_metadata_bytes`, `memory_mb`.

    Returns:
        The pipe to read, the pipe to write, and what holds.
    """
    parent = int(limits["parent"])
    _die_with(parent)
    _prepare(int(limits["max_metadata_bytes"]))
    load_everything()
    stream_in, stream_out = _take_pipes()
    measures = confine(int(limits["memory_mb"]) * 1_000_000, lambda: _die_with(parent))
    return stream_in, stream_out, measures


def write_ready(stream: BinaryIO, measures: Iterable[Measure]) -> None:
    """The first message: what holds of the sandbox."""
    write_all(stream, {"ready": True, "sandbox": [one.to_wire() for one in measures]}, ())


def _answer(stream: BinaryIO, data: bytes, ask: Ask) -> None:
    """One file, one message: a refusal, or facts and faces."""
    try:
        header, chunks = read_picture(open_picture(data, ask), ask)
    except Refused as refused:
        header, chunks = {"reason": refused.reason, "detail": refused.detail[:300]}, []
    except MemoryError:
        header, chunks = {"reason": "out_of_memory", "detail": "over the memory limit"}, []
    write_all(stream, header, chunks)


def _prepare(max_metadata_bytes: int) -> None:
    """Pillow's own limits, where they are not ours; plug-ins registered."""
    import pillow_heif

    threads = min(THREADS, os.cpu_count() or 1)
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # `picture` checks pixels itself, against the setting
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    PngImagePlugin.MAX_TEXT_CHUNK = max_metadata_bytes
    PngImagePlugin.MAX_TEXT_MEMORY = max_metadata_bytes
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.DEPTH_IMAGES = False
    pillow_heif.options.AUX_IMAGES = False
    pillow_heif.options.DECODE_THREADS = threads
    AvifImagePlugin.DEFAULT_MAX_THREADS = threads
    pillow_heif.register_heif_opener()


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The real stdin and stdout, and no other descriptor; what libraries print goes nowhere."""
    stream_in = os.fdopen(os.dup(0), "rb", buffering=1 << 20)
    stream_out = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    first, last = sorted((stream_in.fileno(), stream_out.fileno()))
    for low, high in ((3, first), (first + 1, last), (last + 1, _MANY_FILES)):
        os.closerange(low, high)
    return stream_in, stream_out


def _allow_cpu(seconds: float) -> None:
    """CPU time for the next file, on top of what earlier files used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(usage.ru_utime + usage.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _die_with(parent: int) -> None:
    """End when the parent ends.

    The kernel sends the signal when the *thread* that started us ends, so the handler looks
    whether the process is gone too. A child that waits sees its pipe close anyway.
    """

    def look(_signal: int, _frame: FrameType | None) -> None:
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, look)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
