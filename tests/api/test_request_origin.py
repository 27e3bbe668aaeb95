"""Requests that name a foreign host or origin (DNS rebinding, pages of other sites)."""

from __future__ import annotations

import pytest

from api.test_api_problems import problem

NAME = "pinpoint.example.org"
PATHS = ("/", "/health/live", "/v1/sources", "/sign-in", "/docs")


@pytest.fixture
def key(api):
    return api.parts.api_keys.key("acme", "read")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.0.2.1:80", NAME])
def test_foreign_host_with_a_key_returns_403_on_every_path(api, key, host):
    with api.http(key, Host=host) as http:
        for path in PATHS:
            problem(http.get(path), 403, "forbidden", "foreign_host")


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:1", "http://127.0.0.1", "http://[", "//"],
)
def test_foreign_origin_with_a_key_returns_403(api, key, origin):
    with api.http(key, Origin=origin) as http:
        for answer in (http.get("/v1/sources"), http.delete("/v1/sources/a"), http.options("/")):
            assert answer.status_code == 403
        assert http.get("/").json()["reason"] == "foreign_origin"


def test_own_names_and_origin_are_accepted(api, key):
    port = api.url.rpartition(":")[2]
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}"):
        with api.http(key, Host=host, Origin=f"http://{host}") as http:
            assert http.get("/v1/sources").status_code == 200, host


@pytest.mark.parametrize("host", [NAME, f"{NAME}:8443", NAME.upper(), "127.0.0.1:8000"])
def test_name_of_the_reverse_proxy_is_accepted_as_host_and_origin(api, host):
    home = api.parts.settings.services.home
    api.begin(home, host_names=f"maps.example.org, {NAME}", allow_keyless=False)
    key = api.parts.api_keys.key("acme", "read")
    with api.http(key, Host=host, Origin=f"https://{NAME}") as http:
        assert http.get("/v1/sources").status_code == 200
        other = http.get("/v1/sources", headers={"Origin": "https://evil.example"})
        assert other.json()["reason"] == "foreign_origin"
        other = http.get("/v1/sources", headers={"Host": f"{NAME}.evil.example"})
        assert other.json()["reason"] == "foreign_host"


def test_name_of_the_reverse_proxy_gives_no_keyless_access(api):
    api.begin(api.parts.settings.services.home, host_names=NAME)
    with api.http(Host=NAME) as http:
        assert http.get("/v1/sources").status_code == 401


def test_api_on_other_address_accepts_all_names_unless_names_are_set(api):
    home = api.parts.settings.services.home
    api.begin(home, host="0.0.0.0")
    key = api.parts.api_keys.key("acme", "read")
    with api.http(key, Host=NAME) as http:
        assert http.get("/v1/sources").status_code == 200
    api.begin(home, host="0.0.0.0", host_names=NAME)
    key = api.parts.api_keys.key("acme", "read")
    with api.http(key, Host="evil.example") as http:
        assert http.get("/v1/sources").status_code == 403
