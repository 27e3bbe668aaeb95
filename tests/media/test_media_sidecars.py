"""Files next to photos: their kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from media.gpx_files import one_track, render, walk
from media.pictures import photo, xmp
from pinpoint.media.sidecars import OtherFile, find_other_files, is_takeout_name

TAKEOUT = json.dumps({"title": "a.jpg", "photoTakenTime": {"timestamp": "1574598615"}})
MAPILLARY = json.dumps([{"filename": "a.jpg", "MAPLatitude": 1.0, "MAPLongitude": 2.0}])
MANIFEST = json.dumps(
    {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {"file": "a.jpg"}}],
    }
)

FILES: dict[str, tuple[bytes | str, str]] = {
    "a.jpg.xmp": (xmp(), "xmp"),
    "a.XMP": (xmp(), "xmp"),
    "a.jpg.json": (TAKEOUT, "takeout"),
    "a.jpg.supplemental-metadata.json": (TAKEOUT, "takeout"),
    "b.HEIC.supplemental-me.json": ("{", "takeout"),
    "b.heic.supplemental-metadata(1).json": ("{}", "takeout"),
    "b.jpg(2).json": (TAKEOUT, "takeout"),
    "IMG_20190101_a_very_long_name_that_was_cut_of.json": (TAKEOUT, "takeout"),
    "mapillary_image_description.json": ("[]", "other"),
    "deep/mapillary_image_description_2.json": (MAPILLARY, "manifest"),
    "descriptions.json": (MAPILLARY, "manifest"),
    "c.png.meta.json": ('{"a": 1}', "json"),
    "exiftool.json": ('[{"SourceFile": "a.jpg", "GPSLatitude": 1}]', "json"),
    "walk.kml": ("<kml/>", "other_track"),
    "ride.FIT": (b"\x0e\x10", "other_track"),
    "list.json": (MANIFEST, "manifest"),
    "list.geojson": (MANIFEST, "manifest"),
    "list.csv": ("file,lat,lon\na.jpg,1,2\n", "manifest"),
    "list.tsv": ("image\tx\na.jpg\t1\n", "manifest"),
    "cities.csv": ("city,lat,lon\nQuito,-0.2,-78.5\n", "other"),
    "metadata.json": ('{"title": "Album", "date": {}}', "other"),
    "broken.json": ("{", "other"),
    "deep.json": ("[" * 100_000, "other"),
    "walk.gpx": (render(one_track(walk(1.0, 2.0))), "track"),
    "note.txt": ("hello", "other"),
    "utf16.csv": ("file,lat,lon\na.jpg,1,2\n".encode("utf-16"), "manifest"),
    "a.aae": ("<plist/>", "other"),
}


@pytest.mark.parametrize("name", FILES)
def test_find_other_files_detects_kind(tmp_path: Path, name: str) -> None:
    content, kind = FILES[name]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert list(find_other_files(tmp_path)) == [OtherFile(name=name, kind=kind)]


def test_find_other_files_skips_photos_and_hidden_files(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.unknown", ".hidden.xmp"):
        (tmp_path / name).write_bytes(photo())
    assert list(find_other_files(tmp_path)) == []


@pytest.mark.parametrize("length", range(1, len("supplemental-metadata") + 1))
def test_is_takeout_name_truncated_suffix_is_true(length: int) -> None:
    suffix = "supplemental-metadata"[:length]
    for name in (f"IMG_1.jpg.{suffix}.json", f"IMG_1.jpg.{suffix}(3).json"):
        assert is_takeout_name(name)


@pytest.mark.parametrize(
    "name", ["a.jpg.json", "a.jpg.xyz.json", "supplemental-metadata.json", "notes.s.json"]
)
def test_is_takeout_name_other_names_are_false(name: str) -> None:
    # `a.jpg.json` is named so by other programs as well: its keys decide.
    assert not is_takeout_name(name)
