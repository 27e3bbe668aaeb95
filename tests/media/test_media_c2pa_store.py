"""Manifest stores as JSON: places and times in all their forms, and hostile values."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from pinpoint.media.c2pa.manifest_claim import ManifestClaim, decode_claim, encode_claim
from pinpoint.media.c2pa.manifest_store import read_manifest_store

PLACE = {"exif:GPSLatitude": "10,30.0S", "exif:GPSLongitude": "20,15.0W"}
GEO = {"@type": "GeoCoordinates", "latitude": "-10.5", "longitude": -20.25}


def read(*assertions, has_trust_list=False, **changes):
    manifest = {"assertions": [{"label": label, "data": data} for label, data in assertions]}
    store = {"active_manifest": "a", "manifests": {"a": manifest}, "validation_state": "Valid"}
    return read_manifest_store(json.dumps(store | changes), has_trust_list=has_trust_list)


@pytest.mark.parametrize(
    ("label", "data"),
    [
        ("c2pa.metadata", PLACE),
        ("c2pa.metadata__2", PLACE),
        ("cawg.metadata", {"Iptc4xmpExt:LocationCreated": [PLACE]}),
        ("stds.iptc", {"Iptc4xmpExt:LocationCreated": PLACE}),
        ("stds.exif", PLACE),
        ("stds.schema-org.CreativeWork", {"contentLocation": {"geo": GEO}}),
        ("stds.schema-org.CreativeWork", {"locationCreated": [{"geo": GEO}]}),
    ],
)
def test_place_is_read(label, data):
    claim = read((label, data))
    assert (claim.lat, claim.lon) == (-10.5, -20.25)
    assert claim.position_source == label.removesuffix("__2")


@pytest.mark.parametrize(
    ("label", "data", "hour", "assumed_utc"),
    [
        ("c2pa.metadata", {"exif:DateTimeOriginal": "2024-01-02T03:04:05Z"}, 3, False),
        ("c2pa.metadata", {"exif:DateTimeOriginal": "2024:01:02 03:04:05"}, 3, True),
        (
            "stds.exif",
            {
                "exif:DateTimeOriginal": "2024:01:02 03:04:05",
                "exif:OffsetTimeOriginal": "-02:00",
            },
            5,
            False,
        ),
        ("stds.iptc", {"photoshop:DateCreated": "2024-01-02T03:04:05+01:00"}, 2, False),
        ("stds.schema-org.CreativeWork", {"dateCreated": "2024-01-02T03:04:05Z"}, 3, False),
        (
            "c2pa.actions.v2",
            {"actions": [{"action": "c2pa.created", "when": "2024-01-02T03:04:05Z"}]},
            3,
            False,
        ),
    ],
)
def test_time_is_read(label, data, hour, assumed_utc):
    claim = read((label, data))
    assert claim.captured_at == datetime(2024, 1, 2, hour, 4, 5, tzinfo=UTC)
    assert claim.time_assumed_utc is assumed_utc
    assert claim.time_source == label.removesuffix(".v2")


def test_metadata_assertion_comes_before_older_ones():
    other = {"exif:GPSLatitude": "1,0.0N", "exif:GPSLongitude": "1,0.0E"}
    claim = read(("stds.exif", other), ("c2pa.metadata", PLACE))
    assert claim.position_source == "c2pa.metadata"


def test_chain_of_parents_may_be_a_circle():
    parents = {"a": "b", "b": "c", "c": "a"}
    manifests = {
        label: {
            "ingredients": [{"relationship": "parentOf", "active_manifest": parent}],
            "assertions": [{"label": "stds.exif", "data": PLACE if label == "c" else {}}],
        }
        for label, parent in parents.items()
    }
    assert read(manifests=manifests).position_source == "stds.exif"


def test_trusted_needs_a_trust_list():
    assert read(validation_state="Trusted").state == "valid"
    assert read(validation_state="Trusted", has_trust_list=True).state == "trusted"
    assert read(validation_state="Whatever").state == "invalid"


def test_failures_of_ingredients_are_listed():
    results = {
        "activeManifest": {"success": [], "failure": [{"code": "signingCredential.untrusted"}]},
        "ingredientDeltas": [
            {"validationDeltas": {"failure": [{"code": "assertion.missing"}, {"code": "<b>"}]}}
        ],
    }
    assert read(validation_results=results).failure_codes == ("assertion.missing",)


@pytest.mark.parametrize("value", [None, 1, "x", [], [[]], {"a": [{}]}, [None, "x"]])
@pytest.mark.parametrize(
    "field", ["manifests", "validation_results", "validation_state", "active_manifest"]
)
def test_values_of_wrong_types_are_ignored_or_refused(field, value):
    if field in ("manifests", "active_manifest"):
        with pytest.raises(ValueError, match="no active manifest"):
            read(**{field: value})
    else:
        assert decode_claim(encode_claim(read(**{field: value}))).point is None


@pytest.mark.parametrize(
    "field", ["signature_info", "claim_generator_info", "assertions", "ingredients"]
)
@pytest.mark.parametrize("value", [None, 1, "x", [1], [{"label": 5}], {"name": ["x"]}])
def test_fields_of_wrong_types_are_ignored(field, value):
    claim = decode_claim(encode_claim(read(manifests={"a": {field: value, "x": 1}})))
    assert (claim.point, claim.captured_at, claim.signer) == (None, None, None)


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{", "[" * 100_000, '{"active_manifest": "a"}', "1e999"]
)
def test_other_text_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the reason depends on the text
        read_manifest_store(text, has_trust_list=False)


def test_texts_are_short_and_printable():
    generator = [{"name": "a\x1b[31m" + "b" * 999, "version": "1"}]
    claim = read(manifests={"a": {"claim_generator_info": generator}})
    assert claim.generator is not None
    assert len(claim.generator) == 200
    assert claim.generator.isprintable()


@pytest.mark.parametrize(
    "change",
    [
        {"state": "fine"},
        {"state": "not_checked"},
        {"signer": "x" * 201},
        {"signer": 5},
        {"failure_codes": ["a"] * 17},
        {"failure_codes": ["<script>"]},
        {"captured_at": "2024-01-02T03:04:05"},
        {"captured_at": "0001-01-01T00:00:00+14:00"},
        {"lat": "1"},
        {"extra": 1},
    ],
)
def test_answer_of_the_child_is_checked(change):
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec and the calendar
        decode_claim(encode_claim(ManifestClaim(state="valid")) | change)
