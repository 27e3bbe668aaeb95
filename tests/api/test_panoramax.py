"""Panoramax API on a running stack: valid STAC, sequences, panoramas, search and tiles."""

from __future__ import annotations

import json
import math
from io import BytesIO

import httpx
import pystac
import pytest
from PIL import Image
from pystac.validation import validate_dict
from pystac.validation.stac_validator import STACValidator
from starlette.requests import Request

from api.panoramax_pages import (
    CROPPED,
    LAT,
    LON,
    CoreValidator,
    items_of,
    link_of,
    matches,
    sphere,
    taken,
    upload,
)
from pinpoint.api.panoramax.links import Links
from stack_fixtures import plain_jpeg, unique


@pytest.fixture(scope="module")
def validator() -> STACValidator:
    return CoreValidator()


@pytest.fixture(scope="module")
def api(running_stack):
    with httpx.Client(
        base_url=running_stack.api_url, headers=running_stack.as_operator, timeout=60
    ) as client:
        yield client


@pytest.fixture(scope="module")
def gallery(api):
    """A source with a sequence of panoramas and photos, and photos of two days without one."""
    name = unique("walk")
    source = {"kind": "street", "license": "CC BY 4.0", "attribution": "Walkers & co"}
    api.post("/v1/sources", json={"name": name, **source}).raise_for_status()
    files = {
        f"p{n}.jpg": (sphere(n), taken(n, n, sequence="walk-1", heading_deg=90.0, creator="ann"))
        for n in range(3)
    }
    files["p3.jpg"] = (sphere(3, **CROPPED), taken(3, 3, sequence="walk-1"))
    files["p4.jpg"] = (plain_jpeg(4), taken(4, 4, sequence="walk-1", heading_deg=45.0))
    files["late.jpg"] = (plain_jpeg(5), {"lat": LAT, "lon": LON + 0.001, "sequence": "walk-1"})
    files["day.jpg"] = (plain_jpeg(6), taken(1, 30))
    files["other-day.jpg"] = (
        plain_jpeg(7),
        {"lat": LAT, "lon": LON, "captured_at": "2024-05-02T00:30:00+02:00"},
    )
    files["next-day.jpg"] = (
        plain_jpeg(8),
        {"lat": LAT, "lon": LON, "captured_at": "2024-05-02T10:00:00Z"},
    )
    ids = upload(api, name, files)
    return {"source": name, "ids": ids}


@pytest.fixture(scope="module")
def collections(api, gallery):
    """Collections of the source by title."""
    shown, href = {}, "/api/collections?limit=2"
    while href:
        page = api.get(href).json()
        assert len(page["collections"]) <= 2
        shown |= {
            collection["title"]: collection
            for collection in page["collections"]
            if gallery["source"] in collection["description"]
        }
        href = next((link["href"] for link in page["links"] if link["rel"] == "next"), None)
    return shown


def test_landing_page_has_links_that_clients_need(api, gallery, validator):
    answer = api.get("/api")
    landing = answer.json()
    assert answer.headers["cache-control"] == "private, no-store"
    validate_dict(landing, validator=validator)
    assert pystac.Catalog.from_dict(landing).id == "pinpoint"
    ((west, south, east, north),) = landing["extent"]["spatial"]["bbox"]
    assert south <= LAT <= north
    assert west <= LON <= east
    links = {(link["rel"], link["type"]): link["href"] for link in landing["links"]}
    for key in (
        ("data", "application/json"),
        ("search", "application/geo+json"),
        ("conformance", "application/json"),
        ("xyz-style", "application/json"),
    ):
        assert links[key].startswith(str(api.base_url).rstrip("/"))
        assert api.get(links[key]).status_code == 200, key
    assert links["xyz", "application/vnd.mapbox-vector-tile"].endswith("/api/map/{z}/{x}/{y}.mvt")
    style = api.get(links["xyz-style", "application/json"]).json()
    assert {layer["source-layer"] for layer in style["layers"]} == {
        *("grid", "sequences", "pictures")
    }
    assert api.get("/api/configuration").json()["auth"] == {"enabled": False}


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"host": "photos.example.org:8080"}, "http://photos.example.org:8080"),
        (
            {"host": "photos.example.org", "x-forwarded-proto": "https"},
            "https://photos.example.org",
        ),
        ({"host": "photos.example.org", "x-forwarded-proto": "ftp"}, "http://photos.example.org"),
    ],
)
def test_links_have_scheme_and_host_of_the_request(headers, origin):
    scope = {"type": "http", "scheme": "http", "path": "/api", "query_string": b""}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    links = Links(Request({**scope, "headers": raw}))
    assert links.api("/search", limit=2, cursor=None) == f"{origin}/api/search?limit=2"


