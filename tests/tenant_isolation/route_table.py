"""Routes of the API, with requests that name an id of another organization."""

from __future__ import annotations

import json
from typing import Any

from pinpoint.api.v1.cursors import encode_cursor

CORRECTION = {"lat": 1.0, "lon": 2.0}
AREA = {
    "type": "Feature",
    "geometry": {
        "type": "Polygon",
        "coordinates": [[[70.0, -60.0], [70.1, -60.0], [70.1, -59.9], [70.0, -60.0]]],
    },
    "properties": {"name": "remote", "granularity": "refuse", "purpose": "a test"},
}
"""A protected area without images."""

# Route → requests with an id of another organization: kind of id, and the request.
FOREIGN: dict[tuple[str, str], Any] = {
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
    ("POST", "/v1/dossiers"): [
        ("source", lambda one, photo: {"data": {"sources": one}, "files": {"photo": photo}}),
    ],
    ("POST", "/v1/similar"): [
        ("image", lambda one, photo: {"data": {"image_id": one}}),
        ("image", lambda one, photo: {"data": {"image_id": one, "include_self": "true"}}),
        ("source", lambda one, photo: {"data": {"sources": one}, "files": {"photo": photo}}),
    ],
    ("POST", "/v1/search"): [
        ("image", lambda one, photo: {"data": {"image_id": one}}),
        ("image", lambda one, photo: {"data": {"image_id": one}, "files": {"photo": photo}}),
        ("source", lambda one, photo: {"data": {"sources": one}, "files": {"photo": photo}}),
        ("source", lambda one, photo: {"data": {"sources": one, "point": "1,2"}}),
    ],
    ("POST", "/v1/batches"): [("source", lambda one, photo: {"json": {"source": one}})],
    ("GET", "/v1/batches"): [
        ("batch", lambda one, photo: {"params": {"cursor": encode_cursor("batches", one)}})
    ],
    ("GET", "/v1/images"): [("source", lambda one, photo: {"params": {"source": one}})],
    ("GET", "/v1/exports/images.{suffix}"): [
        ("source", lambda one, photo: {"params": {"source": one}}),
        ("source", lambda one, photo: {"params": {"source": one, "state": "failed"}}),
    ],
    ("GET", "/v1/batches/{batch_id}"): [("batch", lambda one, photo: {})],
    ("GET", "/v1/batches/{batch_id}/items"): [
        ("batch", lambda one, photo: {}),
        ("batch", lambda one, photo: {"params": {"status": "failed"}}),
    ],
    ("POST", "/v1/batches/{batch_id}/images"): [
        ("batch", lambda one, photo: {"files": {"files": ("a.jpg", photo)}}),
    ],
    ("POST", "/v1/batches/{batch_id}/urls"): [
        ("batch", lambda one, photo: {"json": {"urls": [{"url": "https://a.test/a.jpg"}]}}),
    ],
    ("POST", "/v1/batches/{batch_id}/prefix"): [
        ("batch", lambda one, photo: {"json": {"url": "s3://bucket/prefix/"}}),
    ],
    ("POST", "/v1/batches/{batch_id}/close"): [("batch", lambda one, photo: {})],
    ("POST", "/v1/batches/{batch_id}/retry"): [("batch", lambda one, photo: {})],
    ("POST", "/v1/batches/{batch_id}/cancel"): [("batch", lambda one, photo: {})],
    ("POST", "/v1/jobs/locate"): [
        (
            "source",
            lambda one, photo: {
                "data": {"parameters": json.dumps({"sources": [one]})},
                "files": {"files": ("a.jpg", photo)},
            },
        ),
    ],
    ("GET", "/v1/jobs/{job_id}"): [("job", lambda one, photo: {})],
    ("DELETE", "/v1/jobs/{job_id}"): [("job", lambda one, photo: {})],
    ("POST", "/v1/jobs/{job_id}/files"): [
        ("job", lambda one, photo: {"files": {"files": ("a.jpg", photo)}}),
    ],
    ("POST", "/v1/jobs/{job_id}/start"): [("job", lambda one, photo: {})],
    ("POST", "/v1/jobs/{job_id}/cancel"): [("job", lambda one, photo: {})],
    ("GET", "/v1/jobs/{job_id}/items"): [
        ("job", lambda one, photo: {}),
        ("job", lambda one, photo: {"params": {"state": "completed"}}),
    ],
    ("GET", "/v1/jobs/{job_id}/results"): [
        ("job", lambda one, photo: {}),
        ("job", lambda one, photo: {"headers": {"Accept": "application/vnd.apache.parquet"}}),
    ],
    ("GET", "/v1/jobs/{job_id}/errors"): [("job", lambda one, photo: {})],
    ("GET", "/v1/images/{image_id}"): [("image", lambda one, photo: {})],
    ("PATCH", "/v1/images/{image_id}"): [("image", lambda one, photo: {"json": CORRECTION})],
    ("DELETE", "/v1/images/{image_id}"): [("image", lambda one, photo: {})],
    ("GET", "/v1/images/{image_id}/thumbnail"): [("image", lambda one, photo: {})],
    ("GET", "/v1/images/{image_id}/file"): [
        ("image", lambda one, photo: {}),
        ("image", lambda one, photo: {"params": {"width": 100}}),
        ("image", lambda one, photo: {"headers": {"Range": "bytes=0-9"}}),
        ("image", lambda one, photo: {"headers": {"If-None-Match": "*"}}),
    ],
    ("GET", "/v1/images/{image_id}/neighbors"): [
        ("image", lambda one, photo: {"params": {"radius_m": 5000}}),
    ],
    ("GET", "/api/collections/{collection_id}"): [("collection", lambda one, photo: {})],
    ("GET", "/api/collections/{collection_id}/items"): [
        ("collection", lambda one, photo: {}),
        ("collection", lambda one, photo: {"params": {"limit": 1}}),
    ],
    # `test_isolation_panoramax.py` has items of known collections.
    ("GET", "/api/collections/{collection_id}/items/{item_id}"): [
        ("collection", lambda one, photo: {}),
    ],
    ("GET", "/api/collections/{collection_id}/thumb.jpg"): [("collection", lambda one, photo: {})],
    ("GET", "/v1/webhooks/{webhook_id}"): [("webhook", lambda one, photo: {})],
    ("PATCH", "/v1/webhooks/{webhook_id}"): [
        ("webhook", lambda one, photo: {"json": {"enabled": False}}),
        ("webhook", lambda one, photo: {"json": {"url": "https://a.test/"}}),
    ],
    ("DELETE", "/v1/webhooks/{webhook_id}"): [("webhook", lambda one, photo: {})],
    ("POST", "/v1/webhooks/{webhook_id}/rotate-secret"): [("webhook", lambda one, photo: {})],
    ("POST", "/v1/webhooks/{webhook_id}/test"): [("webhook", lambda one, photo: {})],
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"): [("webhook", lambda one, photo: {})],
    ("GET", "/v1/reports/{report_id}"): [("report", lambda one, photo: {})],
    ("DELETE", "/v1/queries/{query_id}"): [("query", lambda one, photo: {})],
    ("GET", "/v1/coverage"): [("source", lambda one, photo: {"params": {"source": one}})],
    ("GET", "/v1/gaps"): [("source", lambda one, photo: {"params": {"source": one}})],
    ("GET", "/v1/keys/{key_id}"): [("key", lambda one, photo: {})],
    ("POST", "/v1/keys/{key_id}/rotate"): [
        ("key", lambda one, photo: {}),
        ("key", lambda one, photo: {"json": {"overlap_s": 60}}),
    ],
    ("DELETE", "/v1/keys/{key_id}"): [("key", lambda one, photo: {})],
    ("GET", "/v1/sources/{source_id}"): [("source", lambda one, photo: {})],
    ("PATCH", "/v1/sources/{source_id}"): [
        ("source", lambda one, photo: {"json": {"image_access": "none"}}),
    ],
    ("GET", "/v1/protected-areas/{area_id}"): [("area", lambda one, photo: {})],
    ("PUT", "/v1/protected-areas/{area_id}"): [("area", lambda one, photo: {"json": AREA})],
    ("DELETE", "/v1/protected-areas/{area_id}"): [("area", lambda one, photo: {})],
    ("DELETE", "/v1/sources/{source_id}"): [("source", lambda one, photo: {})],
}
# Routes without an id parameter; their responses are checked below.
WITHOUT_ID = {
    ("POST", "/v1/images/metadata"),
    ("GET", "/v1/limits"),
    # For the operator only: keys of organizations get 403.
    ("GET", "/v1/keys/{key_id}/limits"),
    ("PUT", "/v1/keys/{key_id}/limits"),
    ("DELETE", "/v1/keys/{key_id}/limits"),
    ("GET", "/v1/queries"),
    ("GET", "/v1/reports"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("GET", "/v1/webhooks"),
    ("POST", "/v1/webhooks"),
    ("GET", "/v1/jobs"),
    ("GET", "/v1/sources"),
    ("GET", "/v1/protected-areas"),
    ("POST", "/v1/protected-areas"),
    ("POST", "/v1/sources"),
    ("POST", "/v1/neighbors"),
    ("GET", "/"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/metrics"),
    ("POST", "/sign-in"),
    ("GET", "/api"),
    ("GET", "/api/conformance"),
    ("GET", "/api/configuration"),
    ("GET", "/api/collections"),
    ("GET", "/api/search"),
    ("GET", "/api/map/style.json"),
    ("GET", "/api/map/{z}/{x}/{y}.mvt"),
}
# Routes that no key of an organization opens, whatever its scopes.
OPERATOR = {
    ("POST", "/v1/organizations"),
    ("GET", "/v1/organizations"),
    ("GET", "/v1/organizations/{organization}"),
    ("DELETE", "/v1/organizations/{organization}"),
    ("POST", "/v1/organizations/{organization}/keys"),
    ("GET", "/v1/organizations/{organization}/keys"),
    ("GET", "/v1/organizations/{organization}/keys/{key_id}"),
    ("POST", "/v1/organizations/{organization}/keys/{key_id}/rotate"),
    ("DELETE", "/v1/organizations/{organization}/keys/{key_id}"),
    ("GET", "/v1/keys/{key_id}/limits"),
    ("PUT", "/v1/keys/{key_id}/limits"),
    ("DELETE", "/v1/keys/{key_id}/limits"),
}
