"""Locate without a gallery, over HTTP and by command."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import threading

import httpx
import numpy as np
import pytest
import torch
import uvicorn

from index_process import until
from nets.towers import timm_bundle
from pinpoint.api.app import create_app
from pinpoint.cli.main import main
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.bundle.specs import HeadsSpec, LocationSpec
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.nets.embedder.joint_embedding import JointNetworks, write_joint_embedding
from pinpoint.nets.embedder.location import LocationTower
from pinpoint.records import KeyGrant
from small_stack import SmallStack
from stack_fixtures import plain_jpeg

COUNT, DIM, TEMPERATURE = 300, 24, 40.0
PHOTO = plain_jpeg(77, size=(320, 240))


def positions():
    rng = np.random.default_rng(6)
    return np.column_stack([rng.uniform(-60, 75, COUNT), rng.uniform(-180, 180, COUNT)])


def listing(home):
    """A bundle with a location tower and a list of places; its weights are random."""
    tower = read_bundle(timm_bundle(home.parent / "towers" / "bare"))
    torch.manual_seed(8)
    return write_joint_embedding(
        home / "bundles" / "listing",
        name="listing",
        tower=tower,
        networks=JointNetworks(
            heads=KindHeads(
                HeadsSpec(feature_dim=tower.contract.dims["image"], hidden=16, dim=DIM)
            ),
            location=LocationTower(LocationSpec(hidden=16, dim=DIM)),
            logit_scale=TEMPERATURE,
            coordinates=positions(),
        ),
        license="CC0",
        note="Random weights.",
    )


@pytest.fixture
def stack(home, database_url, api_database_url, redis_url, monkeypatch):
    """A stack without images; PINPOINT_HOME names its home."""
    small_stack = SmallStack(home, database_url, api_database_url, redis_url)
    for name, value in small_stack.environment.items():
        if name.startswith("PINPOINT_"):
            monkeypatch.setenv(name, value)
    listing(home)
    yield small_stack
    small_stack.close()


@pytest.fixture
def api(stack):
    """A client of the API on loopback."""
    _, key = stack.worker.api_keys.create_key("acme", "phone", KeyGrant(scopes=("locate",)))
    server = uvicorn.Server(uvicorn.Config(create_app(stack.api), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=60,
    ) as client:
        yield client
    server.should_exit = True
    thread.join(10)


def ask(api, **form):
    response = api.post("/v1/locate", data=form, files={"photo": ("q.jpg", PHOTO)})
    return response.status_code, response.json()


def rank_coordinates(stack):
    """`(lat, lon, score)` of all coordinates, best first, encoded one at a time."""
    encoder = EncoderHandle(stack.settings, "listing")
    read = stack.api.decoder.read("q.jpg", PHOTO, query=True)
    query = encoder.encode_query(read.faces[0].pixels).astype(float)
    rows = [
        (lat, lon, float(encoder.encode_positions(np.array([[lat, lon]]))[0] @ query))
        for lat, lon in positions().tolist()
    ]
    return sorted(rows, key=lambda row: -row[2])


def assert_coordinates(coordinates, expected):
    """The first of these, with their share of them all."""
    total = sum(math.exp(TEMPERATURE * score) for *_, score in expected)
    assert [(coordinate["lat"], coordinate["lon"]) for coordinate in coordinates] == [
        row[:2] for row in expected[: len(coordinates)]
    ]
    for coordinate, (_, _, score) in zip(coordinates, expected, strict=False):
        assert coordinate["score"] == pytest.approx(score, abs=2e-6)
        assert coordinate["weight"] == pytest.approx(
            math.exp(TEMPERATURE * score) / total, rel=1e-3
        )


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["pinpoint", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err


def test_locate_without_gallery_returns_listed_coordinates(
    stack, api, monkeypatch, capsys, tmp_path
):
    status, refused = ask(api, search_space="coordinates")
    assert (status, refused["reason"]) == (409, "no_coordinates")
    assert "bundle descriptor is in use and has no list of coordinates" in refused["detail"]
    assert "pinpoint bundles import geoclip" in refused["detail"]

    # The API learns of the other bundle only from this query.
    code, document, error = run(monkeypatch, capsys, "bundles", "activate", "listing", "--json")
    assert (code, json.loads(document)["live"]) == (0, 0), error
    status, answer = ask(api, search_space="coordinates", top=100)
    assert status == 200, answer
    expected = rank_coordinates(stack)
    assert len(answer["coordinates"]) == 48
    assert_coordinates(answer["coordinates"], expected)
    assert answer["num_candidates"] == COUNT
    assert (answer["candidates"], answer["citations"]) == ([], {})
    assert (answer["ranker"], answer["calibrated"]) == ("coordinates", False)
    assert "without evidence" in answer["warnings"][0]
    assert answer["bundle"]["name"] == "listing"
    file = stack.paths.home / "bundles" / "listing" / "coordinates.csv"
    build = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
    assert answer["index"] == {"engine": "coordinates", "build": build}
    first = answer["coordinates"][0]
    assert answer["point"] == {"lat": first["lat"], "lon": first["lon"]}
    radii = [one["radius_m"] for one in answer["credible_discs"]]
    assert 10 <= radii[0] <= radii[1]

    again = ask(api, search_space="coordinates", top=100)[1]
    assert {**again, "timings_ms": 0} == {**answer, "timings_ms": 0}
    assert [
        one["weight"] for one in ask(api, search_space="coordinates", top=3)[1]["coordinates"]
    ] == [one["weight"] for one in answer["coordinates"][:3]]
    gallery = ask(api)[1]
    assert (gallery["point"], gallery["ranker"], gallery["coordinates"]) == (None, "vote", [])
    assert gallery["warnings"] == []

    status, boxed = ask(api, search_space="coordinates", bbox="120,-60,-60,75", top=100)
    inside = [row for row in expected if row[1] >= 120 or row[1] <= -60]
    assert (status, boxed["num_candidates"]) == (200, len(inside))
    assert_coordinates(boxed["coordinates"], inside)
    status, nowhere = ask(api, search_space="coordinates", lat=-89, lon=0, radius_m=1000)
    assert (status, nowhere["point"], nowhere["coordinates"]) == (200, None, [])
    status, refused = ask(
        api, search_space="coordinates", source_kinds="photo", datetime="../2020-01-01T00:00:00Z"
    )
    assert (status, refused["reason"]) == (422, "invalid_request")
    assert "omit source_kinds, datetime, or search the gallery" in refused["detail"]
    assert ask(api, search_space="moon")[0] == 422

    audit = stack.rows(
        "SELECT operation, bundle, index_build, photo_sha256 FROM audit_log"
        " WHERE operation = 'locate'"
    )
    assert {row.operation for row in audit} == {"locate"}
    assert [row.index_build for row in audit].count(build) == 5
    assert {bytes(row.photo_sha256) for row in audit} == {hashlib.sha256(PHOTO).digest()}

    photo = tmp_path / "q.jpg"
    photo.write_bytes(PHOTO)
    to = ("--server", str(api.base_url), "--key", api.headers["Authorization"].split()[1])
    code, document, _ = run(
        monkeypatch, capsys, "locate", photo, "--search-space", "coordinates", "--json", *to
    )
    assert code == 0
    assert json.loads(document)["answers"][0]["answer"]["coordinates"] == answer["coordinates"][:10]
    code, document, _ = run(
        monkeypatch, capsys, "locate", photo, "--search-space", "coordinates", "--top", 2, *to
    )
    assert f"{first['lat']:.5f}, {first['lon']:.5f}" in document
    assert "of the weights within" in document
    assert "without evidence" in document
    code, document, error = run(
        monkeypatch,
        capsys,
        "locate",
        photo,
        "--search-space",
        "coordinates",
        "--source-kind",
        "photo",
        *to,
    )
    assert (code, "omit source_kinds" in error) == (64, True)
