"""Column mappings: expressions, mapping files, and selection of the matching format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinpoint.errors import BadManifestError
from pinpoint.evaluation.labels.columns import (
    DEFAULT_COLUMNS,
    check_columns,
    detect_layout,
    load_columns,
    map_columns,
)
from pinpoint.settings import MediaSettings

PLACES = {"file": "IMG", "latitude": "LAT", "longitude": "LON"}


def test_map_columns_supports_names_indices_templates_and_constants() -> None:
    columns = {
        "file": "{id}_{part}.jpg",
        "latitude": "LAT",
        "longitude": "lon",
        "kind": "=street",
        "strata.size": "size",
    }
    layout = map_columns(columns, ["id", "part", "LAT", "lon", "size", "rest"])
    row = [" 7 ", "b", "1.5", "-2", "large"]
    texts = {name: read(row) for name, read in layout.fields.items()}
    assert texts == {"file": "7_b.jpg", "latitude": "1.5", "longitude": "-2", "kind": "street"}
    assert {name: read(row) for name, read in layout.strata.items()} == {"size": "large"}
    assert layout.fields["file"](["7", " "]) == "", "an incomplete name is empty"
    assert layout.fields["longitude"](["7"]) == "", "a missing cell is empty"


def test_map_columns_without_header_uses_indices() -> None:
    columns = {"file": "{#1}.jpg", "latitude": "#3", "longitude": "#2", "creator": "#9"}
    layout = map_columns(columns, ["0", "77", "2.5", "1.5"])
    assert layout.header == ()
    assert [read(["0", "77", "2.5", "1.5"]) for read in layout.fields.values()] == [
        "77.jpg",
        "1.5",
        "2.5",
    ]
    with pytest.raises(BadManifestError, match="no column #3 for latitude"):
        map_columns(columns, ["0", "77", "2.5"])


def test_map_columns_accepts_synonyms_and_rejects_ambiguity() -> None:
    layout = map_columns(DEFAULT_COLUMNS, ["Path", "LAT", "lng", "Creator", "note", ""])
    assert set(layout.fields) == {"file", "latitude", "longitude", "creator"}
    assert set(layout.strata) == {"note"}, "every other column"
    with pytest.raises(BadManifestError, match="more than one column means latitude: lat, LAT"):
        map_columns(DEFAULT_COLUMNS, ["file", "lat", "LAT", "lon"])
    exact = map_columns(DEFAULT_COLUMNS, ["file", "latitude", "lat", "lon"])
    assert exact.fields["latitude"](["a", "1", "2", "3"]) == "1"
    with pytest.raises(
        BadManifestError, match="no column longitude for longitude; there are file, lat"
    ):
        map_columns(DEFAULT_COLUMNS, ["file", "lat"])
    with pytest.raises(BadManifestError, match="no column for latitude, longitude"):
        map_columns({"file": "file"}, ["file", "lat"])


def test_layout_missing_required_column_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("file,lat,lon\na.jpg,1,2\n")
    columns = {**DEFAULT_COLUMNS, "creator": "who"}
    assert "creator" not in detect_layout(path, [columns], MediaSettings()).fields
    with pytest.raises(BadManifestError, match=r"m\.csv: no column who for creator"):
        detect_layout(path, [columns], MediaSettings(), {"creator"})


def test_layout_with_most_fields_is_used(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("IMG,WHO,LAT,LON\na.jpg,anna,1,2\n")
    forms = [PLACES, {**PLACES, "creator": "WHO"}, {**PLACES, "latitude": "#8"}]
    assert "creator" in detect_layout(path, forms, MediaSettings()).fields
    with pytest.raises(
        BadManifestError, match=r"no column id for file; .* or no column x for file"
    ):
        detect_layout(path, [{**PLACES, "file": "id"}, {**PLACES, "file": "x"}], MediaSettings())
    path.write_text("")
    with pytest.raises(BadManifestError, match="there are none"):
        detect_layout(path, [PLACES], MediaSettings())


def test_load_columns_reads_toml_and_json(tmp_path: Path) -> None:
    toml, plain = tmp_path / "m.toml", tmp_path / "m.json"
    toml.write_text(
        'file = "IMG"\nlatitude = "LAT"\nlongitude = "LON"\ndelimiter = "\\t"\n'
        "creator_pattern = '_(.+)\\.jpg$'\n[strata]\nscene = \"S3\"\n"
    )
    expected = {
        **PLACES,
        "delimiter": "\t",
        "creator_pattern": r"_(.+)\.jpg$",
        "strata.scene": "S3",
    }
    assert load_columns(toml) == expected
    plain.write_text("\ufeff" + json.dumps({**PLACES, "strata": "*"}), encoding="utf-8")
    assert load_columns(plain) == {**PLACES, "strata": "*"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file = ", "cannot be read"),
        ('lattitude = "LAT"', "'lattitude', which is not a field; allowed are file, latitude"),
        ("latitude = 3", "latitude must be the name of a column"),
        ('latitude = ""', "latitude must be the name of a column"),
        ('delimiter = "::"', "the delimiter must be one character"),
    ],
)
def test_load_columns_invalid_file_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(BadManifestError, match=message):
        load_columns(path)


def test_mapping_with_invalid_content_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    with pytest.raises(BadManifestError, match="cannot be read"):
        load_columns(path)
    path.write_text("[1]")
    with pytest.raises(BadManifestError, match="not a table of fields"):
        load_columns(path)
    path.write_text(" " * 1_000_001)
    with pytest.raises(BadManifestError, match="larger than 1000000 bytes"):
        load_columns(path)
    for pattern, message in (("(", "not a regular expression"), ("a", "needs exactly one group")):
        columns = check_columns({**PLACES, "creator_pattern": pattern}, "m")
        with pytest.raises(BadManifestError, match=message):
            map_columns(columns, ["IMG", "LAT", "LON"])
