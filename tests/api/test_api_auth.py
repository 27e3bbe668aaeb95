"""Authentication and scopes of the API, by key and by client address."""

from __future__ import annotations

import base64
from dataclasses import replace
from uuid import UUID

import pytest
import structlog

from api import memory
from index_process import until
from pinpoint.api_settings import ApiSettings
from pinpoint.records import SCOPES

PHOTO = {"photo": ("p.jpg", b"bytes of a photo")}
SOME = str(UUID(int=7))
NEEDS = [
    ("POST", "/v1/locate", "locate", {"files": PHOTO}),
    ("POST", "/v1/dossiers", "locate", {"files": PHOTO}),
    ("POST", "/v1/similar", "locate", {"files": PHOTO}),
    ("GET", "/v1/sources", "read", {}),
    ("GET", "/v1/sources/walk", "read", {}),
    ("POST", "/v1/sources", "ingest", {"json": {"name": "n", "kind": "photo"}}),
    ("DELETE", "/v1/sources/walk", "admin", {}),
    ("GET", "/v1/batches", "read", {}),
    ("GET", f"/v1/batches/{SOME}", "read", {}),
    ("GET", f"/v1/batches/{SOME}/items", "read", {}),
    ("POST", "/v1/batches", "ingest", {"json": {"source": "walk"}}),
    ("POST", f"/v1/batches/{SOME}/images", "ingest", {"files": [("files", ("a", b"x"))]}),
    ("POST", f"/v1/batches/{SOME}/close", "ingest", {}),
    ("POST", f"/v1/batches/{SOME}/retry", "ingest", {}),
    ("POST", f"/v1/batches/{SOME}/cancel", "ingest", {}),
    ("GET", "/v1/exports/images.csv", "export", {}),
    ("GET", "/v1/images", "read", {}),
    ("GET", f"/v1/images/{SOME}", "read", {}),
    ("GET", f"/v1/images/{SOME}/thumbnail", "read", {}),
    ("GET", f"/v1/images/{SOME}/neighbors", "read", {}),
    ("PATCH", f"/v1/images/{SOME}", "ingest", {"json": {"creator": "me"}}),
    ("DELETE", f"/v1/images/{SOME}", "ingest", {}),
    ("POST", "/v1/images/metadata", "ingest", {"json": {"rows": [{"id": SOME, "creator": "me"}]}}),
    ("PATCH", "/v1/sources/walk", "admin", {"json": {"image_access": "none"}}),
    ("GET", "/v1/queries", "locate", {}),
    ("DELETE", f"/v1/queries/{SOME}", "locate", {}),
]
"""Routes with a catalog in memory; `tests/tenant_isolation/test_isolation_scopes.py` has all."""


def operator_key(api, mode=0o600) -> str:
    path = api.parts.settings.services.home / "operator.key"
    path.write_text("the-operators-secret\n")
    path.chmod(mode)
    return "the-operators-secret"


@pytest.mark.parametrize(("method", "path", "scope", "body"), NEEDS)
def test_route_accepts_a_key_with_its_scope_only(api, search_calls, method, path, scope, body):
    with_it = api.parts.api_keys.key("acme", scope)
    with api.http(with_it) as http:
        assert http.request(method, path, **body).status_code not in (401, 403, 422, 500)


@pytest.mark.parametrize(("method", "path", "scope", "body"), NEEDS)
def test_route_refuses_other_scopes_and_no_key(api, search_calls, method, path, scope, body):
    without = api.parts.api_keys.key("acme", *(set(SCOPES) - {scope}))
    with api.http(without) as http:
        refused = http.request(method, path, **body)
    assert (refused.status_code, refused.json()["reason"]) == (403, "forbidden")
    assert f"`{scope}`" in refused.json()["detail"]
    with api.http() as http:
        nobody = http.request(method, path, **body)
    assert (nobody.status_code, nobody.json()["reason"]) == (401, "unauthenticated")
    challenges = nobody.headers.get_list("www-authenticate")
    assert [challenge.split()[0] for challenge in challenges] == ["Bearer", "Basic"]


