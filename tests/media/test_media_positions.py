"""Signs, hemispheres, denominators and drones: a position is right or rejected with a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from media.jpeg_metadata import read_jpeg, sign_rationals
from media.pictures import PARIS, exif, noise, photo, ratio, saved, xmp
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.metadata.raw_metadata import RawMetadata
from pinpoint.media.metadata.xmp import read_xmp
from pinpoint.records import DecodedImage, Rejected
from pinpoint.settings import MediaSettings

LIMA = {1: "S", 2: (12.0, 2.0, 47.04), 3: "W", 4: (77.0, 2.0, 34.08)}
LIMA_LAT, LIMA_LON = -12.0464, -77.0428
ZERO = {1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)}
SYDNEY = {"exif__GPSLatitude": "33,51.408S", "exif__GPSLongitude": "151,12.918E"}


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


def position_or_reason(decoder: ChildDecoder, data: bytes) -> tuple[float, float] | str:
    """The position, or the reason of the refusal."""
    result = decoder.read("a.jpg", data)
    if isinstance(result, Rejected):
        return result.error_code
    assert isinstance(result, DecodedImage)
    return result.capture.point.lat, result.capture.point.lon


def approx_position(lat: float, lon: float) -> tuple[object, object]:
    return pytest.approx(lat, abs=1e-6), pytest.approx(lon, abs=1e-6)


def signed_jpeg(gps: dict, *negative: tuple[int, int]) -> bytes:
    """A JPEG whose coordinates are signed rationals."""
    return saved(noise(), exif=sign_rationals(exif(gps=gps), *negative))


ALL_OF = {2: [(2, 0), (2, 1), (2, 2)], 4: [(4, 0), (4, 1), (4, 2)]}
DECIMAL = {1: "S", 2: (12.0464,), 3: "W", 4: (77.0428,)}


# --- F3: the sign in the numbers and in the reference --------------------------------------------


@pytest.mark.parametrize(
    ("gps", "negative", "expected"),
    [
        (LIMA, [], (LIMA_LAT, LIMA_LON)),
        (LIMA, [*ALL_OF[2], *ALL_OF[4]], (LIMA_LAT, LIMA_LON)),
        (LIMA, [(2, 0), (4, 0)], (LIMA_LAT, LIMA_LON)),
        (LIMA, ALL_OF[4], (LIMA_LAT, LIMA_LON)),
        (DECIMAL, [(2, 0), (4, 0)], (LIMA_LAT, LIMA_LON)),
        (DECIMAL, [(4, 0)], (LIMA_LAT, LIMA_LON)),
        ({**LIMA, 2: (0.0, 2.0, 47.04)}, ALL_OF[2], (-0.0464, LIMA_LON)),
        # The two signs contradict each other: rejected, not guessed.
        ({**LIMA, 1: "N"}, ALL_OF[2], "incomplete_position"),
        ({**LIMA, 1: "N", 3: "E"}, [*ALL_OF[2], *ALL_OF[4]], "incomplete_position"),
        ({**DECIMAL, 3: "E"}, [(4, 0)], "incomplete_position"),
        (LIMA, [(2, 1)], "incomplete_position"),
    ],
)
def test_exif_sign_in_number_and_reference_is_applied_once(
    decoder: ChildDecoder, gps: dict, negative: list, expected: tuple | str
) -> None:
    outcome = position_or_reason(decoder, signed_jpeg(gps, *negative))
    assert outcome == (expected if isinstance(expected, str) else approx_position(*expected))


@pytest.mark.parametrize(
    ("ref", "value", "expected"),
    [(b"\x01", 12.5, -12.5), (b"\x00", 12.5, 12.5), (b"\x03", 12.5, -12.5), (1, 12.5, -12.5)],
)
def test_exif_altitude_reference_below_sea_level_is_negative(
    ref: object, value: float, expected: float
) -> None:
    assert read_jpeg(photo(gps={5: ref, 6: value})).altitude_m == expected


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("S", -1), ("s", -1), ("South", -1), ("SOUTH", -1), ("N", 1), ("North", 1), (b"S\x00", -1)],
)
def test_exif_hemisphere_reference_in_words_sets_sign(reference: str, expected: int) -> None:
    lat = read_jpeg(photo(gps={1: reference})).lat
    assert lat is not None
    assert lat * expected > 0


@pytest.mark.parametrize("reference", ["", "X", "Sonst", "NS", "1", "W"])
def test_exif_invalid_hemisphere_reference_is_rejected(
    decoder: ChildDecoder, reference: str
) -> None:
    assert position_or_reason(decoder, photo(gps={1: reference})) == "incomplete_position"


# --- F4: XMP with the hemisphere in a property of its own ----------------------------------------


def element_form(properties: dict[str, str]) -> bytes:
    """The same packet with elements instead of attributes."""
    packet = xmp()
    inner = "".join(f"<exif:{name}>{value}</exif:{name}>" for name, value in properties.items())
    return packet.replace(b"/></rdf:RDF>", b">" + inner.encode() + b"</rdf:Description></rdf:RDF>")


@pytest.mark.parametrize("form", ["attributes", "elements"])
@pytest.mark.parametrize(
    ("lat", "lat_ref", "lon", "lon_ref", "expected"),
    [
        ("33.8568", "S", "151.2153", "E", (-33.8568, 151.2153)),
        ("43.0764", "North", "79.0770", "West", (43.0764, -79.077)),
        ("43.0764", "north", "79.0770", "west", (43.0764, -79.077)),
        ("33.8568", "s", "79.0770", "w", (-33.8568, -79.077)),
        ("-33.8568", "S", "-79.0770", "W", (-33.8568, -79.077)),
        ("-33.8568", None, "-79.0770", None, (-33.8568, -79.077)),
        ("33,51,24.48", "S", "151,12.918", "E", (-33.8568, 151.2153)),
        ("33,51,24.48S", "S", "151,12.918E", "East", (-33.8568, 151.2153)),
        ("33/1,51/1,2448/100", "S", "151,12.918E", None, (-33.8568, 151.2153)),
        ("33\u00b0 51' 24.48&quot; S", None, "E 151.2153", None, (-33.8568, 151.2153)),
        ("-33.8568", "N", "151.2153", "E", "incomplete_position"),
        ("33,51,24.48S", "N", "151.2153", "E", "incomplete_position"),
        ("33.8568", "X", "151.2153", "E", "incomplete_position"),
        ("33,51,24.48", None, "151,12.918E", None, "incomplete_position"),
        ("33.8568", "E", "151.2153", "E", "incomplete_position"),
        ("33,61.0S", None, "151,12.918E", None, "incomplete_position"),
        ("33,1/0S", None, "151,12.918E", None, "incomplete_position"),
    ],
)
def test_xmp_hemisphere_property_sets_sign(
    decoder: ChildDecoder,
    form: str,
    lat: str,
    lat_ref: str | None,
    lon: str,
    lon_ref: str | None,
    expected: tuple | str,
) -> None:
    names = ("GPSLatitude", "GPSLatitudeRef", "GPSLongitude", "GPSLongitudeRef")
    values = {n: v for n, v in zip(names, (lat, lat_ref, lon, lon_ref), strict=True) if v}
    packet = (
        element_form(values)
        if form == "elements"
        else xmp(**{f"exif__{name}": value for name, value in values.items()})
    )
    outcome = position_or_reason(decoder, saved(noise(), xmp=packet))
    assert outcome == (expected if isinstance(expected, str) else approx_position(*expected))


# --- F5: parts without a value -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lat", "expected"),
    [
        ((ratio(36, 1), ratio(48, 0), ratio(14, 0)), "incomplete_position"),
        ((ratio(36, 1), ratio(48, 0), ratio(14, 1)), "incomplete_position"),
        ((ratio(36, 1), ratio(48, 1), ratio(14, 0)), "incomplete_position"),
        ((ratio(36, 0), ratio(48, 1), ratio(14, 1)), "incomplete_position"),
        ((ratio(36, 1), ratio(0, 0), ratio(14, 1)), "incomplete_position"),
        ((ratio(36, 1), ratio(0, 0), ratio(0, 0)), "incomplete_position"),
        ((ratio(36, 1), ratio(60, 1), ratio(0, 1)), "incomplete_position"),
        ((ratio(36, 1), ratio(75, 1), ratio(0, 1)), "incomplete_position"),
        ((ratio(36, 1), ratio(48, 1), ratio(61, 1)), "incomplete_position"),
        ((ratio(36, 1), ratio(48, 1), ratio(2400, 1)), "incomplete_position"),
        # Rounded up by the program that wrote it.
        ((ratio(36, 1), ratio(48, 1), ratio(60, 1)), 36 + 49 / 60),
        # Programs that know no seconds write 0/0; the part before has the fraction.
        ((ratio(36, 1), ratio(4854, 100), ratio(0, 0)), 36 + 48.54 / 60),
        ((ratio(368091, 10000), ratio(0, 0), ratio(0, 0)), 36.8091),
        ((ratio(368091, 10000), ratio(0, 1), ratio(0, 1)), 36.8091),
    ],
)
def test_exif_parts_without_value_are_rejected(
    decoder: ChildDecoder, lat: tuple, expected: float | str
) -> None:
    outcome = position_or_reason(decoder, photo(gps={1: "S", 2: lat}))
    assert outcome == (
        expected if isinstance(expected, str) else approx_position(-expected, 2.350833333)
    )


def test_exif_whole_minutes_without_seconds_adds_warning() -> None:
    metadata = read_jpeg(photo(gps={2: (ratio(48, 1), ratio(51, 1), ratio(0, 0))}))
    assert metadata.lat == pytest.approx(48.85)
    assert metadata.warnings == ("the latitude has no seconds: precise to one minute of arc",)


# --- which position is taken ---------------------------------------------------------------------


def read_position(gps: dict | None, **properties: str) -> RawMetadata:
    options = {"xmp": xmp(**properties)} if properties else {}
    return read_jpeg(saved(noise(), exif=exif(gps=gps or {0: b"\x02\x03\x00\x00"}), **options))


@pytest.mark.parametrize(
    ("gps", "reason"),
    [
        (ZERO, "0/0"),
        ({1: "N", 2: (ratio(0, 0),) * 3, 3: "E", 4: (ratio(0, 0),) * 3}, "cannot be read"),
        ({2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, "has no hemisphere"),
        ({**PARIS, 2: (95.0, 0.0, 0.0)}, "beyond 90 degrees"),
        ({1: "N", 2: (48.0, 0.0, 0.0)}, "without a usable longitude"),
    ],
)
def test_unusable_exif_position_uses_xmp_with_warning(gps: dict, reason: str) -> None:
    metadata = read_position(gps, **SYDNEY)
    assert (metadata.lat, metadata.lon) == approx_position(-33.8568, 151.2153)
    assert metadata.position_source == "xmp"
    assert len(metadata.warnings) == 1
    assert "the EXIF position is not used" in metadata.warnings[0]
    assert reason in metadata.warnings[0]


def test_exif_position_precedes_distant_xmp_position_with_warning() -> None:
    metadata = read_position(PARIS, **SYDNEY)
    assert metadata.position_source == "exif"
    assert metadata.warnings[0].startswith("the XMP position is 169")
    same = read_position(PARIS, exif__GPSLatitude="48,51.4N", exif__GPSLongitude="2,21.05E")
    assert (same.position_source, same.warnings) == ("exif", ())


def test_no_usable_position_reports_first_reason(decoder: ChildDecoder) -> None:
    both_zero = xmp(exif__GPSLatitude="0,0N", exif__GPSLongitude="0,0E")
    assert (
        position_or_reason(decoder, saved(noise(), exif=exif(gps=ZERO), xmp=both_zero))
        == "null_island"
    )
    assert position_or_reason(decoder, saved(noise(), exif=exif(gps=ZERO))) == "null_island"


# --- F12: drones ---------------------------------------------------------------------------------


def drone(space: str, **properties: str) -> bytes:
    values = " ".join(f'd:{name}="{value}"' for name, value in properties.items())
    return xmp().replace(b'rdf:about=""', f'rdf:about="" xmlns:d="{space}" {values}'.encode())


DJI = "http://www.dji.com/drone-dji/1.0/"


@pytest.mark.parametrize(
    ("space", "names"),
    [
        (DJI, ("GpsLatitude", "GpsLongitude")),
        (DJI, ("GpsLatitude", "GpsLongtitude")),
        (DJI, ("GPSLatitude", "GPSLongitude")),
        ("http://www.autelrobotics.com/drone/1.0/", ("GpsLatitude", "GpsLongitude")),
        ("https://www.skydio.com/drone-skydio/1.0/", ("Latitude", "Longitude")),
        ("http://www.yuneec.com/1.0/", ("GpsLatitude", "GpsLongitude")),
    ],
)
@pytest.mark.parametrize("gps", [{0: b"\x02\x03\x00\x00"}, ZERO])
def test_drone_position_used_without_exif_position(
    space: str, names: tuple[str, str], gps: dict
) -> None:
    packet = drone(space, **dict(zip(names, ("+44.5135795", "-64.3007844"), strict=True)))
    metadata = read_jpeg(saved(noise(), exif=exif(gps=gps), xmp=packet))
    assert (metadata.lat, metadata.lon) == approx_position(44.5135795, -64.3007844)
    assert metadata.position_source == "xmp"


def test_drone_position_ranks_after_exif_and_xmp() -> None:
    packet = drone(DJI, GpsLatitude="44.5", GpsLongitude="-64.3")
    assert read_jpeg(saved(noise(), exif=exif(gps=PARIS), xmp=packet)).position_source == "exif"
    both = packet.replace(
        b"/></rdf:RDF>", b' exif:GPSLatitude="10,0S" exif:GPSLongitude="20,0W"/></rdf:RDF>'
    )
    assert read_jpeg(saved(noise(), xmp=both)).lat == -10.0


@pytest.mark.parametrize("value", ["0.0", "+0.000000", "", "nan"])
def test_drone_without_fix_has_no_position(decoder: ChildDecoder, value: str) -> None:
    packet = drone(DJI, GpsLatitude=value, GpsLongitude=value)
    assert position_or_reason(decoder, saved(noise(), xmp=packet)) in ("null_island", "no_position")


def test_gimbal_heading_used_without_image_direction() -> None:
    packet = drone(DJI, GimbalYawDegree="-84.20", FlightYawDegree="+12.0", AbsoluteAltitude="+81.5")
    metadata = read_jpeg(saved(noise(), exif=exif(gps=PARIS), xmp=packet))
    assert metadata.heading_deg == pytest.approx(275.8)
    assert metadata.altitude_m == 81.5
    written = read_jpeg(saved(noise(), exif=exif(gps={**PARIS, 17: 90.0}), xmp=packet))
    assert written.heading_deg == 90.0
    assert written.warnings == (
        "the gimbal's heading is 276 degrees; the image direction of 90 degrees comes first",
    )
    assert not read_jpeg(saved(noise(), exif=exif(gps={**PARIS, 17: 280.0}), xmp=packet)).warnings
    assert read_xmp(drone(DJI, FlightYawDegree="+12.0")).gimbal_heading_deg is None
