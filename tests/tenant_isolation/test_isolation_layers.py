"""No layer of `/ogc` shows, counts or finds rows of another organization."""

from __future__ import annotations

import json
import time
from uuid import uuid4

import pytest
from fastapi.routing import iter_route_contexts

from pinpoint.api.ogc.cql2_parser import parse_filter
from pinpoint.api.ogc.layer_collections import TILE_LAYERS
from pinpoint.api.ogc.routes import router
from pinpoint.errors import BadRequestError
from pinpoint.records.feature_layers import IMAGE_LAYER

BOTH = pytest.mark.parametrize("tenant_name", ["alder", "birch"])
COLLECTIONS = ("images", "coverage", "gaps", "queries")

# Every GET route, with a path that has no id of a row; `{collectionId}` becomes each collection.
WITHOUT_ID = {
    "/ogc": "/ogc",
    "/ogc/": "/ogc/",
    "/ogc/api": "/ogc/api",
    "/ogc/conformance": "/ogc/conformance",
    "/ogc/collections": "/ogc/collections",
    "/ogc/collections/{collectionId}": "/ogc/collections/{collectionId}",
    "/ogc/collections/{collectionId}/queryables": "/ogc/collections/{collectionId}/queryables",
    "/ogc/collections/{collectionId}/schema": "/ogc/collections/{collectionId}/schema",
    "/ogc/collections/{collectionId}/schema/feature": (
        "/ogc/collections/{collectionId}/schema/feature"
    ),
    "/ogc/collections/{collectionId}/items": "/ogc/collections/{collectionId}/items?limit=10000",
    "/ogc/tileMatrixSets": "/ogc/tileMatrixSets",
    "/ogc/tileMatrixSets/{tileMatrixSetId}": "/ogc/tileMatrixSets/WebMercatorQuad",
    "/ogc/collections/{collectionId}/tiles": "/ogc/collections/{collectionId}/tiles",
    "/ogc/collections/{collectionId}/tiles/{tileMatrixSetId}": (
        "/ogc/collections/{collectionId}/tiles/WebMercatorQuad"
    ),
    "/ogc/collections/{collectionId}/tiles/{tileMatrixSetId}/tilejson.json": (
        "/ogc/collections/{collectionId}/tiles/WebMercatorQuad/tilejson.json"
    ),
    "/ogc/collections/{collectionId}/tiles/{tileMatrixSetId}/{z}/{x}/{y}": (
        "/ogc/collections/{collectionId}/tiles/WebMercatorQuad/0/0/0"
    ),
}
WITH_ID = {"/ogc/collections/{collectionId}/items/{featureId}"}

# Functions that must not run, in each position of a filter where an expression is possible.
CALLS = (
    "set_config('pinpoint.org', '{other}', false)",
    "pg_sleep(3)",
    "query_to_xml('select * from pinpoint.images', true, true, '')",
    "current_setting('pinpoint.org')",
    "pg_read_file('/etc/passwd')",
    "tenant.organization()",
)
TEXT_FILTERS = (
    "{call} = 'x'",
    "creator = {call}",
    "NOT ({call} IS NULL)",
    "creator IN ('a', {call})",
    "altitude_m BETWEEN 1 AND {call}",
    "creator LIKE {call}",
    "CASEI({call}) = 'x'",
    "CASEI(creator) = CASEI({call})",
    "ACCENTI(creator) = ACCENTI({call})",
    "S_INTERSECTS(geometry, {call})",
    "S_INTERSECTS({call}, POINT(1 2))",
    "T_AFTER(captured_at, {call})",
    "T_DURING(captured_at, INTERVAL({call}, '..'))",
    "A_CONTAINS(creator, ({call}, 'a'))",
    "altitude_m + {call} = 1",
    "creator = 'x' OR (TRUE AND NOT ({call} = 'x'))",
)


def paths(template):
    """A path for each collection that has the route."""
    if "{collectionId}" not in template:
        return [template]
    names = sorted(TILE_LAYERS) if "/tiles" in template else COLLECTIONS
    return [template.replace("{collectionId}", name) for name in names]


