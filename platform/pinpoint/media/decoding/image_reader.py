"""Decodes one file in the decoding child: checks limits, then reads metadata, then pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.decoding import jpeg_end
from pinpoint.media.decoding.decode_request import DecodeRequest, FileLimits
from pinpoint.media.metadata.file_metadata import read_raw_metadata
from pinpoint.media.metadata.raw_metadata import (
    RawMetadata,
    limit_warnings,
    select_query_fields,
    to_wire,
)
from pinpoint.media.panoramas import (
    OVERSAMPLING,
    Window,
    cut_faces,
    face_side,
    is_equirectangular,
    window,
)
from pinpoint.media.renditions import (
    Upright,
    orientation_of,
    rendition_size,
    stored_box,
    thumbnail,
    upright,
)
from pinpoint.media.sniff import read_webp_size, with_known_brand
from pinpoint.records import PANORAMA_TOP_ATTRIBUTE, Pixels

_PLUGINS: Final[Mapping[str, tuple[str, ...]]] = {
    "avif": ("AVIF",),
    "heic": ("HEIF",),
    "jpeg": ("JPEG",),
    "png": ("PNG",),
    "tiff": ("TIFF",),
    "webp": ("WEBP",),
}
_WHOLE_SPHERE: Final = 0.999
"""Share of the rows of the sphere from which an image shows all of it."""
_DNG_VERSION, _NEW_SUBFILE_TYPE, _SUB_IFDS, _ICC_TAG, _XMP_TAG = 50706, 254, 330, 34675, 700


def open_image(data: bytes, request: FileLimits) -> Image.Image:
    """Read the header and check all limits, without decoding pixels.

    Raises:
        RejectedFileError: `undecodable`, `too_many_pixels`, `too_many_frames`,
            `metadata_too_large`, `unsupported_format`.
    """
    if request.format == "webp" and (size := read_webp_size(data[:64])) is not None:
        _check_pixels(size, request)
    if request.format in ("avif", "heic"):
        data = with_known_brand(data, request.format)
    try:
        image = Image.open(BytesIO(data), formats=_PLUGINS[request.format])
    except MemoryError:
        raise
    except Exception as error:
        raise to_refusal(error) from error
    _check_pixels(image.size, request)
    _check_frames(image, request)
    _check_metadata(image, request)
    if request.format == "tiff" and _is_raw(image):
        raise RejectedFileError("unsupported_format", "a camera's raw file in a TIFF container")
    return image


def read_image(image: Image.Image, request: DecodeRequest) -> tuple[dict[str, object], list[bytes]]:
    """Metadata and faces of an opened image, as a message.

    Raises:
        RejectedFileError: `undecodable`.
    """
    full = image.size
    if request.format == "png":
        load_pixels(image)  # metadata of a PNG may follow its pixels
        _check_metadata(image, request)
    raw_metadata = read_raw_metadata(image)
    position = raw_metadata.lat is not None and raw_metadata.lon is not None
    if request.need_position and not position:
        return _build_header(request, raw_metadata, full), []
    if request.format == "jpeg" and _complete_jpeg(image):
        raw_metadata = replace(
            raw_metadata,
            warnings=limit_warnings([jpeg_end.MISSING_END_NOTE, *raw_metadata.warnings]),
        )
    is_plain = request.crop is not None or orientation_of(image) != 1
    visible = None if is_plain else window(raw_metadata, *full)
    plain, faces = _render_faces(image, visible, request)
    size = (full[1], full[0]) if plain.sideways else full
    if plain.note:
        raw_metadata = replace(
            raw_metadata, attributes={**raw_metadata.attributes, "icc_damaged": plain.note}
        )
    if is_equirectangular(raw_metadata) and visible is None:
        raw_metadata = replace(
            raw_metadata, attributes={**raw_metadata.attributes, "panorama": "partial"}
        )
    if visible is not None and visible.bottom - visible.top < _WHOLE_SPHERE:
        top_px = round(visible.top * full[0] / 2)
        raw_metadata = replace(
            raw_metadata, attributes={**raw_metadata.attributes, PANORAMA_TOP_ATTRIBUTE: top_px}
        )
    header = _build_header(request, raw_metadata, size)
    header["panorama"] = [visible.full_width_px, visible.full_height_px] if visible else None
    shapes, chunks = [], []
    for name, pixels in faces:
        small = b"" if request.query else thumbnail(pixels, request.thumbnail_px)
        shapes.append([name, pixels.shape[0], pixels.shape[1], len(small)])
        chunks += [pixels.tobytes(), small]
    header["faces"] = shapes
    return header, chunks


def _build_header(
    request: DecodeRequest, raw_metadata: RawMetadata, size: tuple[int, int]
) -> dict[str, object]:
    """Header of the message; of the metadata of a query photo, only a part is sent."""
    sent_metadata = select_query_fields(raw_metadata) if request.query else raw_metadata
    return {
        "metadata": to_wire(sent_metadata),
        "width": size[0],
        "height": size[1],
        "panorama": None,
        "faces": [],
    }


def _render_faces(
    image: Image.Image, part: Window | None, request: DecodeRequest
) -> tuple[Upright, list[tuple[str | None, Pixels]]]:
    """A whole photo, a region of it, or the four faces of a panorama.

    Raises:
        RejectedFileError: `undecodable`, `crop_outside_image`.
    """
    if request.crop is not None and request.format != "jpeg":
        load_pixels(image)  # some formats apply their orientation when pixels are loaded
    box = None if request.crop is None else stored_box(image, request.crop)
    width, height = image.size if box is None else (box[2] - box[0], box[3] - box[1])
    size = rendition_size(width, height, request.rendition_px)
    side = face_side(width, request.rendition_px)
    if part is not None:
        scale = min(1.0, side * OVERSAMPLING / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
    try:
        plain = upright(image, size, box)
    except MemoryError:
        raise
    except Exception as error:
        raise to_refusal(error) from error
    pixels = np.asarray(plain.image, dtype=np.uint8)
    if part is None:
        return plain, [(None, pixels)]
    return plain, list(cut_faces(pixels, part, side))


def _complete_jpeg(image: Image.Image) -> bool:
    """Add a missing end marker to an opened JPEG; False if it has one.

    Raises:
        RejectedFileError: `undecodable`; pixels are missing.
    """
    data = _read_stream(image)
    return data is not None and complete_image(image) != data


def complete_image(image: Image.Image) -> bytes | None:
    """The bytes of an opened JPEG, with an end marker if only that is missing.

    The image is decoded from these bytes from now on.

    Returns:
        None if the image has no bytes in memory.

    Raises:
        RejectedFileError: `undecodable`; pixels are missing.
    """
    data = _read_stream(image)
    if data is None:
        return None
    header_bytes = sum(len(segment) for _, segment in getattr(image, "applist", ()))
    if not jpeg_end.may_lack_end(data, header_bytes):
        return data
    completed, cut_short = jpeg_end.complete_jpeg(data)
    if cut_short:
        raise RejectedFileError(
            "undecodable", "the JPEG is cut short: it has no end, and pixels are missing"
        )
    if completed is None:
        return data
    for name in ("fp", "_fp"):  # `_fp`: of files with several images
        if hasattr(image, name):
            setattr(image, name, BytesIO(completed))
    return completed


def _read_stream(image: Image.Image) -> bytes | None:
    stream = getattr(image, "fp", None)
    return stream.getvalue() if isinstance(stream, BytesIO) else None


def load_pixels(image: Image.Image) -> None:
    """Decode the pixels of an opened image.

    Raises:
        RejectedFileError: `undecodable`, `metadata_too_large` or `out_of_memory`.
    """
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise to_refusal(error) from error


def to_refusal(error: Exception) -> RejectedFileError:
    """Convert a decoder's error to a refusal; decoders raise many types on malformed bytes."""
    if isinstance(error, UnidentifiedImageError):
        return RejectedFileError("undecodable", "the header makes no sense")
    # The text of the decoder's error is only classified, not shown to the user.
    lowered = f"{type(error).__name__}: {error}".lower()
    if "decompressed data too large" in lowered or "text chunk" in lowered:
        return RejectedFileError(
            "metadata_too_large", "a text chunk is too large (PINPOINT_MEDIA_MAX_METADATA_BYTES)"
        )
    if "memory" in lowered or "allocat" in lowered:
        return RejectedFileError(
            "out_of_memory", "the image needs more memory than one file may take"
        )
    return RejectedFileError("undecodable", "the image's data are damaged or cut short")


