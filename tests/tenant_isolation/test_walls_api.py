"""No route shows, counts or changes another organization's rows; its ids are as good as none."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from pinpoint.records import IndexFilter
from tenant_isolation.other_organization import photo_of

BOTH = pytest.mark.parametrize("who", ["alder", "birch"])
CORRECTION = {"lat": 1.0, "lon": 2.0}

# Route → calls that name a foreign id: which sort of id, and the request with it in place.
FOREIGN = {
    ("POST", "/v1/locate"): [
        ("source", lambda one, photo: {"data": {"sources": one}, "files": {"photo": photo}}),
        (
            "source",
            lambda one, photo: {
                "data": {"sources": one, "search_space": "coordinates"},
                "files": {"photo": photo},
            },
        ),
    ],
    ("POST", "/v1/similar"): [
        ("image", lambda one, photo: {"data": {"image_id": one}}),
        ("image", lambda one, photo: {"data": {"image_id": one, "include_self": "true"}}),
        ("source", lambda one, photo: {"data": {"sources": one}, "files": {"photo": photo}}),
    ],
    ("POST", "/v1/batches"): [("source", lambda one, photo: {"json": {"source": one}})],
    ("GET", "/v1/batches"): [("batch", lambda one, photo: {"params": {"before": one}})],
    ("GET", "/v1/images"): [("source", lambda one, photo: {"params": {"source": one}})],
    ("GET", "/v1/batches/{batch_id}"): [("batch", lambda one, photo: {})],
    ("GET", "/v1/batches/{batch_id}/items"): [
        ("batch", lambda one, photo: {}),
        ("batch", lambda one, photo: {"params": {"status": "failed"}}),
    ],
    ("POST", "/v1/batches/{batch_id}/images"): [
        ("batch", lambda one, photo: {"files": {"files": ("a.jpg", photo)}}),
    ],
    ("POST", "/v1/batches/{batch_id}/close"): [("batch", lambda one, photo: {})],
    ("POST", "/v1/batches/{batch_id}/retry"): [("batch", lambda one, photo: {})],
    ("POST", "/v1/batches/{batch_id}/cancel"): [("batch", lambda one, photo: {})],
    ("GET", "/v1/images/{image_id}"): [("image", lambda one, photo: {})],
    ("PATCH", "/v1/images/{image_id}"): [("image", lambda one, photo: {"json": CORRECTION})],
    ("DELETE", "/v1/images/{image_id}"): [("image", lambda one, photo: {})],
    ("GET", "/v1/images/{image_id}/thumbnail"): [("image", lambda one, photo: {})],
    ("GET", "/v1/images/{image_id}/neighbors"): [
        ("image", lambda one, photo: {"params": {"radius_m": 5000}}),
    ],
    ("GET", "/v1/sources/{source_id}"): [("source", lambda one, photo: {})],
    ("DELETE", "/v1/sources/{source_id}"): [("source", lambda one, photo: {})],
}
# Routes that take no id; what they answer is read below.
WITHOUT_ID = {
    ("GET", "/v1/sources"),
    ("POST", "/v1/sources"),
    ("GET", "/"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("GET", "/sign-in"),
}


def test_the_matrix_holds_every_route(neighborhood):
    document = neighborhood.app.openapi()
    offered = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    hidden = {getattr(route, "path", "") for route in neighborhood.app.routes}
    assert offered == set(FOREIGN) | WITHOUT_ID
    assert {path for path in hidden if path} - {path for _, path in offered} <= {"/openapi.json"}


def said(response, one):
    """All that a response says, without the id that was asked for and what differs by nature."""
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("x-request-id", "date")
    }
    body = response.text.replace(response.headers["x-request-id"], "REQUEST").replace(one, "ID")
    return response.status_code, headers, body


def aimed_at(neighborhood, asker, one, sort):
    """Every call of the matrix that takes this sort of id, with this id."""
    photo = photo_of(asker)
    with asker.http() as http:
        for (method, path), calls in FOREIGN.items():
            for wanted, request in calls:
                if wanted != sort:
                    continue
                url = path
                for name in ("batch_id", "image_id", "source_id"):
                    url = url.replace(f"{{{name}}}", one)
                yield (method, path), said(http.request(method, url, **request(one, photo)), one)


@BOTH
def test_figures_over_all_are_for_no_organization(neighborhood, who):
    """Counts, ages and reasons of everybody: `/metrics` is the operator's alone."""
    asker, _ = neighborhood.pair(who)
    with asker.http() as http:
        refused = http.get("/metrics")
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:pinpoint:problem:forbidden"
    assert "pinpoint_" not in refused.text


