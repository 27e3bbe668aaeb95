"""Upload of a folder or manifest to a server: sent files, rejected files and reasons."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from cli.test_cli_commands import picture, pinpoint  # noqa: F401 - a fixture
from pinpoint.api.v1.schemas.catalog import MetadataOverrideIn
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.exit_codes import EXIT_CODES
from pinpoint.errors import BadRequestError
from pinpoint_client.uploads import MAX_FILES_PER_REQUEST, Upload, split_into_requests

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
    """File names and metadata overrides in the order of upload."""
    (batch,) = api.rows().all_batches.values()
    return [(item.external_id, item.metadata_override) for item in batch["new"]]


@pytest.mark.parametrize("spelled", ["--manifest", "alone"])
def test_ingest_manifest_uploads_its_files_with_overrides(pinpoint, api, folder, spelled):  # noqa: F811
    api.rows().add_source("walk", "photo")
    what = [folder, "--manifest", "m.csv"] if spelled == "--manifest" else [folder / "m.csv"]
    document = pinpoint("ingest", *what, "--source", "walk", "--json")
    assert document["items"] == 4
    assert [(file["file"], file["error_code"]) for file in document["not_sent"]] == [
        ("a/far.png", "out_of_range"),
        ("a/nothing.png", "missing_file"),
        ("../secret.png", "outside_root"),
    ]
    (a, metadata_override), (b, other), (quoted, named), (again, moved) = sent(api)
    # Two files of one name in two folders stay apart, and each keeps its own position.
    assert (a, metadata_override.lat, metadata_override.lon, metadata_override.creator) == (
        "a/p.png",
        48.5,
        2.5,
        "ann",
    )
    assert dict(metadata_override.attributes) == {"weather": "sunny,\nwarm"}
    assert metadata_override.captured_at.isoformat() == "2024-05-01T10:00:00+00:00"
    assert (b, other.lat, other.captured_at) == ("b/p.png", 49.5, None)
    assert (quoted, named.lat, named.creator) == ('b/q "x" é.png', None, "bob")
    # The same file twice travels in two requests: overrides go by name.
    assert (again, moved.lat) == ("a/p.png", 50.5)


def test_ingest_prints_files_that_were_not_sent(pinpoint, api, folder):  # noqa: F811
    api.rows().add_source("walk", "photo")
    output = pinpoint("ingest", folder, "--manifest", "m.csv", "--source", "walk").out
    assert "4 waiting" in output
    assert "3 more were rejected on this machine and not sent:" in output
    assert "row 5: there is no file a/nothing.png" in output


def test_ingest_with_tracks_prints_that_they_are_not_sent(pinpoint, api, folder):  # noqa: F811
    api.rows().add_source("walk", "photo")
    (folder / "a" / "walk.gpx").write_text("<gpx/>")
    plain = ["ingest", folder, "--source", "walk", "--no-manifest"]
    document = pinpoint(*plain, "--json")
    assert (document["items"], document["not_sent"], document["manifest"]) == (4, [], None)
    assert "GPX tracks are not sent: 2 photos are in a folder with a track" in pinpoint(*plain).err
    (folder / "a" / "walk.gpx").unlink()
    assert "GPX" not in pinpoint(*plain).err


def test_ingest_folder_with_manifest_uses_it_and_prints_its_name(pinpoint, api, folder):  # noqa: F811
    api.rows().add_source("walk", "photo")
    picture(folder / "b" / "unnamed.png")
    document = pinpoint("ingest", folder, "--source", "walk", "--json")
    # Four rows that can be read and the file that no row names; a/far.png's row was refused.
    assert (document["items"], document["manifest"], len(document["not_sent"])) == (5, "m.csv", 3)
    assert sent(api)[-1] == ("b/unnamed.png", None)
    text = pinpoint("ingest", folder, "--source", "walk").out
    assert "manifest m.csv is used (--no-manifest reads without it)" in text
    (folder / "other.csv").write_text("file,lat,lon\n")
    refused = pinpoint("ingest", folder, "--source", "walk", code=EXIT_CODES[BadRequestError]).err
    assert "m.csv, other.csv; choose one with --manifest" in refused


def test_ingest_with_root_prefixes_file_names(pinpoint, api, folder):  # noqa: F811
    api.rows().add_source("walk", "photo")
    pinpoint("ingest", folder / "a", "--source", "walk", "--root", "card 1", "--json")
    assert [name for name, _ in sent(api)] == ["card 1/far.png", "card 1/p.png"]
    for name in ("a/b", "..", " "):
        refused = pinpoint(
            "ingest", folder, "--source", "walk", "--root", name, code=EXIT_CODES[BadRequestError]
        )
        assert "cannot name a root" in refused.err


def test_ingest_empty_folder_creates_no_source(pinpoint, api, tmp_path):  # noqa: F811
    (tmp_path / "empty").mkdir()
    arguments = ["ingest", tmp_path / "empty", "--source", "new", "--source-kind", "photo"]
    assert "no files to upload" in pinpoint(*arguments, code=EXIT_CODES[BadRequestError]).err
    assert api.rows().sources() == []


def test_ingest_with_names_that_http_changes_rejects_them_before_upload(api, tmp_path):
    api.rows().add_source("walk", "photo")
    for name in ("x\\y.png", "a%22b.png", "ok.png"):
        picture(tmp_path / name)
    with ApiClient.open(api.url) as client:
        batch = client.ingest_folder(tmp_path, source="walk")
    assert batch["items"] == 1
    assert {file["error_code"] for file in batch["not_sent"]} == {"bad_name"}
    assert len(batch["not_sent"]) == 2


def test_ingest_options_are_sent_with_uploads_and_track_options_are_rejected(pinpoint, api, folder):  # noqa: F811
    api.rows().add_source("walk", "photo")
    (folder / "a.jpg.xmp").write_text("<x/>")
    (folder / "a.jpg.supplemental-metadata.json").write_text("{}")
    options = ("--time-zone", "Asia/Tokyo", "--camera-clock-offset", "-00:00:30")
    document = pinpoint("ingest", folder, "--source", "walk", *options, "--no-manifest", "--json")
    assert document["sidecars"]["kinds"] == {"takeout": 1, "xmp": 1}
    assert document["sidecars_not_read"]["count"] == 0
    (stored,) = api.rows().all_batches.values()
    metadata_overrides = [item.metadata_override for item in stored["new"]]
    assert {
        (metadata_override.time_zone, metadata_override.camera_clock_offset_s)
        for metadata_override in metadata_overrides
    } == {("Asia/Tokyo", -30.0)}
    text = pinpoint("ingest", folder, "--source", "walk", "--no-manifest").err
    assert "2 sidecars are read with the photos" in text
    refused = pinpoint("ingest", folder, "--source", "walk", "--track", "Aino", code=64)
    assert "GPX tracks are not sent" in refused.err


@pytest.mark.parametrize(
    "metadata_override",
    [{"time_zone": "Nowhere"}, {"camera_clock_offset_s": 1e12}, {"track": "/etc/a.gpx"}],
)
def test_upload_with_invalid_metadata_options_is_rejected(metadata_override):
    with pytest.raises(ValidationError):
        MetadataOverrideIn.model_validate(metadata_override)


def test_ingest_with_too_large_file_sends_the_others(api, tmp_path):
    api.rows().add_source("walk", "photo")
    # The server of these tests takes 200 kB and leaves 8 MB for everything else in a form.
    picture(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"x" * 70_000_000)
    picture(tmp_path / "c.png")
    with ApiClient.open(api.url) as client:
        batch = client.ingest_folder(tmp_path, source="walk")
    assert [file["file"] for file in batch["not_sent"]] == ["b.png"]
    assert batch["not_sent"][0]["error_code"] == "too_large"
    assert batch["items"] == 2


def test_ingest_with_unencodable_names_rejects_them_before_upload(api, tmp_path):
    api.rows().add_source("walk", "photo")
    picture(tmp_path / "a.png")
    picture(tmp_path / "new\nline.png")
    with ApiClient.open(api.url) as client:
        batch = client.ingest_folder(tmp_path, source="walk")
    assert batch["items"] == 1
    assert "rename" in batch["not_sent"][0]["error_message"]
    json.dumps(batch)


def test_ingest_requests_stay_under_the_upload_limits(tmp_path):
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


def test_ingest_values_of_sidecars_yield_to_manifest(pinpoint, api, tmp_path):  # noqa: F811
    api.rows().add_source("walk", "photo")
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        picture(folder / name)
        geo = {"latitude": 1.5, "longitude": 2.5}
        document = {"photoTakenTime": {"timestamp": "1574598615"}, "geoData": geo}
        (folder / f"{name}.json").write_text(json.dumps(document))
    manifest = tmp_path / "elsewhere.csv"
    manifest.write_text("file,lat,lon\na.png,3,4\nb.png,,\n")
    pinpoint("ingest", folder, "--source", "walk", "--manifest", manifest)
    (stored,) = api.rows().all_batches.values()
    overrides = {item.file: item.metadata_override for item in stored["new"]}
    assert (overrides["a.png"].lat, overrides["a.png"].lon) == (3, 4)
    assert (overrides["b.png"].lat, overrides["b.png"].lon) == (1.5, 2.5)
    assert {override.captured_at.year for override in overrides.values()} == {2019}
