"""One maker of a file for each format and variant that the decoder reads."""

from __future__ import annotations

from collections.abc import Callable

import pillow_heif
from PIL import Image, ImageCms

from media.pictures import PARIS, exif, saved, xmp


def saved_heic(image: Image.Image, **options: object) -> bytes:
    pillow_heif.register_heif_opener()
    return saved(image, "HEIF", quality=30, **options)


MAKERS: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": lambda image: saved(image, "JPEG", exif=_tags(), xmp=xmp(xmp__Rating="1")),
    "progressive": lambda image: saved(image, "JPEG", progressive=True, exif=_tags()),
    "profile": lambda image: saved(image, "JPEG", icc_profile=_profile(), exif=_tags()),
    "png": lambda image: saved(image, "PNG", compress_level=1, exif=_tags()),
    "webp": lambda image: saved(image, "WEBP", method=0, exif=_tags()),
    "tiff": lambda image: saved(image, "TIFF", exif=exif(gps=PARIS)),
    "lzw": lambda image: saved(image, "TIFF", compression="tiff_lzw"),
    "avif": lambda image: saved(image, "AVIF", speed=10, exif=_tags()),
    "heic": lambda image: saved_heic(image, exif=_tags()),
}


def _tags() -> bytes:
    detail = {0x9003: "2020:02:03 12:00:00", 0x9286: b"UNICODE\x00a\x00b\x00"}
    return exif(gps={**PARIS, 29: "2020:02:03", 7: (11.0, 0.0, 0.0)}, detail=detail)


def _profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
