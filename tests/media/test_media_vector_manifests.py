"""Manifests as GeoParquet, GeoPackage, FlatGeobuf, Shapefile and GeoJSON with any CRS."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pyarrow as pa
import pytest
import shapely
from pyarrow import parquet

from media.pictures import photo
from media.vector_manifest_files import (
    POSITIONS,
    project,
    write_geoparquet,
    write_native_geometry,
    write_vector_file,
)
from pinpoint.errors import BadManifestError, TooLargeError
from pinpoint.media.manifests.manifest_files import describe_manifest, find_manifests, read_manifest
from pinpoint.media.manifests.manifest_rows import ManifestRow
from pinpoint.media.vector_files import vector_rows
from pinpoint.records import Rejected
from pinpoint.settings import MediaSettings
from shared_data import shared_data

SETTINGS = MediaSettings()
LAMBERT, WEB_MERCATOR, RGF93 = "EPSG:2154", "EPSG:3857", "EPSG:4171"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in POSITIONS:
        (tmp_path / name).write_bytes(photo())
    return tmp_path


def read_positions(manifest: Path) -> dict[str, tuple[float, float]]:
    rows = list(read_manifest(manifest, SETTINGS))
    assert all(isinstance(row, ManifestRow) for row in rows), rows
    return {
        row.name: (row.metadata_override.lat, row.metadata_override.lon)
        for row in rows
        if isinstance(row, ManifestRow)
        and row.metadata_override.lat is not None
        and row.metadata_override.lon is not None
    }


def check_positions(manifest: Path, tolerance_deg: float = 1e-7) -> None:
    positions = read_positions(manifest)
    assert set(positions) == set(POSITIONS)
    for name, position in POSITIONS.items():
        assert positions[name] == pytest.approx(position, abs=tolerance_deg)


@pytest.mark.parametrize(
    ("suffix", "crs"),
    [
        (".parquet", LAMBERT),
        (".gpkg", WEB_MERCATOR),
        (".fgb", RGF93),
        (".shp", LAMBERT),
        (".gpkg", "EPSG:4326"),
    ],
)
def test_read_manifest_declared_crs_is_transformed_to_wgs84(
    folder: Path, suffix: str, crs: str
) -> None:
    check_positions(write_vector_file(folder / f"list{suffix}", crs))


@pytest.mark.parametrize("name", ["EPSG:2154", "urn:ogc:def:crs:EPSG::2154", "epsg:4326"])
def test_read_manifest_geojson_crs_member_is_transformed(folder: Path, name: str) -> None:
    crs = None if name == "epsg:4326" else LAMBERT
    features = [
        {
            "type": "Feature",
            "properties": {"file": file},
            "geometry": {"type": "Point", "coordinates": project(crs, lat, lon)},
        }
        for file, (lat, lon) in POSITIONS.items()
    ]
    document = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": name}},
        "features": features,
    }
    path = folder / "list.geojson"
    path.write_text(json.dumps(document))
    check_positions(path)


def test_read_manifest_geojson_lines_are_wgs84(folder: Path) -> None:
    lines = [
        "\x1e"
        + json.dumps(
            {
                "type": "Feature",
                "properties": {"file": file, "sequence": "s"},
                "geometry": {"type": "Point", "coordinates": [lon, lat]},
            }
        )
        for file, (lat, lon) in POSITIONS.items()
    ]
    path = folder / "list.geojsonl"
    path.write_text("\n".join([*lines, "", "{not json"]))
    *rows, damaged = read_manifest(path, SETTINGS)
    assert [r.metadata_override.sequence for r in rows if isinstance(r, ManifestRow)] == ["s", "s"]
    assert isinstance(damaged, Rejected)
    assert damaged.error_message.startswith("feature 3: ")


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize("suffix", [".parquet", ".gpkg", ".shp"])
def test_read_manifest_without_crs_is_refused(folder: Path, suffix: str) -> None:
    path = write_vector_file(folder / f"list{suffix}", None)
    with pytest.raises(BadManifestError, match="coordinate reference system"):
        list(read_manifest(path, SETTINGS))


def test_read_manifest_geoparquet_without_crs_member_is_crs84(folder: Path) -> None:
    points = [shapely.Point(lon, lat) for lat, lon in POSITIONS.values()]
    path = write_geoparquet(folder / "list.parquet", None, points, {"file": list(POSITIONS)})
    table = parquet.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    del geo["columns"]["geom"]["crs"]
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    check_positions(path)


def test_read_manifest_parquet_without_geometry_reads_columns(folder: Path) -> None:
    table = pa.table(
        {
            "file": list(POSITIONS),
            "lat": [lat for lat, _ in POSITIONS.values()],
            "lon": [lon for _, lon in POSITIONS.values()],
            "captured_at": pa.array([1_717_243_200_000] * 2, pa.timestamp("ms", tz="UTC")),
            "tags": [["a", "b"], []],
            "raw": [b"\x00", b"\x01"],
        }
    )
    parquet.write_table(table, folder / "list.parquet")
    row, _ = read_manifest(folder / "list.parquet", SETTINGS)
    assert isinstance(row, ManifestRow)
    assert (row.metadata_override.lat, row.metadata_override.lon) == POSITIONS["a.jpg"]
    assert str(row.metadata_override.captured_at) == "2024-06-01 12:00:00+00:00"
    assert row.metadata_override.attributes == {"tags": '["a", "b"]'}


def test_read_manifest_parquet_with_native_geometry_is_read(folder: Path) -> None:
    # GeoParquet 2.0: the reference system is in the logical type of the column.
    check_positions(write_native_geometry(folder / "list.parquet", LAMBERT))


def test_read_manifest_real_panoramax_table_as_layer_gives_the_same_positions(
    tmp_path: Path,
) -> None:
    street = shared_data() / "street" / "panoramax"
    rows = [
        row
        for row in read_manifest(street / "manifest.csv", SETTINGS)
        if isinstance(row, ManifestRow)
    ]
    assert len(rows) == 204
    overrides = [row.metadata_override for row in rows]
    path = write_vector_file(
        tmp_path / "list.gpkg",
        LAMBERT,
        geometries=[shapely.Point(project(LAMBERT, o.lat or 0.0, o.lon or 0.0)) for o in overrides],
        columns={
            "file": [row.name for row in rows],
            "heading_deg": [o.heading_deg for o in overrides],
            "sequence": [o.sequence for o in overrides],
        },
    )
    again = [r for r in read_manifest(path, SETTINGS, folder=street) if isinstance(r, ManifestRow)]
    assert [row.file for row in again] == [row.file for row in rows]
    for row, override in zip(again, overrides, strict=True):
        moved = row.metadata_override
        assert (moved.heading_deg, moved.sequence) == (override.heading_deg, override.sequence)
        assert moved.lat == pytest.approx(override.lat, abs=1e-8)
        assert moved.lon == pytest.approx(override.lon, abs=1e-8)


def test_read_manifest_shapefile_cut_names_are_read(folder: Path) -> None:
    path = write_vector_file(
        folder / "list.shp",
        LAMBERT,
        columns={
            "file": list(POSITIONS),
            "heading_de": [90.5, 0.5],
            "captured_a": ["2024-06-01T12:00:00Z", "2024-06-01T12:00:01Z"],
        },
    )
    row, _ = read_manifest(path, SETTINGS)
    assert isinstance(row, ManifestRow)
    assert row.metadata_override.heading_deg == 90.5
    assert str(row.metadata_override.captured_at) == "2024-06-01 12:00:00+00:00"


def test_read_manifest_other_geometries_cost_their_rows(folder: Path) -> None:
    geometries = [
        shapely.LineString([(0, 0), (1, 1)]),
        shapely.MultiPoint([(2.0, 48.0)]),
        shapely.MultiPoint([(2.0, 48.0), (3.0, 48.0)]),
        shapely.Point(1e30, 1e30),
        shapely.Polygon([(0, 0), (1, 1), (1, 0)]),
    ]
    columns = {"file": ["a.jpg"] * len(geometries)}
    path = write_vector_file(
        folder / "list.fgb", WEB_MERCATOR, geometries=geometries, columns=columns
    )
    rows = list(read_manifest(path, SETTINGS))
    messages = " | ".join(row.error_message for row in rows if isinstance(row, Rejected))
    assert sum(isinstance(row, ManifestRow) for row in rows) == 1
    for part in ("LineString; a Point", "MultiPoint of several", "Polygon; a Point", "outside of"):
        assert part in messages


def test_read_manifest_names_outside_of_folder_are_rejected(folder: Path) -> None:
    names = ["../secret.jpg", "/etc/passwd", "file:///etc/passwd", "file://other/a.jpg", "c.jpg"]
    geometries = [shapely.Point(2.0, 48.0)] * len(names)
    path = write_vector_file(
        folder / "list.gpkg", "EPSG:4326", geometries=geometries, columns={"file": names}
    )
    codes = [row.error_code for row in read_manifest(path, SETTINGS) if isinstance(row, Rejected)]
    assert codes == ["outside_root"] * 4 + ["missing_file"]


def test_read_manifest_file_uri_below_folder_is_read(folder: Path) -> None:
    uris = [(folder / name).as_uri() for name in POSITIONS]
    columns = {"uri": uris, "id": ["1", "2"], "external_id": ["x/a", "x/b"]}
    path = write_vector_file(folder / "list.fgb", LAMBERT, columns=columns)
    rows = [row for row in read_manifest(path, SETTINGS) if isinstance(row, ManifestRow)]
    assert {(row.external_id, row.name) for row in rows} == {("x/a", "a.jpg"), ("x/b", "b.jpg")}


def test_read_manifest_of_several_layers_is_refused_by_name(folder: Path) -> None:
    path = write_vector_file(folder / "list.gpkg", LAMBERT, layer="photos")
    write_vector_file(path, LAMBERT, layer="notes")
    with pytest.raises(BadManifestError, match=r"2 layers \(photos, notes\)"):
        list(read_manifest(path, SETTINGS))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.gpkg", b"<OGRVRTDataSource><OGRVRTLayer name='x'/></OGRVRTDataSource>"),
        ("list.shp", b"<OGRVRTDataSource/>"),
        ("list.fgb", b"/vsicurl/http://127.0.0.1/x.fgb"),
        ("list.parquet", b"PAR1" + b"\x00" * 40 + b"PAR1"),
        ("list.fgb", b"fgb\x03fgb\x01" + b"\xff" * 64),
        ("list.gpkg", b"SQLite format 3\x00" + b"\x00" * 200),
        ("list.shp", b"\x00\x00\x27\x0a" + b"\xff" * 96),
    ],
)
def test_read_manifest_damaged_or_other_content_is_refused(
    folder: Path, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(BadManifestError, match=name):
        list(read_manifest(folder / name, SETTINGS))


def test_read_manifest_sqlite_database_that_is_no_geopackage_is_refused(folder: Path) -> None:
    connection = sqlite3.connect(folder / "list.gpkg")
    connection.execute("CREATE TABLE photos (file TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(BadManifestError, match=r"list\.gpkg"):
        list(read_manifest(folder / "list.gpkg", SETTINGS))


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("load_extension('/tmp/x.so')", "load_extension"),
        (
            "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
            " WHERE x < 0)",
            "nothing was read for 2 s",
        ),
    ],
)
def test_read_manifest_geopackage_with_hostile_view_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, expression: str, message: str
) -> None:
    monkeypatch.setattr(vector_rows, "STALL_S", 2.0)
    path = write_vector_file(folder / "list.gpkg", "EPSG:4326")
    connection = sqlite3.connect(path)
    (blob,) = connection.execute("SELECT geom FROM photos").fetchone()
    connection.execute("DROP TABLE photos")
    connection.execute(
        f"CREATE VIEW photos AS SELECT 1 AS fid, x'{blob.hex()}' AS geom, {expression} AS file"
    )
    connection.commit()
    connection.close()
    with pytest.raises(BadManifestError, match=message):
        list(read_manifest(path, SETTINGS))


def test_read_manifest_parquet_that_unpacks_to_large_values_is_refused(folder: Path) -> None:
    table = pa.table({"file": ["x" * 20_000] * 8_000, "lat": [1.0] * 8_000, "lon": [1.0] * 8_000})
    parquet.write_table(table, folder / "list.parquet", compression="zstd")
    assert (folder / "list.parquet").stat().st_size < 100_000
    with pytest.raises(BadManifestError, match="values of over 64000000 bytes"):
        list(read_manifest(folder / "list.parquet", SETTINGS))


def test_read_manifest_shapefile_with_linked_table_is_refused(folder: Path, tmp_path: Path) -> None:
    path = write_vector_file(folder / "list.shp", LAMBERT)
    outside = tmp_path.parent / f"{tmp_path.name}-outside.dbf"
    os.replace(folder / "list.dbf", outside)
    (folder / "list.dbf").symlink_to(outside)
    with pytest.raises(BadManifestError, match="link to a file outside"):
        list(read_manifest(path, SETTINGS))


def test_read_manifest_too_many_rows_is_refused(folder: Path) -> None:
    path = write_vector_file(folder / "list.fgb", LAMBERT)
    with pytest.raises(TooLargeError, match="MAX_MANIFEST_ROWS"):
        list(read_manifest(path, MediaSettings(max_manifest_rows=1)))


def test_read_manifest_without_memory_is_refused(folder: Path) -> None:
    path = write_vector_file(folder / "list.gpkg", LAMBERT)
    with pytest.raises(BadManifestError, match=r"list\.gpkg"):
        list(read_manifest(path, MediaSettings(memory_mb=256)))


def test_find_manifests_finds_vector_files_that_name_files(folder: Path) -> None:
    write_vector_file(folder / "list.gpkg", LAMBERT)
    (folder / "cities.fgb").write_bytes(b"fgb\x03fgb")
    assert [path.name for path in find_manifests(folder)] == ["list.gpkg"]
    summary = describe_manifest(folder / "list.gpkg", SETTINGS)
    assert summary.understood == {"file": "file", "heading_deg": "heading_deg"}


def test_read_manifest_outside_of_folder_has_names_relative_to_folder(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_vector_file(tmp_path_factory.mktemp("elsewhere") / "list.gpkg", LAMBERT)
    rows = list(read_manifest(path, SETTINGS, folder=folder))
    assert [row.file for row in rows if isinstance(row, ManifestRow)] == [
        (folder / name).resolve() for name in POSITIONS
    ]
