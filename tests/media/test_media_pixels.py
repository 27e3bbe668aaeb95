"""Pixels: orientation, colors, depth, sizes, thumbnails, and metadata of query photos."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from media.pictures import PARIS, exif, noise, photo, saved, xmp
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.renditions import rendition_size
from pinpoint.records import DecodedImage, MetadataOverride, Point
from pinpoint.settings import MediaSettings
from shared_data import shared_data

POSITION = MetadataOverride(lat=1.0, lon=2.0)


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


def read(decoder: ChildDecoder, data: bytes, *, query: bool = False) -> DecodedImage:
    result = decoder.read("a", data, POSITION, query=query)
    assert isinstance(result, DecodedImage), result
    return result


def pixels(decoder: ChildDecoder, data: bytes) -> np.ndarray:
    return read(decoder, data).faces[0].pixels.astype(int)


def mean_difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_decoder_exif_orientation_is_applied(
    decoder: ChildDecoder, kind: str, orientation: int
) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(noise(), kind, exif=exif(base={0x0112: orientation}), **options)
    reading = read(decoder, data)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB"))
    assert reading.faces[0].pixels.shape == expected.shape
    assert mean_difference(reading.faces[0].pixels, expected) < 1.0
    assert (reading.capture.height_px, reading.capture.width_px) == expected.shape[:2]


@pytest.mark.parametrize("aspect", ["Landscape", "Portrait"])
def test_decoder_orientation_of_real_files_is_applied(decoder: ChildDecoder, aspect: str) -> None:
    folder = shared_data() / "odd" / "exif-orientation-examples"
    pictures = [pixels(decoder, (folder / f"{aspect}_{n}.jpg").read_bytes()) for n in range(1, 9)]
    assert len({picture.shape for picture in pictures}) == 1
    # The eight pictures differ only in the number that they show and in JPEG noise.
    assert max(mean_difference(picture, pictures[0]) for picture in pictures) < 15.0


def test_decoder_color_modes_give_same_rgb(decoder: ChildDecoder) -> None:
    image = noise()
    plain = np.asarray(image)
    transparent = image.convert("RGBA")
    transparent.putalpha(128)
    assert mean_difference(pixels(decoder, saved(image, "PNG")), plain) == 0.0
    assert mean_difference(pixels(decoder, saved(transparent, "PNG")), plain // 2 + 127) < 1.5
    palette = image.quantize(64)
    exact = np.asarray(palette.convert("RGB"))
    assert mean_difference(pixels(decoder, saved(palette, "PNG")), exact) == 0.0
    assert mean_difference(pixels(decoder, saved(image.convert("CMYK"), "TIFF")), plain) < 2.0
    assert (
        mean_difference(pixels(decoder, saved(image.convert("CMYK"), "JPEG", quality=95)), plain)
        < 4.0
    )
    gray = np.asarray(image.convert("L"))
    assert (
        mean_difference(pixels(decoder, saved(image.convert("L"), "PNG")), gray[..., None]) == 0.0
    )
    assert pixels(decoder, saved(image.convert("1"), "PNG")).max() == 255


def test_decoder_deep_gray_becomes_8_bit(decoder: ChildDecoder) -> None:
    gray = np.asarray(noise().convert("L")).astype(np.uint16)
    as_png = pixels(decoder, saved(Image.fromarray(gray * 257), "PNG"))
    assert mean_difference(as_png, gray[..., None]) <= 1.0
    # A thermal camera uses a sliver of its range; it is stretched to be seen.
    thermal = pixels(decoder, saved(Image.fromarray(gray + 30_000), "TIFF"))
    assert (thermal.min(), thermal.max()) == (0, 255)
    broken = gray.astype(np.float32)
    broken[0, 0], broken[0, 1] = np.nan, np.inf
    assert pixels(decoder, saved(Image.fromarray(broken), "TIFF")).shape == (48, 64, 3)


def test_decoder_unusable_color_profile_is_ignored(decoder: ChildDecoder) -> None:
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = noise()
    assert (
        mean_difference(pixels(decoder, saved(image, "PNG", icc_profile=srgb)), np.asarray(image))
        == 0.0
    )
    for profile in (linear, b"no profile at all" * 20):
        reading = read(decoder, saved(image, "PNG", icc_profile=profile))
        assert mean_difference(reading.faces[0].pixels, np.asarray(image)) == 0.0
    assert "icc_damaged" in reading.capture.attributes


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(4000, 3000, (683, 512)), (300, 200, (300, 200)), (512, 9_000, (233, 4096)), (1, 1, (1, 1))],
)
def test_rendition_size_is_bounded_on_both_sides(
    width: int, height: int, expected: tuple[int, int]
) -> None:
    assert rendition_size(width, height, 512) == expected


def test_decoder_rendition_is_close_to_lanczos(decoder: ChildDecoder) -> None:
    image = noise(2_400, 1_800)
    best = np.asarray(image.resize((683, 512), Image.Resampling.LANCZOS))
    for kind in ("JPEG", "PNG"):
        assert mean_difference(pixels(decoder, saved(image, kind)), best) < 1.5


def test_decoder_extreme_aspect_ratio_gives_bounded_size(decoder: ChildDecoder) -> None:
    reading = read(decoder, saved(Image.new("L", (60_000, 2)), "PNG"))
    assert max(reading.faces[0].pixels.shape) == 8 * 512


def test_decoder_thumbnail_has_no_metadata(decoder: ChildDecoder) -> None:
    data = saved(
        noise(800, 600),
        exif=exif(gps=PARIS, base={0x013B: "Anna"}),
        xmp=xmp(exif__GPSLatitude="1,0N"),
        comment=b"secret",
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )
    small = Image.open(BytesIO(read(decoder, data).faces[0].thumbnail))
    assert small.size == (256, 192)
    assert not set(small.info) & {"exif", "xmp", "icc_profile", "comment"}
    assert not small.getexif()
    assert mean_difference(np.asarray(small), np.asarray(noise(256, 192))) < 6.0


def test_decoder_query_photo_returns_claim_and_creator_only(decoder: ChildDecoder) -> None:
    data = photo(
        gps={17: 20.0, 6: 10.0},
        detail={0x9003: "2020:02:03 12:00:00"},
        base={0x013B: "Anna", 0x010F: "Canon"},
        xmp=xmp(exif__GPSLatitude="1,0N", GPano__PoseHeadingDegrees="7"),
    )
    reading = read(decoder, data, query=True)
    capture = reading.capture
    assert (capture.point, capture.position_source) == (Point(0.0, 0.0), "none")
    assert reading.faces[0].thumbnail == b""
    assert reading.faces[0].heading_deg is None
    fields = {f.name: getattr(capture, f.name) for f in dataclasses.fields(capture)}
    hidden_fields = ("captured_at", "heading_deg", "altitude_m", "camera", "sequence")
    assert [fields[name] for name in hidden_fields] == [None] * len(hidden_fields)
    assert dict(capture.attributes) == {}
    plain_reading = read(decoder, saved(noise()), query=True)
    assert plain_reading.capture.width_px == 64