def _check_pixels(size: tuple[int, int], request: FileLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise RejectedFileError("undecodable", f"the image is {width} x {height} pixels")
    if width * height > request.max_pixels:
        raise RejectedFileError(
            "too_many_pixels",
            f"{width} x {height} pixels; at most {request.max_pixels} (PINPOINT_MEDIA_MAX_PIXELS)",
        )


def _check_frames(image: Image.Image, request: FileLimits) -> None:
    if request.format == "tiff":
        # Counting a TIFF's frames walks its directories, so it stops at the limit.
        try:
            image.seek(request.max_frames)
            frames = request.max_frames + 1
        except MemoryError:
            raise
        except Exception:  # the chain of directories ends or breaks before the limit
            frames = 1
        image.seek(0)
    else:
        frames = int(getattr(image, "n_frames", 1))
    if frames > request.max_frames:
        raise RejectedFileError(
            "too_many_frames",
            f"more than {request.max_frames} frames (PINPOINT_MEDIA_MAX_FRAMES)",
        )


def _check_metadata(image: Image.Image, request: FileLimits) -> None:
    blocks = {name: image.info.get(name) for name in ("exif", "xmp", "icc_profile")}
    if request.format == "tiff":
        tags = getattr(image, "tag_v2", {})
        blocks |= {"icc_profile": tags.get(_ICC_TAG), "xmp": tags.get(_XMP_TAG)}
    for name, block in blocks.items():
        size = len(block) if isinstance(block, bytes | str | tuple) else 0
        if size > request.max_metadata_bytes:
            raise RejectedFileError(
                "metadata_too_large",
                f"{name} has {size} bytes; at most {request.max_metadata_bytes} "
                "(PINPOINT_MEDIA_MAX_METADATA_BYTES)",
            )


def _is_raw(image: Image.Image) -> bool:
    """Whether a TIFF is DNG, NEF, ARW …; their first directory is only a preview."""
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags:
        return True
    reduced = tags.get(_NEW_SUBFILE_TYPE, 0)
    return _SUB_IFDS in tags and isinstance(reduced, int) and bool(reduced & 1)
