"""`pinpoint validate` on photos, manifests, tracks and sidecars."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from media.gpx_files import Gpx, Trk, one_track, render, walk
from media.pictures import exif, noise, photo, saved, xmp
from pinpoint.cli.main import main


@pytest.fixture
def pinpoint(tmp_path_factory, monkeypatch, capsys):
    """Runs a command without a stack; returns the document with `--json`, else the output."""

    def run(*arguments, code=0):
        monkeypatch.setenv("PINPOINT_HOME", str(tmp_path_factory.mktemp("home")))
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(sys, "argv", ["pinpoint", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured
        return json.loads(captured.out) if "--json" in arguments else captured

    return run


def timed(clock: str, offset: str | None = None) -> bytes:
    detail = {0x9003: f"2023:09:10 {clock}"} | ({0x9011: offset} if offset else {})
    return saved(noise(), exif=exif(detail=detail))


def by_name(document):
    return {file["file"]: file for file in document["files"]}


def test_validate_folder_lists_photos_and_counts_other_files(pinpoint, tmp_path):
    (tmp_path / "a.jpg").write_bytes(photo())
    (tmp_path / "a.jpg.xmp").write_bytes(xmp())
    (tmp_path / "a.jpg.supplemental-metadata.json").write_text("{}")
    (tmp_path / "walk.kml").write_text("<kml/>")
    (tmp_path / "walk.gpx").write_bytes(render(one_track(walk(1.0, 2.0))))
    (tmp_path / "m.csv").write_text("file,lat,lon,floor\na.jpg,-33.45,-70.66,2\n")
    (tmp_path / "note.txt").write_text("hello")
    document = pinpoint("validate", tmp_path, "--json")
    assert [file["file"] for file in document["files"]] == ["a.jpg"]
    assert (document["files"][0]["lat"], document["files"][0]["lon"]) == (-33.45, -70.66)
    assert document["manifests"] == [
        {
            "manifest": "m.csv",
            "columns": {"file": "file", "latitude": "lat", "longitude": "lon"},
            "attributes": ["floor"],
        }
    ]
    assert document["other_files"] == {
        "tracks": {"count": 1, "names": ["walk.gpx"]},
        "manifests": {"count": 1, "names": ["m.csv"]},
        "sidecars": {
            "count": 2,
            "names": ["a.jpg.supplemental-metadata.json", "a.jpg.xmp"],
            "kinds": {"takeout": 1, "xmp": 1},
        },
        "sidecars_not_read": {"count": 1, "names": ["walk.kml"], "kinds": {"other_track": 1}},
        "other": {"count": 1, "names": ["note.txt"]},
    }
    printed = pinpoint("validate", tmp_path)
    assert "1 files: 1 accepted, 0 rejected" in printed.out
    assert "used the manifest m.csv" in printed.out
    assert "not photos: 1 GPX file, 1 manifest, 1 other file" in printed.err
    assert (
        "2 sidecars are read with the photos that they are named after (1 XMP, 1 Google Takeout)"
        in printed.err
    )
    assert "m.csv: columns kept as attributes, without a meaning: floor" in printed.err
    plain = by_name(pinpoint("validate", tmp_path, "--no-manifest", "--json"))
    assert plain["a.jpg"]["position_source"] == "exif"


@pytest.mark.parametrize(
    ("manifest", "position"),
    [
        ("sep=;\nDateiname;file;Lat;Lon\n1;a.jpg;-33,45;-70,66\n", (-33.45, -70.66)),
        ("SourceFile,GPSLatitude,GPSLongitude\n./a.jpg,33.45 S,70.66 W\n", (-33.45, -70.66)),
        ("\n\nimage\tlatitude\tlongitude\na.jpg\t-33.45\t-70.66\n", (-33.45, -70.66)),
    ],
)
def test_validate_manifest_accepts_common_column_names(pinpoint, tmp_path, manifest, position):
    (tmp_path / "a.jpg").write_bytes(photo())
    (tmp_path / "m.csv").write_text(manifest)
    (file,) = pinpoint("validate", tmp_path / "m.csv", "--json")["files"]
    assert (file["lat"], file["lon"], file["position_source"]) == (*position, "manifest")


def test_validate_manifest_with_unknown_columns_is_rejected_unless_mapped(pinpoint, tmp_path):
    (tmp_path / "a.jpg").write_bytes(photo())
    (tmp_path / "m.csv").write_text("file,x,y\na.jpg,-70.66,-33.45\n")
    refused = pinpoint("validate", tmp_path, code=65)
    assert "look like a position and are not understood: x, y" in refused.err
    options = ("--column", "x=longitude", "--column", "y=latitude")
    (file,) = pinpoint("validate", tmp_path, *options, "--json")["files"]
    assert (file["lat"], file["lon"]) == (-33.45, -70.66)


def test_validate_manifest_matches_names_in_other_unicode_form(pinpoint, tmp_path):
    on_disk, listed = (unicodedata.normalize(form, "Señal.jpg") for form in ("NFD", "NFC"))
    (tmp_path / on_disk).write_bytes(photo())
    (tmp_path / "m.csv").write_text(f"file,lat,lon\n{listed},-33.45,-70.66\n", encoding="utf-8")
    (file,) = pinpoint("validate", tmp_path, "--json")["files"]
    assert (file["file"], file["lat"]) == (on_disk, -33.45)


def test_validate_tracks_with_options_sets_positions(pinpoint, tmp_path):
    tracks = [
        Trk(segments=[walk(60.0, 24.0, minutes=300)], name="Aino"),
        Trk(segments=[walk(59.0, 25.0, minutes=300)], name="Mart"),
    ]
    (tmp_path / "day.gpx").write_bytes(render(Gpx(tracks=tracks), encoding="windows-1252"))
    (tmp_path / "a.jpg").write_bytes(timed("11:20:00"))
    files = by_name(pinpoint("validate", tmp_path, "--json"))
    assert files["a.jpg"]["error_code"] == "time_zone_unknown"
    assert "say which zone it is in: --time-zone" in pinpoint("validate", tmp_path).out
    zone = ("--time-zone", "Europe/Helsinki", "--json")
    assert (
        by_name(pinpoint("validate", tmp_path, *zone))["a.jpg"]["error_code"] == "ambiguous_track"
    )
    file = by_name(pinpoint("validate", tmp_path, "--track", "Aino", *zone))["a.jpg"]
    assert (file["lat"], file["lon"]) == pytest.approx((60.02, 24.0))
    assert file["captured_at"] == "2023-09-10T08:20:00+00:00"
    late = ("--track", "day.gpx#2", "--camera-clock-offset", "+00:10:00")
    file = by_name(pinpoint("validate", tmp_path, *late, *zone))["a.jpg"]
    assert (file["lat"], file["lon"]) == pytest.approx((59.03, 25.0))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--time-zone", "Paris", "give an IANA name"),
        ("--camera-clock-offset", "3:20", "give +HH:MM:SS"),
        ("--column", "x", "is not NAME=COLUMN"),
        ("--manifest", "gone.csv", "there is no manifest"),
    ],
)
def test_validate_with_invalid_options_is_rejected(pinpoint, tmp_path, option, value, words):
    refused = pinpoint("validate", tmp_path, option, value, code=65 if "gone" in value else 64)
    assert words in refused.err
    assert refused.out == ""


def test_validate_with_several_manifests_is_rejected_with_their_names(pinpoint, tmp_path):
    (tmp_path / "a.jpg").write_bytes(photo())
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text("file,lat,lon\na.jpg,1,2\n")
    refused = pinpoint("validate", tmp_path, code=64)
    assert "several manifests: one.csv, two.csv" in refused.err
    (file,) = pinpoint("validate", tmp_path, "--manifest", "two.csv", "--json")["files"]
    assert (file["lat"], file["lon"]) == (1.0, 2.0)
    both = pinpoint("validate", tmp_path, "--manifest", "two.csv", "--no-manifest", code=64)
    assert "cannot be combined" in both.err


def test_validate_one_photo_lists_its_sidecars(pinpoint, tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(photo())
        (tmp_path / f"{name}.xmp").write_bytes(xmp())
    document = pinpoint("validate", tmp_path / "a.jpg", "--json")
    assert document["other_files"]["sidecars"]["names"] == ["a.jpg.xmp"]
    json.dumps(document)