def read_all(tenant):
    """All answers of the layers that name no row."""
    with tenant.http() as http:
        for template in WITHOUT_ID.values():
            for path in paths(template):
                yield path, http.get(path)


def as_function(name, *arguments):
    return {"op": name, "args": list(arguments)}


def test_layer_route_table_has_every_route(tenant_pair):
    documented = set(tenant_pair.app.openapi()["paths"])
    hidden = {
        (method, context.path)
        for context in iter_route_contexts(tenant_pair.app.routes)
        for method in vars(context.original_route)["methods"]
        if context.path
        not in documented
        | {
            "/openapi.json",
            "/docs",
            "/docs/{name}",
            "/web/{path:path}",
            "/web/basemap/operator/map.json",
            "/web/basemap/operator/style.json",
            "/web/basemap/operator/tiles.pmtiles",
        }
    }
    table = set(WITHOUT_ID) | WITH_ID
    methods = ("GET", "HEAD", "OPTIONS")
    assert hidden == {(method, path) for path in table for method in methods}
    assert {vars(route)["path"] for route in router.routes} == table


@BOTH
def test_layers_have_no_data_of_the_other_organization(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    for path, answer in read_all(requester):
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["cache-control"] == "private, no-store"
        text = answer.content.decode("utf-8", "replace") + str(answer.headers)
        assert not tenant_pair.leaks(text, other), path


@BOTH
def test_image_layer_has_exactly_the_images_of_its_organization(tenant_pair, tenant_name):
    requester, _ = tenant_pair.pair(tenant_name)
    expected = requester.column(
        "SELECT id FROM images WHERE organization_id = :org AND state IN ('pending', 'indexed')"
    )
    with requester.http() as http:
        page = http.get("/ogc/collections/images/items?limit=10000").json()
        cells = http.get("/ogc/collections/coverage/items?limit=10000&resolution=3").json()
        small = http.get("/ogc/collections/images/items?limit=1").json()
    assert sorted(feature["id"] for feature in page["features"]) == sorted(map(str, expected))
    assert page["numberMatched"] == small["numberMatched"] == len(expected)
    counts = [feature["properties"]["images"] for feature in cells["features"]]
    assert sum(counts) == len(expected)


@BOTH
def test_layer_item_of_other_organization_is_the_404_of_an_unknown_id(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    answers = []
    with requester.http() as http:
        for id_ in (other.shared["image"], str(uuid4())):
            answer = http.get(f"/ogc/collections/images/items/{id_}")
            body = answer.text.replace(id_, "ID").replace(answer.headers["x-request-id"], "REQUEST")
            answers.append((answer.status_code, body))
        own = http.get(f"/ogc/collections/images/items/{requester.shared['image']}")
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert own.status_code == 200


@BOTH
def test_layer_filters_do_not_find_rows_of_the_other_organization(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    image, source = other.shared["image"], other.shared["source"]
    conditions = [
        {"ids": image},
        {"source": f"{other.name}-only"},
        {"source_id": source},
        {"attribution": f"{other.name} & sons"},
        {"filter": f"id = '{image}'"},
        {"filter": f"source_id IN ('{source}')"},
        {"filter": f"source LIKE '{other.name}%'"},
        {"filter": f"CASEI(attribution) = CASEI('{other.name.upper()} & SONS')"},
        {
            "filter": json.dumps(as_function("=", {"property": "source_id"}, source)),
            "filter-lang": "cql2-json",
        },
    ]
    with requester.http() as http, other.http() as theirs:
        for parameters in conditions:
            query = {"limit": 10, **parameters}
            page = http.get("/ogc/collections/images/items", params=query).json()
            assert page["features"] == [], parameters
            assert page.get("numberMatched", 0) == 0
            # The same condition finds the row for its own organization.
            own = theirs.get("/ogc/collections/images/items", params=query).json()
            assert own["features"], parameters
        # A cursor of the other organization is only a position in the order of ids.
        behind = http.get("/ogc/collections/images/items", params={"cursor": image}).json()
        everything = http.get("/ogc/collections/images/items?limit=10000").json()
    ids = [feature["id"] for feature in everything["features"]]
    assert [feature["id"] for feature in behind["features"]] == [id_ for id_ in ids if id_ > image]


def strip_volatile(answer):
    if "json" not in answer.headers["content-type"]:
        return answer.content
    return {key: value for key, value in answer.json().items() if key != "timeStamp"}


def test_layers_are_unchanged_after_ingest_of_the_other_organization(tenant_pair):
    requester, other = tenant_pair.alder, tenant_pair.birch
    before = [(path, strip_volatile(answer)) for path, answer in read_all(requester)]
    tenant_pair.grow(other, first=200)
    after = [(path, strip_volatile(answer)) for path, answer in read_all(requester)]
    assert after == before


@pytest.mark.parametrize("template", TEXT_FILTERS)
def test_layer_filter_does_not_call_sql_functions(tenant_pair, template):
    requester, other = tenant_pair.alder, tenant_pair.birch
    for call in CALLS:
        for spelled in (call, call.upper(), f'"{call.split("(")[0]}"({call.split("(", 1)[1]}'):
            with pytest.raises(BadRequestError):
                parse_filter(template.replace("{call}", spelled), "cql2-text", IMAGE_LAYER)
    for call in (CALLS[0].replace("{other}", str(other.id)), CALLS[1]):
        with requester.http() as http:
            start = time.monotonic()
            parameters = {"filter": template.replace("{call}", call)}
            answer = http.get("/ogc/collections/images/items", params=parameters)
            assert time.monotonic() - start < 3, "the function slept"
        assert (answer.status_code, answer.json()["reason"]) == (400, "bad_filter")
        assert not tenant_pair.leaks(answer.text, other)


def test_layer_filter_in_json_does_not_call_sql_functions(tenant_pair):
    requester, other = tenant_pair.alder, tenant_pair.birch
    call = as_function("set_config", "pinpoint.org", str(other.id), False)
    creator, moment = {"property": "creator"}, {"property": "captured_at"}
    trees = [
        call,
        as_function("=", call, "x"),
        as_function("=", creator, call),
        as_function("not", as_function("isNull", call)),
        as_function("in", creator, ["a", call]),
        as_function("like", creator, call),
        as_function("casei", call),
        as_function("=", as_function("casei", creator), as_function("casei", call)),
        as_function("t_after", moment, call),
        as_function("t_during", moment, {"interval": [call, ".."]}),
        as_function("s_intersects", {"property": "geometry"}, call),
        as_function("s_intersects", {"property": "geometry"}, {"bbox": [call, 0, 1, 1]}),
        as_function(
            "s_intersects",
            {"property": "geometry"},
            {"type": "Point", "coordinates": [call, 0]},
        ),
        as_function("a_contains", creator, [call]),
        as_function("=", {"property": "creator\" = '' OR true --"}, "x"),
        as_function("=) OR (1=", creator, "x"),
    ]
    with requester.http() as http:
        for tree in trees:
            parameters = {"filter": json.dumps(tree), "filter-lang": "cql2-json"}
            answer = http.get("/ogc/collections/images/items", params=parameters)
            assert answer.status_code == 400, tree
            assert not tenant_pair.leaks(answer.text.replace(str(other.id), ""), other)


def test_layer_parameters_are_values_not_sql(tenant_pair):
    requester = tenant_pair.alder
    attack = "x') OR set_config('pinpoint.org','',false)='' --"
    with requester.http() as http:
        for name in ("creator", "source", "camera", "sequence", "ids"):
            answer = http.get("/ogc/collections/images/items", params={name: attack})
            assert answer.status_code == 200, answer.text
            assert answer.json()["features"] == []
        answer = http.get(
            "/ogc/collections/images/items", params={"filter": f"creator = '{attack[0]}'' OR 1=1'"}
        )
        assert answer.json()["features"] == []
        for name in ("cursor", "datetime", "bbox", "properties", "captured_at", "size_bytes"):
            answer = http.get("/ogc/collections/images/items", params={name: attack})
            assert answer.status_code == 400, name
