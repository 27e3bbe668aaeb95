"""Requests with `Idempotency-Key` against the real database: one creation, the same answer."""

from __future__ import annotations

import threading
from uuid import uuid4

import httpx
import pytest
from fastapi.routing import APIRoute
from sqlalchemy import text

from pinpoint.api.app import ROUTE_MODULES
from pinpoint.api.rules import read_rules
from pinpoint.errors import ConflictError
from pinpoint.records import IdempotentRequest

REPEATABLE_BY_NATURE = {
    "/v1/batches/{batch_id}/images": "a file's name is its identity: a repetition is a duplicate",
    "/v1/batches/{batch_id}/urls": "URLs that the batch has already are skipped",
    "/v1/batches/{batch_id}/prefix": "keys that the batch has already are skipped",
    "/v1/jobs/{job_id}/files": "a file whose name the job has already changes nothing",
    "/v1/keys": "the stored answer would contain a secret",
    "/v1/organizations": "names are unique, and the operator has no organization",
    "/v1/organizations/{organization}/keys": "the stored answer would contain a secret",
    "/v1/webhooks": "the stored answer would contain a secret",
    "/v1/webhooks/{webhook_id}/test": "a repetition sends another test, as its caller asks",
}
"""Creating routes without the header, with the reason."""


@pytest.fixture
def http(tenant_pair):
    with tenant_pair.alder.http() as client:
        yield client


def count_sources(http, name):
    return sum(source["name"] == name for source in http.get("/v1/sources").json()["sources"])


def test_every_creating_post_accepts_an_idempotency_key():
    creating = {
        rule.route.path: rule.is_idempotent
        for rule in read_rules(module.router for module in ROUTE_MODULES)
        if isinstance(rule.route, APIRoute)
        and "POST" in rule.route.methods
        and rule.route.status_code in (201, 202)
    }
    assert {"/v1/sources", "/v1/batches"} <= set(creating)
    missing = {path for path, is_idempotent in creating.items() if not is_idempotent}
    assert missing == set(REPEATABLE_BY_NATURE)


def test_repeated_creation_returns_the_first_answer(http):
    name, key = f"once-{uuid4()}", str(uuid4())
    body = {"name": name, "kind": "photo"}
    first = http.post("/v1/sources", json=body, headers={"Idempotency-Key": key})
    again = http.post(
        "/v1/sources", content=f'{{"kind": "photo", "name": "{name}"}}',
        headers={"Idempotency-Key": f'"{key}"', "Content-Type": "application/json"},
    )  # fmt: skip
    assert (first.status_code, again.status_code) == (201, 201)
    assert (first.json(), first.headers["content-type"]) == (
        again.json(),
        again.headers["content-type"],
    )
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert count_sources(http, name) == 1
    other_route = http.post("/v1/batches", json={"source": name}, headers={"Idempotency-Key": key})
    assert other_route.status_code == 201
    assert "idempotency-replayed" not in other_route.headers


def test_key_of_another_request_is_refused_and_an_error_frees_the_key(http):
    name, key = f"once-{uuid4()}", str(uuid4())
    headers = {"Idempotency-Key": key}
    assert http.post("/v1/batches", json={"source": name}, headers=headers).status_code == 404
    http.post("/v1/sources", json={"name": name, "kind": "photo"})
    assert http.post("/v1/batches", json={"source": name}, headers=headers).status_code == 201
    http.post("/v1/sources", json={"name": f"{name}-2", "kind": "photo"})
    refused = http.post("/v1/batches", json={"source": f"{name}-2"}, headers=headers)
    assert (refused.status_code, refused.json()["reason"]) == (422, "idempotency_key_reused")
    for unusable in ("", "a b", "x" * 256):
        answer = http.post(
            "/v1/batches", json={"source": name}, headers={"Idempotency-Key": unusable}
        )
        assert answer.status_code in (400, 422), unusable


def test_key_of_another_organization_is_another_key(tenant_pair, http):
    name, key = f"once-{uuid4()}", str(uuid4())
    body = {"name": name, "kind": "photo"}
    mine = http.post("/v1/sources", json=body, headers={"Idempotency-Key": key})
    theirs = httpx.post(
        f"{tenant_pair.alder.url}/v1/sources",
        json=body,
        headers={"Idempotency-Key": key, "Authorization": f"Bearer {tenant_pair.birch.key}"},
    )
    assert (mine.status_code, theirs.status_code) == (201, 201)
    assert mine.json()["id"] != theirs.json()["id"]


def test_concurrent_requests_with_one_key_create_once(http):
    name, key = f"once-{uuid4()}", str(uuid4())
    answers = []

    def create():
        answers.append(
            http.post(
                "/v1/sources",
                json={"name": name, "kind": "photo"},
                headers={"Idempotency-Key": key},
            )
        )

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {a.json()["reason"] for a in answers if a.status_code == 409} <= {
        "idempotency_key_in_use"
    }
    assert count_sources(http, name) == 1


def test_running_request_blocks_its_key_and_a_rollback_frees_it(tenant_pair, http):
    """The lock of a process that dies ends with its connection, and so do its changes."""
    name, database = f"once-{uuid4()}", tenant_pair.alder.harness.database
    organization_id = tenant_pair.alder.id
    request = IdempotentRequest(
        caller_id=uuid4(), route="POST /v1/sources", key="k", fingerprint=b"f"
    )

    def attempt_elsewhere():
        with database.write_once(organization_id) as answers:
            return answers.find_answer(request)

    class CrashError(Exception):
        pass

    errors = []
    with pytest.raises(CrashError), database.write_once(organization_id) as answers:  # noqa: PT012
        assert answers.find_answer(request) is None
        with database.write(organization_id) as catalog:
            catalog.add_source(name, "photo", license=None, attribution=None, originals="copy")
        with database.read(organization_id) as catalog:
            assert catalog.source(name).name == name, "a part of the same transaction"

        def run():
            try:
                attempt_elsewhere()
            except ConflictError as error:
                errors.append(error.reason)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        raise CrashError
    assert errors == ["idempotency_key_in_use"]
    assert attempt_elsewhere() is None
    assert count_sources(http, name) == 0


def test_expired_answers_are_deleted(tenant_pair, http):
    name, key = f"once-{uuid4()}", str(uuid4())
    headers = {"Idempotency-Key": key}
    http.post("/v1/sources", json={"name": name, "kind": "photo"}, headers=headers)
    with tenant_pair.alder.harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE idempotency_keys SET expires_at = now() - interval '1 second'")
        )
    late = http.post("/v1/sources", json={"name": name, "kind": "photo"}, headers=headers)
    assert (late.status_code, late.json()["reason"]) == (409, "conflict"), "a new request"
    http.post(
        "/v1/sources",
        json={"name": f"{name}-2", "kind": "photo"},
        headers={"Idempotency-Key": str(uuid4())},
    )
    expired = (
        "SELECT route FROM idempotency_keys WHERE organization_id = :org AND expires_at < now()"
    )
    assert tenant_pair.alder.column(expired) == []
