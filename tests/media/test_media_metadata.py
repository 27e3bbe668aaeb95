"""Metadata of files from EXIF and XMP: positions, times, headings, names."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from media.pictures import PARIS, PARIS_LAT, PARIS_LON, exif, noise, photo, ratio, saved, xmp
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.metadata.xmp import read_xmp
from pinpoint.records import CaptureMetadata, DecodedImage, MetadataOverride, Rejected
from pinpoint.settings import MediaSettings


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


def capture_of(
    decoder: ChildDecoder, data: bytes, metadata_override: MetadataOverride | None = None
) -> CaptureMetadata:
    result = decoder.read("a.jpg", data, metadata_override)
    assert isinstance(result, DecodedImage), result
    return result.capture


def reason_of(decoder: ChildDecoder, data: bytes) -> str:
    result = decoder.read("a.jpg", data)
    assert isinstance(result, Rejected), result
    return result.error_code


@pytest.mark.parametrize(("ns", "ew"), [("N", "E"), ("S", "W"), ("n", "w"), ("S", "E")])
def test_exif_hemisphere_references_set_signs(decoder: ChildDecoder, ns: str, ew: str) -> None:
    point = capture_of(decoder, photo(gps={1: ns, 3: ew})).point
    assert point.lat == pytest.approx(PARIS_LAT * (1 if ns in "Nn" else -1), abs=1e-6)
    assert point.lon == pytest.approx(PARIS_LON * (1 if ew in "Ee" else -1), abs=1e-6)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
def test_decoder_every_format_gives_exif_position(decoder: ChildDecoder, kind: str) -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    capture = capture_of(decoder, saved(noise(), kind, exif=exif(gps=PARIS)))
    assert capture.format == {"HEIF": "heic"}.get(kind, kind.lower())
    assert capture.position_source == "exif"
    assert capture.point.lat == pytest.approx(PARIS_LAT, abs=1e-6)
    assert (capture.width_px, capture.height_px) == (64, 48)


@pytest.mark.parametrize(
    ("gps", "reason"),
    [
        ({2: (ratio(48, 0), ratio(0, 0), ratio(0, 0))}, "incomplete_position"),
        ({2: (ratio(48, 0),) * 3, 4: (ratio(2, 0),) * 3}, "no_position"),
        ({1: "X"}, "incomplete_position"),
        ({1: "X", 3: "X"}, "incomplete_position"),
        ({2: (1.0, 2.0, 3.0, 4.0)}, "incomplete_position"),
    ],
)
def test_exif_bad_position_is_rejected(decoder: ChildDecoder, gps: dict, reason: str) -> None:
    assert reason_of(decoder, photo(gps=gps)) == reason


def test_exif_seconds_of_zero_over_zero_are_zero(decoder: ChildDecoder) -> None:
    degrees = (ratio(48, 1), ratio(5140, 100), ratio(0, 0))
    assert capture_of(decoder, photo(gps={2: degrees})).point.lat == pytest.approx(
        PARIS_LAT, abs=1e-6
    )


@pytest.mark.parametrize(
    ("lat", "lon"),
    [("48,51.4N", "2,21.05E"), ("48,51,24N", "2,21,3E"), ("48.856667", "2.350833")],
)
def test_xmp_position_notations_are_read(decoder: ChildDecoder, lat: str, lon: str) -> None:
    packet = xmp(exif__GPSLatitude=lat, exif__GPSLongitude=lon)
    capture = capture_of(decoder, saved(noise(), xmp=packet))
    assert capture.position_source == "xmp"
    assert capture.point.lat == pytest.approx(PARIS_LAT, abs=1e-5)
    assert capture.point.lon == pytest.approx(PARIS_LON, abs=1e-5)


def test_exif_position_precedes_xmp_unless_incomplete(decoder: ChildDecoder) -> None:
    packet = xmp(exif__GPSLatitude="10,0N", exif__GPSLongitude="20,0W")
    assert capture_of(decoder, photo(xmp=packet)).position_source == "exif"
    half = saved(noise(), exif=exif(gps={1: "N", 2: (1.0, 0.0, 0.0)}), xmp=packet)
    assert capture_of(decoder, half).point.lon == -20.0


def test_xmp_hostile_packet_is_reported_and_not_expanded(decoder: ChildDecoder) -> None:
    entity = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">]>' + xmp(exif__GPSLatitude="1")
    for packet in (entity, b"<x", b"\xff\xfe\x00"):
        capture = capture_of(decoder, photo(xmp=packet))
        assert "xmp_damaged" in capture.attributes


@pytest.mark.parametrize(
    ("detail", "gps", "packet", "expected", "assumed"),
    [
        ({0x9003: "2020:02:03 12:00:00", 0x9011: "+02:00"}, {}, {}, "2020-02-03T10:00:00", False),
        ({0x9003: "2020:02:03 12:00:00", 0x9011: "-11:30"}, {}, {}, "2020-02-03T23:30:00", False),
        (
            {0x9003: "2020:02:03 12:00:00"},
            {29: "2020:02:03", 7: (3.0, 4.0, 5.0)},
            {},
            "2020-02-03T03:04:05",
            False,
        ),
        ({0x9003: "2020:02:03 12:00:00"}, {}, {}, "2020-02-03T12:00:00", True),
        (
            {0x9003: "2020:02:03 12:00:00"},
            {},
            {"photoshop__DateCreated": "2020-02-03T12:00:00+05:00"},
            "2020-02-03T07:00:00",
            False,
        ),
        ({}, {}, {"xmp__CreateDate": "2020-02-03T12:00:00Z"}, "2020-02-03T12:00:00", False),
        ({0x9003: "0000:00:00 00:00:00"}, {}, {}, None, False),
        ({0x9003: "2020:02:03 12:00:00", 0x9011: "+99:99"}, {}, {}, "2020-02-03T12:00:00", True),
        ({}, {29: "2020:02:03", 7: (99.0, 4.0, 5.0)}, {}, None, False),
        ({0x9004: "2020:02:03 12:00:00"}, {}, {}, "2020-02-03T12:00:00", True),
    ],
)
def test_capture_time_sources_give_utc_time(
    decoder: ChildDecoder,
    detail: dict,
    gps: dict,
    packet: dict,
    expected: str | None,
    assumed: bool,
) -> None:
    options = {"xmp": xmp(**packet)} if packet else {}
    capture = capture_of(decoder, photo(detail=detail, gps=gps, **options))
    expected_time = datetime.fromisoformat(expected).replace(tzinfo=UTC) if expected else None
    assert capture.captured_at == expected_time
    assert capture.attributes.get("time_zone") == ("assumed_utc" if assumed else None)


def test_exif_heading_altitude_camera_and_creator_are_read(decoder: ChildDecoder) -> None:
    capture = capture_of(
        decoder,
        photo(
            gps={16: "M", 17: 370.5, 5: b"\x01", 6: 12.5},
            base={0x010F: "Canon", 0x0110: "Canon EOS R5", 0x013B: "J\u00f6rg".encode()},
        ),
    )
    assert capture.heading_deg == pytest.approx(10.5)
    assert capture.attributes["heading_reference"] == "magnetic"
    assert capture.altitude_m == -12.5
    assert capture.camera == "Canon EOS R5"
    assert capture.creator == "J\u00f6rg"
    assert capture_of(decoder, photo(gps={17: ratio(1, 0)})).heading_deg is None
    assert capture_of(decoder, photo(base={0x010F: "Acme", 0x0110: "X1"})).camera == "Acme X1"


def test_xmp_pose_heading_used_without_exif_direction(decoder: ChildDecoder) -> None:
    packet = xmp(GPano__PoseHeadingDegrees="-90")
    assert capture_of(decoder, photo(xmp=packet)).heading_deg == 270.0
    assert capture_of(decoder, photo(gps={17: 5.0}, xmp=packet)).heading_deg == 5.0


def test_exif_damaged_block_with_override_is_read(decoder: ChildDecoder) -> None:
    data = saved(noise(), exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + bytes(8))
    capture = capture_of(decoder, data, MetadataOverride(lat=1.0, lon=2.0))
    assert capture.point.lat == 1.0


def test_metadata_override_precedes_file_values(decoder: ChildDecoder) -> None:
    data = photo(
        gps={17: 20.0, 6: 10.0},
        detail={0x9003: "2020:02:03 12:00:00"},
        base={0x013B: "Anna"},
    )
    metadata_override = MetadataOverride(
        lat=-1.5,
        lon=179.0,
        captured_at=datetime(2021, 1, 1, tzinfo=UTC),
        heading_deg=-10.0,
        altitude_m=99.0,
        creator="Berta",
        sequence="s1",
        license="CC0",
        panorama_id="p1",
        attributes={"floor": 3},
    )
    capture = capture_of(decoder, data, metadata_override)
    assert (capture.point.lat, capture.point.lon) == (-1.5, 179.0)
    assert capture.position_source == "manifest"
    assert capture.captured_at == metadata_override.captured_at
    assert (capture.heading_deg, capture.altitude_m) == (350.0, 99.0)
    assert (capture.creator, capture.sequence) == ("Berta", "s1")
    assert (capture.license, capture.panorama_id) == ("CC0", "p1")
    assert capture.attributes == {"floor": 3}
    partial = capture_of(decoder, data, MetadataOverride(creator="Berta"))
    assert partial.position_source == "exif"
    assert (partial.creator, partial.heading_deg) == ("Berta", 20.0)
    result = decoder.read("a.jpg", data, MetadataOverride(lat=1.0))
    assert isinstance(result, Rejected)
    assert result.error_code == "incomplete_position"


@pytest.mark.parametrize("inside", ["<a>" * 200, "<a/>" * 30_000])
def test_read_xmp_too_deep_or_wide_is_damaged(inside: str) -> None:
    document = read_xmp(f"<x>{inside}</x>")
    assert document.damaged is not None
    assert "deeper than 64 or more than 20000" in document.damaged
    assert read_xmp(xmp(exif__GPSLatitude="48,51.4N")).damaged is None
