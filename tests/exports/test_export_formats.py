"""Every format is read back by pyarrow or GDAL and compared with SQL."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h3
import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely
from pyarrow import parquet

from exports.gallery_server import DIMS
from pinpoint.media.exports.geoparquet import GROUP_ROWS, MIN_LAST_ROWS, stream_geoparquet
from pinpoint.media.exports.text_files import stream_csv
from pinpoint.records import ExportRows

COLUMNS = [
    "id", "source", "source_kind", "external_id", "cubemap_face", "panorama_id",
    "captured_at", "heading_deg", "field_of_view_deg", "altitude_m", "camera", "creator",
    "sequence", "license", "attribution", "position_source", "time_source", "sha256",
    "size_bytes", "format", "width_px", "height_px", "uri", "cell_r9", "attributes", "state",
    "version", "created_at", "updated_at",
]  # fmt: skip
EXPECTED = (
    "SELECT i.id::text AS id, s.name AS source, i.source_kind, i.external_id, i.cubemap_face,"
    " i.panorama_id, ST_Y(i.geom) AS lat, ST_X(i.geom) AS lon, i.captured_at, i.heading_deg,"
    " i.field_of_view_deg, i.altitude_m, i.camera, i.creator, i.sequence,"
    " coalesce(nullif(i.license, ''), s.license) AS license,"
    " coalesce(nullif(s.attribution, ''), i.creator) AS attribution, i.position_source,"
    " i.time_source, encode(i.sha256, 'hex') AS sha256, i.size_bytes, i.format, i.width_px,"
    " i.height_px, CASE WHEN i.uri NOT LIKE 'file:%' THEN i.uri END AS uri,"
    " to_hex(i.cell_r9) AS cell_r9, i.attributes, i.state, i.version, i.created_at, i.updated_at"
    " FROM images i JOIN sources s ON s.id = i.source_id"
    " WHERE i.organization_id = :org AND i.state IN ('pending', 'indexed')"
)


@contextmanager
def as_file(data: bytes) -> Iterator[Path]:
    """A file with the ending that its first bytes show; GDAL warns of any other."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("x.gpkg" if data.startswith(b"SQLite") else "x.fgb")
        path.write_bytes(data)
        yield path


def read_fields(data: bytes) -> dict[str, Any]:
    with as_file(data) as path:
        return pyogrio.read_info(path)


def read_csv(data: bytes) -> list[dict[str, Any]]:
    """Values of a CSV; the module cannot tell an empty text from null, so both are null."""
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    numbers = {"lat", "lon", "heading_deg", "field_of_view_deg", "altitude_m"}
    return [
        {
            name: None
            if not value
            else float(value)
            if name in numbers
            else int(value)
            if name in ("size_bytes", "width_px", "height_px", "version")
            else value
            for name, value in row.items()
        }
        for row in rows
    ]


def read_sequence(data: bytes) -> list[dict[str, Any]]:
    rows = []
    for record in data.decode().split("\x1e")[1:]:
        assert record.endswith("\n")
        feature = json.loads(record)
        assert feature["geometry"]["type"] == "Point"
        lon, lat = feature["geometry"]["coordinates"]
        rows.append(feature["properties"] | {"lat": lat, "lon": lon})
    return rows


def read_geoparquet(data: bytes) -> list[dict[str, Any]]:
    rows = parquet.read_table(io.BytesIO(data)).to_pylist()
    for row in rows:
        point = shapely.from_wkb(row.pop("geometry"))
        row["lat"], row["lon"], box = point.y, point.x, row.pop("bbox")
        assert box["xmin"] <= point.x <= box["xmax"], "the covering holds the point"
        assert box["ymin"] <= point.y <= box["ymax"], "the covering holds the point"
        assert box["xmax"] - box["xmin"] < 1e-4
    return rows


def read_gdal(data: bytes) -> list[dict[str, Any]]:
    with as_file(data) as path:
        meta, table = pyogrio.read_arrow(path, datetime_as_string=True)
    assert meta["crs"] == "EPSG:4326"
    geometry = meta["geometry_name"] or "wkb_geometry"
    rows = table.to_pylist()
    for row in rows:
        point = shapely.from_wkb(row.pop(geometry))
        row["lat"], row["lon"] = point.y, point.x
        row.pop("fid", None)
    return rows


