"""Organizations and keys over HTTP: grants, rotation, expiry, revocation, last use, names."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from pinpoint.records import KeyGrant
from tenant_isolation.conftest import OPERATOR_KEY


def as_key(secret):
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def http(tenant_pair):
    """A client with the admin key of the first organization."""
    with tenant_pair.alder.http() as client:
        yield client


def create(http, **body):
    answer = http.post("/v1/keys", json={"name": "k", **body})
    assert answer.status_code == 201, answer.text
    return answer.json()["key"], answer.json()["secret"]


def status_of(http, secret, path="/v1/sources"):
    """Status and reason of a request with this secret."""
    answer = http.get(path, headers=as_key(secret))
    return answer.status_code, answer.json().get("reason")


def set_column(tenant_pair, key_id, column, value):
    with tenant_pair.harness.owner.begin() as unit:
        unit.connection.execute(
            text(f"UPDATE api_keys SET {column} = {value} WHERE id = :id"), {"id": key_id}
        )


def test_role_implies_its_scopes(http):
    key, secret = create(http, role="viewer", scopes=["audit"])
    assert (key["role"], key["scopes"]) == ("viewer", ["read", "audit"])
    assert status_of(http, secret) == (200, None)
    assert status_of(http, secret, "/v1/keys") == (403, "forbidden")
    assert secret not in http.get(f"/v1/keys/{key['id']}").text
    without_scope = http.post("/v1/keys", json={"name": "k"})
    assert without_scope.status_code == 422


def test_rotated_key_accepts_the_previous_secret_during_the_overlap_only(http, tenant_pair):
    key, first = create(http, role="viewer")
    path = f"/v1/keys/{key['id']}/rotate"
    second = http.post(path, json={"overlap_s": 60}).json()["secret"]
    assert {status_of(http, secret) for secret in (first, second)} == {(200, None)}
    # A second rotation ends the first secret, whatever its overlap.
    third = http.post(path, json={"overlap_s": 60}).json()["secret"]
    assert status_of(http, first) == (401, "unknown_key")
    assert {status_of(http, secret) for secret in (second, third)} == {(200, None)}
    set_column(tenant_pair, key["id"], "previous_secret_expires_at", "now()")
    assert status_of(http, second) == (401, "secret_replaced")
    fourth = http.post(path).json()["secret"]
    assert status_of(http, third) == (401, "secret_replaced")
    assert status_of(http, fourth) == (200, None)
    assert http.post(path, json={"overlap_s": 7 * 86_400 + 1}).status_code == 422


def test_revoked_key_is_rejected_at_the_next_request(http):
    key, first = create(http, role="viewer")
    second = http.post(f"/v1/keys/{key['id']}/rotate", json={"overlap_s": 60}).json()["secret"]
    assert http.delete(f"/v1/keys/{key['id']}").status_code == 204
    assert {status_of(http, secret) for secret in (first, second)} == {(401, "key_revoked")}
    assert http.delete(f"/v1/keys/{key['id']}").status_code == 204
    assert http.post(f"/v1/keys/{key['id']}/rotate").status_code == 409
    assert http.get(f"/v1/keys/{key['id']}").json()["revoked_at"] is not None


def test_expired_key_is_rejected_with_its_reason(http, tenant_pair):
    end = datetime.now(UTC) + timedelta(hours=1)
    key, secret = create(http, role="viewer", expires_at=end.isoformat())
    assert status_of(http, secret) == (200, None)
    set_column(tenant_pair, key["id"], "expires_at", "now()")
    refused = http.get("/v1/sources", headers=as_key(secret))
    assert (refused.status_code, refused.json()["reason"]) == (401, "key_expired")
    assert "expired" in refused.json()["detail"]
    assert http.post(f"/v1/keys/{key['id']}/rotate").status_code == 409
    past = (end - timedelta(hours=2)).isoformat()
    late = http.post("/v1/keys", json={"name": "k", "role": "viewer", "expires_at": past})
    assert (late.status_code, late.json()["reason"]) == (422, "expiry_in_past")


def test_last_use_is_written_once_a_minute(http, tenant_pair):
    key, secret = create(http, role="viewer")
    path = f"/v1/keys/{key['id']}"
    assert http.get(path).json()["last_used_at"] is None
    status_of(http, secret)
    first = http.get(path).json()["last_used_at"]
    status_of(http, secret)
    assert first is not None
    assert http.get(path).json()["last_used_at"] == first
    set_column(tenant_pair, key["id"], "last_used_at", "now() - interval '61 seconds'")
    status_of(http, secret)
    assert http.get(path).json()["last_used_at"] > first


def test_key_cannot_grant_what_it_does_not_have(http):
    end = datetime.now(UTC) + timedelta(days=1)
    _, manager = create(http, scopes=["admin", "read"], expires_at=end.isoformat())
    stronger, _ = create(http, scopes=["read", "export"], expires_at=end.isoformat())
    longer, _ = create(http, scopes=["read"])
    http.headers.update(as_key(manager))
    bodies = (
        {"role": "admin", "expires_at": end.isoformat()},
        {"scopes": ["read", "ingest"], "expires_at": end.isoformat()},
        {"scopes": ["read"]},
        {"scopes": ["read"], "expires_at": (end + timedelta(seconds=1)).isoformat()},
    )
    answers = [http.post("/v1/keys", json={"name": "k", **body}) for body in bodies]
    # A new secret is as good as a new key.
    answers += [http.post(f"/v1/keys/{key['id']}/rotate") for key in (stronger, longer)]
    for answer in answers:
        assert (answer.status_code, answer.json()["reason"]) == (403, "grant_exceeds_key")
    create(http, scopes=["read", "admin"], expires_at=end.isoformat())
    assert http.delete(f"/v1/keys/{stronger['id']}").status_code == 204


def test_key_list_has_pages_and_keys_of_the_organization_only(http, tenant_pair):
    expected = [key.id for key in tenant_pair.harness.api_keys.keys("alder")]
    listed, link = [], "/v1/keys?limit=3"
    while link is not None:
        page = http.get(link).json()
        assert len(page["keys"]) <= 3
        listed += [key["id"] for key in page["keys"]]
        link = page["next"]
    assert listed == [str(id_) for id_ in expected]
    assert http.get("/v1/keys?cursor=x").status_code == 400
    assert not tenant_pair.leaks(http.get("/v1/keys?limit=1000").text, tenant_pair.birch)


def test_operator_manages_organizations_and_their_keys(tenant_pair):
    with tenant_pair.alder.http() as http:
        http.headers.update(as_key(OPERATOR_KEY))
        created = http.post("/v1/organizations", json={"name": "larch & co"})
        assert created.status_code == 201
        assert http.post("/v1/organizations", json={"name": "larch & co"}).status_code == 409
        listed, link = [], "/v1/organizations?limit=2"
        while link is not None:
            page = http.get(link).json()
            listed += [row["name"] for row in page["organizations"]]
            link = page["next"]
        assert {"default", "alder", "birch", "larch & co"} <= set(listed)
        assert len(listed) == len(set(listed))
        path = f"/v1/organizations/{created.json()['id']}"
        assert http.get("/v1/organizations/larch%20%26%20co").json() == created.json()
        made = http.post(f"{path}/keys", json={"name": "k", "role": "admin"}).json()
        key = f"{path}/keys/{made['key']['id']}"
        assert http.get(key).json()["organization_id"] == created.json()["id"]
        # A key of another organization does not exist below this one.
        assert http.get(f"{path}/keys/{tenant_pair.alder.shared['key']}").status_code == 404
        secret = http.post(f"{key}/rotate").json()["secret"]
        assert status_of(http, made["secret"]) == (401, "secret_replaced")
        assert status_of(http, secret) == (200, None)
        assert http.delete(path).status_code == 204
        assert status_of(http, secret) == (401, "organization_disabled")
        assert http.get(path).status_code == http.get(f"{path}/keys").status_code == 404
        assert http.delete("/v1/organizations/default").status_code == 409


@pytest.mark.parametrize(
    "name",
    [
        "a/b",
        "a\\b",
        ".",
        "..",
        " a",
        "a ",
        "a\tb",
        "a\u202eb",
        "a" * 101,
        "c31ddd50-76ed-431a-9b85-b177d7d493c8",
        "erased:x",
    ],
)
def test_names_that_a_path_cannot_carry_are_refused(tenant_pair, name):
    with tenant_pair.alder.http() as http:
        source = http.post("/v1/sources", json={"name": name, "kind": "photo"})
        http.headers.update(as_key(OPERATOR_KEY))
        organization = http.post("/v1/organizations", json={"name": name})
    for answer in (source, organization):
        assert answer.status_code in (400, 422), name
        assert answer.json()["reason"] in ("invalid_name", "invalid_request")


def test_secrets_are_stored_as_hashes(tenant_pair):
    key, secret = tenant_pair.harness.api_keys.create_key("alder", "k", KeyGrant(scopes=("read",)))
    rows = tenant_pair.alder.column("SELECT k::text FROM api_keys k WHERE organization_id = :org")
    assert any(str(key.id) in row for row in rows)
    assert not any(secret in row for row in rows)
