"""One file inside the decoding child: limits, then metadata, then pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from pinpoint.media import jpeg_end
from pinpoint.media.checks import Refused
from pinpoint.media.facts import Facts, limit_warnings, to_wire
from pinpoint.media.metadata import read_facts
from pinpoint.media.panoramas import (
    OVERSAMPLING,
    Window,
    cut_faces,
    face_side,
    is_equirectangular,
    window,
)
from pinpoint.media.renditions import Upright, orientation_of, rendition_size, thumbnail, upright
from pinpoint.media.request import Ask
from pinpoint.media.sniff import webp_size, with_known_brand
from pinpoint.records import Pixels

_PLUGINS: Final[Mapping[str, tuple[str, ...]]] = {
    "avif": ("AVIF",),
    "heic": ("HEIF",),
    "jpeg": ("JPEG",),
    "png": ("PNG",),
    "tiff": ("TIFF",),
    "webp": ("WEBP",),
}
_DNG_VERSION, _NEW_SUBFILE_TYPE, _SUB_IFDS, _ICC_TAG, _XMP_TAG = 50706, 254, 330, 34675, 700


def open_picture(data: bytes, ask: Ask) -> Image.Image:
    """The header read and all limits checked; no pixel decoded yet.

    Raises:
        Refused: `undecodable`, `too_many_pixels`, `too_many_frames`, `metadata_too_large`,
            `unsupported_format`.
    """
    if ask.format == "webp" and (size := webp_size(data[:64])) is not None:
        _check_pixels(size, ask)
    if ask.format in ("avif", "heic"):
        data = with_known_brand(data, ask.format)
    try:
        image = Image.open(BytesIO(data), formats=_PLUGINS[ask.format])
    except MemoryError:
        raise
    except Exception as error:
        raise _damage(error) from error
    _check_pixels(image.size, ask)
    _check_frames(image, ask)
    _check_metadata(image, ask)
    if ask.format == "tiff" and _is_raw(image):
        raise Refused("unsupported_format", "a camera's raw file in a TIFF container")
    return image


def read_picture(image: Image.Image, ask: Ask) -> tuple[dict[str, object], list[bytes]]:
    """Facts and faces of an opened picture, as they travel.

    Raises:
        Refused: `undecodable`.
    """
    full = image.size
    if ask.format == "png":
        _load(image)  # a PNG's metadata may stand behind its pixels
        _check_metadata(image, ask)
    facts = read_facts(image)
    position = facts.lat is not None and facts.lon is not None
    if ask.need_position and not position:
        return _header(ask, facts, full), []
    if ask.format == "jpeg" and _complete_jpeg(image):
        facts = replace(facts, warnings=limit_warnings([jpeg_end.NOTE, *facts.warnings]))
    part = window(facts, *full) if orientation_of(image) == 1 else None
    plain, faces = _faces(image, part, ask)
    size = (full[1], full[0]) if plain.sideways else full
    if plain.note:
        facts = replace(facts, attributes={**facts.attributes, "icc_damaged": plain.note})
    if is_equirectangular(facts) and part is None:
        facts = replace(facts, attributes={**facts.attributes, "panorama": "partial"})
    header = _header(ask, facts, size)
    header["panorama"] = [part.full_width_px, part.full_height_px] if part else None
    shapes, chunks = [], []
    for name, pixels in faces:
        small = b"" if ask.query else thumbnail(pixels, ask.thumbnail_px)
        shapes.append([name, pixels.shape[0], pixels.shape[1], len(small)])
        chunks += [pixels.tobytes(), small]
    header["faces"] = shapes
    return header, chunks


def _header(ask: Ask, facts: Facts, size: tuple[int, int]) -> dict[str, object]:
    """A query photo's own words stay in the child."""
    told = Facts() if ask.query else facts
    return {
        "facts": to_wire(told),
        "width": size[0],
        "height": size[1],
        "panorama": None,
        "faces": [],
    }


