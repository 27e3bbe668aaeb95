"""Crops of query photos: pixels of the upright image, cut before the image is reduced."""

from __future__ import annotations

import time
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from media.pictures import exif, noise, saved, xmp
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.records import MIN_CROP_PX, Crop, DecodedImage, Pixels, Rejected
from pinpoint.settings import MediaSettings


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


def cut(decoder: ChildDecoder, data: bytes, crop: Crop) -> Pixels:
    result = decoder.read("a", data, query=True, crop=crop)
    assert isinstance(result, DecodedImage), result
    (face,) = result.faces
    return face.pixels


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_decoder_crop_equals_slice_of_upright_image(
    decoder: ChildDecoder, kind: str, orientation: int
) -> None:
    picture = noise(120, 90)
    data = saved(picture, kind, exif=exif(base={0x0112: orientation}))
    upright = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB"))
    crop = Crop(7, 11, 40, 33)
    expected = upright[11 : 11 + 33, 7 : 7 + 40]
    np.testing.assert_array_equal(cut(decoder, data, crop), expected)


def test_decoder_crop_of_large_photo_keeps_its_detail(decoder: ChildDecoder) -> None:
    detail = noise(300, 200, seed=3)
    large = Image.new("RGB", (6_000, 4_000), (120, 120, 120))
    large.paste(detail, (2_345, 1_234))
    data = saved(large, "JPEG", quality=95)
    pixels = cut(decoder, data, Crop(2_345, 1_234, 300, 200))
    assert pixels.shape == (200, 300, 3)
    assert np.abs(pixels.astype(int) - np.asarray(detail).astype(int)).mean() < 12.0
    whole = decoder.read("a", data, query=True)
    assert isinstance(whole, DecodedImage)
    assert whole.faces[0].pixels.shape == (512, 768, 3)


def test_decoder_large_crop_is_reduced_like_the_photo_itself(decoder: ChildDecoder) -> None:
    smooth = Image.fromarray(
        np.indices((3_000, 4_000)).sum(axis=0)[..., None].repeat(3, axis=2).astype(np.uint8) // 2
    )
    crop = Crop(500, 250, 2_800, 2_100)
    from_large = cut(decoder, saved(smooth, "JPEG", quality=95), crop)
    box = (500, 250, 3_300, 2_350)
    alone = decoder.read("b", saved(smooth.crop(box), "PNG"), query=True)
    assert isinstance(alone, DecodedImage)
    assert from_large.shape == alone.faces[0].pixels.shape
    difference = np.abs(from_large.astype(int) - alone.faces[0].pixels.astype(int))
    assert difference.mean() < 4.0


@pytest.mark.parametrize("crop", [Crop(90, 0, 32, 32), Crop(0, 60, 32, 32), Crop(0, 0, 121, 90)])
def test_decoder_crop_outside_image_is_rejected(decoder: ChildDecoder, crop: Crop) -> None:
    result = decoder.read("a", saved(noise(120, 90), "PNG"), query=True, crop=crop)
    assert isinstance(result, Rejected)
    assert (result.error_code, result.error_stage) == ("crop_outside_image", "check")
    assert "120 x 90" in result.error_message
    assert str(crop) in result.error_message


def test_decoder_crop_is_checked_against_the_upright_size(decoder: ChildDecoder) -> None:
    data = saved(noise(120, 90), "JPEG", exif=exif(base={0x0112: 6}))
    assert cut(decoder, data, Crop(0, 0, 90, 120)).shape == (120, 90, 3)
    assert isinstance(decoder.read("a", data, query=True, crop=Crop(0, 0, 120, 90)), Rejected)


def test_decoder_crop_of_panorama_is_one_image(decoder: ChildDecoder) -> None:
    panorama = xmp(GPano__ProjectionType="equirectangular")
    data = saved(noise(800, 400), "JPEG", xmp=panorama)
    faces = decoder.read("a", data, query=True)
    assert isinstance(faces, DecodedImage)
    assert len(faces.faces) == 4
    assert cut(decoder, data, Crop(100, 100, 300, 200)).shape == (200, 300, 3)


def test_decoder_crop_of_100_megapixels_is_read_quickly(decoder: ChildDecoder) -> None:
    large = saved(Image.new("RGB", (12_000, 9_000), (90, 120, 60)), "JPEG")
    started = time.perf_counter()
    assert cut(decoder, large, Crop(11_900, 8_900, 100, 100)).shape == (100, 100, 3)
    assert time.perf_counter() - started < 8.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "four whole numbers"),
        ("1,2,3", "four whole numbers"),
        ("1,2,40.5,40", "four whole numbers"),
        ("1,2,40,4e3", "four whole numbers"),
        ("1,2,99999999999,40", "four whole numbers"),
        ("-1,2,40,40", "begins outside"),
        (f"1,2,{MIN_CROP_PX - 1},40", "too small"),
        ("1,2,-40,40", "too small"),
    ],
)
def test_crop_invalid_text_is_rejected(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Crop.parse(text)


def test_crop_text_is_parsed_and_formatted() -> None:
    assert Crop.parse(" 1, 2,40 ,50") == Crop(1, 2, 40, 50)
    assert str(Crop(1, 2, 40, 50)) == "1,2,40,50"
