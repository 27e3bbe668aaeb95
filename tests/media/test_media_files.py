"""Finding files, and reading manifests that name them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from media.pictures import gpx, photo
from pinpoint.errors import BadManifestError, TooLargeError
from pinpoint.media.files import find_files, find_photos, find_sibling_tracks
from pinpoint.media.manifests.manifest_files import read_manifest
from pinpoint.media.manifests.manifest_rows import ManifestRow
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings
from shared_data import shared_data

SETTINGS = MediaSettings()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("b.jpg", "a/z.JPG", "a/deep/c.heic", ".hidden/x.jpg", "a/.x.jpg", "a/note.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo())
    return root


def names(root: Path, paths: Iterable[Path]) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_find_files_returns_sorted_paths(tree: Path) -> None:
    assert names(tree, find_files(tree)) == ["a/deep/c.heic", "a/note.txt", "a/z.JPG", "b.jpg"]
    assert names(tree, find_photos(tree)) == ["a/deep/c.heic", "a/z.JPG", "b.jpg"]
    with pytest.raises(NotADirectoryError):
        list(find_files(tree / "b.jpg"))


def test_find_photos_links_outside_root_are_skipped(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(photo())
    (tree / "out.jpg").symlink_to(tmp_path / "secret.jpg")
    (tree / "in.jpg").symlink_to(tree / "b.jpg")
    (tree / "loop").symlink_to(tree)
    (tree / "gone.jpg").symlink_to(tree / "nothing")
    os.mkfifo(tree / "fifo.jpg")
    paths = names(tree, find_photos(tree))
    assert paths == ["a/deep/c.heic", "a/z.JPG", "b.jpg", "in.jpg"]


def test_find_sibling_tracks_prefers_same_stem(tree: Path) -> None:
    (tree / "a" / "day.gpx").write_bytes(gpx())
    track_of = find_sibling_tracks(tree)
    assert track_of(tree / "a" / "z.JPG") == tree / "a" / "day.gpx"
    assert track_of(tree / "b.jpg") is None
    (tree / "a" / "z.gpx").write_bytes(gpx())
    track_of = find_sibling_tracks(tree)
    assert track_of(tree / "a" / "z.JPG") == tree / "a" / "z.gpx"
    assert track_of(tree / "a" / "other.jpg") == tree / "a"


def read_rows(
    path: Path, text: str, settings: MediaSettings = SETTINGS
) -> list[ManifestRow | Rejected]:
    path.write_text(text, encoding="utf-8")
    return list(read_manifest(path, settings))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_read_manifest_csv_with_all_columns_gives_all_fields(tree: Path, delimiter: str) -> None:
    head = (
        "File,lat,lng,Heading,captured_at,sequence,creator,license,panorama,altitude,id,floor,x y"
    )
    line = "a/z.JPG,1.5,-2.5,-90,2020-02-03T12:00:00+02:00,s,Anna,CC0,p,12.5,007,3,\u00fc"
    text = "\ufeff" + f"{head}\n{line}\n\n".replace(",", delimiter)
    (row,) = read_rows(tree / "m.csv", text)
    assert isinstance(row, ManifestRow)
    assert (row.external_id, row.name, row.file) == ("007", "a/z.JPG", tree.resolve() / "a/z.JPG")
    metadata_override = row.metadata_override
    assert (
        metadata_override.lat,
        metadata_override.lon,
        metadata_override.heading_deg,
        metadata_override.altitude_m,
    ) == (1.5, -2.5, 270.0, 12.5)
    assert metadata_override.captured_at == datetime(2020, 2, 3, 10, tzinfo=UTC)
    assert (
        metadata_override.sequence,
        metadata_override.creator,
        metadata_override.license,
        metadata_override.panorama_id,
    ) == (
        "s",
        "Anna",
        "CC0",
        "p",
    )
    assert metadata_override.attributes == {"floor": "3", "x y": "\u00fc"}
    assert metadata_override.position_source == "manifest"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ("b.jpg,91,2,", "out_of_range"),
        ("b.jpg,122.03,37.4,", "out_of_range"),
        ("b.jpg,1,181,", "out_of_range"),
        ("b.jpg,1,,", "incomplete_position"),
        ("b.jpg,0,0,", "null_island"),
        ("b.jpg,north,2,", "bad_row"),
        ("b.jpg,nan,2,", "bad_row"),
        ("b.jpg,1,2,yesterday", "bad_row"),
        (",1,2,", "bad_row"),
        ("b.jpg,1,2,,more,cells", "bad_row"),
        ("none.jpg,1,2,", "missing_file"),
        ("a,1,2,", "missing_file"),
        ("../root2/b.jpg,1,2,", "outside_root"),
        ("/etc/hostname,1,2,", "outside_root"),
        ("a/../../secret.jpg,1,2,", "outside_root"),
        ("link.jpg,1,2,", "outside_root"),
    ],
)
def test_read_manifest_bad_row_is_rejected_and_next_row_read(
    tree: Path, tmp_path: Path, cells: str, reason: str
) -> None:
    (tmp_path / "secret.jpg").write_bytes(photo())
    (tree / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    text = f"file,lat,lon,captured_at\n{cells}\nb.jpg,1,2,\n"
    bad, good = read_rows(tree / "m.csv", text)
    assert isinstance(bad, Rejected)
    assert (bad.error_stage, bad.error_code) == ("find", reason)
    assert bad.file
    assert isinstance(good, ManifestRow)


def test_read_manifest_path_spellings_give_one_external_id(tree: Path) -> None:
    manifest_rows = read_rows(tree / "m.csv", "file\nb.jpg\n./b.jpg\na/../b.jpg\na\\z.JPG\n")
    ids = [row.external_id for row in manifest_rows if isinstance(row, ManifestRow)]
    assert ids == ["b.jpg", "b.jpg", "b.jpg", "a/z.JPG"]


def test_read_manifest_unreadable_file_raises(tree: Path) -> None:
    with pytest.raises(BadManifestError, match=r"columns are picture, lat; wanted is `file`"):
        read_rows(tree / "m.csv", "picture,lat\nb.jpg,1\n")
    with pytest.raises(BadManifestError, match="twice"):
        read_rows(tree / "m.csv", "file,lat,latitude\nb.jpg,1,1\n")
    with pytest.raises(BadManifestError, match="nothing"):
        read_rows(tree / "m.csv", "")
    with pytest.raises(BadManifestError, match="no manifest"):
        list(read_manifest(tree / "gone.csv", SETTINGS))
    (tree / "m.csv").write_bytes(b"file\n\xff\xfe\n")
    with pytest.raises(BadManifestError, match="UTF-8"):
        list(read_manifest(tree / "m.csv", SETTINGS))
    (tree / "m.csv").write_bytes("file,lat,lon\nb.jpg,1,2\n".encode("utf-16"))
    with pytest.raises(BadManifestError, match="save it as UTF-8"):
        list(read_manifest(tree / "m.csv", SETTINGS))
    for text in ("{", "[]", '{"type": "Feature"}'):
        with pytest.raises(BadManifestError):
            read_rows(tree / "m.geojson", text)
    with pytest.raises(TooLargeError, match="PINPOINT_MEDIA_MAX_MANIFEST_ROWS"):
        read_rows(tree / "m.csv", "file\n" + "b.jpg\n" * 5, MediaSettings(max_manifest_rows=3))


def test_read_manifest_fatal_error_is_raised_before_first_row(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinpoint.media.manifests.delimited_tables.MAX_LINE_BYTES", 2_000_000)
    (tree / "m.csv").write_bytes(b"file\nb.jpg\n" + b"x" * 4_000_000)
    with pytest.raises(TooLargeError, match="a line of over"):
        next(read_manifest(tree / "m.csv", SETTINGS))
    for end in (b"\xff\n", b"\xe2\x82"):
        (tree / "m.csv").write_bytes(b"file\nb.jpg\n" + end)
        with pytest.raises(BadManifestError, match="not UTF-8"):
            next(read_manifest(tree / "m.csv", SETTINGS))
    few = MediaSettings(max_manifest_rows=3)
    (tree / "m.csv").write_bytes(b"file\r" + b"b.jpg\r" * 5)
    with pytest.raises(TooLargeError, match="MAX_MANIFEST_ROWS"):
        next(read_manifest(tree / "m.csv", few))
    features = [feature([1, 2], file="b.jpg")] * 4
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (tree / "m.geojson").write_text(text)
    with pytest.raises(TooLargeError, match="MAX_MANIFEST_ROWS"):
        next(read_manifest(tree / "m.geojson", few))


def test_read_manifest_too_long_cell_rejects_its_row(tree: Path) -> None:
    text = f"file,note\nb.jpg,1\nb.jpg,{'x' * 140_000}\nb.jpg,2\n"
    first, long, last = read_rows(tree / "m.csv", text)
    assert isinstance(first, ManifestRow)
    assert isinstance(long, Rejected)
    assert (long.error_stage, long.error_code) == ("find", "bad_row")
    assert isinstance(last, ManifestRow)
    assert last.metadata_override.attributes == {"note": "2"}


def feature(coordinates: object, **properties: object) -> dict[str, object]:
    geometry = {"type": "Point", "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def test_read_manifest_geojson_reads_points_and_rejects_other_features(tree: Path) -> None:
    features = [
        feature([-2.5, 1.5, 9.0], file="b.jpg", heading=10, floor=3, tags=["a"], id=5),
        feature([1.5, 122.0], file="b.jpg"),
        feature([-2.5], file="b.jpg"),
        {"type": "Feature", "geometry": None, "properties": {"file": "b.jpg"}},
        {"type": "Feature", "geometry": {"type": "LineString"}, "properties": {"file": "b.jpg"}},
        "nonsense",
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features})
    good, swapped, short, bare, line, nonsense = read_rows(tree / "m.geojson", text)
    assert isinstance(good, ManifestRow)
    assert (
        good.metadata_override.lat,
        good.metadata_override.lon,
        good.metadata_override.altitude_m,
    ) == (1.5, -2.5, 9.0)
    assert (good.external_id, good.metadata_override.heading_deg) == ("5", 10.0)
    assert good.metadata_override.attributes == {"floor": 3, "tags": '["a"]'}
    assert isinstance(bare, ManifestRow)
    assert bare.metadata_override.lat is None
    bad = [row.error_code for row in (swapped, short, line, nonsense) if isinstance(row, Rejected)]
    assert bad == ["out_of_range", "bad_row", "bad_row", "bad_row"]


def test_read_manifest_panoramax_reads_all_rows() -> None:
    manifest_rows = list(
        read_manifest(shared_data() / "street" / "panoramax" / "manifest.csv", SETTINGS)
    )
    assert len(manifest_rows) == 204
    assert all(isinstance(row, ManifestRow) for row in manifest_rows)
    assert (
        len(
            {
                row.metadata_override.panorama_id
                for row in manifest_rows
                if isinstance(row, ManifestRow)
            }
        )
        == 51
    )