READERS = {
    "parquet": read_geoparquet,
    "fgb": read_gdal,
    "gpkg": read_gdal,
    "geojsons": read_sequence,
    "csv": read_csv,
}


def comparable(row: dict[str, Any], *, is_csv: bool) -> dict[str, Any]:
    """Times as milliseconds, attributes as objects."""
    values = dict(row)
    for name in ("captured_at", "created_at", "updated_at"):
        time = values[name]
        if isinstance(time, str):
            time = datetime.fromisoformat(time)
        if time is not None:
            values[name] = round(
                (time - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)
            )
    if isinstance(values["attributes"], str):
        values["attributes"] = json.loads(values["attributes"])
    return {name: None if is_csv and value == "" else value for name, value in values.items()}


@pytest.mark.parametrize("suffix", READERS)
def test_export_rows_equal_sql(gallery, suffix):
    with gallery.http() as http:
        answer = http.get(f"/v1/exports/images.{suffix}")
    assert answer.status_code == 200, answer.text
    rows = READERS[suffix](answer.content)
    assert answer.headers["X-Pinpoint-Rows"] == str(len(rows)) == "298"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="images.{suffix}"'
    assert set(rows[0]) == {*COLUMNS, "lat", "lon"}
    is_csv = suffix == "csv"
    found = {row["id"]: comparable(row, is_csv=is_csv) for row in rows}
    expected = {row["id"]: comparable(row, is_csv=is_csv) for row in gallery.query(EXPECTED)}
    assert found == expected
    assert all(row["license"] for row in rows)
    assert gallery.temporary_files == []


@pytest.mark.parametrize("suffix", ["parquet", "geojsons", "csv"])
def test_export_rows_are_in_the_order_of_h3_cells(gallery, suffix):
    with gallery.http() as http:
        rows = READERS[suffix](http.get(f"/v1/exports/images.{suffix}").content)
    keys = [(int(row["cell_r9"], 16), row["id"]) for row in rows]
    assert keys == sorted(keys)
    for row in rows[::20]:
        assert row["cell_r9"] == h3.latlng_to_cell(row["lat"], row["lon"], 9)


@pytest.mark.parametrize("suffix", READERS)
def test_export_without_rows_is_a_valid_file_with_the_same_columns(gallery, suffix):
    with gallery.http() as http:
        answer = http.get(f"/v1/exports/images.{suffix}", params={"file_name": "no such file"})
    assert answer.status_code == 200
    assert answer.headers["X-Pinpoint-Rows"] == "0"
    assert READERS[suffix](answer.content) == []
    if suffix in ("fgb", "gpkg"):
        assert list(read_fields(answer.content)["fields"]) == COLUMNS
    if suffix == "csv":
        assert next(csv.reader([answer.text])) == [*COLUMNS[:6], "lat", "lon", *COLUMNS[6:]]


@pytest.mark.parametrize("suffix", ["fgb", "gpkg"])
def test_export_field_types_do_not_depend_on_the_first_rows(gallery, suffix):
    with gallery.http() as http:
        info = read_fields(http.get(f"/v1/exports/images.{suffix}").content)
    types = dict(zip(info["fields"], info["ogr_types"], strict=True))
    assert types["captured_at"] == types["created_at"] == "OFTDateTime"
    assert types["heading_deg"] == types["altitude_m"] == "OFTReal"
    assert types["size_bytes"] == "OFTInteger64"
    assert types["width_px"] == "OFTInteger"
    assert info["geometry_type"] == "Point"
    assert info["capabilities"]["fast_spatial_filter"], "the file has a spatial index"


