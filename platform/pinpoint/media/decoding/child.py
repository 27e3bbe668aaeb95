"""The decoding child: `python -m pinpoint.media.decoding.child LIMITS`.

Imports Pillow, pillow-heif, numpy, msgpack and defusedxml; never torch, SQL or settings. It gets
bytes, never paths. It drops all other rights before the first file (`sandbox.confine`). Code that
runs here therefore imports nothing inside functions and opens no file.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping
from typing import BinaryIO

from PIL import AvifImagePlugin, Image, ImageFile, PngImagePlugin

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.decoding.child_start import confine_child, set_cpu_limit, write_ready
from pinpoint.media.decoding.decode_request import (
    THREADS,
    DecodeRequest,
    JpegRequest,
    read_request,
)
from pinpoint.media.decoding.image_reader import open_image, read_image
from pinpoint.media.decoding.jpeg_writer import write_jpeg
from pinpoint.media.decoding.pipe import read_header, write_all
from pinpoint.media.decoding.sandbox import Measure
from pinpoint.media.decoding.warmup import load_everything


def main(argv: list[str]) -> int:
    """Serve files from stdin to stdout until the parent closes."""
    stream_in, stream_out, measures = start_confined(json.loads(argv[1]))
    write_ready(stream_out, measures)
    while (header := read_header(stream_in)) is not None:
        request = read_request(header)
        data = stream_in.read(request.size)
        if len(data) < request.size:
            break
        set_cpu_limit(request.cpu_s)
        _handle_request(stream_out, data, request)
        del data
    return 0


def start_confined(
    limits: Mapping[str, int],
) -> tuple[BinaryIO, BinaryIO, tuple[Measure, ...]]:
    """Load the decoders, then drop all rights except two pipes; see `confine_child`.

    Args:
        limits: `parent` (process id), `max_metadata_bytes`, `memory_mb`.
    """

    def load_decoders() -> None:
        _configure_decoders(int(limits["max_metadata_bytes"]))
        load_everything()

    return confine_child(limits, load_decoders)


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


if __name__ == "__main__":
    sys.exit(main(sys.argv))