def test_collections_are_sequences_and_days(api, gallery, collections, validator):
    source = gallery["source"]
    assert set(collections) == {"walk-1", f"{source}, 2024-05-01", f"{source}, 2024-05-02"}
    counts = {title: c["stats:items"]["count"] for title, c in collections.items()}
    assert counts == {"walk-1": 6, f"{source}, 2024-05-01": 2, f"{source}, 2024-05-02": 1}
    for collection in collections.values():
        validate_dict(collection, validator=validator)
        assert pystac.Collection.from_dict(collection).license == "CC-BY-4.0"
        assert collection["attribution"] == "Walkers & co"
        assert link_of(collection, "license")["href"].endswith("/licenses/by/4.0/")
        again = api.get(link_of(collection, "self")["href"]).json()
        assert again == collection
        assert api.get(link_of(collection, "preview")["href"]).content[:2] == b"\xff\xd8"
    walk = collections["walk-1"]
    assert walk["extent"]["temporal"]["interval"] == [
        ["2024-05-01T10:00:00Z", "2024-05-01T10:04:00Z"]
    ]
    assert walk["extent"]["spatial"]["bbox"] == [[LON, LAT, pytest.approx(LON + 0.001), LAT]]


@pytest.mark.parametrize("limit", [1, 2, 4, 100])
def test_items_are_in_order_of_capture_with_neighbors_on_every_page(api, collections, limit):
    items = items_of(api, collections["walk-1"], limit)
    names = [item["properties"]["original_file:name"] for item in items]
    assert names == ["p0.jpg", "p1.jpg", "p2.jpg", "p3.jpg", "p4.jpg", "late.jpg"]
    for n, item in enumerate(items):
        for rel, other in (("prev", n - 1), ("next", n + 1)):
            link = link_of(item, rel)
            if not 0 <= other < len(items):
                assert link is None
                continue
            assert link["id"] == items[other]["id"]
            assert link["type"] == "application/geo+json"
            assert link["geometry"] == items[other]["geometry"]
            assert link["href"] == link_of(items[other], "self")["href"]
            assert link.get("datetime") == items[other]["properties"]["datetime"]


def test_items_are_valid_with_license_and_attribution(api, collections, validator):
    for collection in collections.values():
        page = api.get(f"/api/collections/{collection['id']}/items").json()
        assert len(pystac.ItemCollection.from_dict(page)) == collection["stats:items"]["count"]
        for item in page["features"]:
            validate_dict(item, validator=validator)
            parsed = pystac.Item.from_dict(item)
            assert parsed.collection_id == collection["id"]
            assert parsed.properties["license"] == "CC-BY-4.0"
            assert parsed.properties["attribution"] == "Walkers & co"
            names = {provider["name"] for provider in item["providers"]}
            assert "Walkers & co" in names
            assert link_of(item, "collection")["href"] == link_of(collection, "self")["href"]
            assert item["properties"]["exif"] == {}
            assert item["properties"]["semantics"] == item["properties"]["annotations"] == []
            roles = {role for asset in item["assets"].values() for role in asset["roles"]}
            assert roles == {"data", "visual", "thumbnail"}
            alone = api.get(link_of(item, "self")["href"]).json()
            related = [link for link in alone["links"] if link["rel"] == "related"]
            assert {**alone, "links": [x for x in alone["links"] if x not in related]} == item


def size_of(api, item, asset):
    answer = api.get(item["assets"][asset]["href"])
    assert answer.headers["content-type"] == "image/jpeg"
    return Image.open(BytesIO(answer.content)).size


