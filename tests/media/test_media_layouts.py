"""Layouts of known data sets are recognized by their columns, and their files are found."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from media.pictures import photo
from pinpoint.errors import BadManifestError
from pinpoint.media.manifests.layouts import YFCC_NAMES, find_layout, select_attributes
from pinpoint.media.manifests.manifest_files import describe_manifest, names_files, read_manifest
from pinpoint.media.manifests.manifest_rows import ManifestRow
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings
from shared_data import shared_data

SETTINGS = MediaSettings()

JUNK = (None, 7, -1e308, True, "", "\x00../..", "9" * 2_000, [], [[1]], {}, {"a": {"b": []}})
OSV = (
    "id,latitude,longitude,thumb_original_url,country,sequence,captured_at,lon_bin,lat_bin,cell,"
    "region,sub-region,city,land_cover,road_index,drive_side,climate,soil,dist_sea,"
    "quadtree_10_1000,creator_username,creator_id\n"
    "498231,48.85,2.35,https://x/1.jpg,FR,abc,1577880000000,1,2,3,IDF,Paris,Paris,4,0.5,1,2,3,9,7,"
    "ann,99\n"
)
MP16 = (
    "IMG_ID,AUTHOR,LAT,LON,S3_Label,S16_Label,S365_Label,Prob_indoor,Prob_natural,Prob_urban\n"
    "d6/24/3397818221.jpg,78841376@N00,48.85,2.35,2,12,353,0.2,0.1,0.7\n"
)
FLICKR = (
    "id,owner,ownername,secret,title,datetaken,datetakengranularity,license,latitude,longitude,"
    "accuracy\n"
    "498231,1@N00,ann,abc,Tour,2019-05-01 10:00:00,0,4,48.85,2.35,16\n"
    "498232,1@N00,ann,abd,Tour,2019-05-01 10:00:00,6,0,0,0,0\n"
)
YFCC_CELLS = {
    **dict.fromkeys(YFCC_NAMES, ""),
    "photoid": "498231",
    "uid": "1@N00",
    "unickname": "ann+b",
    "datetaken": "2013-03-29 18:32:45.0",
    "dateuploaded": "1364600000",
    "longitude": "2.35",
    "latitude": "48.85",
    "accuracy": "16",
    "licensename": "Attribution License",
    "secret": "abc",
    "marker": "0",
}
YFCC = "\t".join(YFCC_CELLS.values()) + "\n"
MAPILLARY = [
    {
        "filename": "498231.jpg",
        "filetype": "image",
        "MAPLatitude": 48.85,
        "MAPLongitude": 2.35,
        "MAPAltitude": 35.0,
        "MAPCaptureTime": "2021_02_14_15_42_30_123",
        "MAPCompassHeading": {"TrueHeading": 361.5, "MagneticHeading": 1.0},
        "MAPSequenceUUID": "s1",
        "MAPDeviceMake": "GoPro",
    },
    {"filename": "b.jpg", "error": {"type": "MapillaryGeoTaggingError", "message": "no GPS"}},
    {"filename": "c.mp4", "filetype": "video", "MAPLatitude": 1.0},
]
STAC = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": "0a9e9a6e-0000-4000-8000-000000000001",
            "collection": "seq-1",
            "geometry": {"type": "Point", "coordinates": [2.35, 48.85]},
            "properties": {
                "datetime": "2022-05-13T13:30:09+00:00",
                "view:azimuth": 65,
                "license": "etalab-2.0",
                "original_file:name": "498231.jpg",
                "geovisio:producer": "ann",
                "pers:interior_orientation": {"field_of_view": 70},
            },
            "assets": {"hd": {"href": "https://p/api/pictures/0a/hd.jpg"}},
        },
        {"type": "Feature", "id": "x", "assets": {}, "properties": None},
    ],
}
CASES = {
    "OSV-5M": ("train.csv", OSV, "images/00/498231.jpg"),
    "MP-16": ("mp16.csv", MP16, "d6/24/3397818221.jpg"),
    "Flickr": ("flickr.csv", FLICKR, "photos/498231_abc_b.jpg"),
    "YFCC100M": ("yfcc100m_dataset.tsv", YFCC, "498231.jpg"),
    "Mapillary description": (
        "mapillary_image_description.json",
        json.dumps(MAPILLARY),
        "498231.jpg",
    ),
    "STAC items": ("items.json", json.dumps(STAC), "deep/er/498231.jpg"),
}


def read_case(folder: Path, layout: str) -> list[ManifestRow | Rejected]:
    name, content, file = CASES[layout]
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photo())
    (folder / name).write_text(content)
    return list(read_manifest(folder / name, SETTINGS))


@pytest.mark.parametrize("layout", CASES)
def test_read_manifest_known_layout_finds_file_and_position(tmp_path: Path, layout: str) -> None:
    row = read_case(tmp_path, layout)[0]
    name, _, file = CASES[layout]
    assert isinstance(row, ManifestRow), row
    assert row.name == file
    assert (row.metadata_override.lat, row.metadata_override.lon) == (48.85, 2.35)
    assert row.metadata_override.creator in ("ann", "ann b", "78841376@N00", None)
    assert describe_manifest(tmp_path / name, SETTINGS).layout == layout
    assert names_files(tmp_path / name)


def test_read_manifest_osv_has_license_and_time(tmp_path: Path) -> None:
    (row,) = read_case(tmp_path, "OSV-5M")
    assert isinstance(row, ManifestRow)
    assert row.metadata_override.license == "CC BY-SA 4.0"
    assert str(row.metadata_override.captured_at) == "2020-01-01 12:00:00+00:00"
    assert row.external_id == "498231"
    assert row.metadata_override.attributes["drive_side"] == "1"


def test_read_manifest_export_reads_fields_and_attributes(tmp_path: Path) -> None:
    (tmp_path / "p.jpg").write_bytes(photo())
    uri = (tmp_path / "p.jpg").as_uri()
    head = "id,source_kind,external_id,cubemap_face,panorama_id,lat,lon,heading_deg,position_source"
    (tmp_path / "export.csv").write_text(
        f"{head},sha256,uri,attributes\n"
        f"1,photo,in/a.jpg,,,48.85,2.35,10,exif,aa,{uri},"
        '"{""time_zone"": ""+02:00"", ""n"": 2}"\n'
        f"2,photo,in/p.jpg,front,in/p.jpg,48.85,2.35,90,exif,bb,{uri},\n"
        f"3,photo,in/p.jpg,right,in/p.jpg,48.85,2.35,180,exif,bb,{uri},\n"
    )
    rows = [
        r for r in read_manifest(tmp_path / "export.csv", SETTINGS) if isinstance(r, ManifestRow)
    ]
    assert [row.external_id for row in rows] == ["in/a.jpg", "in/p.jpg", "in/p.jpg"]
    assert rows[0].metadata_override.attributes == {"time_zone": "+02:00", "n": 2}
    assert [row.metadata_override.heading_deg for row in rows] == [10, 90, 90]
    panoramas = [row.metadata_override.panorama_id for row in rows]
    assert panoramas == [None, "in/p.jpg", "in/p.jpg"]


def test_read_manifest_flickr_without_position_keeps_the_file(tmp_path: Path) -> None:
    (tmp_path / "498232_abd.jpg").write_bytes(photo())
    first, second = read_case(tmp_path, "Flickr")
    assert isinstance(first, ManifestRow)
    assert isinstance(second, ManifestRow)
    assert first.metadata_override.license == "CC BY 2.0"
    assert second.metadata_override.license == "All rights reserved"
    assert second.metadata_override.lat is None
    assert second.metadata_override.captured_at is None


def test_read_manifest_mapillary_errors_and_videos_are_rejected(tmp_path: Path) -> None:
    first, error, video = read_case(tmp_path, "Mapillary description")
    assert isinstance(first, ManifestRow)
    assert first.metadata_override.heading_deg == 1.5
    assert str(first.metadata_override.captured_at) == "2021-02-14 15:42:30.123000+00:00"
    assert first.metadata_override.attributes == {"MAPDeviceMake": "GoPro"}
    assert isinstance(error, Rejected)
    assert (error.file, error.error_code) == ("b.jpg", "bad_row")
    assert error.error_message == "entry 2: mapillary_tools reports: no GPS"
    assert isinstance(video, Rejected)
    assert "video" in video.error_message


def test_read_manifest_stac_item_has_producer_and_heading(tmp_path: Path) -> None:
    item, damaged = read_case(tmp_path, "STAC items")
    assert isinstance(item, ManifestRow)
    assert item.metadata_override.creator == "ann"
    assert item.metadata_override.heading_deg == 65
    assert item.metadata_override.sequence == "seq-1"
    assert item.metadata_override.field_of_view_deg == 70
    assert isinstance(damaged, Rejected)
    assert damaged.file == "x"


def test_read_manifest_candidate_with_path_is_not_searched(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "out.jpg").write_bytes(photo())
    (folder / "train.csv").write_text(OSV.replace("498231,", "../out,"))
    (row,) = read_manifest(folder / "train.csv", SETTINGS)
    assert isinstance(row, Rejected)
    assert row.error_code == "missing_file"


def replace_node(document: Any, rng: random.Random) -> Any:
    """The document with one node replaced by a value of another type."""
    path, node = [], document
    while isinstance(node, dict | list) and node and (not path or rng.random() < 0.8):
        key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
        path.append(key)
        node = node[key]
    copy = json.loads(json.dumps(document))
    parent = copy
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = rng.choice(JUNK)
    return copy


@pytest.mark.parametrize("layout", ["Mapillary description", "STAC items"])
def test_read_manifest_mutated_document_is_read_or_refused(tmp_path: Path, layout: str) -> None:
    name, content, _ = CASES[layout]
    (tmp_path / "498231.jpg").write_bytes(photo())
    rng = random.Random(7)
    for _ in range(300):
        document = replace_node(replace_node(json.loads(content), rng), rng)
        (tmp_path / name).write_text(json.dumps(document))
        try:
            rows = list(read_manifest(tmp_path / name, SETTINGS))
        except BadManifestError:
            continue
        assert all(isinstance(row, ManifestRow | Rejected) for row in rows)


def test_read_manifest_real_im2gps_table_is_mp16(tmp_path: Path) -> None:
    table = shared_data() / "labels" / "im2gps3k_places365.csv"
    name = "1000269685_e60e9cdfb4_1125_78841376@N00.jpg"
    (tmp_path / name).write_bytes(photo())
    rows = list(read_manifest(table, SETTINGS, folder=tmp_path))
    assert len(rows) == 2997
    (accepted,) = [row for row in rows if isinstance(row, ManifestRow)]
    assert accepted.metadata_override.creator == "78841376@N00"
    assert accepted.metadata_override.lat == 32.325436
    assert {row.error_code for row in rows if isinstance(row, Rejected)} == {"missing_file"}


@pytest.mark.parametrize(
    ("face", "heading_deg"), [("front", 350.0), ("right", 260.0), ("left", 80.0)]
)
def test_export_row_of_a_face_has_the_heading_of_the_panorama(face, heading_deg):
    head = ["external_id", "source_kind", "position_source", "sha256", "uri"]
    layout = find_layout([*head, "cubemap_face", "heading_deg", "field_of_view_deg"])
    values = {"heading_deg": 350.0, "field_of_view_deg": 90.0}
    layout.convert(values, {"cubemapface": face})
    assert values == {"heading_deg": heading_deg, "field_of_view_deg": None}


@pytest.mark.parametrize(
    ("cell", "attributes"),
    [
        ('{"lanes": 2}', {"lanes": 2}),
        ("{", {"attributes": "{"}),
        (None, {}),
        ("[1]", {"attributes": "[1]"}),
    ],
)
def test_export_row_attributes_are_a_json_object_or_kept_as_text(cell, attributes):
    head = ["external_id", "source_kind", "position_source", "sha256", "uri"]
    selected = select_attributes(find_layout(head), {"attributes": cell, "sha256": "00"})
    assert selected == attributes
