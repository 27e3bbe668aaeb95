"""No route reveals an image in a protected area to a key that may not see it.

Lists, layers, tiles, items and exports equal those of a gallery that never had the image, apart
from ids and times; `test_isolation_protected_answers.py` has the answers to queries.
"""

from __future__ import annotations

from uuid import uuid4

import h3
from sqlalchemy import text

from stack_fixtures import jpeg
from tenant_isolation.protected_galleries import (
    PROTECTED_SEEDS,
    REMOTE_LAT,
    REMOTE_LON,
    REMOTE_SEED,
    area_document,
    assert_equal_answers,
)
from vector_tiles import tile_of


def tile(zoom, lat=48.85, lon=3.0535):
    column, row = tile_of(lat, lon, zoom)
    return f"{zoom}/{column}/{row}"


WORLD = "-180,-90,180,90"
FILTER = "?datetime=2000-01-01T00:00:00Z/.."
NEAR = "place_position=3.0535,48.85&place_distance=5000&place_fov_tolerance=180"
POINTS = [{"lat": 48.85, "lon": 3.0535}, {"lat": REMOTE_LAT, "lon": REMOTE_LON}]
# Requests of both galleries: what, method, path, and arguments of the client.
REQUESTS = [
    ("GET", path, {})
    for path in (
        "/v1/sources",
        "/v1/sources/walk",
        "/v1/queries",
        "/v1/images?limit=1000",
        "/v1/images?limit=3",
        "/v1/images?file_name=*79*",
        f"/v1/images?cell={h3.latlng_to_cell(48.85, 3.0535, 5)}",
        f"/v1/images?bbox={WORLD}&state=indexed",
        f"/v1/images?lat={REMOTE_LAT}&lon={REMOTE_LON}&radius_m=5000",
        "/v1/images?looks_at_lat=48.85&looks_at_lon=3.0535&looks_at_distance_m=50000",
        "/v1/coverage?resolution=3",
        "/v1/coverage?resolution=5&source_kind=photo",
        "/v1/coverage?resolution=7",
        "/v1/gaps?resolution=3",
        "/v1/gaps?resolution=7",
        *(f"/v1/exports/images.{suffix}" for suffix in ("csv", "geojsons", "fgb", "gpkg")),
        "/v1/exports/images.parquet?embeddings=image",
        "/api",
        "/api/collections?limit=1000",
        "/api/search?limit=1000",
        f"/api/search?limit=1000&bbox={WORLD}",
        f"/api/search?limit=1000&{NEAR}",
        *(f"/api/map/{tile(zoom)}.mvt" for zoom in (0, 5, 8, 15)),
        *(f"/api/map/{tile(zoom, REMOTE_LAT, REMOTE_LON)}.mvt" for zoom in (3, 16)),
        "/ogc/collections",
        "/ogc/collections/images",
        "/ogc/collections/coverage",
        "/ogc/collections/images/items?limit=10000",
        "/ogc/collections/images/items?filter=source_kind%3D'photo'",
        "/ogc/collections/coverage/items?resolution=3",
        "/ogc/collections/coverage/items?resolution=7",
        "/ogc/collections/gaps/items?resolution=7",
        "/ogc/collections/queries/items",
        *(
            f"/ogc/collections/{layer}/tiles/WebMercatorQuad/{tile(zoom)}{query}"
            for layer in ("images", "coverage", "gaps")
            for zoom, query in ((0, ""), (6, ""), (14, ""), (6, FILTER), (14, FILTER))
        ),
        "/ogc/collections/images/tiles/WebMercatorQuad",
        f"/ogc/collections/images/tiles/WebMercatorQuad/{tile(14, REMOTE_LAT, REMOTE_LON)}",
    )
] + [
    ("POST", "/v1/neighbors", {"json": {"points": POINTS, "radius_m": 50_000}}),
]
FEW_REQUESTS = [
    request
    for request in REQUESTS
    if request[1]
    in (
        "/v1/images?limit=1000",
        "/v1/coverage?resolution=7",
        "/v1/exports/images.csv",
        f"/api/map/{tile(15)}.mvt",
        "/ogc/collections/images/items?limit=10000",
        "/ogc/collections/coverage/items?resolution=7",
        "/v1/neighbors",
    )
]
"""One for each statement that reads rows or counters."""
PHOTOS = {
    "inside": jpeg(PROTECTED_SEEDS[0], 0, 0),
    "remote": jpeg(REMOTE_SEED, 0, 0),
    "outside": jpeg(700, 0, 0),
}


