"""Limits of keys over HTTP: headers, problems, order of checks, overrides, misuse rule."""

from __future__ import annotations

import socket
from collections import Counter
from io import BytesIO
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from PIL import Image
from prometheus_client import generate_latest

from pinpoint.api.metrics import Meters
from pinpoint.limit_settings import LimitSettings
from pinpoint.media.decoding.creator_counter import CreatorCounter
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.records import DecodedImage
from pinpoint.settings import MediaSettings
from pinpoint.store.limits.counters import IN_PROCESS_URL, LimitCounters
from pinpoint.store.limits.misuse import MisuseRule

TYPES = "https://iana.org/assignments/http-problem-types#"


@pytest.fixture
def limit(api):
    """Sets limits of all keys of this test."""

    def set_limits(**limits):
        api.parts.key_limiter._settings = LimitSettings(**{"requests_per_minute": 0, **limits})
        api.parts.key_limiter._cached.clear()

    set_limits(requests_per_minute=0)
    return set_limits


def _key_id(api, key):
    return api.parts.api_keys.secrets[key].key_id


def test_responses_of_a_key_have_rate_limit_headers_also_errors(api, limit):
    limit(requests_per_minute=10, bytes_per_day=5_000)
    key = api.parts.api_keys.key("acme", "read")
    with api.http(key) as http:
        listed = http.get("/v1/sources")
        missing = http.get(f"/v1/sources/{uuid4()}")
        forbidden = http.post("/v1/locate", files={"photo": b"1"})
    assert listed.headers["RateLimit-Policy"] == (
        '"requests";q=10;w=60, "bytes";q=5000;w=86400;qu="content-bytes"'
    )
    assert listed.headers["RateLimit"].startswith('"requests";r=9;t=')
    assert missing.status_code == 404
    assert missing.headers["RateLimit"].startswith('"requests";r=8;t=')
    assert forbidden.status_code == 403


