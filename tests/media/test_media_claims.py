"""The claim of a query photo: read in the child, apart from the capture, and never trusted."""

from __future__ import annotations

import random

import pytest

from media import bombs
from media.jpeg_metadata import OFFSET_ORIGINAL, ORIGINAL, TAKEN
from media.pictures import PARIS, PARIS_LAT, PARIS_LON, noise, photo, ratio, saved
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.records import CaptureClaim, DecodedImage, Rejected
from pinpoint.settings import MediaSettings


@pytest.fixture(scope="module")
def decoder():
    with ChildDecoder(MediaSettings()) as running:
        yield running


def test_query_photo_claims_position_time_and_heading(decoder):
    gps = {**PARIS, 16: "T", 17: 271.5}
    data = photo(gps=gps, detail={ORIGINAL: TAKEN, OFFSET_ORIGINAL: "+02:00"})
    read = decoder.read("a.jpg", data, query=True)
    claim = read.claim
    assert (claim.point.lat, claim.point.lon) == pytest.approx((PARIS_LAT, PARIS_LON), abs=1e-5)
    assert (claim.position_source, claim.position_note) == ("exif", None)
    assert claim.captured_at.isoformat() == "2015-06-01T08:00:00+00:00"
    assert (claim.time_source, claim.time_assumed_utc) == ("exif_original", False)
    assert claim.heading_deg == 271.5
    # The capture, which flows read, has none of it.
    assert (read.capture.point.lat, read.capture.position_source) == (0.0, "none")
    assert (read.capture.captured_at, read.capture.heading_deg) == (None, None)


def test_photo_to_ingest_has_no_claim(decoder):
    assert decoder.read("a.jpg", photo(gps=PARIS)).claim is None


@pytest.mark.parametrize(
    ("gps", "note"),
    [
        ({**PARIS, 2: (95.0, 0.0, 0.0)}, "beyond 90 degrees"),
        ({**PARIS, 2: (0.0, 0.0, 0.0), 4: (0.0, 0.0, 0.0)}, "0/0"),
        ({3: "E", 4: (ratio(0, 0), 0.0, 0.0)}, "a latitude without a usable longitude"),
        ({**PARIS, 2: (ratio(1, 0), 0.0, 0.0)}, "without a usable latitude"),
    ],
)
def test_unusable_position_of_query_photo_is_named_and_not_claimed(decoder, gps, note):
    claim = decoder.read("a.jpg", photo(gps=gps), query=True).claim
    assert (claim.point, claim.position_source) == (None, None)
    assert note in claim.position_note


def test_query_photo_without_metadata_claims_nothing(decoder):
    assert decoder.read("a.jpg", saved(noise()), query=True).claim == CaptureClaim()


def test_hostile_metadata_give_a_valid_claim_or_none(decoder):
    rng = random.Random(5)
    for make in (bombs.numbers, bombs.words, bombs.counts):
        for _ in range(8):
            read = decoder.read("a.jpg", make(rng), query=True)
            if isinstance(read, Rejected):
                continue
            assert isinstance(read, DecodedImage)
            point = read.claim.point
            assert point is None or (abs(point.lat) <= 90 and abs(point.lon) <= 180)
            assert len(read.claim.position_note or "") <= 300
