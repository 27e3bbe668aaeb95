"""The commands that use the API, against a running API."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import numpy as np
import pytest
from PIL import Image

from api import memory
from media.pictures import photo
from pinpoint.cli import output
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.exit_codes import FAILED_ITEMS
from pinpoint.cli.main import main


@pytest.fixture
def pinpoint(api, tmp_path, monkeypatch, capsys):
    """Runs a command; returns the JSON document with `--json`, else the captured output."""

    def run(*arguments, key=None, code=0):
        monkeypatch.setenv("PINPOINT_SERVER", api.url)
        monkeypatch.setenv("PINPOINT_HOME", str(tmp_path))
        monkeypatch.setenv("COLUMNS", "200")
        if key is not None:
            monkeypatch.setenv("PINPOINT_KEY", key)
        monkeypatch.setattr(sys, "argv", ["pinpoint", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO())  # no input
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured
        return json.loads(captured.out) if "--json" in arguments else captured

    return run


def picture(path, seed=1):
    noise = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def test_sources_add_list_and_delete(pinpoint):
    added = pinpoint(
        "sources", "add", "walk", "--source-kind", "street", "--license", "CC0", "--json"
    )
    assert (added["name"], added["kind"]) == ("walk", "street")
    assert pinpoint("--json", "sources", "list") == {"sources": [added]}
    assert "walk" in pinpoint("sources", "list").out
    pinpoint("sources", "delete", "walk", code=1)
    erased = pinpoint("sources", "delete", "walk", "--yes", "--json")
    assert erased == {"source": "walk", "images": 0}


def test_ingest_folder_uploads_it_and_shows_the_batch(pinpoint, api, tmp_path):
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    picture(folder / "a.png")
    picture(folder / "deep" / "b.png", 2)
    (folder / "track.gpx").write_text("no photo")
    batch = pinpoint("ingest", folder, "--source", "walk", "--source-kind", "photo", "--json")
    assert (batch["items"], batch["state"], batch["is_processed"]) == (2, "closed", False)
    document = pinpoint("batches", "show", batch["id"], "--json")
    assert [item["file"] for item in document["items"]] == ["a.png", "deep/b.png"]
    assert (batch.pop("not_sent"), batch.pop("repeated"), batch.pop("manifest")) == ([], 0, None)
    assert batch.pop("sidecars")["count"] == 0
    assert batch.pop("sidecars_not_read")["count"] == 0
    assert pinpoint("batches", "list", "--json")["batches"] == [batch]
    (line,) = pinpoint("batches", "list").out.splitlines()[1:]
    assert line.split() == [batch["id"], "walk", *line.split()[2:4], "2", "2", "waiting"]
    assert pinpoint("batches", "retry", batch["id"], "--json")["retried"] == 0, (
        "they wait for a worker"
    )
    table = pinpoint("batches", "show", batch["id"]).out
    assert "deep/b.png" in table
    assert api.rows().all_sources


def test_images_show_update_and_delete(pinpoint, api):
    source = api.rows().add_source("walk", "photo")
    image = memory.image(source)
    api.rows().all_images[image.id] = image
    assert pinpoint("images", "show", image.id, "--json")["lat"] == 48.85
    fixed = pinpoint("images", "update", image.id, "--lat", "-1", "--lon", "2", "--json")
    assert (fixed["lat"], fixed["version"]) == (-1.0, 2)
    assert "48.85" not in pinpoint("images", "show", image.id).out
    cleared = pinpoint(
        "images", "update", image.id, "--clear", "heading_deg", "--clear", "license", "--json"
    )
    assert (cleared["heading_deg"], cleared["license"], cleared["lat"]) == (None, None, -1.0)
    unknown = pinpoint("images", "update", image.id, "--clear", "altitude_m", code=64)
    assert "--clear must be one of position, captured_at" in unknown.err
    assert pinpoint("images", "delete", image.id, "--json") == {"deleted": str(image.id)}
    missing = pinpoint("images", "show", image.id, code=66)
    assert missing.out == ""
    assert missing.err.startswith("pinpoint: ")


def test_images_import_metadata_reports_each_row(pinpoint, api, tmp_path):
    source = api.rows().add_source("walk", "photo")
    image = memory.image(source)
    api.rows().all_images[image.id] = image
    table, report = tmp_path / "fix.csv", tmp_path / "report.csv"
    table.write_text(
        f"id,external_id,lat,lon,note\n{image.id},,-1,2,x\n,{image.external_id},-3,4,\n"
        f",gone.jpg,1,2,\n{image.id},,95,2,\n"
    )
    arguments = ["images", "import-metadata", table, "--source", "walk", "--report", report]
    document = pinpoint(*arguments, "--json", code=FAILED_ITEMS)
    assert (document["rows"], document["updated"], document["rejected"]) == (4, 2, 2)
    assert [row["error_code"] for row in document["first_rejected"]] == [
        *("not_found", "out_of_range")
    ]
    assert api.rows().all_images[image.id].point.lat == -3
    assert [line.split(",")[2] for line in report.read_text().splitlines()] == [
        *("status", "updated", "updated", "rejected", "rejected")
    ]
    printed = pinpoint(*arguments, code=FAILED_ITEMS).out
    assert "4 rows: 2 updated, 0 unchanged, 2 rejected" in printed
    table.write_text("name,lat,lon\na,1,2\n")
    assert "fix.csv names no images" in pinpoint(*arguments, code=65).err


def test_images_list_prints_names_and_the_next_cursor(pinpoint, api):
    source = api.rows().add_source("walk", "photo")
    for _ in range(3):
        image = memory.image(source)
        api.rows().all_images[image.id] = image
    ids = sorted(map(str, api.rows().all_images))
    first = pinpoint("images", "list", "--page-size", 2, "--in-source", "walk")
    assert all(word in first.out for word in ("a.jpg", "walk", "Paris, FR (", *ids[:2]))
    assert ids[2] not in first.out
    cursor = first.err.split("--cursor ")[1].strip()
    rest = pinpoint("images", "list", "--page-size", 2, "--cursor", cursor, "--json")
    assert ([image["id"] for image in rest["images"]], rest["next"]) == (ids[2:], None)
    pinpoint("images", "list", "--state", "deleted", code=64)
    with ApiClient.open(api.url) as client:
        page = client.images(limit=2)
        assert [image["id"] for image in client.images(next=page["next"])["images"]] == ids[2:]


def test_id_prefix_selects_one_row_or_lists_matches(pinpoint, api):
    rows = api.rows()
    source = rows.add_source("walk", "photo")
    alike = [UUID(f"abcdef{n}0-9e3a-5ad3-9ee6-87a60f83d975") for n in (1, 2)]
    for id_ in alike:
        rows.all_images[id_] = replace(memory.image(source), id=id_)
    document = pinpoint("images", "show", "abcdef1", "--json")
    assert document["id"] == str(alike[0])
    assert pinpoint("images", "show", "ABCDEF10-9e", "--json") == document
    several = pinpoint("images", "delete", "abcdef", code=64).err
    assert all(str(id_) in several for id_ in alike)
    assert "a.jpg, walk" in several
    assert set(rows.all_images) == set(alike)
    assert pinpoint("images", "show", "abcdef3", code=66).err == "pinpoint: no image abcdef3\n"
    assert "at least 6 hex digits" in pinpoint("images", "show", "abc", code=64).err
    assert pinpoint("images", "delete", "abcdef2", "--json") == {"deleted": str(alike[1])}
    batch = str(rows.open_batch(source.id).id)
    assert pinpoint("batches", "show", batch[:9], "--json")["batch"]["id"] == batch
    assert "0 files canceled" in pinpoint("batches", "cancel", batch[:6]).out
    assert pinpoint("batches", "wait", batch[:8], "--json")["id"] == batch
    assert pinpoint("batches", "retry", batch[:8], "--json")["retried"] == 0
    assert pinpoint("images", "list", "--in-source", str(source.id)[:8], "--json")["images"]
    assert pinpoint("sources", "delete", str(source.id)[:8], "--yes", "--json")["images"] == 1


def test_source_name_has_priority_over_an_id_prefix(pinpoint, api):
    first = api.rows().add_source("walk", "photo")
    named = api.rows().add_source(first.id.hex[:8], "street")
    assert pinpoint("sources", "delete", named.name, "--yes", "--json")["source"] == named.name
    assert [source.name for source in api.rows().sources()] == ["walk"]


def test_locate_with_unreadable_photo_continues_with_the_next(pinpoint, search_calls, tmp_path):
    photo = picture(tmp_path / "p.png")
    document = pinpoint(
        "locate", photo, "--query-kind", "photo", "--center", "1,2", "--radius", 500, "--json"
    )
    assert document["answers"][0]["photos"] == [str(photo)]
    assert document["answers"][0]["answer"]["point"] == {"lat": 48.85, "lon": 2.35}
    assert document["answers"][0]["error"] is None
    assert search_calls[0]["limits"].circle.radius_m == 500
    both = pinpoint("locate", tmp_path / "no.png", photo, "--json", code=64)
    assert both["answers"][0]["error"]["reason"] == "unreadable"
    assert both["answers"][1]["answer"]["ranker"] == "vote"
    text = pinpoint("locate", photo).out
    for word in (
        "48.85000, 2.35000",
        "90% of the vote within 99 m",
        "not calibrated",
        "CC0",
        "vote",
    ):
        assert word in text


def test_similar_by_photo_and_by_image_prints_scores(pinpoint, search_calls, tmp_path):
    photo = picture(tmp_path / "p.png")
    assert pinpoint("similar", photo, "--max-groups", 3, "--json")["groups"][0]["group"] == "g"
    assert "0.700" in pinpoint("similar", "--image", search_calls[0]["context"].organization_id).out
    assert search_calls[0]["request"].limit == 3


def test_command_with_missing_scope_exits_77(pinpoint, api):
    key = api.parts.api_keys.key("acme", "locate")
    refused = pinpoint("sources", "list", key=key, code=77)
    assert "`read`" in refused.err


def test_validate_without_stack_reports_rejected_files(pinpoint, tmp_path):
    picture(tmp_path / "plain.png")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    document = pinpoint("validate", tmp_path, "--json")
    assert (document["accepted"], document["rejected"]) == (0, 2)
    reasons = {file["file"]: file["error_code"] for file in document["files"]}
    assert reasons["plain.png"] == "no_position"
    assert "plain.png" in pinpoint("validate", tmp_path).out


def test_validate_prints_field_sources_and_warnings(pinpoint, tmp_path):
    detail = {0x9003: "2022:10:30 20:30:00"}
    clock = {29: "1980:01:06", 7: (0.0, 0.0, 13.0)}
    (tmp_path / "a.jpg").write_bytes(photo(detail=detail, gps=clock))
    (file,) = pinpoint("validate", tmp_path, "--json")["files"]
    assert (file["position_source"], file["time_source"]) == ("exif", "exif_original")
    assert file["captured_at"] == "2022-10-30T20:30:00+00:00"
    (warning,) = file["warnings"]
    assert warning.startswith("the satellite clock does not fit any time zone")
    out = pinpoint("validate", tmp_path).out
    assert "exif_original, no zone" in out
    assert f"a.jpg: {warning}" in out


def test_client_ingest_folder_with_wait_returns_the_processed_batch(api, tmp_path):
    api.rows().add_source("walk", "photo")
    picture(tmp_path / "a.png")
    counts = []

    def settle(batch):
        counts.append(batch["items"])
        for key in api.rows().all_batches:
            api.rows().settle(key, "indexed")

    with ApiClient.open(api.url) as client:
        processed = client.ingest_folder(
            tmp_path / "a.png", source="walk", wait=True, on_progress=settle
        )
        assert (processed["is_processed"], processed["indexed"]) == (True, 1)
        assert client.ready()["ready"] is True
        assert client.items(processed["id"], status="indexed")["items"][0]["file"] == "a.png"
    assert counts[0] == 1


def test_client_locate_accepts_filters_as_python_values(api, search_calls):
    with ApiClient.open(api.url) as client:
        client.locate(
            b"photo",
            source_kinds=["photo", "street"],
            bbox=(1, 2, 3, 4),
            polygon={"type": "Polygon", "coordinates": [[[1, 2], [3, 2], [3, 4], [1, 2]]]},
            datetime=(datetime(2026, 1, 1, tzinfo=UTC), None),
            top=None,
        )
        client.similar(image_id=uuid4(), include_self=True)
    limits = search_calls[0]["limits"]
    assert (limits.source_kinds, limits.box.north) == (("photo", "street"), 4.0)
    assert limits.polygons[0].exterior[1].lon == 3.0
    assert limits.captured_after == datetime(2026, 1, 1, tzinfo=UTC)


def test_print_table_removes_control_characters(capsys):
    output.print_table("t", ("name",), [("\x1b[31mred[bold]",)])
    printed = capsys.readouterr().out
    assert "\x1b[31m" not in printed
    assert "red[bold]" in printed


def test_print_table_in_narrow_terminal_is_not_truncated(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    output.print_table(None, ("id", ">n"), [("5850ee6b-adcc-5e20-a130-d8416d2332ff", 1234567)])
    assert "5850ee6b-adcc-5e20-a130-d8416d2332ff  1234567" in capsys.readouterr().out
