"""Filter parameters of tiles select the images that a loop over all images selects."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta

import pytest
import shapely

from ogc.conftest import START
from vector_tiles import read_tile, tile_of

SQUARE = [[1.9, -11.0], [2.4, -11.0], [2.4, 11.0], [1.9, 11.0], [1.9, -11.0]]
AREA = {"type": "Polygon", "coordinates": [SQUARE]}
END = START + timedelta(days=30)
FILTERS = (
    ({}, lambda image: True),
    ({"source": ["alder-photo"]}, lambda image: image["source_kind"] == "photo"),
    ({"source": ["alder-photo", "alder-street"]}, lambda image: True),
    ({"source_kind": ["street"]}, lambda image: image["source_kind"] == "street"),
    ({"creator": ["Ann", "Ünal"]}, lambda image: image["creator"] in ("Ann", "Ünal")),
    (
        {"datetime": f"../{END:%Y-%m-%dT%H:%M:%SZ}"},
        lambda image: image["captured_at"] is not None and image["captured_at"] <= END,
    ),
    (
        {"polygon": json.dumps(AREA)},
        lambda image: shapely.Polygon(SQUARE).intersects(shapely.Point(image["lon"], image["lat"])),
    ),
    (
        {"creator": ["Cy%d"], "source_kind": ["photo"], "datetime": "2020-01-10T00:00:00Z/.."},
        lambda image: (
            image["creator"] == "Cy%d"
            and image["source_kind"] == "photo"
            and image["captured_at"] is not None
            and image["captured_at"] >= START + timedelta(days=9)
        ),
    ),
)


def read(layer_api, collection, tile, parameters):
    answer = layer_api.get(f"/collections/{collection}/tiles/WebMercatorQuad/{tile}", **parameters)
    assert answer.status_code == 200, answer.text
    return [feature.attributes for feature in read_tile(answer.content).get(collection, [])]


@pytest.mark.parametrize(("parameters", "matches"), FILTERS)
def test_tiles_with_filter_have_the_images_of_a_loop(layer_api, parameters, matches):
    images = {
        id_: image
        for id_, image in layer_api.alder.images.items()
        if image["lat"] < 85.0 and matches(image)
    }
    assert images
    counts = Counter()
    for cell in read(layer_api, "images", "0/0/0", parameters):
        counts["images"] += cell["images"]
    for cell in read(layer_api, "coverage", "0/0/0", parameters):
        counts[cell["source_kind"]] += cell["images"]
    kinds = Counter(image["source_kind"] for image in images.values())
    assert counts == Counter({"images": len(images), **kinds})
    tiles = {tile_of(image["lat"], image["lon"], 12) for image in images.values()}
    listed = set()
    for column, row in tiles:
        listed |= {
            point["id"] for point in read(layer_api, "images", f"12/{column}/{row}", parameters)
        }
    assert listed == set(images)


def test_tile_with_source_of_another_organization_is_not_found(layer_api):
    paths = [
        f"/collections/{name}/tiles/WebMercatorQuad/0/0/0"
        for name in ("images", "coverage", "gaps")
    ]
    for path in paths:
        other = layer_api.get(path, source="birch-photo")
        missing = layer_api.get(path, source="no-such-source")
        assert other.status_code == missing.status_code == 404
        assert (
            other.text.replace("birch-photo", "no-such-source").split("request_id")[0]
            == (missing.text.split("request_id")[0])
        )


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("color=red", "unknown query parameter"),
        ("file_name=*", "unknown query parameter"),
        ("datetime=../..&datetime=../..", "repeated"),
        ("source_kind=drone", "source_kind"),
        ("datetime=yesterday", "datetime"),
        ("polygon={}", "polygon"),
    ],
)
def test_tile_with_wrong_parameter_is_a_bad_request(layer_api, query, reason):
    answer = layer_api.client.get(
        f"/ogc/collections/images/tiles/WebMercatorQuad/0/0/0?{query}",
        auth=("user", layer_api.alder.key),
    )
    assert answer.status_code == 400
    assert reason in answer.json()["detail"]
