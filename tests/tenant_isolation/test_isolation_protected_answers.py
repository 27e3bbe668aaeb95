"""Answers to queries reveal nothing of images in protected areas to a key that may not see them.

With `refuse`, answers of `locate`, `similar` and `search` equal those of a gallery that never had
the images. With a coarser granularity this holds for all but photos of the area, which get a coarse
answer. `tests/jobs/test_job_protected_areas.py` has the answers of jobs.
"""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from pinpoint.records import KeyGrant
from pinpoint.search import visible_hits
from stack_fixtures import jpeg
from tenant_isolation.other_organization import Tenant
from tenant_isolation.protected_galleries import (
    PROTECTED_SEEDS,
    PROTECTED_STREET_SEEDS,
    REMOTE_LAT,
    REMOTE_LON,
    REMOTE_SEED,
    assert_equal_answers,
)

GEOJSON, PNG = "application/geo+json", "image/png"
SEEDS = {
    "inside": PROTECTED_SEEDS[0],
    "inside a sequence": PROTECTED_STREET_SEEDS[0],
    "remote": REMOTE_SEED,
    "outside": 700,
}
PHOTOS = {name: jpeg(seed, 0, 0) for name, seed in SEEDS.items()} | {"unknown": jpeg(799, 0, 0)}
# Two candidates are compared with the photo: features of all of them would take the time.
FULL = {"top": 100, "include": ["matches", "explain"], "verify": 2}
QUICK = {"top": 100, "verify": 0}
INSIDE, REMOTE = "48.85,3.0535", f"{REMOTE_LAT},{REMOTE_LON}"
WIDE = {"limit": 100, "per_group": 20}
# Photo, accepted media type, and fields.
LOCATE = [
    *((name, "application/json", FULL) for name in ("inside", "outside")),
    *((name, "application/json", QUICK) for name in ("inside a sequence", "remote", "unknown")),
    ("remote", GEOJSON, QUICK),
    ("outside", PNG, {"verify": 2}),
    ("remote", PNG, {"verify": 2}),
]
SIMILAR = [
    *((name, "application/json", WIDE) for name in PHOTOS),
    ("remote", GEOJSON, WIDE),
    ("inside a sequence", "application/json", {"limit": 1, "per_group": 1}),
]
# What, and fields of `search`; `photo` names a photo, `image` the file of a gallery image.
SEARCH = {
    "photo": {"photo": "remote", **WIDE},
    "crop of a photo": {"photo": "inside", "crop": "0.1,0.1,0.6,0.6", **WIDE},
    "image": {"image": "0725.jpg", "include_self": True, **WIDE},
    "image without its sequence": {"image": "0725.jpg", "exclude_group": True, **WIDE},
    "point inside": {"point": INSIDE, **WIDE},
    "remote point": {"point": REMOTE, **WIDE},
    "point with a filter": {"point": INSIDE, "bbox": "3.05,48.8,3.06,48.9"},
    "one group": {"photo": "inside a sequence", "limit": 1, "per_group": 20},
    "many groups": {"photo": "inside a sequence", "limit": 100, "per_group": 1},
    "text without an encoder": {"text": "inside"},
}
# These need a text encoder and a location encoder.
JOINT_SEARCH = {
    "text": {"text": "remote", **WIDE},
    "text of a sequence": {"text": "inside a sequence", "limit": 2, "per_group": 3},
    "encoded point": {"point": REMOTE, **WIDE},
    "mixture": {"text": "inside", "photo": "outside", "image": "0725.jpg", "point": REMOTE,
                "weights": "text=3,photo=1,image=1,point=2", **WIDE},
    "mixture of one group": {"text": "inside a sequence", "image": "0725.jpg", "limit": 1,
                             "per_group": 2},
}  # fmt: skip


