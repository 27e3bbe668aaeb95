"""Converts an opened image to upright sRGB of the required size, and to thumbnails.

Runs only in the decoding child. Images are reduced first; all other steps follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import Final

import numpy as np
from PIL import Image, ImageCms

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.decoding.decode_request import LONGEST_SIDES
from pinpoint.media.metadata.exif import DAMAGE
from pinpoint.records import Pixels

_ORIENTATION_TAG: Final = 0x0112
_TRANSPOSES: Final = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}
StoredBox = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels of the stored image; right and bottom are outside."""

_DEEP_MODES: Final = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")


def rendition_size(width: int, height: int, rendition_px: int) -> tuple[int, int]:
    """Size of the rendition: shorter side at most `rendition_px`, never enlarged."""
    shorter, longer = min(width, height), max(width, height)
    scale = min(1.0, rendition_px / shorter, LONGEST_SIDES * rendition_px / longer)
    return max(1, round(width * scale)), max(1, round(height * scale))


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation 1-8; 1 if it is absent or invalid."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except DAMAGE:
        return 1
    return value if value in _TRANSPOSES else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Upright:
    """A decoded, upright RGB image."""

    image: Image.Image
    sideways: bool
    """Whether the file stores width and height exchanged."""
    note: str | None
    """Problem of its color profile, or None."""


def stored_box(image: Image.Image, crop: tuple[int, int, int, int]) -> StoredBox:
    """The box of a crop in the stored image, before its EXIF orientation is applied.

    Args:
        image: An opened image.
        crop: x, y, width, height in pixels of the upright image.

    Raises:
        RejectedFileError: `crop_outside_image`.
    """
    x, y, width, height = crop
    stored_width, stored_height = image.size
    orientation = orientation_of(image)
    upright_size = (stored_height, stored_width) if orientation >= 5 else image.size
    if x + width > upright_size[0] or y + height > upright_size[1]:
        raise RejectedFileError(
            "crop_outside_image",
            f"the crop {x},{y},{width},{height} reaches outside the image, which is "
            f"{upright_size[0]} x {upright_size[1]} pixels when it is upright",
        )
    if orientation >= 5:  # the transposes of 5 to 8 exchange the axes
        x, y, width, height = y, x, height, width
    if orientation in (2, 3, 7, 8):
        x = stored_width - x - width
    if orientation in (3, 4, 6, 7):
        y = stored_height - y - height
    return x, y, x + width, y + height


def upright(image: Image.Image, size: tuple[int, int], box: StoredBox | None = None) -> Upright:
    """Decode to upright sRGB.

    Args:
        image: An opened image, not loaded unless its metadata follow its pixels.
        size: Target `(width, height)` before rotation; not larger than the image or the box.
        box: Region of the stored image; None for all of it.
    """
    stored_size = image.size
    if image.format in ("JPEG", "MPO"):
        image.draft(image.mode, _draft_size(stored_size, size, box))
    image.load()
    orientation, profile = orientation_of(image), image.info.get("icc_profile")
    # The region is cut before all other steps, which then need less time and memory.
    plain = image if box is None else _cut_box(image, box, stored_size)
    plain = _to_resizable_mode(plain, size)
    if plain.size != size:
        plain = plain.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    plain = _flatten_alpha(plain)
    plain, note = _convert_to_srgb(plain, profile)
    for turn in _TRANSPOSES.get(orientation, ()):
        plain = plain.transpose(turn)
    return Upright(image=plain, sideways=orientation >= 5, note=note)


def thumbnail(pixels: Pixels, thumbnail_px: int) -> bytes:
    """A JPEG of `pixels` `[H, W, 3]`, longer side at most `thumbnail_px`; without metadata."""
    # From the array, so that no metadata that Pillow has of the file is written.
    image = Image.fromarray(pixels)
    scale = min(1.0, thumbnail_px / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    out = BytesIO()
    image.save(out, format="JPEG", quality=82)
    return out.getvalue()


def _draft_size(
    stored_size: tuple[int, int], size: tuple[int, int], box: StoredBox | None
) -> tuple[int, int]:
    """Minimum size of the whole image from which a box of the target size can be cut."""
    if box is None:
        return size
    scale = max(size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1]))
    return math.ceil(stored_size[0] * scale), math.ceil(stored_size[1] * scale)


def _cut_box(image: Image.Image, box: StoredBox, stored_size: tuple[int, int]) -> Image.Image:
    """Cut a box of the stored image from the image, which its decoder may have reduced."""
    across, down = image.width / stored_size[0], image.height / stored_size[1]
    x, y = round(box[0] * across), round(box[1] * down)
    right = max(x + 1, round(box[2] * across))
    bottom = max(y + 1, round(box[3] * down))
    region = image.crop((x, y, right, bottom))
    region.format = image.format  # decides how deep gray values are read
    return region


def _to_resizable_mode(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Convert to a mode that can be resized: L, RGB, RGBA or CMYK."""
    if image.mode in _DEEP_MODES:
        return _to_eight_bit(image, size)
    if image.mode in ("L", "RGB", "CMYK", "YCbCr"):
        # A color key (`transparency` of PNG) does not justify a full-size alpha channel.
        return image
    if image.mode == "RGBA":
        return image
    alpha = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return image.convert("RGBA" if alpha else "RGB")


def _to_eight_bit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Deep gray to 8 bit: PNG by its upper byte, others (thermal, scientific) scaled min-max."""
    values = np.asarray(image)
    step = max(1, min(values.shape[1] // size[0], values.shape[0] // size[1]) // 2)
    values = values[::step, ::step]
    if image.format == "PNG":
        return Image.fromarray((values >> 8).clip(0, 255).astype(np.uint8))
    numbers = values.astype(np.float64)
    finite_values = numbers[np.isfinite(numbers)]
    low, high = (finite_values.min(), finite_values.max()) if finite_values.size else (0.0, 0.0)
    span = (high - low) or 1.0
    numbers = np.nan_to_num((numbers - low) / span, nan=0.0, posinf=1.0, neginf=0.0)
    return Image.fromarray((numbers * 255.0 + 0.5).astype(np.uint8))


def _flatten_alpha(image: Image.Image) -> Image.Image:
    """Composite transparency over white."""
    if image.mode != "RGBA":
        return image
    background = Image.new("RGB", image.size, (255, 255, 255))
    background.paste(image, mask=image.getchannel("A"))
    return background


def _convert_to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str | None]:
    """Convert by the embedded profile; by Pillow's rules if there is none or it is invalid."""
    if profile and image.mode in ("RGB", "L", "CMYK") and not _is_srgb_profile(profile):
        try:
            transform = _build_transform(profile, image.mode)
            if transform is not None:
                return ImageCms.applyTransform(image, transform) or image.convert("RGB"), None
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            return image.convert("RGB"), "the color profile cannot be used"
    return image.convert("RGB"), None


def _is_srgb_profile(profile: bytes) -> bool:
    head = profile[:2_048]
    return b"sRGB" in head or "sRGB".encode("utf-16-be") in head


@lru_cache(maxsize=8)
def _build_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Transform to sRGB; cached, because photos of one camera share a profile."""
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space) != mode:
        return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