def test_operator_has_no_limits(api, limit):
    limit(requests_per_minute=1)
    with api.http() as http:
        answers = [http.get("/v1/sources") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit-Policy" not in answers[0].headers


def test_requests_beyond_the_limit_get_429_with_retry_after(api, limit):
    limit(requests_per_minute=3)
    keys = [api.parts.api_keys.key("acme", "read") for _ in range(2)]
    with api.http(keys[0]) as http, api.http(keys[1]) as other:
        answers = [http.get("/v1/sources") for _ in range(5)]
        assert other.get("/v1/sources").status_code == 200
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    body = refused.json()
    assert body["type"] == f"{TYPES}quota-exceeded"
    assert body["reason"] == "quota_exceeded"
    assert body["violated-policies"] == ["requests"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 120
    assert refused.headers["RateLimit"].startswith('"requests";r=0;t=')


def test_limit_is_checked_before_the_body_is_read(api, limit):
    limit(bytes_per_day=1_000)
    key = api.parts.api_keys.key("acme", "locate")
    address = urlsplit(api.url)
    head = (
        "POST /v1/locate HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; "
        f"boundary=b\r\nAuthorization: Bearer {key}\r\nContent-Length: 90000\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(head.encode())
        # No byte of the body is sent.
        answer = connection.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 429")
    assert '"bytes";r=1000' in answer


def test_body_of_unknown_size_counts_when_it_has_arrived(api, limit, search_calls):
    limit(bytes_per_day=1_000)
    key = api.parts.api_keys.key("acme", "read", "ingest")

    def parts(size):
        yield b'{"name": "' + b"a" * size
        yield b'", "kind": "photo"}'

    with api.http(key) as http:
        kind = {"Content-Type": "application/json"}
        fits = http.post("/v1/sources", content=parts(20), headers=kind)
        large = http.post("/v1/sources", content=parts(2_000), headers=kind)
        usage = http.get("/v1/limits").json()["usage"]
    assert fits.status_code == 201
    assert large.status_code == 429
    assert usage[0]["remaining"] == 1_000 - 20 - 10 - 19


def test_photos_of_a_query_count_each_and_a_refused_query_counts_none(api, limit, search_calls):
    limit(photos_per_day=4)
    key = api.parts.api_keys.key("acme", "locate", "read")
    with api.http(key) as http:
        three = [("photo", (f"{n}.jpg", b"photo")) for n in range(3)]
        first = http.post("/v1/locate", files=three)
        second = http.post("/v1/locate", files=three)
        left = http.get("/v1/limits").json()
        one = http.post("/v1/locate", files=three[:1])
        none = http.post("/v1/similar", files=three[:1])
    assert first.status_code == 200
    assert '"photos";r=1;t=' in first.headers["RateLimit"]
    assert second.status_code == 429
    assert second.json()["violated-policies"] == ["photos"]
    assert left["usage"][0]["remaining"] == 1
    assert (one.status_code, none.status_code) == (200, 429)
    assert len(search_calls) == 2


def test_override_of_the_operator_applies_at_once_and_can_be_removed(api, limit):
    limit(requests_per_minute=1)
    key = api.parts.api_keys.key("acme", "read")
    path = f"/v1/keys/{_key_id(api, key)}/limits"
    operator = _operator(api)
    stored = operator.put(path, json={"requests_per_minute": 3, "photos_per_day": 0})
    assert stored.status_code == 200, stored.text
    assert stored.json()["limits"]["requests_per_minute"] == 3
    assert stored.json()["overrides"]["bytes_per_day"] is None
    with api.http(key) as http:
        statuses = Counter(http.get("/v1/sources").status_code for _ in range(4))
        assert statuses == {200: 3, 429: 1}
        assert http.put(path, json={"requests_per_minute": 0}).status_code in (403, 429)
    assert operator.delete(path).status_code == 204
    assert operator.get(path).json()["limits"]["requests_per_minute"] == 1
    assert operator.put(path, json={"requests_per_minute": -1}).status_code == 422
    operator.close()


def _operator(api):
    path = api.parts.settings.services.home / "operator.key"
    path.write_text("o" * 40)
    path.chmod(0o600)
    return api.http("o" * 40)


def test_own_limits_show_only_those_of_the_caller(api, limit):
    limit(requests_per_minute=100)
    first, second = (api.parts.api_keys.key(name, "read") for name in ("acme", "default"))
    with api.http(first) as http:
        for _ in range(5):
            http.get("/v1/sources")
    with api.http(second) as http:
        limits = http.get("/v1/limits").json()
    assert limits["scopes"] == ["read"]
    assert limits["usage"][0]["policy"] == "requests"
    assert limits["usage"][0]["remaining"] == 99


def test_misuse_of_one_place_is_audited_and_refused_if_set(api, limit, search_calls):
    rule = api.parts.misuse_rule
    key = api.parts.api_keys.key("acme", "locate")
    rule._settings = LimitSettings(misuse_action="report", misuse_photos_per_cell=2)
    with api.http(key) as http:
        reported = [
            http.post("/v1/locate", files={"photo": b"photo"}).status_code for _ in range(4)
        ]
        rule._settings = LimitSettings(misuse_action="refuse", misuse_photos_per_cell=2)
        refused = http.post("/v1/locate", files={"photo": b"photo"})
    audit = [row.operation for row in api.rows("acme").audit]
    assert reported == [200] * 4
    assert audit.count("detect_misuse") == 2
    assert audit.count("locate") == 4
    assert refused.status_code == 429
    assert refused.json()["type"] == f"{TYPES}abnormal-usage-detected"
    assert refused.json()["violated-policies"] == ["cell"]
    assert int(refused.headers["Retry-After"]) > 3_600


def test_misuse_rule_counts_creators_without_their_names():
    counters = LimitCounters(IN_PROCESS_URL)

    class Secret:
        def read_hash_key(self):
            return b"s" * 32

    settings = LimitSettings(misuse_action="report", misuse_photos_per_creator=3)
    rule, key_id = MisuseRule(counters, Secret(), settings), uuid4()
    assert rule.count_photos(key_id, {"Ada  Lovelace": 2}, None, 2) is None
    assert rule.count_photos(uuid4(), {"Ada Lovelace": 2}, None, 2) is None
    assert rule.count_photos(key_id, {"Grace Hopper": 2}, None, 2) is None
    first = rule.count_photos(key_id, {"ada lovelace": 2}, None, 2)
    again = rule.count_photos(key_id, {"ada lovelace": 2}, None, 2)
    assert first is not None
    assert again is not None
    assert (first.policies, first.is_new, again.is_new) == (("creator",), True, False)
    assert "ada" not in " ".join(vars(counters._storage)["storage"]).lower()


def test_creator_counter_with_a_real_decoder_counts_exif_artists(tmp_path):
    exif = Image.Exif()
    exif[0x013B] = "Ada Lovelace"
    buffer = BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, "JPEG", exif=exif)
    decoder = CreatorCounter(ChildDecoder(MediaSettings(timeout_s=20), children=1))
    try:
        reading = decoder.read("a.jpg", buffer.getvalue(), query=True)
    finally:
        decoder.close()
    assert dict(decoder.creators) == {"Ada Lovelace": 1}
    assert isinstance(reading, DecodedImage)
    assert reading.capture.point.lat == 0.0


def test_meters_have_all_policies_at_zero(api):
    text = generate_latest(Meters().registry).decode()
    for policy in ("requests", "photos", "bytes", "jobs", "creator", "cell"):
        assert f'pinpoint_limit_refusals_total{{policy="{policy}"}} 0.0' in text
