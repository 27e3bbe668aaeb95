"""Each route with a typical request."""

from __future__ import annotations

import dataclasses
import json
from uuid import UUID, uuid4

import pytest

from api import memory
from pinpoint.api.v1.schemas.catalog import ImageUpdateIn
from pinpoint.records import Point

PHOTO = {"photo": ("p.jpg", b"bytes of a photo")}


def test_locate_without_calibration_returns_point_regions_evidence_and_a_note(api, search_calls):
    with api.http() as http:
        answer = http.post("/v1/locate", files=PHOTO, data={"top": "2", "query_kind": "photo"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["point"] == {"lat": 48.85, "lon": 2.35}
    assert body["geometry"] == {"type": "Point", "coordinates": [2.35, 48.85]}
    assert body["credible_discs"][1] == {"probability": 0.9, "radius_m": 99.0}
    assert body["calibrated"] is False
    assert "not calibrated" in body["calibration_note"]
    assert [candidate["rank"] for candidate in body["candidates"]] == [0, 1]
    assert body["num_candidates"] == 3
    assert body["candidates"][0]["evidence"][0]["distance_m"] == 3.0
    cited = body["citations"]["photo"][0]
    assert (cited["license"], cited["attribution"], cited["distance_m"]) == ("CC0", "we", 1.5)
    assert cited["thumbnail_url"] == f"/v1/images/{cited['image_id']}/thumbnail"
    assert body["bundle"] == {"name": "descriptor", "digest": "d", "note": "sees colors"}
    assert body["index"] == {"engine": "qdrant-edge", "build": "b"}
    (photo,) = search_calls[0]["photos"]
    assert (photo.data, photo.kind, photo.crop) == (b"bytes of a photo", "photo", None)
    assert search_calls[0]["context"].organization_id == api.parts.api_keys.ids["default"]


def test_locate_with_every_filter_passes_them_to_the_search(api, search_calls):
    source = api.rows().add_source("walk", "street")
    ring = [[2.0, 48.0], [3.0, 48.0], [3.0, 49.0], [2.0, 48.0]]
    form = {
        "source_kinds": "photo,street",
        "sources": ["walk", str(source.id)],
        "lat": "48.8",
        "lon": "2.3",
        "radius_m": "500",
        "bbox": "170,-10,-170,10",
        "polygon": json.dumps({"type": "Polygon", "coordinates": [ring]}),
        "datetime": "2026-01-01T00:00:00Z/2026-02-01T00:00:00+01:00",
    }
    with api.http() as http:
        assert http.post("/v1/locate", files=PHOTO, data=form).status_code == 200
    limits = search_calls[0]["limits"]
    assert limits.source_kinds == ("photo", "street")
    assert limits.source_ids == (source.id, source.id)
    assert (limits.circle.center.lat, limits.circle.radius_m) == (48.8, 500.0)
    assert (limits.box.west, limits.box.east) == (170.0, -170.0)
    assert limits.polygons[0].exterior[0] == Point(48.0, 2.0)
    assert limits.captured_after < limits.captured_before


def test_locate_writes_only_the_photo_hash_to_the_audit_log(api, search_calls):
    with api.http() as http:
        http.post("/v1/locate", files=PHOTO)
    (line,) = api.rows().audit
    assert line.operation == "locate"
    assert len(line.photo_sha256) == 64
    assert api.parts.blobs.kept == {}


def test_similar_requires_either_photo_or_image_id(api, search_calls):
    image_id = uuid4()
    with api.http() as http:
        by_photo = http.post("/v1/similar", files=PHOTO, data={"limit": "5", "per_group": "1"})
        by_image = http.post(
            "/v1/similar", data={"image_id": str(image_id), "include_self": "true"}
        )
        neither = http.post("/v1/similar", data={"limit": "5"})
        both = http.post("/v1/similar", files=PHOTO, data={"image_id": str(image_id)})
    assert by_photo.json()["groups"][0]["hits"][0]["score"] == 0.7
    assert (search_calls[0]["request"].limit, search_calls[0]["request"].per_group) == (5, 1)
    assert by_image.status_code == 200
    assert (search_calls[1]["request"].query, search_calls[1]["request"].include_self) == (
        image_id,
        True,
    )
    assert (neither.status_code, both.status_code) == (422, 422)


def test_batch_from_open_to_processed_returns_its_items(api):
    api.rows().add_source("walk", "photo")
    with api.http() as http:
        batch = http.post("/v1/batches", json={"source": "walk"})
        assert (batch.status_code, batch.json()["state"]) == (201, "open")
        path = f"/v1/batches/{batch.json()['id']}"
        files = [("files", ("a/b.jpg", b"one")), ("files", ("c.jpg", b"two"))]
        metadata_overrides = {
            "c.jpg": {"lat": 1.5, "lon": 2.5, "captured_at": "2026-01-01T00:00:00Z"}
        }
        added = http.post(
            f"{path}/images",
            files=files,
            data={"metadata_overrides": json.dumps(metadata_overrides)},
        )
        assert added.status_code == 202
        assert added.json()["batch"]["received"] == 2
        closed = http.post(f"{path}/close").json()
        assert (closed["state"], closed["is_processed"]) == ("closed", False)
        first = http.get(f"{path}/items", params={"limit": 1}).json()
        rest = http.get(first["next"]).json()
        assert [i["file"] for i in first["items"] + rest["items"]] == ["a/b.jpg", "c.jpg"]
        assert rest["next"] is None
        assert http.get(f"{path}/items", params={"status": "failed"}).json()["items"] == []
        assert http.post(f"{path}/retry").json()["retried"] == 0, "they wait for a worker"
        assert http.get(path).json() == http.get("/v1/batches").json()["batches"][0]
        api.rows().settle(UUID(closed["id"]), "indexed")
        assert http.get(path).json()["is_processed"] is True
        late = http.post(f"{path}/images", files=files[:1])
    assert (late.status_code, late.json()["reason"]) == (409, "conflict")
    assert sorted(api.parts.blobs.kept.values()) == [b"one", b"two"]
    new = api.rows().all_batches[UUID(closed["id"])]["new"]
    assert [item.metadata_override and item.metadata_override.lat for item in new] == [None, 1.5]
    assert new[1].metadata_override.position_source == "caller"


@pytest.mark.parametrize(
    "name", [b"x\\y.jpg", b"x\\\\y.jpg", b"C:\\a\\y.jpg", b"\\\\host\\y.jpg", b"/y.jpg"]
)
def test_upload_with_backslash_in_file_name_returns_422(api, name):
    api.rows().add_source("walk", "photo")
    body = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="' + name + b'"\r\n\r\n'
        b"data\r\n--b--\r\n"
    )
    with api.http() as http:
        batch = http.post("/v1/batches", json={"source": "walk"}).json()
        answer = http.post(
            f"/v1/batches/{batch['id']}/images",
            content=body,
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        items = http.get(f"/v1/batches/{batch['id']}/items").json()["items"]
    assert (answer.status_code, answer.json()["reason"], items) == (422, "invalid_request", [])
    assert "backslash" in answer.json()["detail"]
    assert api.parts.blobs.kept == {}


@pytest.mark.parametrize(
    ("body", "cleared"),
    [
        ({"creator": None}, {"creator"}),
        ({"lat": None, "lon": None}, {"position"}),
        ({"clear": ["position", "captured_at"]}, {"position", "captured_at"}),
        ({"license": "CC0", "clear": ["creator"]}, {"creator"}),
    ],
)
def test_patch_with_null_or_clear_clears_manual_values(body, cleared):
    assert ImageUpdateIn.model_validate(body).record().clear == cleared


def test_image_out_shows_origins_and_warnings(api):
    rows = api.rows()
    image = dataclasses.replace(
        memory.image(rows.add_source("walk", "photo")),
        position_source="manual",
        time_source="manifest",
        field_sources={"position": "manual", "captured_at": "manifest"},
        warnings=("position: manual 1, 2 is used; exif has 3, 4",),
    )
    rows.all_images[image.id] = image
    with api.http() as http:
        body = http.get(f"/v1/images/{image.id}").json()
    assert (body["position_source"], body["time_source"]) == ("manual", "manifest")
    assert body["field_sources"] == {"position": "manual", "captured_at": "manifest"}
    assert body["warnings"] == ["position: manual 1, 2 is used; exif has 3, 4"]


def test_batch_list_with_limit_returns_pages_newest_first(api):
    rows = api.rows()
    source = rows.add_source("walk", "photo")
    ids = [str(rows.open_batch(source.id).id) for _ in range(3)]
    with api.http() as http:
        first = http.get("/v1/batches", params={"limit": 2}).json()
        rest = http.get(first["next"]).json()
    assert [b["id"] for b in first["batches"] + rest["batches"]] == ids[::-1]
    assert rest["next"] is None


def test_image_get_update_and_delete(api):
    rows = api.rows()
    source = rows.add_source("walk", "photo")
    image, other = memory.image(source), memory.image(source)
    rows.all_images |= {image.id: image, other.id: other}
    path = f"/v1/images/{image.id}"
    with api.http() as http:
        body = http.get(path).json()
        assert (body["lat"], body["lon"]) == (48.85, 2.35)
        assert body["geometry"]["coordinates"] == [2.35, 48.85]
        thumbnail = http.get(f"{path}/thumbnail")
        assert (thumbnail.content, thumbnail.headers["content-type"]) == (memory.JPEG, "image/jpeg")
        near = http.get(
            f"{path}/neighbors", params={"radius_m": 50, "source_kind": ["photo"]}
        ).json()
        assert near["neighbors"][0]["distance_m"] == 12.5
        assert near["neighbors"][0]["image"]["id"] == str(other.id)
        fixed = http.patch(path, json={"lat": 1.0, "lon": 2.0, "creator": "me"}).json()
        assert (fixed["lat"], fixed["creator"], fixed["version"]) == (1.0, "me", 2)
        assert http.delete(path).status_code == 204
        assert http.get(path).status_code == 404


def test_image_list_next_links_return_every_image_once(api):
    rows = api.rows()
    source = rows.add_source("walk", "photo")
    for _ in range(5):
        image = memory.image(source)
        rows.all_images[image.id] = image
    images, link, links = [], "/v1/images?limit=2&source=walk&state=indexed&file_name=a*", []
    with api.http() as http:
        while link is not None:
            page = http.get(link).json()
            images += page["images"]
            links.append(link := page["next"])
    assert [image["id"] for image in images] == sorted(map(str, rows.all_images))
    assert len(links) == 3
    assert all("source=walk" in url and "state=indexed" in url for url in links[:-1])
    query, limit, after = rows.listed
    assert (query.source_ids, query.states) == ((source.id,), ("indexed",))
    assert query.file_name == "a*"
    assert (limit, after.file_name) == (3, "a.jpg")
    assert images[0]["file_name"] == "a.jpg"
    assert images[0]["nearest_place"]["name"] == "Paris"
    assert 0 < images[0]["nearest_place"]["distance_m"] < 1_000


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"color": "red"}, 422),
        ({"limit": 0}, 422),
        ({"limit": 1001}, 422),
        ({"state": "deleted"}, 422),
        ({"source_kind": "drone"}, 422),
        ({"file_name": "a\x00"}, 422),
        ({"id_prefix": "xyzxyz"}, 422),
        ({"id_prefix": "abc"}, 422),
        ({"id_prefix": "abc-----"}, 422),
        ({"cursor": "nonsense"}, 400),
        ({"cursor": "W10"}, 400),
        ({"cursor": "WyJcdWQ4MDAiLDEsMl0"}, 400),
        ({"source": "nowhere"}, 404),
    ],
)
def test_image_list_with_invalid_parameter_returns_problem(api, parameters, status):
    with api.http() as http:
        answer = http.get("/v1/images", params=parameters)
    assert answer.status_code == status
    assert "Traceback" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_locate_and_similar_answers_name_file_source_and_nearest_place(
    api, search_calls, monkeypatch
):
    source = api.rows().add_source("walk", "photo")
    image = memory.image(source)
    api.rows().all_images[UUID(int=0)] = image
    with api.http() as http:
        answer = http.post("/v1/locate", files=PHOTO, data={"top": "2"}).json()
        similar = http.post("/v1/similar", files=PHOTO).json()
    first, second = answer["candidates"]
    assert (first["file_name"], first["source"]) == ("a.jpg", "walk")
    # Deleted after the index query: only id and coordinates remain.
    assert (second["file_name"], second["source"]) == (None, None)
    assert second["nearest_place"]["name"] == "Paris"
    assert first["evidence"][0]["file_name"] == "a.jpg"
    cited = answer["citations"]["photo"][0]
    assert (cited["file_name"], cited["nearest_place"]["country"]) == ("a.jpg", "FR")
    assert similar["groups"][0]["hits"][0]["nearest_place"]["distance_m"] > 0