def iterate_requests(tenant, requests):
    with tenant.http() as http:
        for method, path, arguments in requests:
            yield path, http.request(method, path, **arguments)


def iterate_rows(tenant):
    """Each request with its answer, and all routes of single images and collections."""
    yield from iterate_requests(tenant, REQUESTS)
    with tenant.http() as http:
        listed = http.get("/v1/images?limit=1000").json()["images"]
        for image in listed:
            path = f"/v1/images/{image['id']}"
            yield "neighbors", http.get(f"{path}/neighbors?radius_m=50000&limit=200")
            yield "image", http.get(path)
        visible = min(listed, key=lambda image: (image["source"], image["external_id"]))
        for path in ("thumbnail", "file"):
            yield path, http.get(f"/v1/images/{visible['id']}/{path}")
        for collection in http.get("/api/collections?limit=1000").json()["collections"]:
            path = f"/api/collections/{collection['id']}"
            yield "collection", http.get(path)
            items = http.get(f"{path}/items?limit=1000")
            yield "items", items
            # With links to the previous and the next one of the sequence.
            for item in items.json()["features"]:
                yield "item", http.get(f"{path}/items/{item['id']}")


def test_rows_equal_those_of_a_gallery_that_never_had_the_images(galleries):
    galleries.set_area("refuse")
    assert_equal_answers(galleries, iterate_rows)


def test_rows_are_hidden_whatever_the_area_permits_for_answers(galleries):
    galleries.set_area("city")
    assert_equal_answers(galleries, lambda tenant: iterate_requests(tenant, FEW_REQUESTS))


def test_key_that_is_exempt_sees_what_restricted_keys_do_not(galleries):
    """Counterpart: the same requests show the images to a key with the granularity `exact`."""
    galleries.set_area("refuse")
    ids = galleries.protected_ids()
    with galleries.as_exempt(galleries.full).http() as http:
        for method, path, arguments in REQUESTS:
            answer = http.request(method, path, **arguments)
            assert answer.status_code == 200, (path, answer.text)
        listed = {image["id"] for image in http.get("/v1/images?limit=1000").json()["images"]}
        located = http.post("/v1/locate", files={"photo": PHOTOS["remote"]}).json()
        page = http.get("/ogc/collections/images/items?limit=10000").json()
    assert set(ids.values()) <= listed
    assert located["candidates"][0]["image_id"] == ids[REMOTE_SEED]
    assert located["granularity"] == "exact"
    assert located["timings_ms"]
    assert page["numberMatched"] == len(listed) == 13


def test_ids_of_protected_images_are_unknown_on_every_route(galleries):
    galleries.set_area("city")
    (collection,) = galleries.full.column(
        "SELECT DISTINCT collection_id FROM images WHERE organization_id = :org"
        " AND source_kind = 'photo'"
    )
    with galleries.full.http() as http:
        for id_ in galleries.protected_ids().values():
            for method, path, arguments in (
                ("GET", f"/v1/images/{id_}", {}),
                ("PATCH", f"/v1/images/{id_}", {"json": {"creator": "x"}}),
                ("DELETE", f"/v1/images/{id_}", {}),
                ("GET", f"/v1/images/{id_}/thumbnail", {}),
                ("GET", f"/v1/images/{id_}/file", {}),
                ("GET", f"/v1/images/{id_}/neighbors", {}),
                ("POST", "/v1/similar", {"data": {"image_id": id_}}),
                ("GET", f"/api/collections/{collection}/items/{id_}", {}),
                ("GET", f"/ogc/collections/images/items/{id_}", {}),
            ):
                answer = http.request(method, path, **arguments)
                assert answer.status_code == 404, (path, answer.text)
            unknown = http.get(f"/v1/images/{uuid4()}")
            known = http.get(f"/v1/images/{id_}")
            assert known.json()["title"] == unknown.json()["title"]
            row = {"id": id_, "creator": "x"}
            result = http.post("/v1/images/metadata", json={"rows": [row]}).json()["results"][0]
            assert result["error_code"] == "not_found"


