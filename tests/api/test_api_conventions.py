"""Rules that all routes share: methods, unknown names, entity tags, cursors, cross-origin calls."""

from __future__ import annotations

import dataclasses
from uuid import uuid4

import pytest
from fastapi.routing import APIRoute

from api import memory
from api.test_api_problems import problem
from pinpoint.api.app import ROUTE_MODULES

GET_PATHS = sorted(
    {
        route.path
        for module in ROUTE_MODULES
        for route in module.router.routes
        if isinstance(route, APIRoute) and "GET" in route.methods
    }
)
ORIGIN = "https://maps.example.org"
OTHER_ORIGIN = "https://elsewhere.example"


def fill(path: str) -> str:
    """A path with values for its parameters."""
    values = {"suffix": "csv", "z": "0", "x": "0", "y": "0", "source_id": "walk"}
    parts = []
    for part in path.split("/"):
        name = part[1 : part.index("}")].split(":")[0] if part.startswith("{") else None
        if name is not None:
            part = values.get(name, str(uuid4())) + part[part.index("}") + 1 :]
        parts.append(part.replace("{suffix}", "csv"))
    return "/".join(parts)


def test_options_lists_the_methods_of_every_path_without_a_key(api):
    api.begin(api.parts.settings.services.home, allow_keyless=False)
    with api.http() as http:
        for path in GET_PATHS:
            answer = http.options(fill(path))
            if path.startswith("/ogc"):  # its routes answer by themselves, with a key
                continue
            methods = answer.headers["allow"].split(", ")
            assert (answer.status_code, answer.content) == (204, b""), path
            assert {"GET", "OPTIONS"} <= set(methods), path
            assert "HEAD" in methods, path
        assert http.options("/v1/nothing").status_code == 404


def test_head_returns_the_headers_of_get(api):
    api.rows().add_source("walk", "photo")
    with api.http() as http:
        for path in ("/", "/v1/sources", "/v1/sources/walk", "/v1/batches", "/health/live"):
            head, get = http.head(path), http.get(path)
            assert (head.status_code, head.content) == (200, b"")
            names = {"content-type", "content-length", "cache-control", "etag"}
            assert {name: head.headers.get(name) for name in names} == {
                name: get.headers.get(name) for name in names
            }
        assert http.head("/v1/sources/none").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "options", "where", "nearest"),
    [
        ("GET", "/v1/batches?limt=3", {}, "query.limt", "limit"),
        ("GET", "/v1/images?sauce=x", {}, "query.sauce", "source"),
        ("GET", "/v1/coverage?resolutoin=5", {}, "query.resolutoin", "resolution"),
        ("POST", "/v1/sources", {"json": {"name": "a", "knd": "photo"}}, "body.knd", "kind"),
        (
            "POST",
            "/v1/neighbors",
            {"json": {"points": [{"lat": 1, "lon": 2, "lom": 3}], "radius_m": 5}},
            "body.points.0.lom",
            "lon",
        ),
        (
            "POST",
            "/v1/locate",
            {"data": {"topp": "3"}, "files": {"photo": b"x"}},
            "body.topp",
            "top",
        ),
    ],
)
def test_unknown_name_is_refused_with_the_nearest_name(api, method, path, options, where, nearest):
    with api.http() as http:
        body = problem(http.request(method, path, **options), 422, "invalid_request")
    messages = {error["where"]: error["message"] for error in body["errors"]}
    assert f"did you mean '{nearest}'?" in messages[where]


def test_every_get_route_of_v1_refuses_unknown_parameters(api):
    with api.http() as http:
        for path in GET_PATHS:
            if path.startswith("/v1/"):
                answer = http.get(fill(path), params={"no_such_parameter": "x"})
                assert "no_such_parameter" in problem(answer, 422, "invalid_request")["detail"]


def test_entity_tag_of_image_saves_a_transfer_and_guards_a_change(api):
    rows = api.rows()
    image = memory.image(rows.add_source("walk", "photo"))
    rows.all_images[image.id] = image
    path = f"/v1/images/{image.id}"
    with api.http() as http:
        first = http.get(path)
        etag = first.headers["etag"]
        assert first.headers["cache-control"] == "private, no-cache"
        unchanged = http.get(path, headers={"If-None-Match": f'"other", W/{etag}'})
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == etag
        changed = http.patch(path, json={"creator": "me"}, headers={"If-Match": etag})
        assert changed.status_code == 200
        assert changed.headers["etag"] == http.get(path).headers["etag"] != etag
        late = http.patch(path, json={"creator": "you"}, headers={"If-Match": etag})
        problem(late, 412, "precondition_failed")
        weak = http.patch(path, json={"creator": "you"}, headers={"If-Match": f"W/{etag}"})
        problem(weak, 412, "precondition_failed")
        problem(
            http.patch(path, json={"creator": "you"}, headers={"If-Match": "1"}),
            400,
            "bad_request",
        )
        assert http.get(path).json()["creator"] == "me"


def test_lists_have_the_same_cursor_and_link(api):
    rows = api.rows()
    source = rows.add_source("walk", "photo")
    for n in range(3):
        rows.add_source(f"walk-{n}", "photo")
        rows.open_batch(source.id)
        image = dataclasses.replace(memory.image(source), external_id=f"{n}.jpg")
        rows.all_images[image.id] = image
    with api.http() as http:
        for path in ("/v1/batches", "/v1/images", "/v1/sources"):
            page = http.get(path, params={"limit": 2})
            link = page.json()["next"]
            assert link.startswith(f"{path}?limit=2&cursor=")
            assert page.links["next"]["url"] == link
            last = http.get(link)
            assert (last.json()["next"], last.links) == (None, {})
            assert len(last.json()[path.rpartition("/")[2]]) in (1, 2)
            problem(http.get(path, params={"cursor": "bm90IG9uZQ"}), 400, "bad_request")
        other_list = http.get("/v1/batches?limit=1").json()["next"].partition("?")[2]
        problem(http.get(f"/v1/images?{other_list}"), 400, "bad_request")


def test_cross_origin_calls_are_off_by_default(api):
    with api.http() as http:
        answer = http.get("/health/live", headers={"Origin": ORIGIN})
        preflight = http.options(
            "/v1/locate", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
        )
    for response in (answer, preflight):
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origins", [ORIGIN, "*", f"https://a.example, {ORIGIN}"])
def test_cross_origin_calls_of_a_permitted_page_need_a_key(api, origins):
    api.begin(api.parts.settings.services.home, cors_origins=origins)
    key = api.parts.api_keys.key("acme", "read")
    headers = {"Origin": ORIGIN}
    with api.http() as http:
        preflight = http.options(
            "/v1/sources",
            headers={
                **headers,
                "Access-Control-Request-Method": "POST",
                "Access-Control-Request-Headers": "authorization,idempotency-key",
            },
        )
        assert preflight.status_code == 200
        allowed = preflight.headers["access-control-allow-origin"]
        assert allowed == ("*" if origins == "*" else ORIGIN)
        assert "access-control-allow-credentials" not in preflight.headers
        keyless = http.get("/v1/sources", headers=headers)
        assert keyless.status_code == 401
        assert keyless.headers["access-control-allow-origin"] == allowed
        answer = http.get("/v1/sources", headers={**headers, "Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        exposed = answer.headers["access-control-expose-headers"]
        assert {"ETag", "Link", "RateLimit", "Retry-After"} <= set(exposed.split(", "))
        if origins != "*":
            other = http.get("/v1/sources", headers={"Origin": OTHER_ORIGIN})
            assert other.json()["reason"] == "foreign_origin"
            assert "access-control-allow-origin" not in other.headers
