"""`/v1/webhooks` and the URLs of batches, over the API with keys."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from standardwebhooks import Webhook
from starlette.testclient import TestClient

from pinpoint.api.app import create_app
from pinpoint.outgoing.remote_files import RemoteFiles
from pinpoint.records import KeyGrant
from pinpoint.store.db.api_keys import ApiKeyStore
from stack_fixtures import limit_services


@pytest.fixture
def http(harness, org, tmp_path):
    services = SimpleNamespace(
        settings=harness.settings,
        database=harness.database,
        api_keys=ApiKeyStore(harness.as_api),
        webhooks=harness.api,
        **limit_services(harness.as_api),
        remote_files=RemoteFiles(harness.settings.remote, tmp_path / "downloads", 1_000_000),
    )
    scopes = ("read", "ingest", "admin")
    _, key = harness.api_keys.create_key("acme", "all", KeyGrant(scopes=scopes))
    headers = {"Authorization": f"Bearer {key}"}
    with TestClient(create_app(services), "http://localhost", headers=headers) as client:
        yield client


def test_webhook_life_cycle_over_http(http, harness, receiver):
    created = http.post("/v1/webhooks", json={"url": receiver.url()})
    assert created.status_code == 201, created.text
    webhook, secret = created.json()["webhook"], created.json()["secret"]
    assert webhook["event_types"] == []
    path = f"/v1/webhooks/{webhook['id']}"
    assert http.get("/v1/webhooks").json() == {"webhooks": [webhook]}
    assert secret not in http.get(path).text
    assert http.post(f"{path}/test").status_code == 202
    assert http.post(f"{path}/test").status_code == 202
    assert harness.deliver() == 2
    received = receiver.received[0]
    assert Webhook(secret).verify(received.body, received.headers)["type"] == "webhook.test"
    rotated = http.post(f"{path}/rotate-secret").json()
    assert rotated["secret"] != secret
    page = http.get(f"{path}/deliveries", params={"limit": 1}).json()
    assert [delivery["status"] for delivery in page["deliveries"]] == ["delivered"]
    last = http.get(page["next"]).json()
    assert last["next"] is None
    assert last["deliveries"][0]["id"] != page["deliveries"][0]["id"]
    changed = http.patch(path, json={"event_types": ["batch.closed"], "enabled": False}).json()
    assert changed["event_types"] == ["batch.closed"]
    assert changed["disabled_at"] is not None
    assert http.post(f"{path}/test").status_code == 409
    assert http.delete(path).status_code == 204
    assert http.get(path).status_code == 404


def test_webhook_with_a_refused_url_or_invalid_fields_is_refused(http, receiver):
    for url in ("https://example.org/", "http://169.254.169.254/", "file:///etc/passwd"):
        answer = http.post("/v1/webhooks", json={"url": url})
        assert answer.status_code == 422
        assert answer.json()["reason"] == "url_refused"
        assert answer.json()["type"] == "urn:pinpoint:problem:remote_file"
    for body in (
        {},
        {"url": ""},
        {"url": receiver.url(), "event_types": ["unknown"]},
        {"url": receiver.url(), "secret": "mine"},
    ):
        assert http.post("/v1/webhooks", json=body).status_code == 422
    webhook = http.post("/v1/webhooks", json={"url": receiver.url()}).json()["webhook"]
    path = f"/v1/webhooks/{webhook['id']}"
    assert http.patch(path, json={"url": "http://127.0.0.1/"}).status_code == 422
    assert http.get(f"{path}/deliveries", params={"cursor": "bm8"}).status_code == 400


def open_batch(http):
    http.post("/v1/sources", json={"name": "survey", "kind": "photo"})
    return http.post("/v1/batches", json={"source": "survey"}).json()["id"]


def test_urls_of_a_batch_as_json_and_as_json_lines(http, receiver):
    path = f"/v1/batches/{open_batch(http)}"
    urls = [receiver.url(f"/{number}.jpg") for number in range(3)]
    rows = [{"url": url, "lat": 1.5, "lon": 2.5, "attributes": {"a": 1}} for url in urls[:2]]
    added = http.post(f"{path}/urls", json={"urls": rows})
    assert added.status_code == 202, added.text
    assert (len(added.json()["items"]), added.json()["skipped"]) == (2, 0)
    lines = "\n".join(f'{{"url": "{url}"}}' for url in (*urls, "http://127.0.0.1/a.jpg"))
    headers = {"Content-Type": "application/jsonl"}
    added = http.post(f"{path}/urls", content=lines, headers=headers).json()
    assert (len(added["items"]), added["skipped"]) == (2, 2)
    items = http.get(f"{path}/items").json()["items"]
    assert [item["status"] for item in items] == ["received"] * 3 + ["rejected"]
    assert items[3]["error_code"] == "url_refused"


INVALID_BODIES = [
    ("{", "application/json", 400),
    ("[" * 100_000, "application/json", 400),
    ('{"url": 1}\nno json', "application/jsonl", 400),
    ("", "application/jsonl", 422),
    ('{"urls": [{"url": 1}]}', "application/json", 422),
    ('{"urls": [{"url": "https://a.test/", "lat": 1e999}]}', "application/json", 422),
    ('{"urls": [{"url": "https://a.test/", "other": 1}]}', "application/json", 422),
    ("url=a", "application/x-www-form-urlencoded", 415),
]


def test_urls_and_prefixes_that_are_invalid_are_refused(http):
    path = f"/v1/batches/{open_batch(http)}"
    for content, media_type, status in INVALID_BODIES:
        headers = {"Content-Type": media_type}
        answer = http.post(f"{path}/urls", content=content, headers=headers)
        assert answer.status_code == status, answer.text
    for url in ("s3://bucket/", "https://a.test/", "s3://"):
        answer = http.post(f"{path}/prefix", json={"url": url})
        assert (answer.status_code, answer.json()["reason"]) == (422, "url_refused")
