"""Spatial queries over HTTP: answers, formats and errors, with rows of one organization only."""

from __future__ import annotations

import json

import pytest
import shapely
from PIL import Image
from shapely.geometry import shape
from typer.testing import CliRunner

from pinpoint.api.v1.cursors import encode_cursor
from pinpoint.cli.main import app

BOTH = pytest.mark.parametrize("tenant_name", ["alder", "birch"])
LIVE = "FROM images WHERE organization_id = :org AND state IN ('pending', 'indexed')"
GEOJSON = {"Accept": "application/geo+json"}


def read_pages(http, path, parameters):
    """Cells of all pages of one cell."""
    cells = []
    link = build_url(path, {**parameters, "limit": 1})
    while link is not None:
        answer = http.get(link)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        cells += page["cells"]
        link = page["next"]
        assert ("link" in answer.headers) == (link is not None)
    return cells


def build_url(path, parameters):
    return path + "?" + "&".join(f"{name}={value}" for name, value in parameters.items())


@BOTH
@pytest.mark.parametrize("resolution", [3, 7])
def test_coverage_route_counts_the_images_of_the_caller(tenant_pair, tenant_name, resolution):
    requester, _ = tenant_pair.pair(tenant_name)
    (num_images,) = requester.column(f"SELECT count(*) {LIVE}")
    with requester.http() as http:
        page = http.get("/v1/coverage", params={"resolution": resolution}).json()
        assert page["next"] is None
        assert sum(cell["images"] for cell in page["cells"]) == num_images
        assert read_pages(http, "/v1/coverage", {"resolution": resolution}) == page["cells"]
        layer = http.get("/v1/coverage", params={"resolution": resolution}, headers=GEOJSON)
    assert layer.headers["content-type"] == "application/geo+json"
    features = layer.json()["features"]
    assert [feature["id"] for feature in features] == [cell["cell"] for cell in page["cells"]]
    for feature, cell in zip(features, page["cells"], strict=True):
        properties = feature["properties"]
        counts = {count["source_kind"]: count["images"] for count in cell["counts"]}
        assert counts.get("photo", 0) == properties["photo_images"]
        assert counts.get("street", 0) == properties["street_images"]
        boundary = shape(feature["geometry"])
        assert boundary.is_valid
        assert boundary.exterior.is_ccw
        # A coarse cell counts its cells of resolution 7 (about 3 km wide), of which some parts are
        # outside of it.
        margin_deg = 1e-6 if resolution == 7 else 0.05
        assert boundary.buffer(margin_deg).intersects(shapely.Point(cell["lon"], cell["lat"]))


@BOTH
def test_gaps_route_lists_cells_of_one_kind(tenant_pair, tenant_name):
    requester, _ = tenant_pair.pair(tenant_name)
    with requester.http() as http:
        cells = http.get("/v1/coverage", params={"resolution": 6}).json()["cells"]
        for missing_kind, present in (("street", "photo"), ("photo", "street")):
            parameters = {"resolution": 6, "missing_kind": missing_kind}
            gaps = http.get("/v1/gaps", params=parameters).json()["cells"]
            assert gaps == [
                cell
                for cell in cells
                if [count["source_kind"] for count in cell["counts"]] == [present]
            ]


@BOTH
def test_neighbors_route_returns_one_line_per_point(tenant_pair, tenant_name):
    requester, other = tenant_pair.pair(tenant_name)
    rows = requester.column(
        f"SELECT ST_Y(geom)::text || ',' || ST_X(geom)::text {LIVE} AND state = 'indexed'"
    )
    points = [dict(zip(("lat", "lon"), map(float, row.split(",")), strict=True)) for row in rows]
    body = {"points": points, "radius_m": 100, "limit_per_kind": 3}
    with requester.http() as http:
        answer = http.post("/v1/neighbors", json=body)
    assert answer.status_code == 200, answer.text
    results = answer.json()["results"]
    assert len(answer.text.splitlines()) == len(points) + 2
    assert [(result["lat"], result["lon"]) for result in results] == [
        (point["lat"], point["lon"]) for point in points
    ]
    for result in results:
        assert result["neighbors"][0]["distance_m"] == 0
        assert not {neighbor["id"] for neighbor in result["neighbors"]} & other.ids()


def test_spatial_routes_invalid_parameters_return_422(tenant_pair):
    bodies = [
        {"points": []},
        {"points": [{"lat": 91, "lon": 0}]},
        {"points": [{"lat": 0, "lon": 0}], "limit_per_kind": 0},
        {"points": [{"lat": 0, "lon": 0}] * 9_000, "limit_per_kind": 100},
        {"points": [{"lat": 0, "lon": 0}], "unknown": 1},
    ]
    queries = [
        "/v1/coverage?resolution=8",
        "/v1/coverage?bbox=200,0,1,1",
        "/v1/gaps?missing_kind=drone",
        "/v1/gaps?source_kind=photo",
        "/v1/images?looks_at_lat=1",
        "/v1/images?looks_at_lat=1&looks_at_lon=1&looks_at_tolerance_deg=181",
    ]
    with tenant_pair.alder.http() as http:
        for body in bodies:
            assert http.post("/v1/neighbors", json=body).status_code == 422, str(body)[:100]
        for path in queries:
            assert http.get(path).status_code == 422, path
        for cursor in ("80", "8ffffffffffffff", encode_cursor("cells", "8ffffffffffffff")):
            assert http.get("/v1/coverage", params={"cursor": cursor}).status_code == 400


def run_command(tenant, *arguments):
    result = CliRunner().invoke(app, ["--server", tenant.url, "--key", tenant.key, *arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_spatial_commands_print_tables_json_and_layers(tenant_pair, tmp_path):
    tenant = tenant_pair.alder
    (num_images,) = tenant.column(f"SELECT count(*) {LIVE}")
    cells = json.loads(run_command(tenant, "coverage", "--resolution", "6", "--json"))["cells"]
    assert sum(cell["images"] for cell in cells) == num_images
    layer = json.loads(run_command(tenant, "coverage", "--resolution", "6", "--geojson"))
    assert len(layer["features"]) == len(cells)
    table = run_command(
        tenant, "coverage", "--resolution", "6", "--png", str(tmp_path / "coverage.png")
    )
    assert all(cell["cell"] in table for cell in cells)
    with Image.open(tmp_path / "coverage.png") as image:
        assert min(image.size) > 400
    gaps = json.loads(run_command(tenant, "gaps", "--resolution", "6", "--json"))["cells"]
    assert gaps == [cell for cell in cells if len(cell["counts"]) == 1]
    (tmp_path / "points.csv").write_text("name;Lat;Lng\nhome;48.85;2.3511\nsea;0;-30\n")
    points = ["--points", str(tmp_path / "points.csv"), "--point", "48.85,2.3511"]
    near = ["--neighbor-radius", "5000", "--per-kind", "2"]
    results = json.loads(run_command(tenant, "neighbors", *points, *near, "--json"))["results"]
    assert results[0] == results[1]
    assert results[0]["neighbors"]
    assert results[2] == {"lat": 0.0, "lon": -30.0, "neighbors": []}
    table = run_command(tenant, "neighbors", *points, *near)
    assert results[0]["neighbors"][0]["id"] in table
    looking = ["images", "looking-at", "48.85,2.3511", "--distance", "5000", "--tolerance", "180"]
    ids = {image["id"] for image in json.loads(run_command(tenant, *looking, "--json"))["images"]}
    assert not ids & tenant_pair.birch.ids()
