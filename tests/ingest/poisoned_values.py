"""Values that make a batch item invalid, with the expected error code."""

from __future__ import annotations

import json

CJK = "".join(chr(0x4E00 + n * 7 % 20_000) for n in range(1_000))
"""3,000 bytes that do not compress: longer than an entry of a B-tree may be."""

DEEP = '{"attributes": {"a": ' + "[" * 2_000 + "]" * 2_000 + "}}"
METADATA_OVERRIDES = {
    "offset before year 1": ('{"captured_at": "0001-01-01T00:00:00+01:00"}', "not_storable"),
    "offset after year 9999": ('{"captured_at": "9999-12-31T23:59:59-01:00"}', "not_storable"),
    "no time": ('{"captured_at": "yesterday"}', "bad_metadata_override"),
    "a list": ("[1, 2]", "bad_metadata_override"),
    "a text": ('"metadata_override"', "bad_metadata_override"),
    "an unknown field": ('{"color": "red"}', "bad_metadata_override"),
    "a text for a number": ('{"lat": "north"}', "bad_metadata_override"),
    "a truth for a number": ('{"lat": true}', "bad_metadata_override"),
    "a number beyond floats": ('{"altitude_m": 1e400}', "not_storable"),
    "a number of 5,000 digits": ('{"altitude_m": 1e5000}', "bad_metadata_override"),
    "nested attributes": ('{"attributes": {"a": {"b": 1}}}', "not_storable"),
    "deep attributes": (DEEP, "bad_metadata_override"),
    "large attributes": (json.dumps({"attributes": {"a": "x" * 70_000}}), "text_too_long"),
    "a huge metadata_override": (json.dumps({"creator": "x" * 2_000_000}), "bad_metadata_override"),
    "a creator of 1,000 CJK characters": (json.dumps({"creator": CJK}), "text_too_long"),
    "a sequence of 1,000 CJK characters": (json.dumps({"sequence": CJK}), "text_too_long"),
}


COLUMNS = [
    ("external_id", CJK, "text_too_long"),
    ("file", CJK * 2, "text_too_long"),
    ("uri", "file:///" + CJK * 5, "text_too_long"),
    ("uri", "http://[broken", "url_refused"),
    ("uri", "file:///a%00b", "missing_file"),
    ("uri", "blob:../../x", "missing_file"),
]