@pytest.mark.parametrize("version", ["1.1", "2.0"])
def test_geoparquet_metadata_follows_the_specification(gallery, version):
    with gallery.http() as http:
        answer = http.get("/v1/exports/images.parquet", params={"geoparquet_version": version})
    file = parquet.ParquetFile(io.BytesIO(answer.content))
    geo = json.loads(file.metadata.metadata[b"geo"])
    assert geo["version"] == f"{version}.0"
    assert geo["primary_column"] == "geometry"
    column = geo["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == ["Point"]
    assert column["crs"]["id"] == {"authority": "OGC", "code": "CRS84"}
    assert column["bbox"] == [-180.0, -90.0, 180.0, 90.0]
    assert column["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    logical_type = str(file.schema.column(0).logical_type)
    assert logical_type.startswith("Geometry") == (version == "2.0"), logical_type
    chunk = file.metadata.row_group(0).column(0)
    assert chunk.compression == "ZSTD"
    assert chunk.is_geo_stats_set == (version == "2.0")
    assert len(read_geoparquet(answer.content)) == 298


@pytest.mark.parametrize(("kind", "type_"), [(None, "float16"), ("float32", "float32")])
def test_geoparquet_embeddings_equal_the_stored_vectors(gallery, kind, type_):
    query = {"embeddings": "image"} | ({"embedding_type": kind} if kind else {})
    with gallery.http() as http:
        answer = http.get("/v1/exports/images.parquet", params=query)
    assert answer.status_code == 200, answer.text
    table = parquet.read_table(io.BytesIO(answer.content))
    column = table["embedding"].combine_chunks()
    assert column.type == pa.list_(getattr(pa, type_)(), DIMS)
    stored = {
        str(row["image_id"]): np.frombuffer(row["vector"], dtype="<f2").tolist()
        for row in gallery.query("SELECT image_id, vector FROM embeddings")
    }
    found = dict(zip(table["id"].to_pylist(), column.to_pylist(), strict=True))
    assert found == {image: stored.get(image) for image in found}
    assert sum(vector is None for vector in found.values()) == 60


def test_embeddings_of_unknown_channel_or_other_format_are_refused(gallery):
    with gallery.http() as http:
        unknown = http.get("/v1/exports/images.parquet", params={"embeddings": "gps"})
        for name in ("embeddings", "embedding_type", "geoparquet_version"):
            value = {"embeddings": "image", "embedding_type": "float32"}.get(name, "2.0")
            other = http.get("/v1/exports/images.csv", params={name: value})
            assert other.status_code == 422, other.text
            assert "GeoParquet only" in other.json()["detail"]
    assert unknown.status_code == 422
    assert unknown.json()["reason"] == "no_embeddings"


def make_batches(count: int, rows: int) -> ExportRows:
    schema = pa.schema([("id", pa.string()), ("lat", pa.float64()), ("lon", pa.float64())])
    batch = pa.RecordBatch.from_arrays(
        [pa.array(["x"] * rows), pa.array(np.full(rows, 1.5)), pa.array(np.full(rows, -2.5))],
        schema=schema,
    )
    return ExportRows(schema=schema, num_rows=count * rows, batches=iter([batch] * count))


@pytest.mark.parametrize(("count", "groups"), [(1, 1), (23, 1), (24, 2), (60, 4)])
def test_geoparquet_row_groups_have_50_000_to_150_000_rows(count, groups):
    data = b"".join(stream_geoparquet(make_batches(count, 5_000), "1.1"))
    metadata = parquet.ParquetFile(io.BytesIO(data)).metadata
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert sum(sizes) == count * 5_000
    assert len(sizes) == groups, sizes
    if count > 1:
        assert all(50_000 <= size <= GROUP_ROWS + MIN_LAST_ROWS + 5_000 for size in sizes), sizes


def test_streams_return_parts_before_all_rows_are_read():
    """Constant memory: the first part is sent while later batches do not exist yet."""
    state = SimpleNamespace(read=0)
    whole = make_batches(60, 5_000)

    def count():
        for batch in whole.batches:
            state.read += 1
            yield batch

    rows = ExportRows(schema=whole.schema, num_rows=whole.num_rows, batches=count())
    assert next(stream_csv(rows))
    assert state.read == 1
    assert next(stream_geoparquet(rows, "1.1"))
    assert state.read < 30
