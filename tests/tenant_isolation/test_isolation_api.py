"""No route shows, counts or changes rows of another organization; its ids return 404."""

from __future__ import annotations

import json
import re
from uuid import uuid4

import httpx
import pytest

from pinpoint.records import IndexFilter
from tenant_isolation.other_organization import photo_of
from tenant_isolation.protected_galleries import read_dossier
from tenant_isolation.route_table import CORRECTION, FOREIGN, OPERATOR, WITHOUT_ID

BOTH = pytest.mark.parametrize("tenant_name", ["alder", "birch"])


def test_route_table_has_every_route(tenant_pair):
    document = tenant_pair.app.openapi()
    offered = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    hidden = {getattr(route, "path", "") for route in tenant_pair.app.routes}
    assert offered == set(FOREIGN) | WITHOUT_ID | OPERATOR
    assert {path for path in hidden if path} - {path for _, path in offered} <= {"/openapi.json"}


def comparable_response(response, id_):
    """Status, headers and body of a response without the requested id and volatile values."""
    headers = {
        name: value
        for name, value in response.headers.items()
        # What is left of the limits counts the requests of the key itself.
        if name not in ("x-request-id", "date", "ratelimit")
    }
    body = response.text.replace(response.headers["x-request-id"], "REQUEST").replace(id_, "ID")
    return response.status_code, headers, body


def iterate_responses(tenant_pair, requester, id_, sort):
    """Each request of the table that takes this kind of id, with this id."""
    photo = photo_of(requester)
    with requester.http() as http:
        for (method, path), calls in FOREIGN.items():
            for id_sort, request in calls:
                if id_sort != sort:
                    continue
                url = path.replace("{suffix}", "csv")
                names = (
                    "batch_id",
                    "image_id",
                    "source_id",
                    "query_id",
                    "key_id",
                    "webhook_id",
                    "job_id",
                    "collection_id",
                    "item_id",
                    "area_id",
                )
                for name in names:
                    url = url.replace(f"{{{name}}}", id_)
                yield (
                    (method, path),
                    comparable_response(http.request(method, url, **request(id_, photo)), id_),
                )


@BOTH
def test_metrics_with_organization_key_returns_403(tenant_pair, tenant_name):
    """`/metrics` has counts over all organizations: it is for the operator only."""
    requester, _ = tenant_pair.pair(tenant_name)
    with requester.http() as http:
        refused = http.get("/metrics")
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:pinpoint:problem:forbidden"
    assert "pinpoint_" not in refused.text


@BOTH
@pytest.mark.parametrize(
    "sort", ["source", "batch", "image", "collection", "query", "key", "webhook", "job", "area"]
)
def test_route_with_id_of_other_organization_returns_the_404_of_an_unknown_id(
    tenant_pair, tenant_name, sort
):
    requester, other = tenant_pair.pair(tenant_name)
    before = other.fingerprint()
    blobs = set(tenant_pair.harness.folder.joinpath("blobs").rglob("*"))
    foreign = list(iterate_responses(tenant_pair, requester, other.shared[sort], sort))
    unknown = list(iterate_responses(tenant_pair, requester, str(uuid4()), sort))
    assert foreign
    for (route, theirs), (_, none) in zip(foreign, unknown, strict=True):
        assert theirs == none, route
        assert theirs[0] == 404, route
        assert json.loads(theirs[2])["type"] == "urn:pinpoint:problem:not_found", route
        assert not tenant_pair.leaks(str(theirs), other)
    assert other.fingerprint() == before
    assert tenant_pair.harness.queue.sent == []
    assert set(tenant_pair.harness.folder.joinpath("blobs").rglob("*")) == blobs


