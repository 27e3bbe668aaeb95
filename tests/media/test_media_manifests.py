"""Manifests as other programs write them: names, numbers, positions and times."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from media.pictures import photo
from pinpoint.errors import BadManifestError, BadRequestError
from pinpoint.media.manifests.columns import parse_column_options
from pinpoint.media.manifests.manifest_choice import find_one_manifest
from pinpoint.media.manifests.manifest_files import (
    describe_manifest,
    find_manifests,
    read_manifest,
)
from pinpoint.media.manifests.manifest_rows import ManifestRow
from pinpoint.records import MetadataOverride, ReadOptions, Rejected
from pinpoint.settings import MediaSettings

SETTINGS = MediaSettings()
QUITO = (-0.2202, -78.5123)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("p.jpg", "q.jpg"):
        (tmp_path / name).write_bytes(photo())
    return tmp_path


def read_text(folder: Path, text: str, options: ReadOptions | None = None) -> list[Any]:
    path = folder / "list.csv"
    path.write_text(text, encoding="utf-8")
    return list(read_manifest(path, SETTINGS, options))


def read_override(
    folder: Path, head: str, row: str, options: ReadOptions | None = None
) -> MetadataOverride:
    """The override of a manifest with one good row."""
    (result,) = read_text(folder, f"{head}\n{row}\n", options)
    assert isinstance(result, ManifestRow), result
    return result.metadata_override


def reject(folder: Path, head: str, row: str) -> Rejected:
    (result,) = read_text(folder, f"{head}\n{row}\n")
    assert isinstance(result, Rejected), result
    return result


@pytest.mark.parametrize(
    "head",
    [
        "file,latitude,longitude",
        "FILE,Latitude,Longitude",
        "filename,lat,lng",
        "File Name,GPS Latitude,GPS Longitude",
        "SourceFile,GPSLatitude,GPSLongitude",
        "SourceFile,EXIF:GPSLatitude,EXIF:GPSLongitude",
        "System:FileName,Composite:GPSLatitude,Composite:GPSLongitude",
        "path,lat,long",
        "image,gps_lat,gps_lng",
        "image_path,Latitude (deg),Longitude (deg)",
        "photo,Latitude [°],Longitude [°]",
        "img,latitude_deg,longitude_deg",
        "file-path,decimalLatitude,decimalLongitude",
        "file,lat_wgs84,lon_wgs84",
        '"file","lat","lon"',
        "\ufefffile,lat,lon",
        "filename,MAPLatitude,MAPLongitude",
    ],
)
def test_read_manifest_common_column_names_give_position(folder: Path, head: str) -> None:
    override = read_override(folder, head, "p.jpg,-0.2202,-78.5123")
    assert (override.lat, override.lon) == QUITO
    assert override.attributes == {}


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_read_manifest_decimal_comma_with_other_delimiter_is_read(
    folder: Path, delimiter: str
) -> None:
    head = "file,lat,lon,heading,altitude".replace(",", delimiter)
    row = delimiter.join(["p.jpg", "-0,2202", "-78,5123", "271,5", "2850,25"])
    override = read_override(folder, head, row)
    assert (override.lat, override.lon) == QUITO
    assert (override.heading_deg, override.altitude_m) == (271.5, 2850.25)


def test_read_manifest_quoted_decimal_comma_is_read(folder: Path) -> None:
    override = read_override(folder, "file,lat,lon", 'p.jpg,"-0,2202","-78,5123"')
    assert (override.lat, override.lon) == QUITO
    # Unquoted, the row has two cells too many and is rejected.
    assert reject(folder, "file,lat,lon", "p.jpg,-0,2202,-78,5123").error_code == "bad_row"
    # With comma as delimiter, a comma in a number may separate thousands.
    assert reject(folder, "file,altitude", 'p.jpg,"1,234"').error_code == "bad_row"


@pytest.mark.parametrize(
    "before",
    ["sep=;\n", "SEP=;\r\n", '"sep=;"\n', "\n\n", "  \n", "\n sep=;\n\n", "\ufeffsep=;\n", ";;\n"],
)
def test_read_manifest_lines_before_header_are_skipped(folder: Path, before: str) -> None:
    rows = read_text(folder, f"{before}file;lat;lon\np.jpg;-0,2202;-78,5123\nq.jpg;99;1\n")
    assert isinstance(rows[0], ManifestRow)
    assert (rows[0].metadata_override.lat, rows[0].metadata_override.lon) == QUITO
    assert rows[1].error_code == "out_of_range"


def test_read_manifest_sep_line_sets_delimiter(folder: Path) -> None:
    rows = read_text(folder, 'sep=|\nfile|lat|lon|"a,b,c,d,e"\np.jpg|-0.2202|-78.5123|x,y\n')
    assert rows[0].metadata_override.attributes == {"a,b,c,d,e": "x,y"}


def test_read_manifest_delimiters_inside_names_are_ignored(folder: Path) -> None:
    override = read_override(folder, 'file;lat;lon;"a, b, c, d, e"', "p.jpg;-0,2202;-78,5123;f")
    assert (override.lat, override.lon) == QUITO


def test_read_manifest_line_numbers_count_skipped_lines(folder: Path) -> None:
    (bad,) = read_text(folder, "sep=,\n\nfile,lat,lon\np.jpg,1,2,3,4\n")
    assert bad.error_message.startswith("line 4 has 5 cells")


MISSING = ["", " ", "NaN", "nan", "NA", "n/a", "#N/A", "null", "NULL", "None", "\\N", "-", "\u2013"]


@pytest.mark.parametrize("marker", MISSING)
def test_read_manifest_missing_value_markers_are_empty(folder: Path, marker: str) -> None:
    head = "file,lat,lon,heading,altitude,captured_at,creator,sequence,license,panorama,id,note"
    row = ",".join(["p.jpg", "-0.2202", "-78.5123", *[marker] * 8, "x"])
    override = read_override(folder, head, row)
    assert override == MetadataOverride(lat=-0.2202, lon=-78.5123, attributes={"note": "x"})
    # With both coordinates missing the position of the file is used.
    assert read_override(folder, "file,lat,lon", f"p.jpg,{marker},{marker}") == MetadataOverride()


def test_read_manifest_one_missing_coordinate_is_rejected(folder: Path) -> None:
    assert reject(folder, "file,lat,lon", "p.jpg,NaN,2").error_code == "bad_row"
    assert reject(folder, "file,lat,lon", "p.jpg,,2").error_code == "incomplete_position"


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        ("0.2202 S", "78.5123 W"),
        ("S 0.2202", "W 78.5123"),
        ("0.2202S", "78.5123w"),
        ("-0.2202", "\u221278.5123"),
        ("0°13'12.72\"S", "78°30'44.28\"W"),
        ("0 deg 13' 12.72\" S", "78 deg 30' 44.28\" W"),
        ("0 13 12.72 S", "78 30 44.28 W"),
        ("0:13:12.72 South", "78:30:44.28 West"),
        ("0°13,212′ S", "78°30,738′ W"),
        ("-0.2202 S", "-78.5123 W"),
        ("-2.202e-1", "-7.85123E1"),
    ],
)
def test_read_manifest_other_degree_notations_give_position(
    folder: Path, lat: str, lon: str
) -> None:
    override = read_override(
        folder, "file\tlat\tlon", f'p.jpg\t{lat}\t"{lon.replace(chr(34), chr(34) * 2)}"'
    )
    assert (override.lat, override.lon) == pytest.approx(QUITO)


@pytest.mark.parametrize("latitude_ref", ["S", "s", "South"])
def test_read_manifest_hemisphere_columns_set_sign(folder: Path, latitude_ref: str) -> None:
    head = "SourceFile,GPSLatitude,GPSLatitudeRef,GPSLongitude,GPSLongitudeRef"
    for sign in ("", "-"):
        override = read_override(folder, head, f"p.jpg,{sign}0.2202,{latitude_ref},{sign}78.5123,W")
        assert (override.lat, override.lon) == QUITO


@pytest.mark.parametrize(
    "cells",
    [
        "0.2202 N S,78.5",
        "0.2202 E,78.5",
        "-0.2202 N,78.5",
        "0 61 0 S,78.5",
        "0.5 30 S,78.5",
        "48.85 2.35,78.5",
        "1_0,78.5",
        "0x10,78.5",
        "inf,78.5",
        "north,78.5",
        '"48,51N",78.5',
        '"1,234,567",78.5',
        "\u0663,78.5",
    ],
)
def test_read_manifest_ambiguous_coordinates_are_rejected(folder: Path, cells: str) -> None:
    rejected = reject(folder, "file,lat,lon", f"p.jpg,{cells}")
    assert (rejected.error_stage, rejected.error_code) == ("find", "bad_row")
    assert "latitude" in rejected.error_message


def test_read_manifest_contradicting_hemisphere_is_rejected(folder: Path) -> None:
    head = "file,lat,lat_ref,lon"
    for cells in ("-0.2202,N,1", "0.2202,Q,1", "0.2202 N,S,1"):
        assert reject(folder, head, f"p.jpg,{cells}").error_code == "bad_row"


@pytest.mark.parametrize(
    "head",
    [
        "file,x,y",
        "file,X,Y",
        "file,easting,northing",
        "file,position",
        "file,GPSPosition",
        "file,coordinates",
        "file,geom",
        "file,WKT",
        "file,latlon",
        "file,geohash",
        "file,photo_latitude,photo_longitude",
        "file,photoLat,photoLon",
        "file,Latitude (rad),Longitude (rad)",
        "file,latitudeE7,longitudeE7",
        "file,lat,lon_rad",
        "file,coord_x,coord_y",
    ],
)
def test_read_manifest_unknown_position_column_raises_with_name(folder: Path, head: str) -> None:
    name = head.split(",")[-1]
    with pytest.raises(
        BadManifestError, match="look like a position and are not understood"
    ) as caught:
        read_text(folder, f"{head}\np.jpg,1,2\n")
    assert name in caught.value.message
    assert "--column" in caught.value.message


@pytest.mark.parametrize(
    "name", ["local_time", "photo date", "utc_timestamp", "shot", "exifDateTime2", "unix time"]
)
def test_read_manifest_unknown_time_column_raises_with_name(folder: Path, name: str) -> None:
    with pytest.raises(BadManifestError, match=f"look like a time and are not understood: {name}"):
        read_text(folder, f"file,lat,lon,{name}\np.jpg,1,2,3\n")
    # With a time that is understood, it is an attribute.
    head = f"file,lat,lon,captured_at,{name}"
    override = read_override(folder, head, "p.jpg,1,2,2019-11-24T12:00:00Z,3")
    assert override.attributes == {name: "3"}


def test_read_manifest_single_axis_column_raises(folder: Path) -> None:
    with pytest.raises(BadManifestError, match=r"has a latitude \(lat\) but not both"):
        read_text(folder, "file,lat\np.jpg,1\n")


def test_read_manifest_column_options_precede_column_names(folder: Path) -> None:
    columns = parse_column_options(
        ["x=longitude", " y = latitude", "shot=captured_at", "time of day=attribute"]
    )
    options = ReadOptions(columns=columns)
    head, row = "file,x,y,shot,time of day", "p.jpg,-78.5123,-0.2202,2019-11-24T12:00:00Z,noon"
    override = read_override(folder, head, row, options)
    assert (override.lat, override.lon) == QUITO
    assert override.captured_at == datetime(2019, 11, 24, 12, tzinfo=UTC)
    assert override.attributes == {"time of day": "noon"}
    # Column options precede the meaning of a column name.
    swapped = ReadOptions(columns={"lat": "longitude", "lon": "latitude"})
    override = read_override(folder, "file,lat,lon", "p.jpg,-78.5123,-0.2202", swapped)
    assert (override.lat, override.lon) == QUITO


@pytest.mark.parametrize("text", ["x", "x=", "=latitude", "x=nothing"])
def test_parse_column_options_invalid_form_raises(text: str) -> None:
    with pytest.raises(BadRequestError, match="is not NAME=COLUMN"):
        parse_column_options([text])


def test_read_manifest_other_columns_are_attributes(folder: Path) -> None:
    names = ["ExposureTime", "FileModifyDate", "updated_at", "longest_edge", "platform", "Model"]
    override = read_override(folder, ",".join(["file", *names]), "p.jpg,a,b,c,d,e,f")
    assert list(override.attributes) == names


def test_describe_manifest_lists_understood_columns_and_attributes(folder: Path) -> None:
    path = folder / "list.csv"
    path.write_text("SourceFile,GPSLatitude,GPSLongitude,Model,,floor\np.jpg,1,2,a,b,c\n")
    summary = describe_manifest(path, SETTINGS)
    assert summary.understood == {
        "file": "SourceFile",
        "latitude": "GPSLatitude",
        "longitude": "GPSLongitude",
    }
    assert summary.attributes == ("Model", "floor")


def test_read_manifest_without_file_column_raises_with_columns(folder: Path) -> None:
    with pytest.raises(
        BadManifestError, match=r"names no files: its columns are nr, lat, lon; wanted"
    ):
        read_text(folder, "nr,lat,lon\n1,1,2\n")


def test_read_manifest_several_names_uses_preferred(folder: Path) -> None:
    head = "FileName,SourceFile,CreateDate,DateTimeOriginal"
    row = "other.jpg,./p.jpg,2020:01:01 00:00:00,2019:11:24 12:00:00"
    override = read_override(folder, head, row)
    assert override.captured_at == datetime(2019, 11, 24, 12, tzinfo=UTC)
    assert override.attributes == {
        "FileName": "other.jpg",
        "CreateDate": "2020:01:01 00:00:00",
        "time_zone": "assumed_utc",
    }
    with pytest.raises(BadManifestError, match="latitude twice: lat, latitude; choose one with"):
        read_text(folder, "file,lat,latitude,lon\np.jpg,1,1,2\n")


def test_read_manifest_row_offset_precedes_time_zone_option(folder: Path) -> None:
    head, row = "file,DateTimeOriginal,OffsetTimeOriginal", "p.jpg,2019:11:24 12:00:00,-05:00"
    paris = ReadOptions(time_zone="Europe/Paris")
    assert read_override(folder, head, row, paris).captured_at == datetime(
        2019, 11, 24, 17, tzinfo=UTC
    )
    override = read_override(folder, "file,date,time", "p.jpg,2019-11-24,12:00:00", paris)
    assert override.captured_at == datetime(2019, 11, 24, 11, tzinfo=UTC)
    assert override.attributes == {"time_zone": "Europe/Paris"}


def test_read_manifest_exiftool_altitude_text_is_read(folder: Path) -> None:
    for text, altitude_m in (
        ("35.5 m Above Sea Level", 35.5),
        ("3 m Below Sea Level", -3.0),
        ("7 m", 7),
    ):
        assert read_override(folder, "file,GPSAltitude", f"p.jpg,{text}").altitude_m == altitude_m


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_manifest", ["NFC", "NFD"])
def test_read_manifest_unicode_forms_match_file_name(
    tmp_path: Path, on_disk: str, in_manifest: str
) -> None:
    name = "Été à Málaga/Žluťoučký.jpg"
    path = tmp_path / unicodedata.normalize(on_disk, name)
    path.parent.mkdir()
    path.write_bytes(photo())
    (row,) = read_text(tmp_path, f"file\n{unicodedata.normalize(in_manifest, name)}\n")
    assert isinstance(row, ManifestRow)
    assert row.file == path.resolve()
    assert row.external_id == row.name == path.relative_to(tmp_path).as_posix()


def test_read_manifest_both_unicode_forms_on_disk_use_exact_name(tmp_path: Path) -> None:
    names = [unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD")]
    for name in names:
        (tmp_path / name).write_bytes(photo())
    rows = read_text(tmp_path, "\n".join(["file", *names]))
    assert [row.external_id for row in rows] == names


def test_read_manifest_impossible_file_names_are_rejected(folder: Path) -> None:
    names = ["a" * 600, "é" * 200, "a/" * 400 + "b", "p.jpg/x", ".", "..", "./.."]
    rows = read_text(folder, "\n".join(["file", *names]))
    reasons = [row.error_code for row in rows]
    assert reasons == [*["missing_file"] * 5, *["outside_root"] * 2]


def test_read_manifest_unicode_link_outside_root_is_rejected(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.jpg").write_bytes(photo())
    (root / unicodedata.normalize("NFD", "é")).symlink_to(tmp_path / "out")
    (bad,) = read_text(root, f"file\n{unicodedata.normalize('NFC', 'é')}/b.jpg\n")
    assert bad.error_code == "missing_file"


def test_find_manifests_returns_only_tables_with_file_column(folder: Path) -> None:
    (folder / "a.csv").write_text("\n\nsep=;\nImage;Lat;Lon\np.jpg;1;2\n")
    (folder / "cities.csv").write_text("city,lat,lon\nQuito,-0.2,-78.5\n")
    (folder / "broken.geojson").write_text("{")
    (folder / "p.jpg.json").write_text('{"photoTakenTime": {}}')
    (folder / "deep").mkdir()
    (folder / "deep" / "b.csv").write_text("file\nq.jpg\n")
    assert find_manifests(folder) == [folder / "a.csv"]
    assert find_one_manifest(folder) == folder / "a.csv"
    assert find_one_manifest(folder / "deep") == folder / "deep" / "b.csv"
    (folder / "b.tsv").write_text("path\tlat\tlon\n")
    with pytest.raises(BadRequestError, match=r"several manifests: a\.csv, b\.tsv"):
        find_one_manifest(folder)
    with pytest.raises(NotADirectoryError):
        find_manifests(folder / "a.csv")