@BOTH
@pytest.mark.parametrize("sort", ["source", "batch", "image"])
def test_a_foreign_id_is_the_same_404_as_no_id(neighborhood, who, sort):
    asker, stranger = neighborhood.pair(who)
    before = stranger.fingerprint()
    blobs = set(neighborhood.harness.folder.joinpath("blobs").rglob("*"))
    foreign = list(aimed_at(neighborhood, asker, stranger.shared[sort], sort))
    nobodys = list(aimed_at(neighborhood, asker, str(uuid4()), sort))
    assert len(foreign) >= 2
    for (route, theirs), (_, none) in zip(foreign, nobodys, strict=True):
        assert theirs == none, route
        assert theirs[0] == 404, route
        assert json.loads(theirs[2])["type"] == "urn:pinpoint:problem:not_found", route
        assert not neighborhood.leaks(str(theirs), stranger)
    assert stranger.fingerprint() == before
    assert neighborhood.harness.queue.sent == []
    assert set(neighborhood.harness.folder.joinpath("blobs").rglob("*")) == blobs


@BOTH
def test_an_own_id_is_found_by_every_route_of_the_matrix(neighborhood, who):
    """Otherwise the 404s above would prove nothing."""
    asker, _ = neighborhood.pair(who)
    harmless = [
        ("GET", "/v1/images/{image}"),
        ("GET", "/v1/images/{image}/thumbnail"),
        ("GET", "/v1/images/{image}/neighbors"),
        ("GET", "/v1/batches/{batch}"),
        ("GET", "/v1/batches/{batch}/items"),
        ("GET", "/v1/batches?before={batch}"),
        ("GET", "/v1/images?source={source}"),
        ("GET", "/v1/sources/{source}"),
    ]
    with asker.http() as http:
        for method, path in harmless:
            answer = http.request(method, path.format(**asker.shared))
            assert answer.status_code == 200, (path, answer.text)
        found = http.post("/v1/similar", data={"image_id": asker.shared["image"]})
        assert found.status_code == 200, found.text


def reads(tenant, photo):
    """Everything this organization can read of itself, as `(what, text)`."""
    with tenant.http() as http:
        for path in (
            "/v1/sources",
            "/v1/batches?limit=500",
            "/v1/images?limit=1000",
            "/v1/images?limit=3&state=indexed&source_kind=photo&file_name=*.jpg",
            "/",
            "/health/live",
            "/health/ready",
        ):
            yield path, http.get(path)
        batches = http.get("/v1/batches?limit=500").json()["batches"]
        for batch in batches:
            for path in (f"/v1/batches/{batch['id']}", f"/v1/batches/{batch['id']}/items"):
                yield path, http.get(path)
        listed = tenant.column("SELECT id FROM images WHERE organization_id = :org ORDER BY id")
        for image in listed:
            yield "image", http.get(f"/v1/images/{image}")
            yield "neighbors", http.get(f"/v1/images/{image}/neighbors?radius_m=50000&limit=200")
            yield "similar", http.post("/v1/similar", data={"image_id": str(image), "limit": 200})
        yield "locate", http.post("/v1/locate", data={"top": 100}, files={"photo": photo})
        yield "similar", http.post("/v1/similar", data={"limit": 200}, files={"photo": photo})


def stripped(answer):
    """The text of an answer without what differs from call to call."""
    if not answer.headers["content-type"].startswith("application/json"):
        return answer.text
    body = answer.json()
    body.pop("timings_ms", None)
    return json.dumps(body, sort_keys=True)


@BOTH
def test_nothing_that_is_read_holds_anything_of_the_other(neighborhood, who):
    asker, stranger = neighborhood.pair(who)
    # The very picture that only the other one holds: its best match must not be seen.
    for what, answer in reads(asker, photo_of(stranger)):
        assert answer.status_code == 200 or what == "/health/ready", (what, answer.text)
        assert not neighborhood.leaks(answer.text + str(answer.headers), stranger), what


