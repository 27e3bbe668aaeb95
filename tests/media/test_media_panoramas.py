"""Faces of panoramas, compared with a slow oracle."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from media.pictures import noise, photo, saved, xmp
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.metadata.raw_metadata import RawMetadata, Sphere
from pinpoint.media.panoramas import FACES, Window, cut_faces, face_side, window
from pinpoint.records import DecodedImage, MetadataOverride, Panorama
from pinpoint.settings import MediaSettings

EQUIRECTANGULAR = {"GPano__ProjectionType": "equirectangular"}


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings(rendition_px=128)) as child_decoder:
        yield child_decoder


def slow_face(picture: np.ndarray, sphere_window: Window, side: int, turn_deg: float) -> np.ndarray:
    """Each pixel by its ray: a unit vector, its longitude and latitude, four pixels."""
    height, width = picture.shape[:2]
    face = np.zeros((side, side, 3))
    for row in range(side):
        for column in range(side):
            east = (column + 0.5) / side * 2 - 1
            up = 1 - (row + 0.5) / side * 2
            length = math.sqrt(east**2 + up**2 + 1)
            lon = math.degrees(math.atan2(east, 1)) + turn_deg
            lat = math.degrees(math.asin(up / length))
            x = (lon / 360 + 0.5) * width - 0.5
            y = ((0.5 - lat / 180) - sphere_window.top) / (
                sphere_window.bottom - sphere_window.top
            ) * height - 0.5
            y = min(max(y, 0), height - 1)
            left, top = math.floor(x), math.floor(y)
            for dy, wy in ((0, 1 - (y - top)), (1, y - top)):
                for dx, wx in ((0, 1 - (x - left)), (1, x - left)):
                    pixel = picture[min(top + dy, height - 1), (left + dx) % width]
                    face[row, column] += wy * wx * pixel
    return face


@pytest.mark.parametrize(("top", "bottom"), [(0.0, 1.0), (0.2, 0.8)])
def test_cut_faces_equals_slow_oracle(top: float, bottom: float) -> None:
    picture = np.asarray(noise(160, round(80 * (bottom - top))))
    sphere_window = Window(top=top, bottom=bottom, full_width_px=160, full_height_px=80)
    for (name, face), (expected_name, turn) in zip(
        cut_faces(picture, sphere_window, 24), FACES, strict=True
    ):
        assert name == expected_name
        assert np.abs(face - slow_face(picture, sphere_window, 24, turn)).max() <= 1.0


def test_cut_faces_directions_are_front_right_back_left() -> None:
    compass = np.zeros((90, 360, 3), dtype=np.uint8)
    for start, color in ((135, 1), (225, 2), (45, 4)):
        compass[:, start : start + 90] = color
    compass[:, :45] = compass[:, 315:] = 3
    sphere_window = Window(top=0.0, bottom=1.0, full_width_px=360, full_height_px=180)
    middles = [int(np.median(face)) for _, face in cut_faces(compass, sphere_window, 30)]
    assert middles == [1, 2, 3, 4]


def test_decoder_full_panorama_gives_four_faces(decoder: ChildDecoder) -> None:
    picture = saved(noise(1_024, 512), xmp=xmp(GPano__PoseHeadingDegrees="300", **EQUIRECTANGULAR))
    reading = decoder.read("pano.jpg", picture, MetadataOverride(lat=1.0, lon=2.0))
    assert isinstance(reading, DecodedImage)
    assert [face.name for face in reading.faces] == ["front", "right", "back", "left"]
    assert [face.heading_deg for face in reading.faces] == [300.0, 30.0, 120.0, 210.0]
    assert {face.pixels.shape for face in reading.faces} == {(128, 128, 3)}
    assert reading.capture.panorama == Panorama(
        heading_deg=300.0, full_width_px=1_024, full_height_px=512
    )
    turned = decoder.read("pano.jpg", picture, MetadataOverride(lat=1.0, lon=2.0, heading_deg=90.0))
    assert isinstance(turned, DecodedImage)
    assert turned.faces[1].heading_deg == 180.0
    query_reading = decoder.read("pano.jpg", picture, query=True)
    assert isinstance(query_reading, DecodedImage)
    assert [face.heading_deg for face in query_reading.faces] == [None] * 4
    assert query_reading.capture.panorama is not None
    assert query_reading.capture.panorama.heading_deg is None


def test_decoder_small_panorama_gives_small_faces(decoder: ChildDecoder) -> None:
    picture = saved(noise(200, 100), xmp=xmp(**EQUIRECTANGULAR))
    reading = decoder.read("pano.jpg", picture, MetadataOverride(lat=1.0, lon=2.0))
    assert isinstance(reading, DecodedImage)
    assert reading.faces[0].pixels.shape == (50, 50, 3)
    assert reading.faces[0].heading_deg is None
    assert face_side(4_000, 512) == 512


def test_decoder_partial_panorama_stays_one_photo(decoder: ChildDecoder) -> None:
    reading = decoder.read("pano.jpg", photo(xmp=xmp(**EQUIRECTANGULAR)))
    assert isinstance(reading, DecodedImage)
    assert [face.name for face in reading.faces] == [None]
    assert reading.capture.attributes["panorama"] == "partial"
    assert reading.capture.panorama is None


@pytest.mark.parametrize(
    ("sphere", "expected"),
    [
        ((4000, 2000, 0, 0, 4000, 2000), (0.0, 1.0)),
        ((4000, 2000, 0, 400, 4000, 1200), (0.2, 0.8)),
        ((4000, 2000, 0, 800, 4000, 1200), None),  # the sky is missing
        ((4000, 2000, 1000, 500, 2000, 1000), None),  # half a turn
        ((4000, 3000, 0, 0, 4000, 3000), None),  # no valid sphere
    ],
)
def test_window_of_incomplete_sphere_is_none(
    sphere: tuple[int, ...], expected: tuple[float, float] | None
) -> None:
    names = ("full_width_px", "full_height_px", "left_px", "top_px", "width_px", "height_px")
    metadata = RawMetadata(
        sphere=Sphere(**dict(zip(names, sphere, strict=True))),
        attributes={"projection": "equirectangular"},
    )
    # The picture was made smaller after GPano had been written.
    sphere_window = window(metadata, sphere[4] // 4, sphere[5] // 4)
    assert (sphere_window and (sphere_window.top, sphere_window.bottom)) == expected


def test_window_of_plain_photo_is_none() -> None:
    assert window(RawMetadata(), 2_000, 1_000) is None
