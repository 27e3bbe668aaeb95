"""The decoding child: `python -m pinpoint.media.decoding.child LIMITS`.

Imports Pillow, pillow-heif, numpy, msgpack and defusedxml; never torch, SQL or settings. It gets
bytes, never paths. It drops all other rights before the first file (`sandbox.confine`). Code that
runs here therefore imports nothing inside functions and opens no file.
"""

from __future__ import annotations

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

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.decoding.decode_request import (
    THREADS,
    DecodeRequest,
    JpegRequest,
    read_request,
)
from pinpoint.media.decoding.image_reader import open_image, read_image
from pinpoint.media.decoding.jpeg_writer import write_jpeg
from pinpoint.media.decoding.pipe import read_header, write_all
from pinpoint.media.decoding.sandbox import Measure, confine
from pinpoint.media.decoding.warmup import load_everything
from pinpoint.parent_death import prepare_death_signal

_MAX_DESCRIPTORS = 65_536
"""Descriptors that are closed at the start; the limit of the system may be a billion."""


def main(argv: list[str]) -> int:
    """Serve files from stdin to stdout until the parent closes."""
    stream_in, stream_out, measures = start_confined(json.loads(argv[1]))
    write_ready(stream_out, measures)
    while (header := read_header(stream_in)) is not None:
        request = read_request(header)
        data = stream_in.read(request.size)
        if len(data) < request.size:
            break
        _set_cpu_limit(request.cpu_s)
        _handle_request(stream_out, data, request)
        del data
    return 0


def start_confined(
    limits: Mapping[str, int],
) -> tuple[BinaryIO, BinaryIO, tuple[Measure, ...]]:
    """Load all modules, then drop all rights except two pipes.

    Args:
        limits: `parent` (process id), `max_metadata_bytes`, `memory_mb`.

    Returns:
        The pipe to read, the pipe to write, and the measures of the sandbox.
    """
    parent = int(limits["parent"])
    _exit_with_parent(parent)
    _configure_decoders(int(limits["max_metadata_bytes"]))
    load_everything()
    stream_in, stream_out = _take_pipes()
    measures = confine(int(limits["memory_mb"]) * 1_000_000, lambda: _exit_with_parent(parent))
    return stream_in, stream_out, measures


def write_ready(stream: BinaryIO, measures: Iterable[Measure]) -> None:
    """Write the first message: the measures of the sandbox."""
    write_all(stream, {"ready": True, "sandbox": [measure.to_wire() for measure in measures]}, ())


def _handle_request(stream: BinaryIO, data: bytes, request: DecodeRequest | JpegRequest) -> None:
    """Write one message for one file: a refusal, metadata and faces, or a JPEG."""
    try:
        image = open_image(data, request)
        if isinstance(request, JpegRequest):
            header, chunks = write_jpeg(image, request)
        else:
            header, chunks = read_image(image, request)
    except RejectedFileError as refused:
        header, chunks = {"reason": refused.reason, "detail": refused.detail[:300]}, []
    except MemoryError:
        header, chunks = {"reason": "out_of_memory", "detail": "over the memory limit"}, []
    write_all(stream, header, chunks)


def _configure_decoders(max_metadata_bytes: int) -> None:
    """Set the limits of the decoders and register their plug-ins."""
    import pillow_heif

    threads = min(THREADS, os.cpu_count() or 1)
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None  # `image_reader` checks pixels against the setting
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
    """Take over stdin and stdout and close all other descriptors; discard prints of libraries."""
    stream_in = os.fdopen(os.dup(0), "rb", buffering=1 << 20)
    stream_out = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    first, last = sorted((stream_in.fileno(), stream_out.fileno()))
    for low, high in ((3, first), (first + 1, last), (last + 1, _MAX_DESCRIPTORS)):
        os.closerange(low, high)
    return stream_in, stream_out


def _set_cpu_limit(seconds: float) -> None:
    """Limit the CPU time of the next file; the time used by earlier files is added."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(usage.ru_utime + usage.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _exit_with_parent(parent: int) -> None:
    """Exit when the parent exits.

    The kernel sends the signal when the *thread* that started this process ends, so the handler
    checks that the parent process has ended. A waiting child also gets the end of its pipe.
    """

    def exit_if_orphaned(_signal: int, _frame: FrameType | None) -> None:
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, exit_if_orphaned)
    prepare_death_signal(signal.SIGTERM)()
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