def test_kept_queries_in_the_area_are_for_exempt_keys_only(galleries):
    galleries.set_area("refuse")
    tenant = galleries.full
    with tenant.harness.owner.begin() as unit:
        unit.connection.execute(
            text(
                "INSERT INTO kept_queries"
                " (id, organization_id, expires_at, geom, calibrated, bundle)"
                " VALUES (:id, :org, now() + interval '1 day',"
                " ST_SetSRID(ST_MakePoint(3.0535, 48.85), 4326), false, 'b')"
            ),
            {"id": uuid4(), "org": tenant.id},
        )
    try:
        with tenant.http() as restricted, galleries.as_exempt(tenant).http() as exempt:
            for path, rows in (
                ("/v1/queries", "queries"),
                ("/ogc/collections/queries/items", "features"),
            ):
                assert restricted.get(path).json()[rows] == []
                assert len(exempt.get(path).json()[rows]) == 1
    finally:
        with tenant.harness.owner.begin() as unit:
            unit.connection.execute(
                text("DELETE FROM kept_queries WHERE organization_id = :org"), {"org": tenant.id}
            )


def test_areas_are_managed_by_admins_and_audited(galleries):
    tenant = galleries.full
    with galleries.as_exempt(tenant).http() as http:
        for document, status in (
            (area_document("refuse"), 409),  # the name is taken
            (area_document("radius") | {"properties": {"name": "x"}}, 422),
            (area_document("radius"), 422),
            (
                {**area_document("refuse"), "geometry": {"type": "Point", "coordinates": [0, 0]}},
                422,
            ),
            (
                {
                    **area_document("refuse", name="bow tie"),
                    "geometry": {
                        "type": "Polygon",
                        "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]],
                    },
                },
                400,
            ),
            (area_document("refuse", name="all", whole_installation=True), 403),
        ):
            answer = http.post("/v1/protected-areas", json=document)
            assert answer.status_code == status, answer.text
        for page in range(3):
            created = http.post("/v1/protected-areas", json=area_document("city", name=f"p{page}"))
            assert created.status_code == 201, created.text
        first = http.get("/v1/protected-areas?limit=2").json()
        rest = http.get(first["next"]).json()
        listed = first["features"] + rest["features"]
        assert [area["id"] for area in listed] == sorted(area["id"] for area in listed)
        assert len(listed) == 4
        assert rest["next"] is None
        for area in listed:
            assert http.get(f"/v1/protected-areas/{area['id']}").json() == area
            if area["properties"]["name"] != "quiet place":
                assert http.delete(f"/v1/protected-areas/{area['id']}").status_code == 204
                assert http.get(f"/v1/protected-areas/{area['id']}").status_code == 404
    operations = tenant.column(
        "SELECT DISTINCT operation FROM audit_log WHERE organization_id = :org"
        " AND operation LIKE '%protected_area' AND key_id IS NOT NULL ORDER BY 1"
    )
    assert operations == [
        "create_protected_area", "delete_protected_area", "replace_protected_area",
    ]  # fmt: skip


def test_image_access_of_a_source_limits_keys(galleries):
    tenant = galleries.reduced
    with tenant.http() as http:
        (image, *_) = http.get("/v1/images?source=walk").json()["images"]
        collections = http.get("/api/collections").json()["collections"]
        paths = {
            "thumbnail": [
                f"/v1/images/{image['id']}/thumbnail",
                *(f"/api/collections/{entry['id']}/thumb.jpg" for entry in collections),
            ],
            "full": [f"/v1/images/{image['id']}/file", f"/v1/images/{image['id']}/file?width=64"],
        }
        for level, allowed in (("none", ()), ("thumbnail", ("thumbnail",))):
            for source in ("walk", "drive"):
                changed = http.patch(f"/v1/sources/{source}", json={"image_access": level})
                assert changed.json()["image_access"] == level
            for name, urls in paths.items():
                for url in urls:
                    answer = http.get(url)
                    assert answer.status_code == (200 if name in allowed else 403), url
            picture = http.post(
                "/v1/locate",
                files={"photo": PHOTOS["outside"]},
                headers={"Accept": "image/png"},
            )
            assert picture.status_code == 404
            assert picture.json()["reason"] == "no_match"
        for source in ("walk", "drive"):
            http.patch(f"/v1/sources/{source}", json={"image_access": "full"})
        assert all(http.get(url).status_code == 200 for urls in paths.values() for url in urls)