def test_keyless_access_by_default_returns_401(api, tmp_path):
    api.begin(tmp_path, allow_keyless=False)
    assert ApiSettings().allow_keyless is False
    with api.http() as http:
        answer = http.get("/v1/sources")
    assert answer.status_code == 401
    assert "pinpoint key" in answer.json()["detail"]
    with api.http(operator_key(api)) as http:
        assert http.get("/v1/sources").status_code == 200


def test_file_uris_are_visible_to_the_operator_only(api):
    rows = api.rows("acme")
    source = rows.add_source("walk", "photo")
    local = replace(memory.image(source), uri="file:///srv/photos/a.jpg")
    other = replace(memory.image(source), uri="blob:x/y")
    rows.all_images |= {local.id: local, other.id: other}
    reader = api.parts.api_keys.key("acme", "read", "ingest", "admin")
    acme = {"X-Pinpoint-Organization": "acme"}

    def seen(http):
        yield http.get(f"/v1/images/{local.id}").text
        yield http.get(f"/v1/images/{other.id}/neighbors").text
        yield http.patch(f"/v1/images/{local.id}", json={"creator": "me"}).text

    with api.http(reader) as http:
        assert not any("/srv/photos" in text for text in seen(http))
        assert http.get(f"/v1/images/{other.id}").json()["uri"] == "blob:x/y"
    with api.http(operator_key(api), **acme) as http:
        assert all("/srv/photos" in text for text in seen(http))


def test_keyless_loopback_request_uses_the_default_organization(api):
    api.rows("default").add_source("ours", "photo")
    api.rows("acme").add_source("theirs", "photo")
    with api.http() as http:
        answer = http.get("/v1/sources")
        missing = http.get("/v1/sources/theirs")
    assert [source["name"] for source in answer.json()["sources"]] == ["ours"]
    assert answer.headers["x-pinpoint-access"] == "loopback-default"
    assert missing.headers["x-pinpoint-access"] == "loopback-default"


def test_keyless_access_ends_with_the_first_key(api):
    key = api.parts.api_keys.key("acme", "read")
    with api.http() as http:
        assert http.get("/v1/sources").status_code == 401
    with api.http(key) as http:
        answer = http.get("/v1/sources")
    assert answer.status_code == 200
    assert "x-pinpoint-access" not in answer.headers


@pytest.mark.parametrize("address", ["10.0.0.7", "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.7"])
def test_keyless_request_from_other_address_returns_401(api, address):
    api.peer.address = address
    with api.http() as http:
        assert http.get("/v1/sources").status_code == 401


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_keyless_request_from_any_loopback_address_is_accepted(api, address):
    api.peer.address = address
    with api.http() as http:
        assert http.get("/v1/sources").status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:99"}, 200),
        ({"Host": "[::1]:99"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"X-Forwarded-For": "127.0.0.1"}, 401),
        ({"X-Forwarded-Proto": "https"}, 401),
        ({"X-Forwarded-Host": "localhost"}, 401),
        ({"X-Real-IP": "127.0.0.1"}, 401),
        ({"CF-Connecting-IP": "127.0.0.1"}, 401),
        ({"True-Client-IP": "127.0.0.1"}, 401),
        ({"Via": "1.1 proxy"}, 401),
        ({"Forwarded": "for=127.0.0.1"}, 401),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 401),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_keyless_request_with_foreign_or_proxy_header_is_refused(api, headers, status):
    with api.http(**headers) as http:
        assert http.get("/v1/sources").status_code == status


def test_operator_key_works_for_every_organization_on_loopback_only(api):
    api.parts.api_keys.key("acme", "read")
    api.rows("acme").add_source("theirs", "photo")
    key = operator_key(api)
    with api.http(key, **{"X-Pinpoint-Organization": "acme"}) as http:
        assert http.get("/v1/sources").json()["sources"][0]["name"] == "theirs"
        assert http.delete("/v1/sources/theirs").status_code == 202
        api.peer.address = "10.0.0.7"
        assert http.get("/v1/sources").status_code == 401
        api.peer.address = None
        assert http.get("/v1/sources", headers={"X-Forwarded-For": "1.2.3.4"}).status_code == 401
    with api.http(key) as http:
        assert http.get("/v1/sources").json()["sources"] == []
    with api.http(key, **{"X-Pinpoint-Organization": "nobody"}) as http:
        assert http.get("/v1/sources").status_code == 404