class JointEncoder:
    """The encoder of the galleries with encoders of texts and points: each is a gallery image.

    So the best hit of a text is an image that the caller may not see.
    """

    def __init__(self, encoder, vectors):
        self._encoder, self._vectors = encoder, vectors
        dims = {**encoder.contract.dims, "gps": encoder.contract.dims["image"]}
        self.contract = replace(encoder.contract, dims=dims)

    def __getattr__(self, name):
        return getattr(self._encoder, name)

    def encode_texts(self, texts):
        return np.stack([self._vectors[text] for text in texts])

    def encode_positions(self, positions):
        names = ["remote" if lat < 0 else "inside" for lat, _ in positions]
        return self.encode_texts(names)


@pytest.fixture
def joint_encoder(galleries, tenant_pair, monkeypatch):
    """The API answers with a `JointEncoder`."""
    ids = galleries.protected_ids()
    (outside,) = galleries.full.column(
        "SELECT id FROM images WHERE organization_id = :org AND external_id LIKE '%0700.jpg'"
    )
    of_seed = {**ids, SEEDS["outside"]: str(outside)}
    index = tenant_pair.harness.index
    vectors = {
        name: index.fetch([of_seed[seed]], vectors=True)[0].vectors["image"]
        for name, seed in SEEDS.items()
    }
    encoder = JointEncoder(tenant_pair.harness.encoder, vectors)
    services = tenant_pair.app.state.services
    monkeypatch.setattr(services, "with_current_encoder", lambda do: do(encoder))


def post(http, path, photo=None, accept="application/json", **fields):
    files = {} if photo is None else {"files": {"photo": ("photo.jpg", PHOTOS[photo])}}
    return http.post(path, data=fields, headers={"Accept": accept}, **files)


def locate(tenant, cases=LOCATE):
    with tenant.http() as http:
        for photo, accept, fields in cases:
            answer = post(http, "/v1/locate", photo, accept, **fields)
            yield f"locate {photo} {accept} {fields}", answer


def create_dossiers(tenant):
    with tenant.http() as http:
        for photo in ("inside", "outside"):
            answer = post(http, "/v1/dossiers", photo, "application/zip", **QUICK)
            yield f"dossier {photo}", answer


def find_similar(tenant):
    with tenant.http() as http:
        for photo, accept, fields in SIMILAR:
            yield f"similar {photo} {accept}", post(http, "/v1/similar", photo, accept, **fields)
        listed = http.get("/v1/images?limit=1000").json()["images"]
        for image in listed:
            yield "similar", post(http, "/v1/similar", image_id=image["id"], limit=100)


def search(tenant, cases):
    ids = dict(
        row.split()
        for row in tenant.column(
            "SELECT right(external_id, 8) || ' ' || id FROM images WHERE organization_id = :org"
        )
    )
    with tenant.http() as http:
        for what, fields in cases.items():
            for accept in ("application/json", GEOJSON)[: 2 if what == "mixture" else 1]:
                given = {key: value for key, value in fields.items() if key != "image"}
                if "image" in fields:
                    given["image_id"] = ids[fields["image"]]
                yield f"search {what} {accept}", post(http, "/v1/search", accept=accept, **given)


@pytest.mark.parametrize("granularity", ["refuse", "city"])
def test_similar_and_search_equal_those_of_a_gallery_that_never_had_the_images(
    galleries, granularity
):
    galleries.set_area(granularity)
    assert_equal_answers(galleries, find_similar)
    assert_equal_answers(galleries, lambda tenant: search(tenant, SEARCH))


def test_search_by_text_and_mixture_equals_that_of_a_gallery_that_never_had_the_images(
    galleries, joint_encoder
):
    galleries.set_area("refuse")
    assert_equal_answers(galleries, lambda tenant: search(tenant, JOINT_SEARCH))
    exempt = dict(search(galleries.as_exempt(galleries.full), JOINT_SEARCH))
    ids = galleries.protected_ids()
    for what, seed in (("text", REMOTE_SEED), ("text of a sequence", SEEDS["inside a sequence"])):
        (best, *_) = exempt[f"search {what} application/json"].json()["groups"]
        assert best["hits"][0]["image_id"] == ids[seed]


