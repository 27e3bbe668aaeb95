"""The operator's background map of the web page: files, ranges, policy, refused hosts."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from api.test_api_problems import problem
from pinpoint.api.web_page import make_policy
from pinpoint.api_settings import ApiSettings

TILES = bytes(range(256)) * 40
BASE = "/web/basemap/operator"


def begin(api, **settings):
    api.begin(api.parts.settings.services.home, allow_keyless=False, **settings)
    return api.http(None)


def test_without_settings_the_page_has_its_own_map(api):
    with begin(api) as http:
        assert http.get(f"{BASE}/map.json").json() == {"style": None, "tiles": None}
        for name in ("style.json", "tiles.pmtiles"):
            problem(http.get(f"{BASE}/{name}"), 404, "not_found")


def test_tiles_are_sent_in_ranges_and_with_the_policy_of_the_page(api, tmp_path):
    file = tmp_path / "region.pmtiles"
    file.write_bytes(TILES)
    with begin(api, basemap_tiles=str(file)) as http:
        assert http.get(f"{BASE}/map.json").json()["tiles"] == BASE[1:] + "/tiles.pmtiles"
        piece = http.get(f"{BASE}/tiles.pmtiles", headers={"Range": "bytes=100-199"})
        assert (piece.status_code, piece.content) == (206, TILES[100:200])
        assert piece.headers["content-range"] == f"bytes 100-199/{len(TILES)}"
        assert piece.headers["content-security-policy"] == make_policy(ApiSettings())
        etag = piece.headers["etag"]
        unchanged = http.get(f"{BASE}/tiles.pmtiles", headers={"If-None-Match": etag})
        assert unchanged.status_code == 304
        too_far = http.get(f"{BASE}/tiles.pmtiles", headers={"Range": "bytes=99999-"})
        assert too_far.status_code == 416


def test_missing_file_is_a_problem_without_its_path(api, tmp_path):
    with begin(api, basemap_tiles=str(tmp_path / "secret-name.pmtiles")) as http:
        answer = http.get(f"{BASE}/tiles.pmtiles")
        problem(answer, 404, "not_found")
        assert "secret-name" not in answer.text


def test_style_file_may_load_from_allowed_hosts_only(api, tmp_path):
    style = tmp_path / "style.json"
    style.write_text('{"version": 8, "sources": {}, "layers": []}')
    hosts = "https://tiles.example.org, http://localhost:8080"
    with begin(api, basemap_style=str(style), basemap_hosts=hosts) as http:
        answer = http.get(f"{BASE}/style.json")
        assert answer.json()["version"] == 8
        directives = answer.headers["content-security-policy"].split("; ")
    allowed = "https://tiles.example.org http://localhost:8080"
    assert f"connect-src 'self' {allowed}" in directives
    assert f"img-src 'self' blob: data: {allowed}" in directives
    assert "script-src 'self'" in directives


@pytest.mark.parametrize(
    "settings",
    [
        {"basemap_style": "https://other.example.org/style.json"},
        {
            "basemap_style": "https://other.example.org/style.json",
            "basemap_hosts": "https://tiles.example.org",
        },
        {"basemap_hosts": "tiles.example.org"},
        {"basemap_hosts": "https://tiles.example.org; script-src *"},
        {"basemap_hosts": "https://*"},
    ],
)
def test_hosts_that_are_not_allowed_are_refused_at_the_start(settings):
    with pytest.raises(ValidationError) as refused:
        ApiSettings(**settings)
    assert "basemap" in str(refused.value).lower()


def test_style_url_on_an_allowed_host_is_given_to_the_page(api):
    style = "https://tiles.example.org/style.json"
    with begin(api, basemap_style=style, basemap_hosts="https://tiles.example.org") as http:
        assert http.get(f"{BASE}/map.json").json() == {"style": style, "tiles": None}