def test_operator_key_readable_by_others_is_rejected(api):
    with api.http(operator_key(api, mode=0o644)) as http:
        assert http.get("/v1/sources").status_code == 401


def test_key_with_other_organization_header_returns_403(api):
    key = api.parts.api_keys.key("acme", "read")
    with api.http(key, **{"X-Pinpoint-Organization": "default"}) as http:
        assert http.get("/v1/sources").status_code == 403
    with api.http(key, **{"X-Pinpoint-Organization": "acme"}) as http:
        assert http.get("/v1/sources").status_code == 200


def basic(password, user="anybody"):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_key_as_basic_password_or_header_equals_the_bearer_key(api):
    key = api.parts.api_keys.key("acme", "read")
    api.rows("acme").add_source("theirs", "photo")
    for headers in (
        {"Authorization": basic(key)},
        {"Authorization": basic(key, user="")},
        {"Authorization": basic(key).replace("Basic", "basic")},
        {"X-API-Key": key},
        {"X-API-Key": key, "Authorization": f"Bearer {key}"},
    ):
        with api.http(**headers) as http:
            answer = http.get("/v1/sources")
            assert [source["name"] for source in answer.json()["sources"]] == ["theirs"], headers
            assert http.post("/v1/sources", json={"name": "n", "kind": "photo"}).status_code == 403
    with api.http() as http:
        assert http.get(f"/v1/sources?api_key={key}").status_code == 401


def test_different_keys_in_one_request_return_401(api):
    acme, other = (api.parts.api_keys.key(name, "read") for name in ("acme", "default"))
    with api.http(acme, **{"X-API-Key": other}) as http:
        assert http.get("/v1/sources").status_code == 401


def test_basic_password_from_a_page_of_other_origin_returns_401(api):
    """Browsers send a saved password with requests of other pages, in contrast to a Bearer key."""
    origin = "https://maps.example.org"
    api.begin(api.parts.settings.services.home, cors_origins=origin)
    key = api.parts.api_keys.key("acme", "read")
    for headers in ({"Origin": origin}, {"Sec-Fetch-Site": "cross-site"}):
        with api.http(**headers, Authorization=basic(key)) as http:
            assert http.get("/v1/sources").status_code == 401
        with api.http(key, **headers) as http:
            assert http.get("/v1/sources").status_code == 200


def test_operator_key_as_basic_password_works_on_loopback_only(api):
    key = operator_key(api)
    with api.http(Authorization=basic(key)) as http:
        assert http.get("/v1/sources").status_code == 200
        api.peer.address = "10.0.0.7"
        assert http.get("/v1/sources").status_code == 401


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Basic YTpi",
        "Bearer unknown",
        "Bearer é",
        "Basic !",
        "Basic YQ==",
        "Basic YTo=",
        "Digest username=a",
    ],
)
def test_request_with_invalid_credentials_returns_401(api, header):
    with api.http() as http:
        answer = http.get("/v1/sources", headers={"Authorization": header.encode()})
    assert answer.status_code == 401


def test_unauthenticated_upload_returns_401_before_its_end(api):
    api.parts.api_keys.key("acme", "read")

    def never_ending():
        for _ in range(10_000):
            yield b"x" * 100_000

    with api.http() as http:
        answer = http.post("/v1/locate", content=never_ending())
    assert answer.status_code == 401


def test_request_log_has_no_key_file_name_or_query(api, search_calls):
    key = api.parts.api_keys.key("acme", "locate")
    with structlog.testing.capture_logs() as lines, api.http(key) as http:
        http.post("/v1/locate?note=private", files={"photo": ("holiday.jpg", b"pixels")})
        # The log line is written after the response is sent.
        until(lambda: lines)
    (line,) = lines
    assert line["path"] == "/v1/locate"
    assert line["organization"] == "acme"
    assert line["status"] == 422
    for private in (key, "holiday", "pixels", "private"):
        assert private not in str(lines)
