"""Items, searches and cursors of the Panoramax API show nothing of another organization."""

from __future__ import annotations

import json
from uuid import uuid4

from tenant_isolation.test_isolation_api import BOTH, comparable_response


@BOTH
def test_items_of_the_other_organization_are_not_found(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    unknown = str(uuid4())
    with requester.http() as http:
        item = "/api/collections/{collection}/items/{image}"
        theirs = http.get(item.format(**other.shared))
        mixed = http.get(item.format(**{**requester.shared, "image": other.shared["image"]}))
        missing = http.get(item.format(**{**requester.shared, "image": unknown}))
        searches = [
            http.get("/api/search", params={name: value, "limit": 1000}).json()
            for name, value in (
                ("ids", other.shared["image"]),
                ("ids", unknown),
                ("collections", other.shared["collection"]),
                ("collections", unknown),
            )
        ]
        cursor = http.get(
            "/api/search", params={"cursor": other.shared["image"], "limit": 1000}
        ).json()
    assert theirs.status_code == 404
    assert comparable_response(mixed, other.shared["image"]) == comparable_response(
        missing, unknown
    )
    assert [search["features"] for search in searches] == [[]] * 4
    assert searches[0] == searches[1]
    # An id of the other organization is only a position in the own order.
    assert not tenant_pair.leaks(json.dumps(cursor).replace(other.shared["image"], ""), other)


@BOTH
def test_tiles_have_no_data_of_the_other_organization(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    # Tiles of 48.85, 2.3511, where both organizations have images.
    tiles = ("0/0/0", "6/32/22", "14/8299/5637", "15/16598/11274")
    with requester.http() as http:
        for tile in tiles:
            answer = http.get(f"/api/map/{tile}.mvt")
            assert answer.status_code == 200
            assert not tenant_pair.leaks(answer.content.decode("latin-1"), other), tile
        assert requester.shared["image"] in answer.content.decode("latin-1")