def test_panorama_is_one_item_with_its_complete_image(api, gallery, collections):
    items = items_of(api, collections["walk-1"])
    for item in items[:3]:
        assert item["id"] in gallery["ids"][item["properties"]["original_file:name"]]
        orientation = item["properties"]["pers:interior_orientation"]
        assert orientation == {"field_of_view": 360, "sensor_array_dimensions": [400, 200]}
        assert item["properties"]["view:azimuth"] == 90.0
        assert {name: size_of(api, item, name) for name in item["assets"]} == {
            "hd": (400, 200),
            "sd": (400, 200),
            "thumb": (400, 200),
        }
    assert items[3]["properties"]["pers:interior_orientation"] == {
        "field_of_view": 360,
        "sensor_array_dimensions": [400, 200],
        "visible_area": [0, 10, 0, 30],
    }
    assert size_of(api, items[3], "hd") == (400, 160)
    photo = items[4]
    assert photo["properties"]["view:azimuth"] == 45.0
    assert photo["properties"]["pers:interior_orientation"] == {"sensor_array_dimensions": [96, 72]}
    assert size_of(api, photo, "hd") == (96, 72)
    assert "view:azimuth" not in items[5]["properties"]


def test_panorama_without_original_is_shown_as_faces(api):
    name = unique("renditions")
    source = {"name": name, "kind": "street", "originals": "rendition"}
    api.post("/v1/sources", json=source).raise_for_status()
    ids = upload(api, name, {"a.jpg": (sphere(50), taken(0, 0, sequence=name))})["a.jpg"]
    page = api.get("/api/search", params={"ids": ",".join(ids)}).json()
    assert sorted(item["id"] for item in page["features"]) == sorted(ids)
    for item in page["features"]:
        assert item["properties"]["pers:interior_orientation"] == {"field_of_view": 90}
        width, height = size_of(api, item, "hd")
        assert width == height
        assert item["properties"]["license"] == "other"
        assert item["providers"] == []


def test_related_items_are_near_and_of_other_collections(api, gallery, collections):
    walk = items_of(api, collections["walk-1"])
    item = api.get(link_of(walk[1], "self")["href"]).json()
    related = [link for link in item["links"] if link["rel"] == "related"]
    ids = {link["id"] for link in related}
    assert gallery["ids"]["day.jpg"][0] in ids
    assert not ids & {other["id"] for other in walk}
    assert all(link["geometry"]["type"] == "Point" for link in related)


SEARCHES = [
    {"bbox": f"{LON},{LAT},{LON + 0.0003},{LAT}"},
    {"bbox": f"{LON - 360},{LAT - 1},{LON - 359.9997},{LAT + 1}"},
    {"bbox": f"{LON},{LAT - 1},0,{LON + 1},{LAT + 1},0"},
    {"datetime": "2024-05-01T10:01:00Z/2024-05-01T10:03:00Z"},
    {"datetime": "2024-05-02T00:00:00Z/.."},
    {"bbox": "-180,-90,180,90", "datetime": "../2024-05-01T10:02:00Z"},
]


@pytest.mark.parametrize("search", SEARCHES)
def test_search_equals_slow_filter_over_all_pages(api, collections, search):
    everything = [item for c in collections.values() for item in items_of(api, c)]
    expected = sorted(item["id"] for item in everything if matches(item, search))
    assert expected
    query = {**search, "collections": ",".join(c["id"] for c in collections.values())}
    for limit in (2, 1000):
        received, href = [], str(httpx.URL("/api/search", params={**query, "limit": limit}))
        while href:
            page = api.get(href).json()
            assert len(page["features"]) <= limit
            received += [item["id"] for item in page["features"]]
            href = next((x["href"] for x in page["links"] if x["rel"] == "next"), None)
        assert received == expected


