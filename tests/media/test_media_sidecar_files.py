"""Values of XMP and Takeout sidecars: which file has which sidecar, and what is used."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from media.pictures import photo, xmp
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.sidecar_files import add_sidecar_values, read_sidecars, sidecar_finder
from pinpoint.records import DecodedImage, MetadataOverride
from pinpoint.settings import MediaSettings
from shared_data import shared_data

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TAKEOUT = {
    "title": "a.jpg",
    "photoTakenTime": {"timestamp": "1574598615"},
    "geoData": {"latitude": -33.45, "longitude": -70.66, "altitude": 520.0},
    "geoDataExif": {"latitude": 1.0, "longitude": 1.0},
}


@pytest.mark.parametrize(
    ("photo_name", "sidecar"),
    [
        ("a.jpg", "a.jpg.xmp"),
        ("a.jpg", "a.XMP"),
        ("a.jpg", "a.jpg.json"),
        ("a.jpg", "a.jpg.supplemental-metadata.json"),
        ("a.jpg", "a.jpg.supplem.json"),
        ("a(1).jpg", "a.jpg(1).json"),
        ("a(1).jpg", "a.jpg.supplemental-metadata(1).json"),
        ("a-edited.jpg", "a.jpg.supplemental-metadata.json"),
        (
            "IMG_20190101_a_very_long_name_that_was_cut_off_here.jpg",
            "IMG_20190101_a_very_long_name_that_was_cut_off.json",
        ),
    ],
)
def test_sidecar_finder_name_of_program_is_found(
    tmp_path: Path, photo_name: str, sidecar: str
) -> None:
    (tmp_path / sidecar).write_text("{}")
    assert sidecar_finder(tmp_path)(tmp_path / photo_name) == (str(tmp_path / sidecar),)


@pytest.mark.parametrize("sidecar", ["b.jpg.xmp", "a.jpg(1).json", "ab.jpg.json", "a.jpg.x.json"])
def test_sidecar_finder_other_name_is_not_found(tmp_path: Path, sidecar: str) -> None:
    (tmp_path / sidecar).write_text("{}")
    assert sidecar_finder(tmp_path)(tmp_path / "a.jpg") == ()


def test_sidecar_finder_link_out_of_folder_is_not_found(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.json").write_text("{}")
    (folder / "a.jpg.json").symlink_to(tmp_path / "secret.json")
    assert sidecar_finder(folder)(folder / "a.jpg") == ()


def write_sidecars(folder: Path, document: object = TAKEOUT) -> tuple[str, ...]:
    (folder / "a.jpg.xmp").write_bytes(
        xmp(
            exif__GPSLatitude="48,51.5N",
            exif__GPSLongitude="2,21E",
            exif__DateTimeOriginal="2020-02-03T04:05:06",
        )
    )
    (folder / "a.jpg.json").write_text(json.dumps(document))
    return sidecar_finder(folder)(folder / "a.jpg")


def test_read_sidecars_xmp_has_precedence_over_takeout(tmp_path: Path) -> None:
    override = MetadataOverride(sidecars=write_sidecars(tmp_path), time_zone="+02:00")
    layer = read_sidecars(override, NOW)
    assert layer is not None
    assert layer.position is not None
    assert (layer.position.lat, layer.position.lon) == pytest.approx((48.858333, 2.35))
    assert str(layer.captured_at) == "2020-02-03 02:05:06+00:00"
    assert layer.altitude_m == 520.0
    assert layer.attributes == {"time_zone": "+02:00"}


@pytest.mark.parametrize(
    ("document", "warning"),
    [
        ({**TAKEOUT, "geoData": {"latitude": 95, "longitude": 1}}, "position is not used"),
        ({**TAKEOUT, "photoTakenTime": {"timestamp": "4000000000"}}, "time is not used"),
    ],
)
def test_read_sidecars_unusable_value_is_a_warning(
    tmp_path: Path, document: object, warning: str
) -> None:
    (tmp_path / "a.jpg.json").write_text(json.dumps(document))
    override = MetadataOverride(sidecars=sidecar_finder(tmp_path)(tmp_path / "a.jpg"))
    layer = read_sidecars(override, NOW)
    assert layer is not None
    assert any(warning in text and "a.jpg.json" in text for text in layer.warnings)


@pytest.mark.parametrize("content", [b"{", b"[" * 100_000, b"", b"<x", b"\xff\xfe{}"])
def test_read_sidecars_damaged_file_is_a_warning(tmp_path: Path, content: bytes) -> None:
    for name in ("a.jpg.json", "a.jpg.xmp"):
        (tmp_path / name).write_bytes(content)
    override = MetadataOverride(sidecars=sidecar_finder(tmp_path)(tmp_path / "a.jpg"))
    layer = read_sidecars(override, NOW)
    assert layer is not None
    assert layer.position is None
    assert len(layer.warnings) == 2


def test_read_sidecars_zero_position_of_takeout_uses_that_of_the_camera(tmp_path: Path) -> None:
    document = {**TAKEOUT, "geoData": {"latitude": 0.0, "longitude": 0.0}}
    (tmp_path / "a.jpg.json").write_text(json.dumps(document))
    override = MetadataOverride(sidecars=sidecar_finder(tmp_path)(tmp_path / "a.jpg"))
    layer = read_sidecars(override, NOW)
    assert layer is not None
    assert layer.position is not None
    assert (layer.position.lat, layer.position.lon) == (1.0, 1.0)


def test_add_sidecar_values_keeps_the_values_of_the_row(tmp_path: Path) -> None:
    row = MetadataOverride(lat=1.0, lon=2.0, creator="row")
    merged = add_sidecar_values(row, write_sidecars(tmp_path), NOW)
    assert (merged.lat, merged.lon, merged.creator) == (1.0, 2.0, "row")
    assert merged.captured_at is not None
    assert merged.altitude_m == 520.0


def test_decoder_reads_position_of_sidecar_for_photo_without_one(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(photo())
    (tmp_path / "a.jpg.json").write_text(json.dumps(TAKEOUT))
    override = MetadataOverride(sidecars=sidecar_finder(tmp_path)(tmp_path / "a.jpg"))
    with ChildDecoder(MediaSettings()) as decoder:
        image = decoder.read("a.jpg", str(tmp_path / "a.jpg"), override)
    assert isinstance(image, DecodedImage), image
    assert (image.capture.point.lat, image.capture.point.lon) == (-33.45, -70.66)
    assert image.capture.position_source == image.capture.time_source == "sidecar"


def test_read_sidecars_real_xmp_files_give_their_times() -> None:
    folder = shared_data() / "photos" / "test-assets" / "metadata" / "xmp" / "dates"
    for year in (2000, 2010, 2020):
        override = MetadataOverride(sidecars=(str(folder / f"{year}.xmp"),))
        layer = read_sidecars(override, NOW)
        assert layer is not None
        assert layer.captured_at is not None
        assert layer.captured_at.year == year
