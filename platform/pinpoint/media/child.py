"""The decoding child: `python -m pinpoint.media.child LIMITS`, one hostile file after another.

Imports Pillow, pillow-heif, numpy, msgpack and defusedxml; never torch, SQL or settings. It gets
bytes, never paths, and may neither write files nor use more memory and time than its limits.
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
from types import FrameType
from typing import BinaryIO

from PIL import AvifImagePlugin, Image, ImageFile, PngImagePlugin

from pinpoint.media.checks import Refused
from pinpoint.media.picture import open_picture, read_picture
from pinpoint.media.request import THREADS, Ask
from pinpoint.media.wire import read_header, write_all

_PR_SET_PDEATHSIG = 1
_OPEN_FILES = 32


def main(argv: list[str]) -> int:
    """Serve files from stdin to stdout until the parent closes."""
    limits = json.loads(argv[1])
    _die_with(int(limits["parent"]))
    _prepare(int(limits["max_metadata_bytes"]))
    stream_in, stream_out = _take_pipes()
    _confine(int(limits["memory_mb"]))
    write_all(stream_out, {"ready": True}, ())
    while (header := read_header(stream_in)) is not None:
        ask = Ask.from_wire(header)
        data = stream_in.read(ask.size)
        if len(data) < ask.size:
            break
        _allow_cpu(ask.cpu_s)
        _answer(stream_out, data, ask)
        del data
    return 0


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
    """Pillow's own limits, where they are not ours; plug-ins loaded before the walls close."""
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
    Image.init()


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The real stdin and stdout; what libraries print goes nowhere."""
    stream_in = os.fdopen(os.dup(0), "rb", buffering=1 << 20)
    stream_out = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    return stream_in, stream_out


def _confine(memory_mb: int) -> None:
    """Limits that this process cannot lift again (except CPU time, which grows per file)."""
    memory = memory_mb * 1_000_000
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


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
