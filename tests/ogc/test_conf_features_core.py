"""Abstract tests of OGC API - Features - Part 1 (17-069r4, annex A), named by their ids."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from sqlalchemy import text

from ogc.conftest import START

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
ITEMS = "/collections/images/items"


def links(document, rel):
    return [link for link in document["links"] if link["rel"] == rel]


def follow(layer_api, url):
    """Response of a link, with the key of alder."""
    assert url.startswith("http://testserver/ogc")
    return layer_api.client.get(url, auth=("user", layer_api.alder.key))


def read_pages(layer_api, path, **parameters):
    """All pages of a list, by the links `next`."""
    page = layer_api.get(path, **parameters).json()
    pages = [page]
    while links(page, "next"):
        page = follow(layer_api, links(page, "next")[0]["href"]).json()
        pages.append(page)
    return pages


def ids_of(pages):
    return [feature["id"] for page in pages for feature in page["features"]]


def test_conf_core_http(layer_api):
    for path in ("", "/", "/api", "/conformance", "/collections", "/collections/images", ITEMS):
        response = layer_api.get(path)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "private, no-store"
        head = layer_api.client.head(f"/ogc{path}", auth=("user", layer_api.alder.key))
        assert (head.status_code, head.headers["content-type"], head.content) == (
            200,
            response.headers["content-type"],
            b"",
        )
        options = layer_api.client.options(f"/ogc{path}")
        assert (options.status_code, options.content) == (204, b"")
        assert options.headers["allow"] == "GET, HEAD, OPTIONS"
    assert layer_api.client.post(f"/ogc{ITEMS}").status_code == 405


def test_conf_core_root_success(layer_api):
    page = layer_api.get("").json()
    assert page["title"]
    for rel in ("self", "service-desc", "conformance", "data"):
        (link,) = links(page, rel)
        response = follow(layer_api, link["href"])
        assert response.status_code == 200
        assert response.headers["content-type"] == link["type"]


def test_conf_core_api_definition_success(layer_api):
    response = layer_api.get("/api")
    assert response.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    assert response.json()["openapi"].startswith("3.0.")


def test_conf_core_conformance_success(layer_api):
    classes = layer_api.get("/conformance").json()["conformsTo"]
    assert len(classes) == len(set(classes))
    part_1 = "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf"
    assert {f"{part_1}/{name}" for name in ("core", "geojson", "oas30")} <= set(classes)
    # HTML and Part 2 (other CRS) are not implemented, so they are not declared.
    assert f"{part_1}/html" not in classes
    assert not [name for name in classes if "ogcapi-features-2" in name]


def test_conf_core_crs84(layer_api):
    page = layer_api.get(ITEMS, limit=1000).json()
    for feature in page["features"]:
        image = layer_api.alder.images[feature["id"]]
        assert feature["geometry"] == {
            "type": "Point",
            "coordinates": [image["lon"], image["lat"]],
        }
    for name in ("crs", "bbox-crs", "filter-crs"):
        assert layer_api.get(ITEMS, **{name: CRS84}).status_code == 200
        other = "http://www.opengis.net/def/crs/EPSG/0/3857"
        assert layer_api.get(ITEMS, **{name: other}).status_code == 400


def test_conf_core_fc_md_success(layer_api):
    document = layer_api.get("/collections").json()
    assert [link["type"] for link in links(document, "self")] == ["application/json"]
    names = [collection["id"] for collection in document["collections"]]
    assert names[:3] == ["images", "coverage", "gaps"]
    for collection in document["collections"]:
        single = layer_api.get(f"/collections/{collection['id']}").json()
        assert single == collection
        assert links(single, "items")[0]["type"] == "application/geo+json"
        assert single["crs"] == [CRS84]
        for link in single["links"]:
            response = follow(layer_api, link["href"])
            assert response.status_code == 200, link
            assert response.headers["content-type"] == link["type"]


def test_conf_core_fc_md_extent(layer_api):
    extent = layer_api.get("/collections/images").json()["extent"]
    ((west, south, east, north),) = extent["spatial"]["bbox"]
    for image in layer_api.alder.images.values():
        assert west <= image["lon"] <= east
        assert south <= image["lat"] <= north
    times = [i["captured_at"] for i in layer_api.alder.images.values() if i["captured_at"]]
    (interval,) = extent["temporal"]["interval"]
    assert [datetime.fromisoformat(time) for time in interval] == [min(times), max(times)]


def test_conf_core_fc_response(layer_api):
    response = layer_api.get(ITEMS, limit=7)
    assert response.headers["content-type"] == "application/geo+json"
    page = response.json()
    assert page["type"] == "FeatureCollection"
    assert page["numberReturned"] == len(page["features"]) == 7
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", page["timeStamp"])
    for feature in page["features"]:
        assert feature["type"] == "Feature"
        assert feature["properties"]["license"] == "CC-BY-4.0"
        assert feature["properties"]["attribution"] == "alder & sons"


def test_conf_core_fc_bbox_response(layer_api):
    boxes = {
        "2,-5,2.4,10": lambda lon, lat: 2 <= lon <= 2.4 and -5 <= lat <= 10,
        "2,-5,0,2.4,10,8000": lambda lon, lat: 2 <= lon <= 2.4 and -5 <= lat <= 10,
        # Across the antimeridian.
        "179,-20,-179,20": lambda lon, lat: abs(lon) >= 179 and abs(lat) <= 20,
        "170,-90,180,90": lambda lon, lat: lon >= 170 or lon == -180,
        "-180,-90,-179,90": lambda lon, lat: lon <= -179 or lon == 180,
        "-180,-90,180,90": lambda lon, lat: True,
        "-180,90,180,90": lambda lon, lat: lat == 90,
    }
    for box, contains in boxes.items():
        expected = {
            id_
            for id_, image in layer_api.alder.images.items()
            if contains(image["lon"], image["lat"])
        }
        assert set(layer_api.ids(bbox=box)) == expected != set(), box


def test_conf_core_fc_time_response(layer_api):
    day = START + timedelta(days=12)
    text = day.isoformat().replace("+00:00", "Z")
    intervals = {
        text: lambda time: time == day,
        f"{text}/..": lambda time: time >= day,
        f"{text}/": lambda time: time >= day,
        f"../{text}": lambda time: time <= day,
        f"0000-01-01T00:00:00Z/{text}": lambda time: time <= day,
        f"{text}/9999-12-31T00:00:00Z": lambda time: time >= day,
        "0000-01-01T00:00:00Z/9999-12-31T23:59:59Z": lambda time: True,
        "2020-01-10T00:00:00+02:00/2020-02-01T00:00:00Z": lambda time: (
            START + timedelta(days=8, hours=22) <= time <= START + timedelta(days=31)
        ),
    }
    for interval, contains in intervals.items():
        expected = {
            id_
            for id_, image in layer_api.alder.images.items()
            if image["captured_at"] is not None and contains(image["captured_at"])
        }
        assert set(layer_api.ids(datetime=interval)) == expected != set(), interval


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_conf_core_fc_limit_response(layer_api, limit):
    pages = read_pages(layer_api, ITEMS, limit=limit, source_kind="photo")
    assert all(len(page["features"]) == limit for page in pages[:-1])
    assert 0 < len(pages[-1]["features"]) <= limit
    ids = ids_of(pages)
    assert ids == sorted(ids)
    assert set(ids) == {
        id_ for id_, image in layer_api.alder.images.items() if image["source_kind"] == "photo"
    }


def test_conf_core_fc_limit_definition(layer_api):
    default = layer_api.get("/api").json()["components"]["parameters"]["limit"]["schema"]
    assert default == {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 100}
    # A limit above the maximum is no error (requirement 21).
    assert layer_api.get(ITEMS, limit=10**9).status_code == 200


def test_conf_core_fc_links(layer_api):
    page = layer_api.get(ITEMS, limit=3, creator="Ann", bbox="-180,-90,180,90").json()
    (self_link,) = links(page, "self")
    assert follow(layer_api, self_link["href"]).json()["features"] == page["features"]
    (next_link,) = links(page, "next")
    assert next_link["type"] == self_link["type"] == "application/geo+json"
    query = dict(parse_qsl(urlsplit(next_link["href"]).query))
    assert query.pop("cursor") == page["features"][-1]["id"]
    assert query == {"limit": "3", "creator": "Ann", "bbox": "-180,-90,180,90"}


def test_conf_core_fc_numberMatched(layer_api):
    images = layer_api.alder.images.values()
    photos = sum(image["source_kind"] == "photo" for image in images)
    assert layer_api.get(ITEMS, limit=2).json()["numberMatched"] == len(images)
    for parameters in ({"source_kind": "photo"}, {"source": "alder-photo"}):
        assert layer_api.get(ITEMS, **parameters).json()["numberMatched"] == photos
    assert layer_api.get(ITEMS, source="none").json()["numberMatched"] == 0
    # Counters do not know these.
    for parameters in (
        {"creator": "Ann"},
        {"bbox": "0,0,90,90"},
        {"datetime": "../2020-02-01T00:00:00Z"},
    ):
        assert "numberMatched" not in layer_api.get(ITEMS, **parameters).json()


def test_conf_core_query_param_unknown(layer_api):
    for path in ("", "/api", "/conformance", "/collections", "/collections/images", ITEMS):
        response = layer_api.get(path, no_such="1")
        assert (response.status_code, response.json()["status"]) == (400, 400)
        assert "no_such" in response.json()["detail"]
    # Keys are never read from the URL.
    assert layer_api.get(ITEMS, api_key=layer_api.alder.key).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=ten",
        "limit=1.5",
        "limit=²",
        "limit=1&limit=2",
        "bbox=1,2,3",
        "bbox=1,2,3,x",
        "bbox=1,2,3,nan",
        "bbox=1,5,3,2",
        "bbox=1,2,181,4",
        "datetime=yesterday",
        "datetime=2020-01-01",
        "datetime=2020-02-01T00:00:00Z/2020-01-01T00:00:00Z",
        "datetime=..",
        "ids=",
        "properties=no_such",
        "cursor=x",
        "filter=",
        "filter=x%20=",
        "filter-lang=sql",
        "f=html",
        "size_bytes=many",
        "size_bytes=nan",
        "captured_at=2020",
        "source_id=x",
        "creator=a%00b",
    ],
)
def test_conf_core_query_param_invalid(layer_api, query):
    response = layer_api.client.get(f"/ogc{ITEMS}?{query}", auth=("u", layer_api.alder.key))
    assert response.status_code == 400, response.text
    assert response.headers["content-type"] == "application/problem+json"


def test_conf_core_f_success(layer_api):
    image_id = min(layer_api.alder.images)
    response = layer_api.get(f"{ITEMS}/{image_id}")
    feature = response.json()
    assert response.headers["content-type"] == "application/geo+json"
    listed = layer_api.get(ITEMS, ids=image_id).json()["features"]
    assert [{**listed[0], "links": feature["links"]}] == [feature]
    assert follow(layer_api, links(feature, "self")[0]["href"]).json() == feature
    assert follow(layer_api, links(feature, "collection")[0]["href"]).status_code == 200


def test_conf_core_unknown_resource_returns_404(layer_api):
    unknown = "00000000-0000-0000-0000-000000000000"
    for path in ("/collections/x", "/collections/x/items", f"{ITEMS}/{unknown}", f"{ITEMS}/x"):
        response = layer_api.get(path)
        assert (response.status_code, response.json()["reason"]) == (404, "not_found"), path


def test_conf_core_properties_parameter_keeps_license_and_attribution(layer_api):
    page = layer_api.get(ITEMS, limit=2, properties="camera,heading_deg").json()
    names = {"camera", "heading_deg", "license", "attribution"}
    assert all(set(feature["properties"]) == names for feature in page["features"])


def test_cursor_is_valid_after_inserts_and_deletes(layer_api):
    first = layer_api.get(ITEMS, limit=5).json()
    last_id = first["features"][-1]["id"]
    link = links(first, "next")[0]["href"]
    before = follow(layer_api, link).json()["features"]
    change = text("UPDATE images SET state = :state WHERE id = :id")
    for state in ("deleted", "indexed"):
        with layer_api.owner.begin() as unit:
            unit.connection.execute(change, {"id": last_id, "state": state})
        assert follow(layer_api, link).json()["features"] == before


def test_conf_geojson_content(layer_api):
    response = layer_api.get(ITEMS, limit=1000, f="geojson")
    for feature in response.json()["features"]:
        assert set(feature) == {"type", "id", "geometry", "properties"}
        image = layer_api.alder.images[feature["id"]]
        properties = feature["properties"]
        for name in ("source", "source_kind", "camera", "creator", "sequence", "heading_deg"):
            assert properties[name] == image[name]
        time = properties["captured_at"]
        assert (time and datetime.fromisoformat(time)) == image["captured_at"]
        assert properties["attributes"] == {"a": 1}


def test_conf_oas30_completeness(layer_api):
    """Every route is in the document, and every path of the document answers."""
    document = layer_api.get("/api").json()
    assert document["servers"] == [{"url": "http://testserver/ogc"}]
    names = [path["get"]["operationId"] for path in document["paths"].values()]
    assert len(names) == len(set(names))
    for path, operations in document["paths"].items():
        if "{z}" in path:
            continue
        filled = path.replace("{tileMatrixSetId}", "WebMercatorQuad")
        collection = path.split("/")[2] if path.count("/") > 1 else ""
        if "{featureId}" in filled:
            page = layer_api.get(f"/collections/{collection}/items", limit=1).json()
            filled = filled.replace("{featureId}", page["features"][0]["id"])
        response = layer_api.get("" if filled == "/" else filled)
        assert response.status_code == 200, path
        content = operations["get"]["responses"]["200"]["content"]
        assert list(content) == [response.headers["content-type"]]
        assert {"400", "401", "403", "404"} <= set(operations["get"]["responses"])


def test_conf_oas30_references_resolve(layer_api):
    document = layer_api.get("/api").json()
    references = re.findall(r'"\$ref":\s*"#/([^"]+)"', layer_api.get("/api").text)
    assert references
    for reference in set(references):
        node = document
        for part in reference.split("/"):
            node = node[part]
    parameters = document["paths"][ITEMS]["get"]["parameters"]
    literal = {entry["name"]: entry for entry in parameters if "name" in entry}
    assert {"source_kind", "creator", "sequence", "camera", "captured_at"} <= set(literal)
    assert all((p["style"], p["explode"]) == ("form", False) for p in literal.values())


def test_conf_oas30_security(layer_api):
    for path in ("", "/api", "/conformance", "/collections", ITEMS):
        for headers in ({}, {"X-API-Key": "unknown"}):
            response = layer_api.client.get(f"/ogc{path}", headers=headers)
            assert response.status_code == 401
            challenges = response.headers.get_list("www-authenticate")
            assert [challenge.split()[0] for challenge in challenges] == ["Bearer", "Basic"]
    key = layer_api.alder.key
    for headers in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
        assert layer_api.client.get(f"/ogc{ITEMS}", headers=headers).status_code == 200
