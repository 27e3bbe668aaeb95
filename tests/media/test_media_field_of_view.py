"""Horizontal field of view from EXIF, GPano and manifests."""

from __future__ import annotations

import math

import pytest

from media.pictures import PARIS, exif, noise, saved, xmp
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.field_of_view import check_field_of_view, compute_field_of_view
from pinpoint.media.manifests.columns import find_column
from pinpoint.media.manifests.values import read_field_of_view
from pinpoint.media.metadata.raw_metadata import RawMetadata, Sphere
from pinpoint.records import DecodedImage, MetadataOverride
from pinpoint.store.ingest.image_rows import face_layers


def angle_deg(width_mm: float, focal_length_mm: float) -> float:
    return math.degrees(2 * math.atan(width_mm / (2 * focal_length_mm)))


@pytest.mark.parametrize(
    ("width_px", "height_px", "frame_width_mm"),
    [(6000, 4000, 36.0), (4000, 6000, 24.0), (4000, 3000, 34.61), (100, 100, 30.59)],
)
@pytest.mark.parametrize("focal_length_mm", [16.0, 26.0, 50.0, 400.0])
def test_field_of_view_of_focal_length_follows_aspect_ratio(
    width_px, height_px, frame_width_mm, focal_length_mm
):
    degrees = compute_field_of_view(
        RawMetadata(focal_length_35mm_mm=focal_length_mm), width_px, height_px
    )
    assert degrees == pytest.approx(angle_deg(frame_width_mm, focal_length_mm), abs=0.03)


@pytest.mark.parametrize("focal_length_mm", [None, 0.0, -5.0, 3.0, 65_535.0])
def test_field_of_view_of_unusable_focal_length_is_unknown(focal_length_mm):
    assert compute_field_of_view(RawMetadata(focal_length_35mm_mm=focal_length_mm), 3, 2) is None


@pytest.mark.parametrize(
    ("sphere", "size", "expected"),
    [
        ((4000, 2000, 1000, 500, 2000, 1000), (2000, 1000), 180.0),
        ((4000, 2000, 0, 800, 4000, 1200), (2000, 600), 360.0),  # resized, aspect as written
        ((4000, 2000, 1000, 500, 2000, 1000), (1000, 1000), None),  # cut afterwards
        (None, (2000, 1000), 360.0),
        (None, (2000, 1500), None),
    ],
)
def test_field_of_view_of_panorama_is_its_share_of_the_circle(sphere, size, expected):
    names = ("full_width_px", "full_height_px", "left_px", "top_px", "width_px", "height_px")
    metadata = RawMetadata(
        sphere=None if sphere is None else Sphere(**dict(zip(names, sphere, strict=True))),
        focal_length_35mm_mm=26.0,
        attributes={"projection": "equirectangular"},
    )
    assert compute_field_of_view(metadata, *size) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, None), (-1.0, None), (360.0, 360.0), (361.0, None), (None, None)]
)
def test_check_field_of_view_outside_range_is_unknown(value, expected):
    assert check_field_of_view(value) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("65.5", 65.5), ("65.5 deg", 65.5), ("54.4 deg (0.38 m)", 54.4), ("90°", 90.0), ("0", None)],
)
def test_read_field_of_view_reads_formats_of_exiftool(text, expected):
    assert read_field_of_view(text) == expected


@pytest.mark.parametrize(
    "name",
    ["FOV", "Field Of View", "field_of_view_deg", "pers:interior_orientation.field_of_view"],
)
def test_find_column_names_of_field_of_view(name):
    assert find_column(name) == "field_of_view_deg"


@pytest.fixture(scope="module")
def decoder():
    from pinpoint.settings import MediaSettings

    child = ChildDecoder(MediaSettings(), children=1)
    yield child
    child.close()


def test_decoder_rotated_photo_has_the_field_of_view_of_its_short_side(decoder):
    tags = {"gps": PARIS, "detail": {0xA405: 28}}
    upright = decoder.read("a.jpg", saved(noise(96, 64), exif=exif(**tags)))
    turned = decoder.read("b.jpg", saved(noise(96, 64), exif=exif(**tags, base={0x0112: 6})))
    assert upright.capture.field_of_view_deg == pytest.approx(angle_deg(36, 28))
    assert turned.capture.field_of_view_deg == pytest.approx(angle_deg(24, 28))
    stated = decoder.read(
        "a.jpg", saved(noise(96, 64), exif=exif(**tags)), MetadataOverride(field_of_view_deg=70.0)
    )
    assert stated.capture.field_of_view_deg == 70.0


def test_face_layers_of_panorama_have_90_degrees(decoder):
    picture = saved(noise(256, 128), xmp=xmp(GPano__ProjectionType="equirectangular"))
    metadata_override = MetadataOverride(lat=1.0, lon=2.0, field_of_view_deg=360.0)
    reading = decoder.read("pano.jpg", picture, metadata_override)
    assert isinstance(reading, DecodedImage)
    assert reading.capture.field_of_view_deg == 360.0
    for face in reading.faces:
        layers = face_layers(reading, face)
        assert layers["file"].field_of_view_deg == 90.0
        assert layers["manifest"].field_of_view_deg is None
