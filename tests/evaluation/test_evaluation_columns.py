"""Column mappings: expressions, mapping files, and which form of a table fits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pinpoint.errors import BadManifest
from pinpoint.evaluation.columns import PLAIN, bind, check_columns, layout_of, load_columns
from pinpoint.settings import MediaSettings

PLACES = {"file": "IMG", "latitude": "LAT", "longitude": "LON"}


def test_names_numbers_templates_and_constants() -> None:
    columns = {
        "file": "{id}_{part}.jpg",
        "latitude": "LAT",
        "longitude": "lon",
        "kind": "=street",
        "strata.size": "size",
    }
    layout = bind(columns, ["id", "part", "LAT", "lon", "size", "rest"])
    row = [" 7 ", "b", "1.5", "-2", "large"]
    texts = {name: read(row) for name, read in layout.fields.items()}
    assert texts == {"file": "7_b.jpg", "latitude": "1.5", "longitude": "-2", "kind": "street"}
    assert {name: read(row) for name, read in layout.strata.items()} == {"size": "large"}
    assert layout.fields["file"](["7", " "]) == "", "half a name is no name"
    assert layout.fields["longitude"](["7"]) == "", "a short row has nothing there"


def test_a_table_without_a_header_is_read_by_numbers() -> None:
    columns = {"file": "{#1}.jpg", "latitude": "#3", "longitude": "#2", "creator": "#9"}
    layout = bind(columns, ["0", "77", "2.5", "1.5"])
    assert layout.header == ()
    assert [read(["0", "77", "2.5", "1.5"]) for read in layout.fields.values()] == [
        "77.jpg",
        "1.5",
        "2.5",
    ]
    with pytest.raises(BadManifest, match="no column #3 for latitude"):
        bind(columns, ["0", "77", "2.5"])


def test_columns_are_found_by_their_other_names_and_never_guessed() -> None:
    layout = bind(PLAIN, ["Path", "LAT", "lng", "Creator", "note", ""])
    assert set(layout.fields) == {"file", "latitude", "longitude", "creator"}
    assert set(layout.strata) == {"note"}, "every other column"
    with pytest.raises(BadManifest, match="more than one column means latitude: lat, LAT"):
        bind(PLAIN, ["file", "lat", "LAT", "lon"])
    exact = bind(PLAIN, ["file", "latitude", "lat", "lon"])
    assert exact.fields["latitude"](["a", "1", "2", "3"]) == "1"
    with pytest.raises(BadManifest, match="no column longitude for longitude; there are file, lat"):
        bind(PLAIN, ["file", "lat"])
    with pytest.raises(BadManifest, match="no column for latitude, longitude"):
        bind({"file": "file"}, ["file", "lat"])


def test_what_was_asked_for_has_to_be_there(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("file,lat,lon\na.jpg,1,2\n")
    columns = {**PLAIN, "creator": "who"}
    assert "creator" not in layout_of(path, [columns], MediaSettings()).fields
    with pytest.raises(BadManifest, match=r"m\.csv: no column who for creator"):
        layout_of(path, [columns], MediaSettings(), {"creator"})


def test_of_several_forms_the_fullest_fit_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("IMG,WHO,LAT,LON\na.jpg,anna,1,2\n")
    forms = [PLACES, {**PLACES, "creator": "WHO"}, {**PLACES, "latitude": "#8"}]
    assert "creator" in layout_of(path, forms, MediaSettings()).fields
    with pytest.raises(BadManifest, match=r"no column id for file; .* or no column x for file"):
        layout_of(path, [{**PLACES, "file": "id"}, {**PLACES, "file": "x"}], MediaSettings())
    path.write_text("")
    with pytest.raises(BadManifest, match="there are none"):
        layout_of(path, [PLACES], MediaSettings())


def test_mapping_files(tmp_path: Path) -> None:
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
def test_bad_mapping_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(BadManifest, match=message):
        load_columns(path)


def test_other_bad_mappings(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    with pytest.raises(BadManifest, match="cannot be read"):
        load_columns(path)
    path.write_text("[1]")
    with pytest.raises(BadManifest, match="not a table of fields"):
        load_columns(path)
    path.write_text(" " * 1_000_001)
    with pytest.raises(BadManifest, match="larger than 1000000 bytes"):
        load_columns(path)
    for pattern, message in (("(", "not a regular expression"), ("a", "needs exactly one group")):
        columns = check_columns({**PLACES, "creator_pattern": pattern}, "m")
        with pytest.raises(BadManifest, match=message):
            bind(columns, ["IMG", "LAT", "LON"])
