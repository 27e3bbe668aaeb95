"""From an opened picture to upright sRGB of the size that is needed, and to thumbnails.

Runs in the decoding child only. Pictures are made small first and everything else after.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from pinpoint.media.exif import DAMAGE
from pinpoint.media.request import LONGEST_SIDES
from pinpoint.records import Pixels

_ORIENTATION_TAG: Final = 0x0112
_TURNS: Final = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}
_DEEP: Final = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def rendition_size(width: int, height: int, rendition_px: int) -> tuple[int, int]:
    """Size of the rendition: shorter side at most `rendition_px`, never enlarged."""
    shorter, longer = min(width, height), max(width, height)
    scale = min(1.0, rendition_px / shorter, LONGEST_SIDES * rendition_px / longer)
    return max(1, round(width * scale)), max(1, round(height * scale))


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1-8; 1 where it is absent or nonsense."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except DAMAGE:
        return 1
    return value if value in _TURNS else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Upright:
    """A decoded RGB picture as people see it."""

    image: Image.Image
    sideways: bool
    """It was stored with width and height exchanged."""
    note: str | None
    """What was wrong with its colour profile, if anything."""


def upright(image: Image.Image, size: tuple[int, int]) -> Upright:
    """Decode to upright sRGB.

    Args:
        image: An opened picture, not loaded unless its metadata stand behind its pixels.
        size: Wanted `(width, height)` before turning; not larger than the picture.
    """
    if image.format in ("JPEG", "MPO"):
        image.draft(image.mode, size)
    image.load()
    orientation, profile = orientation_of(image), image.info.get("icc_profile")
    plain = _simple(image, size)
    if plain.size != size:
        plain = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    plain = _flat(plain)
    plain, note = _srgb(plain, profile)
    for turn in _TURNS.get(orientation, ()):
        plain = plain.transpose(turn)
    return Upright(image=plain, sideways=orientation >= 5, note=note)


def thumbnail(pixels: Pixels, thumbnail_px: int) -> bytes:
    """A JPEG of `pixels` `[H, W, 3]`, longer side at most `thumbnail_px`; no metadata at all."""
    # From the array, so that nothing Pillow remembers of the file can follow.
    image = Image.fromarray(pixels)
    scale = min(1.0, thumbnail_px / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = BytesIO()
    image.save(out, format="JPEG", quality=82)
    return out.getvalue()


def _simple(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """A mode that can be resized: L, RGB, RGBA or CMYK."""
    if image.mode in _DEEP:
        return _eight_bit(image, size)
    if image.mode in ("L", "RGB", "CMYK", "YCbCr"):
        # A colour key (`transparency` of PNG) is not worth a full-size alpha channel.
        return image
    if image.mode == "RGBA":
        return image
    alpha = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if alpha else "RGB")


def _eight_bit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Deep grey to 8 bit: PNG by its upper byte, others (thermal, scientific) stretched."""
    values = np.asarray(image)
    step = max(1, min(values.shape[1] // size[0], values.shape[0] // size[1]) // 2)
    values = values[::step, ::step]
    if image.format == "PNG":
        return Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8))
    numbers = values.astype(np.float64)
    known = numbers[np.isfinite(numbers)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 0.0)
    span = (high - low) or 1.0
    numbers = np.nan_to_num((numbers - low) / span, nan=0.0, posinf=1.0, neginf=0.0)
    return Image.fromarray((numbers * 255.0 + 0.5).astype(np.uint8))


def _flat(image: Image.Image) -> Image.Image:
    """Transparency over white."""
    if image.mode != "RGBA":
        return image
    ground = Image.new("RGB", image.size, (255, 255, 255))
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str | None]:
    """Colours by the embedded profile; by Pillow's own rules where there is none or it is bad."""
    if profile and image.mode in ("RGB", "L", "CMYK") and not _says_srgb(profile):
        try:
            transform = _transform(profile, image.mode)
            if transform is not None:
                return ImageCms.applyTransform(image, transform) or image.convert("RGB"), None
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
            return image.convert("RGB"), f"colour profile not used: {error}"[:150]
    return image.convert("RGB"), None


def _says_srgb(profile: bytes) -> bool:
    head = profile[:2_048]
    return b"sRGB" in head or "sRGB".encode("utf-16-be") in head


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Photos of one camera share one profile."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space) != mode:
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
