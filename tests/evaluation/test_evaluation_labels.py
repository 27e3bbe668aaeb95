"""Reading labels: protocols, custom tables, strata and descriptions."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from evaluation.tables import custom, everywhere, read, truths, write
from pinpoint.errors import BadManifestError, TooLargeError
from pinpoint.evaluation.labels.columns import AREA_LEVELS, load_columns
from pinpoint.evaluation.labels.describe import describe_labels
from pinpoint.evaluation.labels.labels import (
    DROP_REASONS,
    MAX_STRATUM_VALUES,
    find_missing_query_files,
    read_labels,
)
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.media.checks import REASONS
from pinpoint.metrics.conventions import CONVENTIONS
from pinpoint.settings import MediaSettings


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocol_is_complete(name: str) -> None:
    protocol = PROTOCOLS[name]
    assert protocol.name == name
    assert protocol.convention in CONVENTIONS
    assert set(protocol.areas) <= set(AREA_LEVELS)
    assert bool(protocol.areas) == bool(protocol.area_label_format)
    assert protocol.title
    assert protocol.label_format
    assert protocol.license
    if protocol.num_labels is not None:
        assert protocol.num_released_images is not None
        assert protocol.num_labels <= protocol.num_released_images


def test_drop_reasons_are_media_reasons_and_three_more() -> None:
    ours = {"duplicate", "contradiction", "unreadable_image"}
    assert set(DROP_REASONS) - ours <= set(REASONS)


def test_read_labels_custom_table(tmp_path: Path) -> None:
    labeled = custom(
        tmp_path,
        "file,lat,lon,creator,sequence,kind,country,city,weather",
        ("a b.jpg", 1.5, 120.25, "Anna", "s1", "street", "ID", "", "sun"),
        ("c.jpg", -1.5, 120.25, "", "NA", "", "", "X_Y_Z_ID", "n/a"),
    )
    first, second = labeled.queries
    assert (first.file, first.ground_truth.lat, first.ground_truth.lon) == ("a b.jpg", 1.5, 120.25)
    assert (first.creator, first.sequence, first.query_kind) == ("Anna", "s1", "street")
    assert first.areas == {"country": "ID", "region": None, "sub_region": None, "city": None}
    assert first.strata == {"weather": "sun"}
    assert (second.creator, second.sequence, second.query_kind, second.strata) == (
        None,
        None,
        None,
        {},
    )
    assert second.areas["city"] == "X_Y_Z_ID"


def test_read_labels_with_column_mapping(tmp_path: Path) -> None:
    rows = [(7, "front", 1.5, 120.25, "Anna", "dry"), (8, "back", 2.5, 121.25, "Ben", "wet")]
    path = write(tmp_path / "data.csv", "nr,side,Y,X,by,road", rows, ";")
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        'file = "{nr}/{side}.png"\nlatitude = "Y"\nlongitude = "X"\ncreator = "by"\n'
        'kind = "=street"\n[strata]\nsurface = "road"\n'
    )
    labeled = read("custom", path, dict(load_columns(mapping)))
    assert truths(labeled) == [("7/front.png", 1.5, 120.25), ("8/back.png", 2.5, 121.25)]
    first = labeled.queries[0]
    assert (first.creator, first.query_kind, first.strata) == ("Anna", "street", {"surface": "dry"})


def test_read_labels_mapping_overrides_protocol_columns(tmp_path: Path) -> None:
    path = write(tmp_path / "m.csv", "name,AUTHOR,LAT,LON", [("a.jpg", "anna", 1.5, 120.5)])
    (question,) = read("im2gps", path, {"file": "name"}).queries
    assert (question.file, question.creator, question.query_kind) == ("a.jpg", "anna", "photo")
    with pytest.raises(BadManifestError, match="no column who for creator"):
        read("im2gps", path, {"file": "name", "creator": "who"})
    with pytest.raises(BadManifestError, match="which is not a field"):
        read("im2gps", path, {"name": "file"})


def test_read_labels_of_planet_by_folder_or_file(tmp_path: Path) -> None:
    (tmp_path / "queries").mkdir()
    rows = [("images/a.jpg", 1.5, 120.5, "p1", "", "photo", "ID", "open", "true", "tropical")]
    rows += [("images/b.jpg", 48.5, 2.5, "p2", "s", "street", "FR", "closed", "false", "mild")]
    head = "file,latitude,longitude,creator,sequence,kind,country,setting,covered,region"
    path = write(tmp_path / "queries" / "labels.csv", head, rows)
    labeled = read("synthetic", tmp_path)
    assert labeled.queries == read("synthetic", path).queries
    first, second = labeled.queries
    assert first.strata == {"setting": "open", "covered": "true", "region": "tropical"}
    assert second.areas == {"country": "FR"}
    assert [q.query_kind for q in labeled.queries] == ["photo", "street"]


def test_read_labels_column_with_many_values_is_not_a_stratum(tmp_path: Path) -> None:
    number = MAX_STRATUM_VALUES + 1
    rows = [(f"{n}.jpg", 1, 120, n, n % MAX_STRATUM_VALUES) for n in range(number)]
    labeled = custom(tmp_path, "file,latitude,longitude,time,hour", *rows)
    assert {name for q in labeled.queries for name in q.strata} == {"hour"}
    assert labeled.notes[-1] == "not used as strata (more than 40 distinct values): time"


def test_missing_lists_absent_image_files(tmp_path: Path) -> None:
    rows = [(name, 1, 120) for name in ("a.jpg", "b/c.jpg", "folder", "gone.jpg")]
    labeled = custom(tmp_path, "file,latitude,longitude", *rows)
    images = tmp_path / "images"
    (images / "b").mkdir(parents=True)
    (images / "folder").mkdir()
    for name in ("a.jpg", "b/c.jpg"):
        (images / name).write_bytes(b"x")
    assert find_missing_query_files(labeled, images) == ("folder", "gone.jpg")
    assert find_missing_query_files(labeled, tmp_path / "nowhere") == (
        "a.jpg",
        "b/c.jpg",
        "folder",
        "gone.jpg",
    )


def test_read_labels_unreadable_input_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(
        BadManifestError, match=r"no labels at .*gone\.csv; expected: CSV with file"
    ):
        read("custom", tmp_path / "gone.csv")
    with pytest.raises(BadManifestError, match=r"no labels at .*labels\.csv"):
        read("synthetic", tmp_path)
    with pytest.raises(BadManifestError, match="no labels at"):
        read("custom", tmp_path)
    with pytest.raises(BadManifestError, match="contains no labels"):
        read("im2gps3k", tmp_path)
    with pytest.raises(BadManifestError, match="contains no labels"):
        custom(tmp_path, "file,latitude,longitude")
    with pytest.raises(
        BadManifestError, match="no column longitude for longitude; there are file, lat"
    ):
        custom(tmp_path, "file,lat", ("a.jpg", 1))
    (tmp_path / "binary.csv").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff")
    with pytest.raises(BadManifestError, match="not UTF-8"):
        read("custom", tmp_path / "binary.csv")
    path = write(tmp_path / "m.csv", "file,lat,lon", [("a.jpg", 1, 2)] * 5)
    with pytest.raises(TooLargeError, match="more than 3 rows"):
        read_labels(PROTOCOLS["custom"], path, limits=MediaSettings(max_manifest_rows=3))


def test_read_labels_hostile_rows_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    long = "x" * 140_000
    path.write_text(f"file,lat,lon,note\na.jpg,1,120,{long}\nb\x00.jpg,1,120,\n{'n' * 1001},1,2,\n")
    labeled = read("custom", path)
    assert labeled.queries == ()
    assert labeled.dropped == {"bad_name": 1, "bad_row": 2}
    assert describe_labels(labeled)["latitude_deg"] is None


def test_describe_equals_loop(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    spots = everywhere(30)
    rows = []
    for n in range(200):
        lat, lon = spots[rng.integers(30)] if n % 2 else everywhere(1, seed=n + 100)[0]
        creator = f"c{rng.integers(9)}" if n % 5 else ""
        rows.append(
            (f"{n}.jpg", lat, lon, creator, ["photo", "street"][n % 2], ["FR", ""][n % 3 > 1])
        )
    path = write(tmp_path / "m.csv", "file,latitude,longitude,creator,kind,country", rows)
    description = describe_labels(read("custom", path))
    assert json.loads(json.dumps(description)) == description, "ready for JSON"
    sharing = most = 0
    for _, lat, lon, *_ in rows:
        same = sum((lat, lon) == (row[1], row[2]) for row in rows)
        sharing += same > 1
        most = max(most, same)
    assert description["coordinates"] == {
        "different": len({row[1:3] for row in rows}),
        "photos_sharing": sharing,
        "share_sharing": sharing / 200,
        "most_at_one": most,
    }
    named = Counter(row[3] for row in rows if row[3])
    assert description["creators"] == {
        "number": len(named),
        "largest": max(named.values()),
        "unknown": sum(not row[3] for row in rows),
    }
    assert description["latitude_deg"] == [min(row[1] for row in rows), max(row[1] for row in rows)]
    assert description["longitude_deg"] == [
        min(row[2] for row in rows),
        max(row[2] for row in rows),
    ]
    assert description["query_kinds"] == {"photo": 100, "street": 100}
    labeled = sum(bool(row[5]) for row in rows)
    assert description["areas"]["country"] == {
        "as_released": 200,
        "labeled": labeled,
        "different": 1,
    }
    assert (description["rows"], description["queries"], description["dropped"]) == (200, 200, {})
