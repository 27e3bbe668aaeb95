"""Every route, both organizations, every scope: who gets 401, 403 and 404.

The table below is written by hand. Routes are read from the application, so a new route fails until
its access is stated here, and a route without a scope dependency fails as well.
"""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import Route

from pinpoint.api.app import ROUTE_MODULES
from pinpoint.api.rules import read_rules
from pinpoint.records import SCOPES, KeyGrant
from tenant_isolation import test_isolation_layers as layers
from tenant_isolation.conftest import OPERATOR_KEY
from tenant_isolation.other_organization import photo_of
from tenant_isolation.route_table import FOREIGN, OPERATOR

OGC_PATHS = (*layers.WITHOUT_ID, *layers.WITH_ID)
READ_PATHS = (
    "/v1/reports",
    "/v1/reports/{report_id}",
    "/v1/batches",
    "/v1/batches/{batch_id}",
    "/v1/batches/{batch_id}/items",
    "/v1/coverage",
    "/v1/gaps",
    "/v1/images",
    "/v1/images/{image_id}",
    "/v1/images/{image_id}/file",
    "/v1/images/{image_id}/neighbors",
    "/v1/images/{image_id}/thumbnail",
    "/v1/sources",
    "/v1/sources/{source_id}",
    "/api",
    "/api/collections",
    "/api/collections/{collection_id}",
    "/api/collections/{collection_id}/items",
    "/api/collections/{collection_id}/items/{item_id}",
    "/api/collections/{collection_id}/thumb.jpg",
    "/api/configuration",
    "/api/conformance",
    "/api/map/style.json",
    "/api/map/{z}/{x}/{y}.mvt",
    "/api/search",
)
INGEST = (
    ("POST", "/v1/batches"),
    ("POST", "/v1/batches/{batch_id}/cancel"),
    ("POST", "/v1/batches/{batch_id}/close"),
    ("POST", "/v1/batches/{batch_id}/images"),
    ("POST", "/v1/batches/{batch_id}/prefix"),
    ("POST", "/v1/batches/{batch_id}/retry"),
    ("POST", "/v1/batches/{batch_id}/urls"),
    ("DELETE", "/v1/images/{image_id}"),
    ("PATCH", "/v1/images/{image_id}"),
    ("POST", "/v1/images/metadata"),
    ("POST", "/v1/sources"),
)
LOCATE = (
    ("POST", "/v1/dossiers"),
    ("POST", "/v1/locate"),
    ("POST", "/v1/similar"),
    ("POST", "/v1/search"),
    ("GET", "/v1/queries"),
    ("DELETE", "/v1/queries/{query_id}"),
    ("GET", "/v1/jobs"),
    ("POST", "/v1/jobs/locate"),
    ("GET", "/v1/jobs/{job_id}"),
    ("DELETE", "/v1/jobs/{job_id}"),
    ("POST", "/v1/jobs/{job_id}/files"),
    ("POST", "/v1/jobs/{job_id}/start"),
    ("POST", "/v1/jobs/{job_id}/cancel"),
    ("GET", "/v1/jobs/{job_id}/items"),
    ("GET", "/v1/jobs/{job_id}/results"),
    ("GET", "/v1/jobs/{job_id}/errors"),
)
ADMIN = (
    ("PATCH", "/v1/sources/{source_id}"),
    ("DELETE", "/v1/sources/{source_id}"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("GET", "/v1/keys/{key_id}"),
    ("DELETE", "/v1/keys/{key_id}"),
    ("POST", "/v1/keys/{key_id}/rotate"),
    ("GET", "/v1/protected-areas"),
    ("POST", "/v1/protected-areas"),
    ("GET", "/v1/protected-areas/{area_id}"),
    ("PUT", "/v1/protected-areas/{area_id}"),
    ("DELETE", "/v1/protected-areas/{area_id}"),
    ("GET", "/v1/webhooks"),
    ("POST", "/v1/webhooks"),
    ("GET", "/v1/webhooks/{webhook_id}"),
    ("PATCH", "/v1/webhooks/{webhook_id}"),
    ("DELETE", "/v1/webhooks/{webhook_id}"),
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"),
    ("POST", "/v1/webhooks/{webhook_id}/rotate-secret"),
    ("POST", "/v1/webhooks/{webhook_id}/test"),
)
WITHOUT_KEY = ("public", "sign_in_token")
ACCESS = {
    **{("GET", path): "read" for path in READ_PATHS},
    **{(method, path): "read" for path in OGC_PATHS for method in ("GET", "HEAD")},
    # Clients ask for the methods before they authenticate.
    **{("OPTIONS", path): "public" for path in OGC_PATHS},
    **dict.fromkeys(INGEST, "ingest"),
    **dict.fromkeys(LOCATE, "locate"),
    **dict.fromkeys(ADMIN, "admin"),
    **dict.fromkeys(OPERATOR, "operator"),
    ("HEAD", "/v1/images/{image_id}/file"): "read",
    ("POST", "/v1/neighbors"): "read",
    ("GET", "/v1/exports/images.{suffix}"): "export",
    ("HEAD", "/v1/exports/images.{suffix}"): "export",
    ("GET", "/v1/audit"): "audit",
    ("GET", "/v1/limits"): "any_key",
    ("GET", "/metrics"): "metrics",
    ("GET", "/"): "public",
    ("GET", "/health/live"): "public",
    ("GET", "/health/ready"): "public",
    ("POST", "/sign-in"): "sign_in_token",
    ("GET", "/web/{path:path}"): "public",
    ("GET", "/web/basemap/operator/map.json"): "public",
    ("GET", "/web/basemap/operator/style.json"): "public",
    ("GET", "/web/basemap/operator/tiles.pmtiles"): "public",
    # The documentation page contains the schema only.
    ("GET", "/docs"): "public",
    ("GET", "/docs/{name}"): "public",
    ("GET", "/openapi.json"): "public",
    ("HEAD", "/openapi.json"): "public",
}
"""Route → its scope, or who else may call it."""
VALUES = {
    "suffix": "csv",
    "collectionId": "images",
    "tileMatrixSetId": "WebMercatorQuad",
    **dict.fromkeys("zxy", "0"),
}


@pytest.fixture(scope="module")
def keys(tenant_pair):
    """Secrets by organization and scope: of a key with this scope alone, and with all others."""
    create = tenant_pair.harness.api_keys.create_key

    def create_with(tenant, *scopes):
        return create(tenant.name, " ".join(scopes), KeyGrant(scopes=scopes))[1]

    return {
        (tenant.name, scope): (
            create_with(tenant, scope),
            create_with(tenant, *(other for other in SCOPES if other != scope)),
        )
        for tenant in (tenant_pair.alder, tenant_pair.birch)
        for scope in SCOPES
    }


def fill_path(path, id_=None):
    """A path with valid values; ids are unknown ones unless one is given."""
    return re.sub(r"{(\w+)}", lambda name: VALUES.get(name[1], id_ or str(uuid4())), path)


def as_key(secret):
    return {"Authorization": f"Bearer {secret}"}


def test_access_table_has_every_route_of_the_application(tenant_pair):
    all_routes = [context.original_route for context in iter_route_contexts(tenant_pair.app.routes)]
    routes = {
        (method, route.path)
        for route in all_routes
        if isinstance(route, Route)
        for method in route.methods or ()
    }
    assert all(isinstance(route, Route) for route in all_routes), (
        "a mounted application has no rules"
    )
    assert routes == set(ACCESS)


def test_access_of_rules_equals_the_table():
    rules = read_rules([module.router for module in ROUTE_MODULES])
    declared = {
        (method, rule.route.path): rule.access for rule in rules for method in rule.route.methods
    }
    protected = {route: access for route, access in ACCESS.items() if access not in WITHOUT_KEY}
    assert declared == protected


def test_request_without_a_key_returns_401_unless_public(tenant_pair):
    with tenant_pair.alder.http() as http:
        del http.headers["Authorization"]
        for (method, path), access in ACCESS.items():
            status = http.request(method, fill_path(path)).status_code
            assert (status == 401) == (access != "public"), (method, path, status)


@pytest.mark.parametrize("tenant_name", ["alder", "birch"])
@pytest.mark.parametrize("scope", SCOPES)
def test_scope_opens_its_routes_and_no_other_scope_does(tenant_pair, keys, tenant_name, scope):
    """A key with all other scopes is refused, so each of them alone is: more scopes open more."""
    requester, other = tenant_pair.pair(tenant_name)
    photo, before = photo_of(requester), other.fingerprint()
    alone, all_others = map(as_key, keys[tenant_name, scope])
    with requester.http() as http:
        http.headers.update(alone)
        for (method, path), access in ACCESS.items():
            if access not in (scope, "any_key"):
                continue
            if access == scope:
                refused = http.request(method, fill_path(path), headers=all_others)
                assert refused.status_code == 403, (method, path)
            answer = http.request(method, fill_path(path))
            assert answer.status_code < 500, (method, path)
            assert answer.status_code not in (401, 403), (method, path)
            assert not tenant_pair.leaks(answer.text + str(answer.headers), other), path
            for sort, request in FOREIGN.get((method, path), []):
                foreign = other.shared[sort]
                answer = http.request(method, fill_path(path, foreign), **request(foreign, photo))
                assert answer.status_code == 404, (method, path)
    assert other.fingerprint() == before


@pytest.mark.parametrize("tenant_name", ["alder", "birch"])
def test_key_with_all_scopes_opens_no_route_of_the_operator(tenant_pair, tenant_name):
    requester, _ = tenant_pair.pair(tenant_name)
    with requester.http() as http:
        for (method, path), access in ACCESS.items():
            if access in ("operator", "metrics"):
                assert http.request(method, fill_path(path)).status_code == 403, (method, path)


@pytest.mark.parametrize("scope", SCOPES)
def test_operator_routes_refuse_keys_with_ids_of_any_organization(tenant_pair, keys, scope):
    """The same 403, so that no key learns which organizations exist."""
    with tenant_pair.alder.http() as http:
        for secret in (*keys["alder", scope], tenant_pair.alder.key):
            for name in ("alder", "birch", "cedar", str(tenant_pair.birch.id)):
                refused = http.get(f"/v1/organizations/{name}", headers=as_key(secret))
                assert (refused.status_code, refused.json()["reason"]) == (403, "forbidden")


def test_operator_key_opens_every_route(tenant_pair):
    with tenant_pair.alder.http() as http:
        http.headers.update(as_key(OPERATOR_KEY))
        for (method, path), access in ACCESS.items():
            if path != "/metrics":  # which reads statistics that these services lack
                answer = http.request(method, fill_path(path))
                assert access in WITHOUT_KEY or answer.status_code not in (401, 403), (method, path)