def test_canceled_batch_rejects_uploads_and_allows_retry(api):
    api.rows().add_source("walk", "photo")
    with api.http() as http:
        batch = http.post("/v1/batches", json={"source": "walk"}).json()
        path = f"/v1/batches/{batch['id']}"
        http.post(f"{path}/images", files=[("files", ("a.jpg", b"one"))])
        canceled = http.post(f"{path}/cancel").json()
        again = http.post(f"{path}/cancel").json()
        late = http.post(f"{path}/images", files=[("files", ("b.jpg", b"two"))])
        items = http.get(f"{path}/items", params={"status": "canceled"}).json()["items"]
        retried = http.post(f"{path}/retry").json()["retried"]
    assert (canceled["canceled"], again["canceled"]) == (1, 0)
    assert (canceled["batch"]["canceled"], canceled["batch"]["is_processed"]) == (1, True)
    assert late.status_code == 409
    assert [item["file"] for item in items] == ["a.jpg"]
    assert retried == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"lat": 1.0},
        {"lat": 0, "lon": 0},
        {"lat": 91, "lon": 0},
        {"heading_deg": 360},
        {"x": 1},
        {"lat": None},
        {"clear": ["altitude_m"]},
        {"creator": "me", "clear": ["creator"]},
        {"captured_at": "2026-01-01T00:00:00"},
    ],
)
def test_image_update_with_invalid_body_returns_422(api, body):
    with api.http() as http:
        answer = http.patch(f"/v1/images/{uuid4()}", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (422, "invalid_request")


def test_source_add_list_and_delete(api):
    with api.http() as http:
        created = http.post("/v1/sources", json={"name": "walk", "kind": "photo", "license": "CC0"})
        assert created.status_code == 201
        again = http.post("/v1/sources", json={"name": "walk", "kind": "photo"})
        assert (again.status_code, again.json()["reason"]) == (409, "conflict")
        assert http.get("/v1/sources").json()["sources"] == [created.json()]
        assert http.get("/v1/sources/walk").json() == created.json()
        assert http.get(f"/v1/sources/{created.json()['id']}").json() == created.json()
        erased = http.delete("/v1/sources/walk")
        assert (erased.status_code, erased.json()) == (202, {"images": 0})
        assert http.get("/v1/sources/walk").status_code == 404


def test_readiness_without_index_names_the_component(api):
    with api.http() as http:
        assert http.get("/health/live").json() == {"live": True}
        ready = http.get("/health/ready")
        assert (ready.status_code, ready.json()["ready"]) == (200, True)
        api.parts.index.ready = False
        missing = http.get("/health/ready")
    assert missing.status_code == 503
    assert missing.headers["content-type"] == "application/problem+json"
    assert missing.json()["reason"] == "index_unavailable"
    assert missing.json()["components"]["database"]["ok"] is True
    assert "streaming" in missing.json()["components"]["index"]["detail"]


def test_openapi_document_is_complete_for_client_generators(api):
    with api.http() as http:
        document = http.get("/openapi.json").json()
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    operations = [op for path in document["paths"].values() for op in path.values()]
    names = [op["operationId"] for op in operations]
    assert len(set(names)) == len(names)
    for reference in set(part.split('"')[0] for part in text.split('"$ref": "#/')[1:]):
        target = document
        for step in reference.split("/"):
            target = target[step]
    for op in operations:
        if "security" in op:
            assert "application/problem+json" in op["responses"]["401"]["content"]
    form = document["paths"]["/v1/locate"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["properties"]["photo"]["items"]["format"] == "binary"
    assert form["schema"]["required"] == ["photo"]