@pytest.mark.parametrize(
    ("query", "names"),
    [
        # p4.jpg looks north-east at 45°; the place is 10 m away from it in this direction.
        ({"place_distance": "3-15"}, {"p4.jpg"}),
        ({"place_distance": "15"}, {"p4.jpg"}),
        ({"place_distance": "11-15"}, set()),
        ({"place_distance": "3-9"}, set()),
        ({"place_distance": "0-35"}, {"p4.jpg", "p3.jpg"}),
        ({"place_distance": "16-35"}, {"p3.jpg"}),
    ],
)
def test_search_by_place_returns_items_that_look_at_it(api, collections, query, names):
    position = items_of(api, collections["walk-1"])[4]["geometry"]["coordinates"]
    step = 10 * math.sqrt(0.5) / 111_195
    lon = position[0] + step / math.cos(math.radians(position[1]))
    place = {"place_position": f"{lon},{position[1] + step}", **query}
    walk = collections["walk-1"]["id"]
    page = api.get("/api/search", params={**place, "collections": walk}).json()
    assert {item["properties"]["original_file:name"] for item in page["features"]} == names
    # Turned away by more than the tolerance.
    opposite = f"{position[0] - (lon - position[0])},{position[1] - step}"
    away = {**place, "place_position": opposite, "collections": walk}
    received = api.get("/api/search", params=away).json()["features"]
    assert "p4.jpg" not in {item["properties"]["original_file:name"] for item in received}


def test_search_by_ids_returns_items_with_neighbors(api, collections):
    walk = items_of(api, collections["walk-1"])
    ids = [walk[0]["id"], walk[3]["id"]]
    for text in (",".join(ids), json.dumps(ids)):
        page = api.get("/api/search", params={"ids": text}).json()
        assert sorted(page["features"], key=lambda item: ids.index(item["id"])) == [
            walk[0],
            walk[3],
        ]


def test_tile_has_ids_of_collections_and_items(api, collections):
    walk = collections["walk-1"]
    items = items_of(api, walk)
    scale = 2**15
    x = int((LON + 0.0002 + 180) / 360 * scale)
    y = int((1 - math.asinh(math.tan(math.radians(LAT))) / math.pi) / 2 * scale)
    detailed = api.get(f"/api/map/15/{x}/{y}.mvt")
    coarse = api.get("/api/map/0/0/0.mvt")
    assert detailed.headers["content-type"] == "application/vnd.mapbox-vector-tile"
    assert detailed.headers["cache-control"] == "private, no-store"
    for text in ("sequences", "pictures", "equirectangular", walk["id"], items[1]["id"]):
        assert text.encode() in detailed.content
    assert b"grid" in coarse.content
    assert walk["id"].encode() not in coarse.content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/search?bbox=1,2,3", 400),
        ("/api/search?bbox=1,5,3,2", 400),
        ("/api/search?bbox=a,b,c,d", 400),
        ("/api/search?bbox=nan,1,2,3", 400),
        ("/api/search?ids=x", 400),
        ("/api/search?place_position=1", 400),
        ("/api/search?place_position=1,99", 400),
        ("/api/search?place_position=1,2&place_distance=9-3", 400),
        ("/api/search?place_position=1,2&place_distance=-", 400),
        ("/api/search?place_position=1,2&place_fov_tolerance=1", 422),
        ("/api/search?datetime=yesterday", 400),
        ("/api/search?limit=0", 422),
        ("/api/search?cursor=x", 400),
        ("/api/search?filter=a=1", 422),
        ("/api/collections?cursor=x", 400),
        ("/api/collections/00000000-0000-0000-0000-000000000000", 404),
        ("/api/collections/00000000-0000-0000-0000-000000000000/items", 404),
        ("/api/collections/00000000-0000-0000-0000-000000000000/thumb.jpg", 404),
        ("/api/map/23/0/0.mvt", 422),
        ("/api/map/1/2/0.mvt", 404),
    ],
)
def test_invalid_request_is_a_problem(api, path, status):
    answer = api.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_item_of_another_collection_is_not_found(api, gallery, collections):
    walk = collections["walk-1"]["id"]
    for item_id in (gallery["ids"]["day.jpg"][0], gallery["ids"]["p0.jpg"][1]):
        answer = api.get(f"/api/collections/{walk}/items/{item_id}")
        if item_id == items_of(api, collections["walk-1"])[0]["id"]:
            continue
        assert answer.status_code == 404