def _faces(
    image: Image.Image, part: Window | None, ask: Ask
) -> tuple[Upright, list[tuple[str | None, Pixels]]]:
    """A whole photo, or the four faces of a panorama."""
    width, height = image.size
    size = rendition_size(width, height, ask.rendition_px)
    side = face_side(width, ask.rendition_px)
    if part is not None:
        scale = min(1.0, side * OVERSAMPLING / width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
    try:
        plain = upright(image, size)
    except MemoryError:
        raise
    except Exception as error:
        raise _damage(error) from error
    pixels = np.asarray(plain.image, dtype=np.uint8)
    if part is None:
        return plain, [(None, pixels)]
    return plain, list(cut_faces(pixels, part, side))


def _complete_jpeg(image: Image.Image) -> bool:
    """Give an opened JPEG the end marker that it lacks; False where it has one.

    Raises:
        Refused: `undecodable`, where pixels are missing.
    """
    stream = getattr(image, "fp", None)
    if not isinstance(stream, BytesIO):
        return False
    data = stream.getvalue()
    header_bytes = sum(len(segment) for _, segment in getattr(image, "applist", ()))
    if not jpeg_end.may_lack_end(data, header_bytes):
        return False
    whole, cut_short = jpeg_end.complete(data)
    if cut_short:
        raise Refused("undecodable", "the JPEG is cut short: it has no end, and pixels are missing")
    if whole is None:
        return False
    for name in ("fp", "_fp"):  # `_fp`: of files with several pictures
        if hasattr(image, name):
            setattr(image, name, BytesIO(whole))
    return True


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        raise _damage(error) from error


def _damage(error: Exception) -> Refused:
    """What a decoder raised, as a verdict. Decoders raise nearly anything on hostile bytes."""
    if isinstance(error, UnidentifiedImageError):
        return Refused("undecodable", "the header makes no sense")
    # The decoder's own words are only looked at: they are no message for the file's owner.
    lowered = f"{type(error).__name__}: {error}".lower()
    if "decompressed data too large" in lowered or "text chunk" in lowered:
        return Refused(
            "metadata_too_large", "a text chunk is too large (PINPOINT_MEDIA_MAX_METADATA_BYTES)"
        )
    if "memory" in lowered or "allocat" in lowered:
        return Refused("out_of_memory", "the picture needs more memory than one file may take")
    return Refused("undecodable", "the picture's data are damaged or cut short")


def _check_pixels(size: tuple[int, int], ask: Ask) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise Refused("undecodable", f"the picture is {width} x {height} pixels")
    if width * height > ask.max_pixels:
        raise Refused(
            "too_many_pixels",
            f"{width} x {height} pixels; at most {ask.max_pixels} (PINPOINT_MEDIA_MAX_PIXELS)",
        )


def _check_frames(image: Image.Image, ask: Ask) -> None:
    if ask.format == "tiff":
        # Counting a TIFF's frames walks its directories; go no further than the limit.
        try:
            image.seek(ask.max_frames)
            frames = ask.max_frames + 1
        except MemoryError:
            raise
        except Exception:  # the chain of directories ends or breaks before the limit
            frames = 1
        image.seek(0)
    else:
        frames = int(getattr(image, "n_frames", 1))
    if frames > ask.max_frames:
        raise Refused(
            "too_many_frames",
            f"more than {ask.max_frames} frames (PINPOINT_MEDIA_MAX_FRAMES)",
        )


def _check_metadata(image: Image.Image, ask: Ask) -> None:
    blocks = {name: image.info.get(name) for name in ("exif", "xmp", "icc_profile")}
    if ask.format == "tiff":
        tags = getattr(image, "tag_v2", {})
        blocks |= {"icc_profile": tags.get(_ICC_TAG), "xmp": tags.get(_XMP_TAG)}
    for name, block in blocks.items():
        size = len(block) if isinstance(block, bytes | str | tuple) else 0
        if size > ask.max_metadata_bytes:
            raise Refused(
                "metadata_too_large",
                f"{name} has {size} bytes; at most {ask.max_metadata_bytes} "
                "(PINPOINT_MEDIA_MAX_METADATA_BYTES)",
            )


def _is_raw(image: Image.Image) -> bool:
    """DNG, NEF, ARW …: the first directory is a preview, the picture is for raw converters."""
    tags = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags:
        return True
    reduced = tags.get(_NEW_SUBFILE_TYPE, 0)
    return _SUB_IFDS in tags and isinstance(reduced, int) and bool(reduced & 1)
