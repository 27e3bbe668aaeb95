"""Uploading a folder or a manifest to a server: what is sent, what is not, and why."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from cli.test_cli_commands import picture, pinpoint  # noqa: F401 - a fixture
from pinpoint.api.v1.schemas.catalog import MetadataOverrideIn
from pinpoint.cli.exit_codes import EXIT_CODES
from pinpoint.client import Client
from pinpoint.client.folders import MAX_FILES_PER_REQUEST, Upload, split_into_requests
from pinpoint.errors import BadRequestError

ROWS = """file,lat,lon,captured_at,creator,weather
a/p.png,48.5,2.5,2024-05-01T10:00:00Z,ann,"sunny,
warm"
b/p.png,49.5,3.5,,,
"b/q ""x"" é.png",,,,bob,
a/far.png,99,2,,,
a/nothing.png,48,2,,,
../secret.png,48,2,,,
a/p.png,50.5,2.5,,,
"""


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "gallery"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        picture(root / name / "p.png")
    picture(root / "a" / "far.png")
    picture(root / "b" / 'q "x" é.png')
    picture(tmp_path / "secret.png")
    (root / "m.csv").write_text(ROWS, encoding="utf-8")
    return root


def sent(api):
    """Names and hints as the API took them, in order."""
    (batch,) = api.rows().all_batches.values()
    return [(item.external_id, item.hint) for item in batch["new"]]


@pytest.mark.parametrize("spelled", ["--manifest", "alone"])
def test_a_manifest_goes_with_its_files(pinpoint, api, folder, spelled):  # noqa: F811
    api.rows().add_source("walk", "photo")
    what = [folder, "--manifest", "m.csv"] if spelled == "--manifest" else [folder / "m.csv"]
    said = pinpoint("ingest", *what, "--source", "walk", "--json")
    assert said["items"] == 4
    assert [(one["file"], one["reason"]) for one in said["not_sent"]] == [
        ("a/far.png", "out_of_range"),
        ("a/nothing.png", "missing_file"),
        ("../secret.png", "outside_root"),
    ]
    (a, hint), (b, other), (quoted, named), (again, moved) = sent(api)
    # Two files of one name in two folders stay apart, and each keeps its own position.
    assert (a, hint.lat, hint.lon, hint.creator) == ("a/p.png", 48.5, 2.5, "ann")
    assert dict(hint.attributes) == {"weather": "sunny,\nwarm"}
    assert hint.captured_at.isoformat() == "2024-05-01T10:00:00+00:00"
    assert (b, other.lat, other.captured_at) == ("b/p.png", 49.5, None)
    assert (quoted, named.lat, named.creator) == ('b/q "x" é.png', None, "bob")
    # The same file twice travels in two requests: hints go by name.
    assert (again, moved.lat) == ("a/p.png", 50.5)


def test_what_was_not_sent_is_printed(pinpoint, api, folder):  # noqa: F811
    api.rows().add_source("walk", "photo")
    said = pinpoint("ingest", folder, "--manifest", "m.csv", "--source", "walk").out
    assert "4 waiting" in said
    assert "3 more were rejected on this machine and not sent:" in said
    assert "row 5: there is no file a/nothing.png" in said


def test_tracks_are_not_sent_and_that_is_said(pinpoint, api, folder):  # noqa: F811
    api.rows().add_source("walk", "photo")
    (folder / "a" / "walk.gpx").write_text("<gpx/>")
    plain = ["ingest", folder, "--source", "walk", "--no-manifest"]
    said = pinpoint(*plain, "--json")
    assert (said["items"], said["not_sent"], said["manifest"]) == (4, [], None)
    assert "GPX tracks are not sent: 2 photos are in a folder with a track" in pinpoint(*plain).err
    (folder / "a" / "walk.gpx").unlink()
    assert "GPX" not in pinpoint(*plain).err


def test_ingest_of_a_folder_with_a_manifest_uses_it_and_says_so(pinpoint, api, folder):  # noqa: F811
    api.rows().add_source("walk", "photo")
    picture(folder / "b" / "unnamed.png")
    said = pinpoint("ingest", folder, "--source", "walk", "--json")
    # Four rows that can be read and the file that no row names; a/far.png's row was refused.
    assert (said["items"], said["manifest"], len(said["not_sent"])) == (5, "m.csv", 3)
    assert sent(api)[-1] == ("b/unnamed.png", None)
    text = pinpoint("ingest", folder, "--source", "walk").out
    assert "manifest m.csv is used (--no-manifest reads without it)" in text
    (folder / "other.csv").write_text("file,lat,lon\n")
    refused = pinpoint("ingest", folder, "--source", "walk", code=EXIT_CODES[BadRequestError]).err
    assert "m.csv, other.csv; choose one with --manifest" in refused


def test_ingest_with_a_root_puts_its_name_before_the_names(pinpoint, api, folder):  # noqa: F811
    api.rows().add_source("walk", "photo")
    pinpoint("ingest", folder / "a", "--source", "walk", "--root", "card 1", "--json")
    assert [name for name, _ in sent(api)] == ["card 1/far.png", "card 1/p.png"]
    for name in ("a/b", "..", " "):
        refused = pinpoint(
            "ingest", folder, "--source", "walk", "--root", name, code=EXIT_CODES[BadRequestError]
        )
        assert "cannot name a root" in refused.err


def test_empty_folder_makes_no_source_on_a_server(pinpoint, api, tmp_path):  # noqa: F811
    (tmp_path / "empty").mkdir()
    asked = ["ingest", tmp_path / "empty", "--source", "new", "--source-kind", "photo"]
    assert "no files to upload" in pinpoint(*asked, code=EXIT_CODES[BadRequestError]).err
    assert api.rows().sources() == []


def test_names_that_the_wire_could_change_are_rejected_here(api, tmp_path):
    api.rows().add_source("walk", "photo")
    for name in ("x\\y.png", "a%22b.png", "ok.png"):
        picture(tmp_path / name)
    with Client.open(api.url) as client:
        said = client.ingest_folder(tmp_path, source="walk")
    assert said["items"] == 1
    assert {one["reason"] for one in said["not_sent"]} == {"bad_name"}
    assert len(said["not_sent"]) == 2


def test_ingest_options_travel_with_uploads_and_tracks_are_refused(pinpoint, api, folder):  # noqa: F811
    api.rows().add_source("walk", "photo")
    (folder / "a.jpg.xmp").write_text("<x/>")
    (folder / "a.jpg.supplemental-metadata.json").write_text("{}")
    options = ("--time-zone", "Asia/Tokyo", "--camera-clock-offset", "-00:00:30")
    said = pinpoint("ingest", folder, "--source", "walk", *options, "--no-manifest", "--json")
    assert said["sidecars_not_read"]["kinds"] == {"takeout": 1, "xmp": 1}
    (held,) = api.rows().all_batches.values()
    hints = [item.hint for item in held["new"]]
    assert {(hint.time_zone, hint.camera_clock_offset_s) for hint in hints} == {
        ("Asia/Tokyo", -30.0)
    }
    text = pinpoint("ingest", folder, "--source", "walk", "--no-manifest").err
    assert "2 sidecars are not read (1 XMP, 1 Google Takeout)" in text
    refused = pinpoint("ingest", folder, "--source", "walk", "--track", "Aino", code=64)
    assert "GPX tracks are not sent" in refused.err


@pytest.mark.parametrize(
    "hint", [{"time_zone": "Nowhere"}, {"camera_clock_offset_s": 1e12}, {"track": "/etc/a.gpx"}]
)
def test_hints_of_uploads_that_cannot_be_used_refused(hint):
    with pytest.raises(ValidationError):
        MetadataOverrideIn.model_validate(hint)


def test_a_file_too_large_for_the_server_stops_nothing(api, tmp_path):
    api.rows().add_source("walk", "photo")
    # The server of these tests takes 200 kB and leaves 8 MB for everything else in a form.
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"x" * 70_000_000)
    picture(tmp_path / "c.png")
    with Client.open(api.url) as client:
        said = client.ingest_folder(tmp_path, source="walk")
    assert [one["file"] for one in said["not_sent"]] == ["b.png"]
    assert said["not_sent"][0]["reason"] == "too_large"
    assert said["items"] == 2


def test_names_that_cannot_travel_are_rejected_here(api, tmp_path):
    api.rows().add_source("walk", "photo")
    picture(tmp_path / "a.png")
    picture(tmp_path / "new\nline.png")
    with Client.open(api.url) as client:
        said = client.ingest_folder(tmp_path, source="walk")
    assert said["items"] == 1
    assert "rename" in said["not_sent"][0]["detail"]
    json.dumps(said)


def test_requests_stay_under_the_limits(tmp_path):
    path = picture(tmp_path / "p.png")
    files = [
        Upload(name=f"{number}.png", path=path) for number in range(2 * MAX_FILES_PER_REQUEST + 1)
    ]
    assert [len(chunk) for chunk in split_into_requests(files)] == [
        MAX_FILES_PER_REQUEST,
        MAX_FILES_PER_REQUEST,
        1,
    ]
    twice = [Upload(name="same", path=path)] * 2
    assert [len(chunk) for chunk in split_into_requests(twice)] == [1, 1]
