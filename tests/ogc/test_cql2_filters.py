"""CQL2 filters: SQL agrees with a slow evaluation of the same filter for each image."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
import shapely

from ogc.conftest import START
from pinpoint.api.ogc.cql2_parser import MAX_DEPTH, MAX_LIST_LENGTH, MAX_NODES, parse_filter
from pinpoint.errors import BadRequestError
from pinpoint.records import FEATURE_LAYERS, FeatureQuery
from pinpoint.store.gallery.feature_matching import evaluate_filter
from pinpoint.store.gallery.gallery_database import GalleryDatabase

LAYER = FEATURE_LAYERS["images"]
SHAPES = (
    "POINT(2.2 0)",
    "MULTIPOINT(2.2 0, 2.3 5)",
    "LINESTRING(2 -10, 3 30)",
    "POLYGON((2 -5, 2.5 -5, 2.5 10, 2 10, 2 -5), (2.1 -1, 2.3 -1, 2.3 3, 2.1 3, 2.1 -1))",
    "MULTIPOLYGON(((2 -5, 2.2 -5, 2.2 10, 2 -5)), ((2.3 8, 2.6 8, 2.6 20, 2.3 8)))",
    "BBOX(179, -20, -179, 20)",
    "BBOX(2.2, 0, 2.2, 0)",
    "BBOX(-180, -90, 180, 90)",
    "GEOMETRYCOLLECTION(POINT(2.2 0), LINESTRING(2 -10, 3 30))",
)
SPATIAL = ("S_INTERSECTS", "S_DISJOINT", "S_EQUALS", "S_TOUCHES", "S_WITHIN", "S_OVERLAPS")
SPATIAL += ("S_CROSSES", "S_CONTAINS")
PREDICATES = (
    "source_kind = 'photo'",
    "creator = 'Ann'",
    "creator <> 'ben'",
    "CASEI(creator) = CASEI('BEN')",
    "CASEI(creator) IN (CASEI('ann'), CASEI('CY%D'))",
    "creator LIKE 'Cy\\%_'",
    "creator LIKE '%n%'",
    "CASEI(creator) LIKE CASEI('%N')",
    "creator IS NULL",
    "creator IS NOT NULL",
    "camera IN ('Camera 1', 'Camera 2')",
    "camera NOT IN ('Camera 1')",
    "size_bytes BETWEEN 1010 AND 1030",
    "size_bytes NOT BETWEEN 1010 AND 1030",
    "heading_deg > 99.5",
    "100 >= heading_deg",
    "altitude_m < -20",
    "altitude_m IS NULL",
    "sequence LIKE 'drive-_'",
    "captured_at > TIMESTAMP('2020-01-20T00:00:00Z')",
    "captured_at = DATE('2020-01-13')",
    "captured_at <> DATE('2020-01-13')",
    "captured_at <= DATE('2020-01-13')",
    "T_BEFORE(captured_at, DATE('2020-01-13'))",
    "T_AFTER(captured_at, TIMESTAMP('2020-01-13T00:00:00Z'))",
    "T_DURING(captured_at, INTERVAL('2020-01-13', '2020-02-01'))",
    "T_INTERSECTS(captured_at, INTERVAL('..', '2020-02-01'))",
    "T_DISJOINT(captured_at, INTERVAL('2020-01-13', '2020-02-01'))",
    "T_EQUALS(captured_at, INTERVAL('2020-01-13', '2020-02-01'))",
    "TRUE",
    "FALSE",
    *(f"{name}(geometry, {shape})" for name in SPATIAL for shape in SHAPES),
    *(f"{name}({shape}, geometry)" for name in ("S_WITHIN", "S_CONTAINS") for shape in SHAPES),
)


def find_matches(layer_api, text, language="cql2-text"):
    """Ids of the images for which the slow evaluation is true."""
    parsed = parse_filter(text, language, LAYER)
    return {
        id_
        for id_, image in layer_api.alder.images.items()
        if evaluate_filter(parsed, image, shapely.Point(image["lon"], image["lat"])) is True
    }


@pytest.fixture
def read_ids(layer_api):
    """Function that returns the ids of all images that match a filter, by SQL."""
    with GalleryDatabase(layer_api.as_api).read(layer_api.alder.id) as gallery:

        def read(text):
            query = FeatureQuery(limit=1000, filters=(parse_filter(text, "cql2-text", LAYER),))
            return {feature.id for feature in gallery.features("images", query).features}

        yield read


def make_expression(random_, depth):
    """A random combination of predicates."""
    if depth == 0 or random_.random() < 0.2:
        return random_.choice(PREDICATES)
    parts = [make_expression(random_, depth - 1) for _ in range(random_.randint(2, 3))]
    word = random_.choice((" AND ", " OR "))
    text = word.join(f"({part})" for part in parts)
    return f"NOT ({text})" if random_.random() < 0.3 else text


@pytest.mark.parametrize("negated", [False, True])
def test_filter_predicates_match_the_slow_evaluation(layer_api, read_ids, negated):
    for predicate in PREDICATES:
        text = f"NOT ({predicate})" if negated else predicate
        assert read_ids(text) == find_matches(layer_api, text), text


def test_filter_combinations_match_the_slow_evaluation(layer_api, read_ids):
    random_ = random.Random(23)
    for _ in range(60):
        text = make_expression(random_, 3)
        assert read_ids(text) == find_matches(layer_api, text), text


def test_filter_in_json_equals_the_one_in_text(layer_api):
    text = "creator = 'Ann' AND NOT (size_bytes < 1030)"
    json_ = (
        '{"op": "and", "args": [{"op": "=", "args": [{"property": "creator"}, "Ann"]},'
        ' {"op": "not", "args": [{"op": "<", "args": [{"property": "size_bytes"}, 1030]}]}]}'
    )
    parameters = {"filter": json_, "filter-lang": "cql2-json"}
    assert layer_api.ids(**parameters) == layer_api.ids(filter=text) != []


def test_filter_with_bbox_and_datetime_is_a_conjunction(layer_api):
    text = "source_kind = 'photo'"
    both = set(layer_api.ids(filter=text, bbox="2,0,3,90", datetime="../2020-02-15T00:00:00Z"))
    end = START + timedelta(days=45)
    assert both == {
        id_
        for id_, image in layer_api.alder.images.items()
        if image["source_kind"] == "photo"
        and 2 <= image["lon"] <= 3
        and image["lat"] >= 0
        and image["captured_at"] is not None
        and image["captured_at"] <= end
    }
    assert both


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("no_such = 1", "no_such"),
        ("sha256 = '00'", "sha256"),
        ("organization_id = 'x'", "organization_id"),
        ("creator = 1", "creator"),
        ("size_bytes = 'x'", "size_bytes"),
        ("captured_at > '2020-01-01'", "captured_at"),
        ("captured_at > TIMESTAMP('yesterday')", "captured_at"),
        ("source_id = 'x'", "source_id"),
        ("creator = camera", "another property"),
        ("size_bytes LIKE '1%'", "size_bytes"),
        ("creator LIKE 'x\\'", "filter"),
        ("size_bytes + 1 = 2", "`+`"),
        ("CASEI(size_bytes) = 1", "CASEI"),
        ("A_CONTAINS(creator, ('a'))", "a_contains"),
        ("T_MEETS(captured_at, INTERVAL('..', '..'))", "t_meets"),
        ("S_INTERSECTS(camera, POINT(1 2))", "geometry"),
        ("S_INTERSECTS(geometry, POLYGON((0 0, 1 1, 1 0, 0 1, 0 0)))", "not valid"),
        ("S_INTERSECTS(geometry, BBOX(1, 2))", "filter"),
        ("creator =", "cql2-text"),
        ("(" * (MAX_DEPTH + 1) + "TRUE" + ")" * (MAX_DEPTH + 1), "levels"),
        ("NOT " * (MAX_NODES + 1) + "TRUE", "operators"),
        # A chain of this length exhausts the stack of the parser.
        ("creator" + "=creator" * 20_000, "characters"),
        ("a" + "=a" * 20_000, "operators"),
        ("1" + "-1" * 20_000, "operators"),
        ("a in (" + "-1," * 6_000 + "1-1)", "filter"),
        ("size_bytes IN (" + ",".join(["1"] * (MAX_LIST_LENGTH + 1)) + ")", "IN"),
        ("S_INTERSECTS(geometry, MULTIPOINT(" + ",".join(["1 2"] * 2_001) + "))", "positions"),
    ],
)
def test_filter_outside_of_the_allow_list_returns_400(layer_api, text, named):
    with pytest.raises(BadRequestError) as raised:
        parse_filter(text, "cql2-text", LAYER)
    assert raised.value.reason == "bad_filter"
    assert named in raised.value.message
    if len(text) < 5_000:
        response = layer_api.get("/collections/images/items", filter=text)
        assert (response.status_code, response.json()["reason"]) == (400, "bad_filter")
