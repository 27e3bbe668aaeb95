"""Files of images: metadata are removed, pixels stay; sizes, orientation and color profiles."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from media.jpeg_metadata import iptc
from media.pictures import PARIS, exif, noise, photo, saved, xmp
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.decoding.jpeg_segments import strip_metadata
from pinpoint.media.panoramas import Window, cut_face, cut_faces
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings
from shared_data import shared_data

SECRET = "secret-of-the-owner"
MARKS = (b"secret-of-the-owner", b"GPS", b"xpacket", b"xmpmeta", b"8BIM", b"Photoshop", b"http://")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


def convert(decoder: ChildDecoder, data: bytes, **options: object) -> bytes:
    result = decoder.convert_to_jpeg("a.jpg", data, **options)
    assert isinstance(result, bytes), result
    return result


def opened(data: bytes) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the list of further images is invalid
        image = Image.open(BytesIO(data))
        image.load()
    return image


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def private_jpeg(orientation: int = 1, **options: object) -> bytes:
    """A JPEG with a secret in each kind of metadata, a preview, and bytes after its end."""
    block = exif(gps=PARIS, base={0x0112: orientation, 0x010E: SECRET}, detail={0x927C: b"GPS" * 9})
    plain = saved(
        noise(200, 120),
        exif=block,
        xmp=xmp(photoshop__City=SECRET),
        comment=SECRET,
        icc_profile=PROFILE,
        **options,
    )
    more = b"".join(
        [
            segment(0xE0, b"JFXX\x00\x10" + saved(noise(32, 24))),
            segment(0xED, iptc(d90=SECRET)),
            segment(0xE2, b"MPF\x00" + SECRET.encode()),
            segment(0xE5, SECRET.encode()),
        ]
    )
    return plain[:2] + more + plain[2:] + b"ftyp" + SECRET.encode() + photo()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_convert_to_jpeg_of_jpeg_keeps_pixels_profile_and_orientation_only(
    decoder: ChildDecoder, orientation: int, options: dict[str, object]
) -> None:
    data = private_jpeg(orientation, **options)
    result = convert(decoder, data)
    assert [mark for mark in MARKS if mark in result] == []
    image, original = opened(result), opened(data)
    assert np.array_equal(np.asarray(image), np.asarray(original))
    assert np.array_equal(
        np.asarray(ImageOps.exif_transpose(image)), np.asarray(ImageOps.exif_transpose(original))
    )
    assert image.info["icc_profile"] == PROFILE
    assert dict(image.getexif()) == ({} if orientation == 1 else {0x0112: orientation})
    assert len(image.getexif().get_ifd(0x8825)) == 0
    assert result.endswith(b"\xff\xd9")
    assert convert(decoder, result) == result, "a second pass changes nothing"


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_strip_metadata_keeps_scans_of_every_color_space(mode: str) -> None:
    data = saved(noise(64, 48).convert(mode), exif=exif(gps=PARIS))
    stripped = strip_metadata(data, 1)
    assert stripped is not None
    assert b"GPS" not in stripped
    assert np.array_equal(np.asarray(opened(stripped)), np.asarray(opened(data)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        photo()[:-2],
        photo()[:300],
        b"\xff\xd8\xff\xd8" + photo()[2:],
        b"\xff\xd8\x00" + photo()[2:],
        segment(0xE1, b"x"),
    ],
)
def test_strip_metadata_without_complete_structure_is_none(data: bytes) -> None:
    assert strip_metadata(data, 1) is None


def test_strip_metadata_of_real_files_keeps_pixels() -> None:
    folder = shared_data() / "photos" / "exif-samples"
    files = sorted(path for path in folder.rglob("*.jpg") if path.stat().st_size < 400_000)[:40]
    assert len(files) >= 10
    for path in files:
        data = path.read_bytes()
        stripped = strip_metadata(data, 1)
        if stripped is None:
            continue
        assert np.array_equal(np.asarray(opened(stripped)), np.asarray(opened(data))), path
        assert dict(opened(stripped).getexif()) == {}, path


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_convert_to_jpeg_with_width_is_upright_and_scaled(
    decoder: ChildDecoder, kind: str, orientation: int
) -> None:
    data = saved(noise(300, 150), kind, exif=exif(base={0x0112: orientation, 0x010E: SECRET}))
    result = convert(decoder, data, width=100)
    image = opened(result)
    expected = ImageOps.exif_transpose(opened(data)).convert("RGB")
    assert image.size == (100, round(100 * expected.height / expected.width))
    expected = expected.resize(image.size, Image.Resampling.LANCZOS)
    assert np.abs(np.asarray(image).astype(int) - np.asarray(expected)).mean() < 4.0
    assert dict(image.getexif()) == {}
    assert SECRET.encode() not in result


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_convert_to_jpeg_never_enlarges(decoder: ChildDecoder, kind: str) -> None:
    data = saved(noise(64, 48), kind)
    assert opened(convert(decoder, data, width=1000)).size == (64, 48)
    assert convert(decoder, data, width=1000) == convert(decoder, data)


def test_convert_to_jpeg_converts_other_profiles_to_srgb(decoder: ChildDecoder) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    result = opened(convert(decoder, saved(noise(), "PNG", icc_profile=lab.tobytes()), width=32))
    assert "icc_profile" not in result.info


def test_convert_to_jpeg_without_end_marker_adds_it(decoder: ChildDecoder) -> None:
    data = photo()
    result = convert(decoder, data[:-2])
    assert result.endswith(b"\xff\xd9")
    assert np.array_equal(np.asarray(opened(result)), np.asarray(opened(data)))


@pytest.mark.parametrize("face", ["front", "right", "back", "left"])
def test_convert_to_jpeg_of_face_is_cut_from_full_panorama(
    decoder: ChildDecoder, face: str
) -> None:
    sphere = noise(2_400, 1_200)
    data = saved(sphere, xmp=xmp(GPano__ProjectionType="equirectangular"), quality=95)
    image = opened(convert(decoder, data, face=face))
    assert image.size == (600, 600)
    window = Window(top=0.0, bottom=1.0, full_width_px=2_400, full_height_px=1_200)
    expected = dict(cut_faces(np.asarray(sphere), window, 600))[face]
    assert np.abs(np.asarray(image).astype(int) - expected).mean() < 3.0
    assert opened(convert(decoder, data, face=face, width=150)).size == (150, 150)
    assert opened(convert(decoder, data)).size == (2_400, 1_200)


def test_cut_face_in_strips_equals_cut_faces() -> None:
    sphere = np.asarray(noise(2_400, 1_000))
    window = Window(top=0.1, bottom=0.9, full_width_px=2_400, full_height_px=1_250)
    for name, face in cut_faces(sphere, window, 600):
        assert np.array_equal(cut_face(sphere, window, 600, name), face)


@pytest.mark.parametrize(
    ("data", "options", "code"),
    [
        (b"no image at all", {}, "unsupported_format"),
        (b"", {}, "empty_file"),
        (photo(), {"face": "front"}, "undecodable"),
        (photo()[:600], {}, "undecodable"),
    ],
)
def test_convert_to_jpeg_of_bad_file_is_rejected(
    decoder: ChildDecoder, data: bytes, options: dict[str, str], code: str
) -> None:
    result = decoder.convert_to_jpeg("a.jpg", data, **options)
    assert isinstance(result, Rejected)
    assert result.error_code == code