@BOTH
def test_a_list_of_images_holds_the_own_ones_and_no_other(neighborhood, who):
    asker, stranger = neighborhood.pair(who)
    own = asker.column("SELECT id FROM images WHERE organization_id = :org AND state <> 'deleted'")
    with asker.http() as http:
        shown, link = [], "/v1/images?limit=3"
        while link is not None:
            page = http.get(link).json()
            shown += [one["id"] for one in page["images"]]
            link = page["next"]
        theirs = http.get("/v1/images", params={"file_name": f"{stranger.name}-only*"})
        names = http.get("/v1/images", params={"source": f"{stranger.name}-only"})
    with stranger.http() as http:
        # Where a page of the other organization ended is a position in the own order, and no more.
        cursor = http.get("/v1/images", params={"limit": 1}).json()["next"].split("cursor=")[1]
    with asker.http() as http:
        behind = http.get("/v1/images", params={"limit": 1000, "cursor": cursor})
    assert sorted(shown) == sorted(map(str, own))
    assert len(shown) == len(set(shown)) > 6
    assert theirs.json() == {"images": [], "next": None}
    assert names.status_code == 404
    assert behind.status_code == 200
    assert {one["id"] for one in behind.json()["images"]} <= set(shown)


@BOTH
@pytest.mark.parametrize(("sort", "listed"), [("image", "images"), ("batch", "batches")])
def test_a_foreign_ids_first_digits_find_nothing(neighborhood, who, sort, listed):
    asker, stranger = neighborhood.pair(who)
    with asker.http() as http:
        for length in (6, 13, 36):
            theirs, own = (
                http.get(f"/v1/{listed}", params={"id_prefix": one.shared[sort][:length]})
                for one in (stranger, asker)
            )
            assert theirs.status_code == own.status_code == 200
            assert stranger.shared[sort] not in [one["id"] for one in theirs.json()[listed]]
            assert asker.shared[sort] in [one["id"] for one in own.json()[listed]]


@BOTH
def test_the_gallery_of_the_other_is_searched_by_nobody_else(neighborhood, who):
    """The other one does find it, so it was there to be leaked."""
    asker, stranger = neighborhood.pair(who)
    photo = photo_of(stranger)
    with stranger.http() as http:
        theirs = http.post("/v1/locate", files={"photo": photo}).json()
    with asker.http() as http:
        ours = http.post("/v1/locate", files={"photo": photo}).json()
    assert theirs["candidates"][0]["image_id"] == stranger.shared["image"]
    assert theirs["candidates"][0]["score"] > 0.999
    assert all(one["score"] < 0.999 for one in ours["candidates"])


def test_what_one_reads_does_not_depend_on_what_the_other_does(neighborhood):
    """Counts, ranks, page marks and answers: the same before and after the other one grows."""
    asker, stranger = neighborhood.alder, neighborhood.birch
    photo = photo_of(stranger)
    before = [(what, stripped(answer)) for what, answer in reads(asker, photo)]
    neighborhood.grow(stranger, first=100)
    after = [(what, stripped(answer)) for what, answer in reads(asker, photo)]
    assert after == before


def test_the_order_of_files_tells_nothing_of_others(neighborhood):
    """`seq` is the place in the batch: a counter of all would tell how much others ingest."""
    with neighborhood.alder.http() as http:
        for batch in http.get("/v1/batches").json()["batches"]:
            items = http.get(f"/v1/batches/{batch['id']}/items").json()["items"]
            assert [item["position"] for item in items] == list(range(1, len(items) + 1))


@BOTH
def test_a_name_the_other_uses_is_free(neighborhood, who):
    asker, stranger = neighborhood.pair(who)
    with asker.http() as http:
        missing = http.get(f"/v1/sources/{stranger.name}-only")
        nobodys = http.get("/v1/sources/cedar-only")
        assert missing.status_code == 404
        assert said(missing, f"{stranger.name}-only") == said(nobodys, "cedar-only")
        made = http.post("/v1/sources", json={"name": f"{stranger.name}-only", "kind": "photo"})
        assert made.status_code == 201, made.text
        gone = http.delete(f"/v1/sources/{made.json()['id']}")
        assert gone.status_code == 202
    neighborhood.harness.run()
    with stranger.http() as http:
        assert http.get(f"/v1/sources/{stranger.shared['source']}").status_code == 200


@BOTH
def test_a_key_cannot_speak_for_another_organization(neighborhood, who):
    asker, stranger = neighborhood.pair(who)
    with asker.http() as http:
        header = "X-Pinpoint-Organization"
        theirs = http.get("/v1/sources", headers={header: stranger.name})
        nobodys = http.get("/v1/sources", headers={header: "cedar"})
    assert said(theirs, stranger.name) == said(nobodys, "cedar")
    assert theirs.status_code == 403


def test_index_counts_are_apart(neighborhood):
    for tenant in (neighborhood.alder, neighborhood.birch):
        rows = tenant.column(
            "SELECT count(*) FROM images WHERE organization_id = :org AND state = 'indexed'"
        )
        where = IndexFilter(organization_id=tenant.id)
        assert neighborhood.harness.index.count(where) == rows[0] > 0