@BOTH
def test_route_with_id_of_same_organization_does_not_return_404(tenant_pair, tenant_name):
    """Counterpart of the 404 test: the same requests succeed for the own organization."""
    requester, _ = tenant_pair.pair(tenant_name)
    harmless = [
        ("GET", "/v1/images/{image}"),
        ("GET", "/v1/images/{image}/thumbnail"),
        ("GET", "/v1/images/{image}/file"),
        ("GET", "/v1/images/{image}/neighbors"),
        ("GET", "/v1/batches/{batch}"),
        ("GET", "/v1/batches/{batch}/items"),
        ("GET", "/v1/images?source={source}"),
        ("GET", "/v1/webhooks/{webhook}"),
        ("GET", "/v1/webhooks/{webhook}/deliveries"),
        ("GET", "/v1/exports/images.gpkg?source={source}"),
        ("GET", "/v1/sources/{source}"),
        ("GET", "/v1/keys/{key}"),
        ("GET", "/api/collections/{collection}"),
        ("GET", "/api/collections/{collection}/items"),
        ("GET", "/api/collections/{collection}/items/{image}"),
        ("GET", "/api/collections/{collection}/thumb.jpg"),
    ]
    with requester.http() as http:
        for method, path in harmless:
            answer = http.request(method, path.format(**requester.shared))
            assert answer.status_code == 200, (path, answer.text)
        response = http.post("/v1/similar", data={"image_id": requester.shared["image"]})
        assert response.status_code == 200, response.text


def iterate_reads(tenant, photo):
    """Everything this organization can read of itself, as `(what, text)`."""
    with tenant.http() as http:
        for path in (
            "/v1/sources",
            "/v1/queries",
            "/v1/keys",
            "/v1/audit?operation=upload_images&limit=1000",
            "/v1/webhooks",
            "/v1/batches?limit=500",
            "/v1/images?limit=1000",
            "/v1/images?limit=3&state=indexed&source_kind=photo&file_name=*.jpg",
            "/v1/exports/images.csv",
            "/v1/exports/images.geojsons?source_kind=street",
            "/v1/images?looks_at_lat=48.85&looks_at_lon=2.35&looks_at_distance_m=50000",
            "/v1/coverage?resolution=7",
            "/v1/coverage?resolution=3&source_kind=photo",
            "/v1/gaps?resolution=5",
            "/",
            "/health/live",
            "/health/ready",
            "/api",
            "/api/configuration",
            "/api/collections?limit=1000",
            "/api/search?limit=1000",
            "/api/search?limit=1000&bbox=-180,-90,180,90",
            "/api/search?limit=1000&place_position=2.3511,48.85&place_distance=1000"
            "&place_fov_tolerance=180",
        ):
            yield path, http.get(path)
        for collection in http.get("/api/collections?limit=1000").json()["collections"]:
            yield "items", http.get(f"/api/collections/{collection['id']}/items?limit=1000")
        batches = http.get("/v1/batches?limit=500").json()["batches"]
        for batch in batches:
            for path in (f"/v1/batches/{batch['id']}", f"/v1/batches/{batch['id']}/items"):
                yield path, http.get(path)
        listed = tenant.column("SELECT id FROM images WHERE organization_id = :org ORDER BY id")
        for image in listed:
            yield "image", http.get(f"/v1/images/{image}")
            yield "neighbors", http.get(f"/v1/images/{image}/neighbors?radius_m=50000&limit=200")
            yield "similar", http.post("/v1/similar", data={"image_id": str(image), "limit": 200})
        points = [{"lat": 48.85, "lon": 2.3511}, {"lat": 0, "lon": 0}]
        nearby = {"points": points, "radius_m": 50_000, "limit_per_kind": 100}
        yield "neighbors of points", http.post("/v1/neighbors", json=nearby)
        yield "locate", http.post("/v1/locate", data={"top": 100}, files={"photo": photo})
        yield "similar", http.post("/v1/similar", data={"limit": 200}, files={"photo": photo})
        dossier = http.post("/v1/dossiers", data={"top": 100}, files={"photo": photo})
        yield "dossier", httpx.Response(200, text=json.dumps(read_dossier(dossier)))
        http.headers["Accept"] = "application/geo+json"
        yield "layer", http.post("/v1/locate", data={"top": 100}, files={"photo": photo})
        yield "layer", http.post("/v1/similar", data={"limit": 200}, files={"photo": photo})


def strip_volatile(answer):
    """Text of an answer without the values that differ from call to call."""
    if answer.headers["content-type"] not in ("application/json", "application/geo+json"):
        return answer.text
    body = answer.json()
    body.pop("timings_ms", None)
    return json.dumps(body, sort_keys=True)


