"""Abstract tests of the declared classes of Part 3 (19-079r2), Part 5 (23-058r1) and CQL2."""

from __future__ import annotations

import json

import pytest

from ogc.test_conf_features_core import CRS84, ITEMS, follow, links

REL = "http://www.opengis.net/def/rel/ogc/1.0"
COLLECTIONS = ("images", "coverage", "gaps", "queries")
QGIS_NEEDS = (
    "ogcapi-features-3/1.0/conf/filter",
    "ogcapi-features-3/1.0/conf/features-filter",
    "cql2/1.0/conf/cql2-text",
    "cql2/1.0/conf/basic-cql2",
    "cql2/1.0/conf/advanced-comparison-operators",
    "cql2/1.0/conf/case-insensitive-comparison",
    "cql2/1.0/conf/basic-spatial-operators",
    "cql2/1.0/conf/basic-spatial-functions",
    "ogcapi-features-5/1.0/conf/schemas",
)
"""Classes without which QGIS sends no filter, or reads the fields from ten features."""


@pytest.fixture
def schema(layer_api):
    """Function that returns a schema of a collection, by the relation of its link."""

    def read(collection, rel):
        page = layer_api.get(f"/collections/{collection}").json()
        (link,) = links(page, f"{REL}/{rel}")
        assert link["type"] == "application/schema+json"
        response = follow(layer_api, link["href"])
        assert response.headers["content-type"] == "application/schema+json"
        document = response.json()
        assert document["$id"] == link["href"]
        assert document["type"] == "object"
        return document["properties"]

    return read


def test_conformance_has_the_classes_that_qgis_needs(layer_api):
    classes = set(layer_api.get("/conformance").json()["conformsTo"])
    assert {f"http://www.opengis.net/spec/{name}" for name in QGIS_NEEDS} <= classes


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_conf_queryables_get_queryables_response(schema, collection):
    properties = schema(collection, "queryables")
    has_points = collection in ("images", "queries")
    geometry = "geometry-point" if has_points else "geometry-multipolygon"
    assert properties["geometry"]["format"] == geometry
    assert "id" in properties
    if collection != "queries":
        assert properties["source_kind"]["enum"] == ["photo", "street"]
    assert not {"attributes", "sha256", "uri", "organization_id"} & set(properties)


def test_conf_queryables_have_the_types_of_their_columns(schema):
    properties = schema("images", "queryables")
    expected = {
        "id": ("string", "uuid"),
        "source_id": ("string", "uuid"),
        "captured_at": ("string", "date-time"),
        "heading_deg": ("number", None),
        "width_px": ("integer", None),
        "creator": ("string", None),
    }
    for name, (type_, format_) in expected.items():
        assert (properties[name]["type"], properties[name].get("format")) == (type_, format_)


def test_conf_queryables_query_parameters(layer_api, schema):
    """Every queryable but the geometry is a query parameter, in the document and in fact."""
    image_id = max(layer_api.alder.images)
    page = layer_api.get(f"{ITEMS}/{image_id}").json()
    names = set(schema("images", "queryables")) - {"id", "geometry"}
    document = layer_api.get("/api").json()["paths"][ITEMS]["get"]["parameters"]
    assert names == {entry["name"] for entry in document if "name" in entry}
    for name in names:
        value = page["properties"][name]
        if value is not None:
            assert image_id in layer_api.ids(**{name: value}), name
    assert layer_api.ids(creator="Ann", camera="Camera 1", source_kind="street") == []


def test_conf_filter_param_and_lang(layer_api):
    text = {"filter": "camera = 'Camera 1'", "filter-lang": "cql2-text", "filter-crs": CRS84}
    tree = {"op": "=", "args": [{"property": "camera"}, "Camera 1"]}
    as_json = {"filter": json.dumps(tree), "filter-lang": "cql2-json"}
    expected = {
        id_ for id_, image in layer_api.alder.images.items() if image["camera"] == "Camera 1"
    }
    assert set(layer_api.ids(**text)) == set(layer_api.ids(**as_json)) == expected


def test_conf_features_filter_pages_keep_the_filter(layer_api):
    page = layer_api.get(ITEMS, filter="camera = 'Camera 1'", limit=4).json()
    ids = []
    while True:
        ids += [feature["id"] for feature in page["features"]]
        if not links(page, "next"):
            break
        page = follow(layer_api, links(page, "next")[0]["href"]).json()
    assert ids == layer_api.ids(filter="camera = 'Camera 1'")


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_conf_schemas_describe_every_property(layer_api, schema, collection):
    """The types hold also for columns that are null in the first features."""
    properties = schema(collection, "schema")
    page = layer_api.get(f"/collections/{collection}").json()
    assert len(links(page, f"{REL}/schema")) == 1
    # GDAL reads a schema of the whole feature.
    (described,) = links(page, "describedBy")
    nested = follow(layer_api, described["href"]).json()["properties"]["properties"]["properties"]
    assert {name: document["type"] for name, document in nested.items()} == {
        name: document["type"]
        for name, document in properties.items()
        if name not in ("id", "geometry")
    }
    features = layer_api.get(f"/collections/{collection}/items").json()["features"]
    assert features
    types = {
        "string": str,
        "number": int | float,
        "integer": int,
        "boolean": bool,
        "object": dict,
    }
    for feature in features:
        assert set(feature["properties"]) == set(properties) - {"id", "geometry"}
        for name, value in feature["properties"].items():
            if value is not None:
                assert isinstance(value, types[properties[name]["type"]]), name


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_conf_core_roles_features(schema, collection):
    roles = {
        document["x-ogc-role"]: name
        for name, document in schema(collection, "schema").items()
        if "x-ogc-role" in document
    }
    expected = {"id": "id", "primary-geometry": "geometry"}
    if collection == "images":
        expected["primary-instant"] = "captured_at"
    elif collection == "queries":
        expected["primary-instant"] = "created_at"
    else:
        expected["primary-interval-start"] = "first_captured_at"
        expected["primary-interval-end"] = "last_captured_at"
    assert roles == expected


def test_conf_returnables_are_read_only_and_ordered(schema):
    documents = list(schema("images", "schema").values())
    assert all(document["readOnly"] for document in documents)
    positions = [document["x-ogc-propertySeq"] for document in documents]
    assert positions == list(range(1, len(documents) + 1))
