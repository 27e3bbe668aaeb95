"""`pinpoint search` and `pinpoint protected-areas` on a running stack."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pinpoint.cli.main import app
from pinpoint.errors import (
    BadRequestError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    UnsupportedQueryError,
)
from stack_fixtures import write_photos

SOURCE = "cli-search"
SEA = {"type": "Polygon", "coordinates": [[[-40, 10], [-39, 10], [-39, 11], [-40, 11], [-40, 10]]]}


@pytest.fixture
def pinpoint(running_stack, monkeypatch):
    """Runs a command of the operator; returns its JSON document or its error."""
    monkeypatch.setenv("PINPOINT_HOME", str(running_stack.home))

    def run(*arguments):
        result = CliRunner().invoke(app, list(map(str, arguments)))
        if result.exception is not None:
            return result.exception
        return json.loads(result.stdout)

    return run


def test_search_command_finds_images_by_photo_and_image(pinpoint, tmp_path):
    write_photos(tmp_path / "in", 3, first=77_000)
    photo = tmp_path / "in" / "77001.jpg"
    options = ("--source", SOURCE, "--source-kind", "photo", "--wait", "--json")
    assert pinpoint("ingest", tmp_path / "in", *options)["indexed"] == 3
    search = ("search", "--in-source", SOURCE)
    best = pinpoint(*search, "--photo", photo, "--json")["groups"][0]["hits"][0]
    assert best["file_name"] == photo.name
    assert pinpoint(*search, "--image", best["image_id"], "--json")["groups"]
    mixture = ("--photo", photo, "--image", best["image_id"], "--weight", "image=2")
    mixed = pinpoint(*search, *mixture, "--json")
    assert mixed["weights"] == pytest.approx({"photo": 1 / 3, "image": 2 / 3})
    features = pinpoint(*search, *mixture, "--geojson")
    assert features["type"] == "FeatureCollection"
    assert features["features"]
    # The descriptor bundle encodes neither texts nor points; a point alone needs no encoder.
    for query in (["--text", "a tower"], ["--photo", photo, "--point", "48.85,2.35"]):
        assert isinstance(pinpoint(*search, *query, "--json"), UnsupportedQueryError)
    for wrong in (["--point", "91"], [], ["--photo", photo, "--geojson", "--json"]):
        assert isinstance(pinpoint("search", *wrong), BadRequestError)
    assert pinpoint("sources", "delete", SOURCE, "--yes", "--json")["images"] == 3


def test_protected_area_commands_from_creation_to_deletion(pinpoint, tmp_path):
    file = tmp_path / "area.geojson"
    file.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": SEA}))
    options = ("--granularity", "radius", "--min-radius-m", 5_000, "--purpose", "test", "--json")
    areas = ("protected-areas",)
    created = pinpoint(*areas, "add", "sea", file, *options)
    area_id = created["id"]
    assert created["properties"]["min_radius_m"] == 5_000
    listed = pinpoint(*areas, "list", "--json")["features"]
    assert [area["properties"]["name"] for area in listed] == ["sea"]
    assert pinpoint(*areas, "show", area_id, "--json")["geometry"] == created["geometry"]
    assert isinstance(pinpoint(*areas, "add", "sea", file, *options), ConflictError)
    refused = (file, "--granularity", "refuse", "--purpose", "test", "--json")
    replaced = pinpoint(*areas, "replace", area_id, "sea", *refused)
    assert replaced["properties"]["granularity"] == "refuse"
    without_radius = (file, "--granularity", "radius", "--purpose", "test", "--json")
    assert isinstance(pinpoint(*areas, "add", "other", *without_radius), InvalidRequestError)
    assert pinpoint(*areas, "delete", area_id, "--json") == {"deleted": area_id}
    assert isinstance(pinpoint(*areas, "show", area_id, "--json"), NotFoundError)