@BOTH
def test_update_images_of_other_organization_are_as_unknown(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    # Names of sources and files are not unique across organizations, but these exist once.
    own_names = set(requester.column("SELECT external_id FROM images WHERE organization_id = :org"))
    names = other.column(
        "SELECT i.external_id FROM images i JOIN sources s ON s.id = i.source_id"
        " WHERE i.organization_id = :org ORDER BY 1"
    )
    (source, *_) = other.column("SELECT name FROM sources WHERE organization_id = :org ORDER BY 1")
    keys = [
        {"id": other.shared["image"]},
        *({"source": source, "external_id": name} for name in names if name not in own_names),
        {"id": str(uuid4())},
    ]
    before = other.fingerprint()
    with requester.http() as http:
        answer = http.post("/v1/images/metadata", json={"rows": [k | CORRECTION for k in keys]})
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert all(result == results[-1] for result in results)
    assert results[-1]["error_code"] == "not_found"
    assert other.fingerprint() == before


@BOTH
def test_responses_have_no_data_of_the_other_organization(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    # A photo of the other organization: its best match must not be visible.
    for what, answer in iterate_reads(requester, photo_of(other)):
        assert answer.status_code == 200 or what == "/health/ready", (what, answer.text)
        assert not tenant_pair.leaks(answer.text + str(answer.headers), other), what


@BOTH
def test_image_list_has_the_images_of_its_organization_only(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    expected = requester.column(
        "SELECT id FROM images WHERE organization_id = :org AND state <> 'deleted'"
    )
    with requester.http() as http:
        listed_ids, link = [], "/v1/images?limit=3"
        while link is not None:
            page = http.get(link).json()
            listed_ids += [image["id"] for image in page["images"]]
            link = page["next"]
        theirs = http.get("/v1/images", params={"file_name": f"{other.name}-only*"})
        names = http.get("/v1/images", params={"source": f"{other.name}-only"})
    with other.http() as http:
        # A cursor of the other organization is only a position in the own order.
        cursor = http.get("/v1/images", params={"limit": 1}).json()["next"].split("cursor=")[1]
    with requester.http() as http:
        behind = http.get("/v1/images", params={"limit": 1000, "cursor": cursor})
    assert sorted(listed_ids) == sorted(map(str, expected))
    assert len(listed_ids) == len(set(listed_ids)) > 6
    assert theirs.json() == {"images": [], "next": None}
    assert names.status_code == 404
    assert behind.status_code == 200
    assert {image["id"] for image in behind.json()["images"]} <= set(listed_ids)


IMAGE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
WORLD = {
    "type": "Polygon",
    "coordinates": [
        [[-180, -90], [0, -90], [180, -90], [180, 90], [0, 90], [-180, 90], [-180, -90]]
    ],
}


@BOTH
@pytest.mark.parametrize("media_type", ["application/json", "application/geo+json", "text/csv"])
def test_image_list_with_filters_has_no_image_of_the_other_organization(
    tenant_pair, tenant_name, media_type
):
    """Both have images of the same files, so each filter matches images of both."""
    requester, other = tenant_pair.pair(tenant_name)
    _, name = other.column(
        "SELECT external_id FROM images WHERE organization_id = :org ORDER BY 1 LIMIT 2"
    )
    with requester.http() as http:
        for filters in (
            {"bbox": "-180,-90,180,90"},
            {"polygon": json.dumps(WORLD)},
            {"lat": 48.85, "lon": 2.35, "radius_m": 20_000},
            {"datetime": "0000-01-01T00:00:00Z/.."},
            {"state": ["indexed", "failed", "pending"]},
            {"source_kind": "street"},
            {"file_name": f"{name.rpartition('/')[2][:2]}*"},
            {"creator": "nobody", "sequence": "none", "camera": "none", "attribute": "a=b"},
        ):
            page = http.get(
                "/v1/images", params={"limit": 1000, **filters}, headers={"Accept": media_type}
            )
            assert page.status_code == 200, page.text
            assert not tenant_pair.leaks(page.text + str(page.headers), other), filters
            ids = requester.ids() & set(IMAGE_ID.findall(page.text))
            # No image has a time or a creator.
            assert bool(ids) == (not {"creator", "datetime"} & set(filters)), filters


@BOTH
@pytest.mark.parametrize(("sort", "listed"), [("image", "images"), ("batch", "batches")])
def test_image_list_with_id_prefix_of_other_organization_is_empty(
    tenant_pair, tenant_name, sort, listed
):
    requester, other = tenant_pair.pair(tenant_name)
    with requester.http() as http:
        for length in (6, 13, 36):
            other_org, same_org = (
                http.get(f"/v1/{listed}", params={"id_prefix": row.shared[sort][:length]})
                for row in (other, requester)
            )
            assert other_org.status_code == same_org.status_code == 200
            assert other.shared[sort] not in [row["id"] for row in other_org.json()[listed]]
            assert requester.shared[sort] in [row["id"] for row in same_org.json()[listed]]


@BOTH
def test_locate_does_not_search_the_gallery_of_the_other_organization(tenant_pair, tenant_name):
    """The other organization finds the image, so a leak would be visible."""
    requester, other = tenant_pair.pair(tenant_name)
    photo = photo_of(other)
    with other.http() as http:
        theirs = http.post("/v1/locate", files={"photo": photo}).json()
    with requester.http() as http:
        ours = http.post("/v1/locate", files={"photo": photo}).json()
    assert theirs["candidates"][0]["image_id"] == other.shared["image"]
    assert theirs["candidates"][0]["score"] > 0.999
    assert all(candidate["score"] < 0.999 for candidate in ours["candidates"])


def test_responses_are_unchanged_after_ingest_of_the_other_organization(tenant_pair):
    """Counts, ranks, cursors and answers are compared before and after."""
    requester, other = tenant_pair.alder, tenant_pair.birch
    photo = photo_of(other)
    before = [(what, strip_volatile(answer)) for what, answer in iterate_reads(requester, photo)]
    tenant_pair.grow(other, first=100)
    after = [(what, strip_volatile(answer)) for what, answer in iterate_reads(requester, photo)]
    assert after == before


@BOTH
def test_kept_queries_are_those_of_the_organization(tenant_pair, tenant_name):
    requester, _ = tenant_pair.pair(tenant_name)
    with requester.http() as http:
        listed = http.get("/v1/queries").json()
    assert [row["id"] for row in listed["queries"]] == [requester.shared["query"]]
    assert listed["next"] is None


def test_item_positions_count_within_their_batch(tenant_pair):
    """A global counter would reveal how much other organizations ingest."""
    with tenant_pair.alder.http() as http:
        for batch in http.get("/v1/batches").json()["batches"]:
            items = http.get(f"/v1/batches/{batch['id']}/items").json()["items"]
            assert [item["position"] for item in items] == list(range(1, len(items) + 1))


@BOTH
def test_source_name_of_other_organization_is_available(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    with requester.http() as http:
        missing = http.get(f"/v1/sources/{other.name}-only")
        unknown = http.get("/v1/sources/cedar-only")
        assert missing.status_code == 404
        assert comparable_response(missing, f"{other.name}-only") == comparable_response(
            unknown, "cedar-only"
        )
        created = http.post("/v1/sources", json={"name": f"{other.name}-only", "kind": "photo"})
        assert created.status_code == 201, created.text
        gone = http.delete(f"/v1/sources/{created.json()['id']}")
        assert gone.status_code == 202
    tenant_pair.harness.run()
    with other.http() as http:
        assert http.get(f"/v1/sources/{other.shared['source']}").status_code == 200


@BOTH
def test_key_with_header_of_other_organization_returns_403(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    with requester.http() as http:
        header = "X-Pinpoint-Organization"
        theirs = http.get("/v1/sources", headers={header: other.name})
        unknown = http.get("/v1/sources", headers={header: "cedar"})
    assert comparable_response(theirs, other.name) == comparable_response(unknown, "cedar")
    assert theirs.status_code == 403


def test_index_counts_are_per_organization(tenant_pair):
    for tenant in (tenant_pair.alder, tenant_pair.birch):
        rows = tenant.column(
            "SELECT count(*) FROM images WHERE organization_id = :org AND state = 'indexed'"
        )
        where = IndexFilter(organization_id=tenant.id)
        assert tenant_pair.harness.index.count(where) == rows[0] > 0
