"""Metadata in several places: EXIF segments, extended XMP, raw profiles, IPTC, HEIF brands."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator

import pillow_heif
import pytest

from media.containers import app1, chunks, jpeg, png, segments, with_chunk, with_piece
from media.jpeg_metadata import ORIGINAL, TAKEN, iptc, read_jpeg, utc
from media.pictures import PARIS, PARIS_LAT, PARIS_LON, exif, noise, saved, xmp
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.sniff import sniff_format
from pinpoint.records import CaptureMetadata, DecodedImage, Rejected
from pinpoint.settings import MediaSettings

pillow_heif.register_heif_opener()

XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\x00"
EXTENSION_HEAD = b"http://ns.adobe.com/xmp/extension/\x00"
PARIS_XMP = {"exif__GPSLatitude": "48,51.4N", "exif__GPSLongitude": "2,21.05E"}


@pytest.fixture(scope="module")
def decoder() -> Iterator[ChildDecoder]:
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


def capture_of(decoder: ChildDecoder, data: bytes) -> CaptureMetadata:
    result = decoder.read("a.jpg", data)
    assert isinstance(result, DecodedImage), result
    return result.capture


def in_paris(lat: float | None, lon: float | None) -> bool:
    return [lat, lon] == pytest.approx([PARIS_LAT, PARIS_LON], abs=1e-5)


# --- F9: several EXIF segments, several XMP packets ----------------------------------------------


def with_segments(*payloads: bytes) -> bytes:
    """A JPEG that begins with these APP1 segments."""
    return jpeg([*map(app1, payloads), *segments(saved(noise()))])


def test_exif_position_in_second_segment_is_read(decoder: ChildDecoder) -> None:
    first = exif(base={0x010F: "Maker"}, detail={ORIGINAL: TAKEN})
    capture = capture_of(decoder, with_segments(first, exif(gps=PARIS, base={0x0112: 6})))
    assert in_paris(capture.point.lat, capture.point.lon)
    assert (capture.camera, capture.captured_at) == ("Maker", utc("2015-06-01T10:00:00"))
    assert (capture.width_px, capture.height_px) == (48, 64)  # turned by the second block
    assert capture.warnings == ("the file has 2 EXIF blocks; all were read",)


def test_exif_two_positions_uses_first_and_adds_warning() -> None:
    other = exif(gps={1: "S", 2: (33.0, 0.0, 0.0), 3: "E", 4: (151.0, 0.0, 0.0)})
    metadata = read_jpeg(with_segments(exif(gps=PARIS), other))
    assert in_paris(metadata.lat, metadata.lon)
    assert "km away; the EXIF position comes first" in metadata.warnings[0]
    zero = exif(gps={1: "N", 2: (0.0, 0.0, 0.0), 3: "E", 4: (0.0, 0.0, 0.0)})
    metadata = read_jpeg(with_segments(zero, exif(gps=PARIS)))
    assert in_paris(metadata.lat, metadata.lon)


def test_exif_block_split_over_segments_is_joined() -> None:
    whole = exif(gps=PARIS, base={0x010E: "x" * 300})
    metadata = read_jpeg(with_segments(whole[:200], b"Exif\x00\x00" + whole[200:]))
    assert in_paris(metadata.lat, metadata.lon)
    assert not metadata.warnings


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, as in the decoding child
def test_exif_damaged_second_segment_is_ignored() -> None:
    metadata = read_jpeg(with_segments(exif(gps=PARIS), b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"))
    assert in_paris(metadata.lat, metadata.lon)
    assert read_jpeg(with_segments(b"Exif\x00\x00", exif(gps=PARIS))).lat is not None


def test_xmp_position_in_second_packet_is_read() -> None:
    packets = (xmp(xmp__CreateDate="2015-06-01T10:00:00Z"), xmp(**PARIS_XMP))
    metadata = read_jpeg(with_segments(*(XMP_HEAD + packet for packet in packets)))
    assert in_paris(metadata.lat, metadata.lon)
    assert metadata.captured_at == utc("2015-06-01T10:00:00")


def extended(data: bytes, guid: bytes, size: int = 300) -> list[bytes]:
    """Extension segments, in reverse order: only their offsets count."""
    return [
        EXTENSION_HEAD + guid + struct.pack(">II", len(data), at) + data[at : at + size]
        for at in range(0, len(data), size)
    ][::-1]


@pytest.mark.parametrize(("named", "complete"), [(True, True), (False, True), (True, False)])
def test_extended_xmp_is_read_only_when_named_and_complete(named: bool, complete: bool) -> None:
    data = xmp(**PARIS_XMP)
    guid = hashlib.md5(data, usedforsecurity=False).hexdigest().upper().encode()
    main = xmp(xmp__CreateDate="2015-06-01T10:00:00Z")
    if named:
        note = b' xmlns:xmpNote="http://ns.adobe.com/xmp/note/" xmpNote:HasExtendedXMP="'
        main = main.replace(b" xmp:CreateDate", note + guid + b'" xmp:CreateDate')
    pieces = extended(data, guid)[: None if complete else -1]
    metadata = read_jpeg(with_segments(XMP_HEAD + main, *pieces))
    assert in_paris(metadata.lat, metadata.lon) == (named and complete)
    assert metadata.captured_at == utc("2015-06-01T10:00:00")


def test_xmp_of_ingredient_is_ignored() -> None:
    other = xmp(**PARIS_XMP)
    start, end = other.index(b"<rdf:Description"), other.index(b"</rdf:RDF>")
    pantry = b"<mm:Pantry><rdf:Bag><rdf:li>" + other[start:end] + b"</rdf:li></rdf:Bag></mm:Pantry>"
    space = b'<rdf:Description xmlns:mm="http://ns.adobe.com/xap/1.0/mm/">'
    packet = other[:start] + space + pantry + b"</rdf:Description>" + other[end:]
    assert read_jpeg(with_segments(XMP_HEAD + other)).lat is not None
    assert read_jpeg(with_segments(XMP_HEAD + packet)).lat is None


# --- a GPS directory below the Exif directory ----------------------------------------------------


def nested_gps() -> bytes:
    """A block whose pointer to the GPS directory is an entry of the Exif directory."""
    block = bytearray(exif(gps=PARIS, detail={ORIGINAL: TAKEN}, base={0x010F: "Maker"}))
    order = ">" if block[6:8] == b"MM" else "<"
    tiff = block[6:]

    def entries(start: int) -> list[bytes]:
        (count,) = struct.unpack_from(order + "H", tiff, start)
        return [bytes(tiff[at : at + 12]) for at in range(start + 2, start + 2 + 12 * count, 12)]

    def tag(entry: bytes) -> int:
        return struct.unpack(order + "H", entry[:2])[0]

    base = entries(struct.unpack_from(order + "I", tiff, 4)[0])
    gps = next(entry for entry in base if tag(entry) == 0x8825)
    detail = entries(struct.unpack(order + "I", next(e for e in base if tag(e) == 0x8769)[8:])[0])

    def directory(records: list[bytes]) -> bytes:
        records = sorted(records, key=tag)
        return struct.pack(order + "H", len(records)) + b"".join(records) + bytes(4)

    at = len(tiff)
    below = directory([*detail, gps])
    pointer = struct.pack(order + "HHII", 0x8769, 4, 1, at)
    top = directory([*(e for e in base if tag(e) not in (0x8769, 0x8825)), pointer])
    struct.pack_into(order + "I", tiff, 4, at + len(below))
    return bytes(block[:6]) + bytes(tiff) + below + top


def test_exif_gps_directory_inside_exif_directory_is_read(decoder: ChildDecoder) -> None:
    capture = capture_of(decoder, saved(noise(), exif=nested_gps()))
    assert in_paris(capture.point.lat, capture.point.lon)
    assert (capture.camera, capture.captured_at) == ("Maker", utc("2015-06-01T10:00:00"))


# --- F14: PNG text, HEIF brands ------------------------------------------------------------------


def raw_profile(kind: bytes, data: bytes) -> bytes:
    """Body of a zTXt chunk as ImageMagick writes it."""
    digits = data.hex().encode()
    lines = b"\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    text = b"\n%s\n%8d\n%s\n" % (kind.lower(), len(data), lines)
    return b"Raw profile type " + kind + b"\x00\x00" + zlib.compress(text)


BLOCK = exif(gps=PARIS, base={0x0112: 6})


@pytest.mark.parametrize(
    ("name", "body", "source"),
    [
        (b"zTXt", raw_profile(b"APP1", BLOCK), "exif"),
        (b"zTXt", raw_profile(b"app1", BLOCK), "exif"),
        (b"zTXt", raw_profile(b"exif", BLOCK), "exif"),
        (b"zTXt", raw_profile(b"EXIF", BLOCK[6:]), "exif"),
        (b"zTXt", raw_profile(b"APP1", XMP_HEAD + xmp(**PARIS_XMP)), "xmp"),
        (b"zTXt", raw_profile(b"xmp", xmp(**PARIS_XMP)), "xmp"),
        (b"eXIf", BLOCK[6:], "exif"),
        (b"eXIf", BLOCK, "exif"),
        (b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + xmp(**PARIS_XMP), "xmp"),
        (
            b"iTXt",
            b"XML:com.adobe.xmp\x00\x01\x00\x00\x00" + zlib.compress(xmp(**PARIS_XMP)),
            "xmp",
        ),
        (b"tEXt", b"XML:com.adobe.xmp\x00" + xmp(**PARIS_XMP), "xmp"),
        (b"zTXt", b"XML:com.adobe.xmp\x00\x00" + zlib.compress(xmp(**PARIS_XMP)), "xmp"),
    ],
)
@pytest.mark.parametrize("behind", [False, True])
def test_png_metadata_is_read_from_every_chunk(
    decoder: ChildDecoder, name: bytes, body: bytes, source: str, behind: bool
) -> None:
    plain = saved(noise(), "PNG")
    *parts, end = chunks(plain)
    data = png([*parts, (name, body), end]) if behind else with_chunk(plain, name, body)
    capture = capture_of(decoder, data)
    assert in_paris(capture.point.lat, capture.point.lon)
    assert capture.position_source == source
    assert (capture.width_px, capture.height_px) == ((48, 64) if source == "exif" else (64, 48))


def test_png_raw_profile_trailing_bytes_are_ignored() -> None:
    text = b"\nexif\n%8d\n%s\n}$\x1d\xd1" % (len(BLOCK), BLOCK.hex().encode())
    body = b"Raw profile type exif\x00\x00" + zlib.compress(text)
    metadata = read_jpeg(with_chunk(saved(noise(), "PNG"), b"zTXt", body))
    assert in_paris(metadata.lat, metadata.lon)


@pytest.mark.parametrize("digits", [b"zz", b"abc", b""])
def test_png_raw_profile_invalid_is_ignored(digits: bytes) -> None:
    body = b"Raw profile type APP1\x00\x00" + zlib.compress(b"\napp1\n 4\n" + digits)
    assert read_jpeg(with_chunk(saved(noise(), "PNG"), b"zTXt", body)).lat is None


def rebranded(data: bytes, major: bytes, *compatible: bytes) -> bytes:
    """A HEIF file with these brands; its offsets are moved by what its first box grows."""
    size = struct.unpack(">I", data[:4])[0]
    brands = [data[at : at + 4] for at in range(16, size, 4)]
    body = major + bytes(4) + b"".join((*compatible, *brands))
    box = struct.pack(">I4s", len(body) + 8, b"ftyp") + body
    grown = len(box) - size
    # A box of padding keeps the offsets of the media data where the brands are as long as before.
    assert grown == 4 * len(compatible)
    rest = bytearray(data[size:])
    at = rest.index(b"iloc") - 4
    (length,) = struct.unpack_from(">I", rest, at)
    for position in range(at + 12, at + length - 3):
        (value,) = struct.unpack_from(">I", rest, position)
        if len(data) > value >= data.index(b"mdat"):
            struct.pack_into(">I", rest, position, value + grown)
    return box + bytes(rest)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
@pytest.mark.parametrize("major", [b"miaf", b"MiHB", b"mif2", b"tmap", b"1pic", b"xyz ", b"isom"])
def test_heif_any_major_brand_is_read_by_compatible_brand(
    decoder: ChildDecoder, kind: str, major: bytes
) -> None:
    data = rebranded(saved(noise(), kind, exif=exif(gps=PARIS)), major)
    capture = capture_of(decoder, data)
    assert in_paris(capture.point.lat, capture.point.lon)
    assert capture.format == {"HEIF": "heic", "AVIF": "avif"}[kind]


def test_sniff_format_heif_with_many_brands_is_heic() -> None:
    data = saved(noise(), "HEIF")
    long = rebranded(data, b"isom", *(b"x%03d" % n for n in range(40)))
    assert sniff_format(long[:256]) == "heic"
    assert sniff_format(b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00mp41mp42") is None


def test_heif_video_under_still_brand_is_undecodable(decoder: ChildDecoder) -> None:
    result = decoder.read("a.heic", b"\x00\x00\x00\x14ftypmiaf\x00\x00\x00\x00miaf" + bytes(500))
    assert isinstance(result, Rejected)
    assert result.error_code == "undecodable"


# --- IPTC ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "detail", "expected", "source", "assumed"),
    [
        (
            {"d55": "20150601", "d60": "100000+0200"},
            {},
            "2015-06-01T08:00:00",
            "iptc_created",
            False,
        ),
        (
            {"d62": "20150601", "d63": "100000-0500"},
            {},
            "2015-06-01T15:00:00",
            "iptc_digitized",
            False,
        ),
        # +0000 is what programs write that know no zone.
        (
            {"d55": "20150601", "d60": "100000+0000"},
            {},
            "2015-06-01T10:00:00",
            "iptc_created",
            True,
        ),
        ({"d55": "20150601"}, {}, None, None, False),
        (
            {"d55": "20200101", "d60": "100000+0200"},
            {ORIGINAL: TAKEN},
            "2015-06-01T10:00:00",
            "exif_original",
            True,
        ),
        (
            {"d55": "20150601", "d60": "100000+0200"},
            {ORIGINAL: TAKEN},
            "2015-06-01T08:00:00",
            "exif_original",
            False,
        ),
    ],
)
def test_iptc_dates_rank_after_exif_and_xmp(
    records: dict, detail: dict, expected: str | None, source: str | None, assumed: bool
) -> None:
    data = with_piece(saved(noise(), exif=exif(gps=PARIS, detail=detail)), (0xED, iptc(**records)))
    metadata = read_jpeg(data)
    assert metadata.captured_at == (utc(expected) if expected else None)
    assert (metadata.time_source, metadata.time_assumed_utc) == (source, assumed)
