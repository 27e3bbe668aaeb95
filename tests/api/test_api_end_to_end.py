"""The API on a running stack: uploads agree in the API, PostgreSQL and the index."""

from __future__ import annotations

import time
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from pinpoint.records import IndexFilter
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint.store.vectors.rpc.client import RemoteIndex
from stack_fixtures import jpeg, plain_jpeg, unique

VERDICTS = ("indexed", "updated", "duplicate", "rejected", "failed")


@pytest.fixture(scope="module")
def api(running_stack):
    with httpx.Client(
        base_url=running_stack.api_url, headers=running_stack.as_operator, timeout=60
    ) as client:
        yield client


@pytest.fixture
def source(api):
    created = api.post("/v1/sources", json={"name": unique("uploads"), "kind": "photo"})
    assert created.status_code == 201, created.text
    return created.json()


def upload(api, source, files):
    batch = api.post("/v1/batches", json={"source": source["name"]}).json()
    parts = [("files", (name, data, "image/jpeg")) for name, data in files.items()]
    sent = api.post(f"/v1/batches/{batch['id']}/images", files=parts)
    assert sent.status_code == 202, sent.text
    assert api.post(f"/v1/batches/{batch['id']}/close").status_code == 200
    for _ in range(400):
        batch = api.get(f"/v1/batches/{batch['id']}").json()
        if batch["is_processed"]:
            return batch
        time.sleep(0.1)
    raise AssertionError(f"never complete: {batch}")


def rows_and_points(running_stack, source_id):
    """Live rows of a source, and the points that the index holds of it."""
    transactions = Transactions(owner_engine(running_stack.paths.owner_url()))
    with transactions.begin() as unit:
        rows, organization = unit.connection.execute(
            text(
                "SELECT count(i.id), max(s.organization_id::text)::uuid FROM sources s "
                "LEFT JOIN images i ON i.source_id = s.id AND i.state = 'indexed' WHERE s.id = :id"
            ),
            {"id": source_id},
        ).one()
    transactions.close()
    index = RemoteIndex(running_stack.paths.index_socket)
    where = IndexFilter(organization_id=organization, source_ids=(UUID(source_id),))
    return rows, index.count(where)


def test_upload_of_many_files_gives_every_file_a_status(api, source, running_stack):
    files = {f"{seed}.jpg": jpeg(seed, 40 + seed / 100, -3.7) for seed in range(6)}
    files |= {"twin.jpg": files["1.jpg"], "nowhere.jpg": plain_jpeg(9), "text.jpg": b"no image"}
    batch = upload(api, source, files)
    assert {verdict: batch[verdict] for verdict in VERDICTS} == {
        "indexed": 6,
        "updated": 0,
        "duplicate": 1,
        "rejected": 2,
        "failed": 0,
    }
    assert batch["items"] == len(files) == sum(batch[verdict] for verdict in VERDICTS)
    items = api.get(f"/v1/batches/{batch['id']}/items").json()["items"]
    assert sorted(item["file"] for item in items) == sorted(files)
    assert all(item["error_code"] for item in items if item["status"] in ("rejected", "duplicate"))
    assert rows_and_points(running_stack, source["id"]) == (6, 6)

    again = upload(api, source, files)
    assert (again["duplicate"], again["rejected"]) == (7, 2)
    assert rows_and_points(running_stack, source["id"]) == (6, 6)
    num_blobs = sum(1 for path in running_stack.paths.blobs_dir.rglob("*") if path.is_file())
    assert num_blobs >= 6  # other tests keep theirs
    image = api.get(f"/v1/images/{items[0]['image_ids'][0]}").json()
    assert image["state"] == "indexed"
    assert api.get(f"/v1/images/{image['id']}/thumbnail").content[:2] == b"\xff\xd8"


def test_image_update_and_deletion_reach_the_index(api, source, running_stack):
    batch = upload(api, source, {"a.jpg": jpeg(50, 10, 10), "b.jpg": jpeg(51, 10.001, 10)})
    items = api.get(f"/v1/batches/{batch['id']}/items").json()["items"]
    first, second = (item["image_ids"][0] for item in items)
    near = api.get(f"/v1/images/{first}/neighbors", params={"radius_m": 500}).json()
    assert second in str(near)
    fixed = api.patch(f"/v1/images/{first}", json={"lat": -20.0, "lon": 30.0})
    assert fixed.status_code == 200, fixed.text
    for _ in range(200):
        if api.get(f"/v1/images/{first}").json()["state"] == "indexed":
            break
        time.sleep(0.1)
    answer = api.post("/v1/locate", files={"photo": ("q.jpg", jpeg(50, 10, 10))}).json()
    best = answer["candidates"][0]
    assert (best["image_id"], round(best["lat"], 3), round(best["lon"], 3)) == (first, -20, 30)
    assert api.delete(f"/v1/images/{second}").status_code in (202, 204)
    assert api.get(f"/v1/images/{second}").status_code == 404
    for _ in range(200):
        if rows_and_points(running_stack, source["id"]) == (1, 1):
            return
        time.sleep(0.1)
    raise AssertionError("the deletion never reached the index")


def test_locate_does_not_store_the_query_photo(api, running_stack):
    photo = plain_jpeg(4242, size=(320, 240))
    marker = b"pinpoint-query-photo-marker"
    api.post("/v1/locate", files={"photo": ("secret-name.jpg", photo + marker)})
    home = running_stack.home
    for path in home.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert marker not in data, path
            assert b"secret-name" not in data, path
    transactions = Transactions(owner_engine(running_stack.paths.owner_url()))
    with transactions.begin() as unit:
        num_queries = unit.connection.execute(
            text("SELECT count(*) FROM audit_log WHERE operation = 'locate'")
        ).scalar_one()
    transactions.close()
    assert num_queries >= 1
