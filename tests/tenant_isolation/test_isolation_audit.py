"""The audit log over HTTP: a row for each kind of access, filters, pages, formats, isolation."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import pytest

from pinpoint.records import KeyGrant
from pinpoint.store.db.protected_areas import ProtectedAreaStore
from tenant_isolation.other_organization import photo_of, protect


@pytest.fixture
def auditor(tenant_pair):
    """Reads the log of the first organization; its key has no other scope."""
    _, secret = tenant_pair.harness.api_keys.create_key(
        "alder", "auditor", KeyGrant(role="auditor")
    )
    with tenant_pair.alder.http() as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        yield client


def read_rows(auditor, since, **filters):
    answer = auditor.get("/v1/audit", params={"datetime": f"{since}/..", "limit": 1000, **filters})
    assert answer.status_code == 200, answer.text
    return answer.json()["rows"]


def area_around(point, name):
    """A protected area of about 20 m around a point."""
    lat, lon = point
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]
    ring = [[lon + east * 1e-4, lat + north * 1e-4] for east, north in corners]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"name": name, "granularity": "refuse", "purpose": "a test"},
    }


def now():
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def test_every_kind_of_access_has_a_row_and_no_position(tenant_pair, auditor):
    alder, photo = tenant_pair.alder, photo_of(tenant_pair.alder)
    tenant_pair.grow(alder, first=300)
    since, image = now(), alder.shared["image"]
    (deleted,) = alder.column(
        "SELECT id FROM images WHERE organization_id = :org AND external_id LIKE '%0300.jpg'"
    )
    with alder.http() as http:
        located = http.post(
            "/v1/locate", files={"photo": photo}, headers={"X-Request-ID": "request-of-this-test"}
        )
        assert located.status_code == 200
        http.post("/v1/dossiers", files={"photo": photo})
        http.post("/v1/similar", data={"image_id": image})
        http.get("/v1/queries")
        http.get("/v1/exports/images.csv", params={"source_kind": "street"})
        http.get(f"/v1/images/{image}/file")
        source = http.post("/v1/sources", json={"name": "audited", "kind": "photo"}).json()
        batch = http.post("/v1/batches", json={"source": "audited"}).json()
        http.post(f"/v1/batches/{batch['id']}/images", files={"files": ("a.jpg", photo)})
        http.post(f"/v1/batches/{batch['id']}/cancel")
        http.patch(f"/v1/images/{image}", json={"creator": "me"})
        http.post("/v1/images/metadata", json={"rows": [{"id": image, "creator": "you"}]})
        http.delete(f"/v1/images/{deleted}")
        http.delete("/v1/sources/audited")
        key = http.post("/v1/keys", json={"name": "new", "role": "viewer"}).json()["key"]
        http.post(f"/v1/keys/{key['id']}/rotate")
        http.delete(f"/v1/keys/{key['id']}")
        # Requests that fail leave no row.
        http.delete(f"/v1/images/{tenant_pair.birch.shared['image']}")
    tenant_pair.harness.run()
    rows = read_rows(auditor, since)
    operations = {row["operation"]: row for row in rows}
    assert len(rows) == len(operations) == 17
    targets = {
        "similar": image, "get_image_file": image, "add_source": source["id"],
        "open_batch": batch["id"], "upload_images": batch["id"], "cancel_batch": batch["id"],
        "update_image": image, "delete_image": str(deleted), "delete_source": source["id"],
        "create_key": key["id"], "rotate_key": key["id"], "revoke_key": key["id"],
    }  # fmt: skip
    assert {name: operations[name]["target_id"] for name in targets} == targets
    counts = {"upload_images": 1, "cancel_batch": 1, "update_images": 1, "list_kept_queries": 1}
    assert {name: operations[name]["num_rows"] for name in counts} == counts
    row = operations["locate"]
    assert row["photo_sha256"] == hashlib.sha256(photo).hexdigest()
    assert (row["request_id"], row["bundle"]) == (
        "request-of-this-test",
        located.json()["bundle"]["name"],
    )
    dossier = operations["create_dossier"]
    assert (dossier["photo_sha256"], dossier["bundle"]) == (row["photo_sha256"], row["bundle"])
    assert {row["key_name"] for row in rows} == {"all"}
    assert {row["key_id"] for row in rows} == {alder.shared["key"]}
    assert {(row["lat"], row["lon"]) for row in rows} == {(None, None)}
    assert operations["export"]["image_filter"] == {"format": "csv", "source_kind": ["street"]}


def test_position_is_stored_if_the_setting_allows_it(tenant_pair, auditor, monkeypatch):
    settings = tenant_pair.app.state.services.settings
    allowed = settings.api.model_copy(update={"audit_positions": True})
    since = now()
    with monkeypatch.context() as patched, tenant_pair.alder.http() as http:
        patched.setattr(settings, "api", allowed)
        answer = http.post("/v1/locate", files={"photo": photo_of(tenant_pair.alder)}).json()
    point = (answer["point"]["lat"], answer["point"]["lon"])
    (row,) = read_rows(auditor, since, operation="locate")
    assert (row["lat"], row["lon"]) == point
    # An auditor who is not exempt does not read what another key located in a protected area.
    area = protect(
        tenant_pair.harness, tenant_pair.alder.id, area_around(point, name="audited place")
    )
    (hidden,) = read_rows(auditor, since, operation="locate")
    assert (hidden["lat"], hidden["lon"], hidden["id"]) == (None, None, row["id"])
    grant = KeyGrant(scopes=("audit",), granularity="exact")
    _, secret = tenant_pair.harness.api_keys.create_key("alder", "exempt auditor", grant)
    auditor.headers["Authorization"] = f"Bearer {secret}"
    (shown,) = read_rows(auditor, since, operation="locate")
    assert (shown["lat"], shown["lon"]) == point
    with tenant_pair.alder.http() as http:
        assert http.delete(f"/v1/protected-areas/{area.id}").status_code == 204
    assert ProtectedAreaStore(tenant_pair.harness.owner).apply(60)


def test_filters_pages_and_lines_have_the_same_rows(tenant_pair, auditor):
    with tenant_pair.alder.http() as http:
        for _ in range(4):
            http.get("/v1/queries")
    whole = read_rows(auditor, "2000-01-01T00:00:00Z")
    expected = [row for row in whole if row["operation"] == "list_kept_queries"]
    paged, link = [], "/v1/audit?operation=list_kept_queries&limit=3"
    while link is not None:
        answer = auditor.get(link)
        page = answer.json()
        assert answer.headers.get("link") == (page["next"] and f'<{page["next"]}>; rel="next"')
        paged += page["rows"]
        link = page["next"]
    assert paged == expected
    times = [row["created_at"] for row in whole]
    assert times == sorted(times, reverse=True)
    by_key = read_rows(auditor, "2000-01-01T00:00:00Z", key_id=tenant_pair.alder.shared["key"])
    assert by_key == [row for row in whole if row["key_id"] == tenant_pair.alder.shared["key"]]
    assert read_rows(auditor, times[0])[-1]["created_at"] >= times[0]
    lines = auditor.get(
        "/v1/audit", params={"limit": 1000}, headers={"Accept": "application/x-ndjson"}
    )
    assert lines.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.text.splitlines()] == whole[:1000]


def test_invalid_filters_are_refused(auditor):
    for query, status in (
        ("operation=unknown", 422),
        ("key_id=x", 400),
        ("datetime=yesterday", 400),
        ("limit=1001", 422),
        ("unknown=1", 422),
        ("cursor=x", 400),
    ):
        assert auditor.get(f"/v1/audit?{query}").status_code == status, query


@pytest.mark.parametrize("tenant_name", ["alder", "birch"])
def test_audit_log_has_rows_of_the_organization_only(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    with other.http() as http:
        http.get("/v1/queries")
    with requester.http() as http:
        http.get("/v1/queries")
        answer = http.get("/v1/audit", params={"limit": 1000})
        theirs = http.get("/v1/audit", params={"key_id": other.shared["key"]})
    assert answer.json()["rows"]
    assert not tenant_pair.leaks(answer.text, other)
    assert theirs.json() == {"rows": [], "next": None}