def test_locate_equals_that_of_a_gallery_that_never_had_the_images(galleries):
    galleries.set_area("refuse")
    assert_equal_answers(galleries, locate)
    assert_equal_answers(galleries, create_dossiers)


def test_locate_outside_of_a_coarse_area_equals_that_of_a_gallery_without_its_images(galleries):
    galleries.set_area("city")
    cases = [(name, "application/json", QUICK) for name in ("outside", "unknown")]
    assert_equal_answers(galleries, lambda tenant: locate(tenant, cases))


@pytest.mark.parametrize(
    ("granularity", "properties", "place"),
    [
        ("radius", {"min_radius_m": 7_000}, None),
        ("city", {}, "FR"),
        ("country", {}, "FR"),
    ],
)
def test_photos_of_one_area_get_the_same_coarse_answer(galleries, granularity, properties, place):
    galleries.set_area(granularity, **properties)
    ids = galleries.protected_ids().values()
    answers = []
    with galleries.full.http() as http:
        for seed in PROTECTED_SEEDS:
            files = {"photo": jpeg(seed, 0, 0)}
            answer = http.post("/v1/locate", data=FULL, files=files)
            assert answer.status_code == 200, answer.text
            assert not any(id_ in answer.text for id_ in ids)
            answers.append(answer.json())
        layer = post(http, "/v1/locate", "inside", GEOJSON, **QUICK)
    assert layer.json()["granularity"] == granularity
    assert not any(id_ in layer.text for id_ in ids)
    for answer in answers:
        assert answer["granularity"] == granularity
        assert answer["candidates"] == answer["matches"] == []
        assert answer["citations"] == answer["timings_ms"] == {}
        assert answer["posterior"] is answer["explanation"] is None
        assert place is None or answer["place"].endswith(place)
        (disc,) = answer["credible_discs"]
        assert disc["radius_m"] >= 7_000
    (first, second) = answers
    assert first["point"] == second["point"]
    assert first["credible_discs"][0]["radius_m"] == second["credible_discs"][0]["radius_m"]
    assert abs(first["point"]["lon"] - 3.0535) > 1e-6


def test_key_with_a_minimum_radius_gets_discs_of_a_fixed_grid(galleries):
    galleries.set_area("refuse")
    tenant = galleries.full
    grant = KeyGrant(scopes=("locate",), granularity="exact", min_radius_m=2_000.0)
    _, key = tenant.harness.api_keys.create_key(tenant.name, "app", grant)
    answers = []
    with Tenant(tenant.name, tenant.id, key, tenant.harness, tenant.url).http() as http:
        for name in ("outside", "inside", "remote"):
            answer = post(http, "/v1/locate", name, include="matches").json()
            assert (answer["granularity"], answer["candidates"]) == ("radius", [])
            assert answer["credible_discs"][0]["radius_m"] % 2_000 == 0
            answers.append(answer)
        stream = post(http, "/v1/locate", "remote", "text/event-stream")
        refused = [post(http, f"/v1/{path}", "outside") for path in ("similar", "search")]
    stages = [line for line in stream.text.splitlines() if line.startswith("data: ")][:3]
    assert stages == [f'data: {{"name": "{name}"}}' for name in ("decode", "encode", "search")]
    for answer in refused:
        assert (answer.status_code, answer.json()["reason"]) == (403, "minimum_radius")
    # Photos 200 m apart have one node; the other one is 18,000 km away.
    assert answers[0]["point"] == answers[1]["point"] != answers[2]["point"]


def test_answer_of_a_search_that_hidden_images_cut_says_so(galleries, monkeypatch):
    galleries.set_area("refuse")
    warning = [visible_hits.CUT_SEARCH_WARNING]
    with galleries.full.http() as http:
        for rounds, expected in ((1, warning), (visible_hits.MAX_SEARCHES, [])):
            monkeypatch.setattr(visible_hits, "MAX_SEARCHES", rounds)
            for path in ("similar", "search"):
                answer = post(http, f"/v1/{path}", "inside", limit=1, per_group=1)
                assert answer.json()["warnings"] == expected, (path, json.dumps(answer.json()))
