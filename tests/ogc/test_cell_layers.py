"""The collections `coverage` and `gaps` agree with a slow count over the images."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

import h3
import pytest
import shapely

from ogc.test_conf_features_core import read_pages


def count_cells(layer_api, resolution):
    """Images by cell and source kind, counted as the counters do: by the cell of resolution 7."""
    counts = defaultdict(lambda: defaultdict(list))
    for image in layer_api.alder.images.values():
        cell = h3.cell_to_parent(h3.latlng_to_cell(image["lat"], image["lon"], 7), resolution)
        counts[cell][image["source_kind"]].append(image["captured_at"])
    return counts


def read_features(layer_api, collection, **parameters):
    pages = read_pages(layer_api, f"/collections/{collection}/items", **parameters)
    features = [feature for page in pages for feature in page["features"]]
    assert len({feature["id"] for feature in features}) == len(features)
    return features


def parse(time):
    return None if time is None else datetime.fromisoformat(time)


@pytest.mark.parametrize(("resolution", "limit"), [(3, 1), (3, 100), (5, 7), (7, 3)])
def test_coverage_has_one_feature_for_each_cell_and_kind(layer_api, resolution, limit):
    expected = {
        (cell, kind): times
        for cell, kinds in count_cells(layer_api, resolution).items()
        for kind, times in kinds.items()
    }
    features = read_features(layer_api, "coverage", resolution=resolution, limit=limit)
    assert len(features) == len(expected)
    for feature in features:
        properties = feature["properties"]
        times = expected[properties["cell"], properties["source_kind"]]
        known = [time for time in times if time is not None]
        assert feature["id"] == f"{properties['cell']}-{properties['source_kind']}"
        assert properties["images"] == len(times)
        assert parse(properties["first_captured_at"]) == min(known, default=None)
        assert parse(properties["last_captured_at"]) == max(known, default=None)
        assert properties["attribution"] == "alder & sons"
        assert shapely.geometry.shape(feature["geometry"]).is_valid


def test_gaps_are_the_cells_with_one_kind(layer_api):
    counts = count_cells(layer_api, 4)
    expected = {cell for cell, kinds in counts.items() if len(kinds) == 1}
    for limit in (1, 100):
        features = read_features(layer_api, "gaps", resolution=4, limit=limit)
        assert {feature["id"] for feature in features} == expected
        for feature in features:
            assert list(counts[feature["id"]]) == [feature["properties"]["source_kind"]]
    assert 0 < len(expected) < len(counts)


@pytest.mark.parametrize("collection", ["coverage", "gaps"])
def test_cell_layer_filters_select_a_subset(layer_api, collection):
    features = read_features(layer_api, collection, resolution=4)
    box = shapely.box(2.0, -5.0, 2.5, 10.0)
    start = datetime.fromisoformat("2020-01-20T00:00:00+00:00")
    selections = {
        ("bbox", "2,-5,2.5,10"): lambda f: shapely.geometry.shape(f["geometry"]).intersects(box),
        ("filter", "S_INTERSECTS(geometry, BBOX(2, -5, 2.5, 10))"): lambda f: (
            shapely.geometry.shape(f["geometry"]).intersects(box)
        ),
        ("filter", "images > 1 AND source_kind = 'photo'"): lambda f: (
            f["properties"]["images"] > 1 and f["properties"]["source_kind"] == "photo"
        ),
        ("source_kind", "street"): lambda f: f["properties"]["source_kind"] == "street",
        ("datetime", "2020-01-20T00:00:00Z/.."): lambda f: (
            f["properties"]["last_captured_at"] is not None
            and parse(f["properties"]["last_captured_at"]) >= start
        ),
    }
    for (name, value), matches in selections.items():
        expected = [feature for feature in features if matches(feature)]
        actual = read_features(layer_api, collection, resolution=4, limit=9, **{name: value})
        assert actual == expected, (name, value)


@pytest.mark.parametrize("collection", ["coverage", "gaps"])
def test_cell_layer_item_equals_its_list_entry(layer_api, collection):
    path = f"/collections/{collection}/items"
    for resolution in (3, 7):
        features = read_features(layer_api, collection, resolution=resolution)
        for feature in features[:3]:
            item = layer_api.get(f"{path}/{feature['id']}").json()
            item.pop("links")
            assert item == feature
        ids = [feature["id"] for feature in features[:3]]
        listed = read_features(layer_api, collection, ids=",".join(ids))
        assert [feature["id"] for feature in listed] == sorted(ids)


@pytest.mark.parametrize(
    "feature_id", ["x", "85283473fffffff", "85283473fffffff-photo", "85283473fffffff-x", "0-photo"]
)
def test_cell_layer_with_unknown_id_returns_404(layer_api, feature_id):
    for collection in ("coverage", "gaps"):
        response = layer_api.get(f"/collections/{collection}/items/{feature_id}")
        assert response.status_code == 404


@pytest.mark.parametrize("query", [{"resolution": 8}, {"resolution": "x"}, {"cursor": "zz"}])
def test_cell_layer_with_invalid_parameter_returns_400(layer_api, query):
    assert layer_api.get("/collections/coverage/items", **query).status_code == 400
    assert layer_api.get("/collections/images/items", resolution=5).status_code == 400
