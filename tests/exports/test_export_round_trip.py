"""An export is a manifest: imported into an empty organization, it gives the same export."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyogrio
import pytest
from pyarrow import parquet

from media.pictures import noise, saved, xmp
from pinpoint.media.exports.gdal_files import write_gdal_file
from pinpoint.media.exports.geoparquet import stream_geoparquet
from pinpoint.media.exports.text_files import stream_csv, stream_geojson_sequence
from pinpoint.records import ExportRequest, ImageFilter
from pinpoint.store.gallery.gallery_database import GalleryDatabase
from stack_fixtures import ServiceHarness, write_photos

WRITERS = {
    "parquet": lambda rows, path: stream_to(path, stream_geoparquet(rows, "1.1")),
    "csv": lambda rows, path: stream_to(path, stream_csv(rows)),
    "geojsons": lambda rows, path: stream_to(path, stream_geojson_sequence(rows)),
    "fgb": lambda rows, path: write_gdal_file(path, rows, "FlatGeobuf", lambda: None),
    "gpkg": lambda rows, path: write_gdal_file(path, rows, "GPKG", lambda: None),
}
MANIFEST_COLUMNS = [
    "file", "lat", "lon", "captured_at", "heading", "creator", "sequence", "license", "altitude",
    "external_id", "weather", "lanes",
]  # fmt: skip
MANIFEST_ROW = [
    "0000.jpg", "-16.5", "180", "2024-05-01T12:00:00.25+02:00", "359.5", "Zoë 🗻", "s,1",
    "CC BY 4.0", "-3.5", "first", 'rain "and" snow', "2",
]  # fmt: skip
# Ids, versions and times of ingest; and the origin of values that come from the manifest now.
DIFFERENT = {"id", "version", "created_at", "updated_at", "position_source", "time_source"}


def stream_to(path: Path, parts) -> None:
    path.write_bytes(b"".join(parts))


@pytest.fixture(scope="module")
def harness(postgres, server_paths, tmp_path_factory):
    postgres.clone("template_pinpoint", "round_trip")
    folder = tmp_path_factory.mktemp("round-trip")
    urls = server_paths.owner_url("round_trip"), server_paths.api_url("round_trip")
    made = ServiceHarness(*urls, folder)
    yield made
    made.close()
    postgres.drop("round_trip")


@pytest.fixture(scope="module")
def original(harness):
    """Photos with and without metadata of a manifest, and a panorama, in one source."""
    photos = harness.folder / "photos é"
    write_photos(photos, 3)
    (photos / "pano.jpg").write_bytes(
        saved(noise(512, 256), xmp=xmp(GPano__ProjectionType="equirectangular"))
    )
    with (photos / "positions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerows([MANIFEST_COLUMNS, MANIFEST_ROW])
        table.writerow(["0001.jpg", "89.999999999", "-0.1234567890123", *[""] * 9])
        table.writerow(["0002.jpg", *[""] * 11])
        table.writerow(["pano.jpg", "48.85", "2.35", "", "350", *[""] * 7])
    return add_organization(harness, "original", photos / "positions.csv"), photos


def add_organization(harness, name: str, manifest: Path):
    """A new organization with one source, whose license and attribution images without any get."""
    organization_id = harness.organization(name)
    with harness.database.write(organization_id) as catalog:
        catalog.add_source(
            "walk", "photo", license="ODbL", attribution="City of Zürich", originals="reference"
        )
    batch = harness.ingest(manifest, organization_id, source="walk")
    assert (batch.failed, batch.rejected) == (0, 0)
    return organization_id


def export(harness, organization_id, suffix: str, path: Path) -> Path:
    request = ExportRequest(image_filter=ImageFilter(), has_paths=True)
    with GalleryDatabase(harness.as_api).export(organization_id, request, 60) as rows:
        WRITERS[suffix](rows, path)
    return path


def read(path: Path) -> list[dict]:
    """Rows without the columns that differ, in the order of file and cube-map face."""
    if path.suffix == ".parquet":
        table = parquet.read_table(path)
    elif path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            table = pa.Table.from_pylist(list(csv.DictReader(file)))
    else:
        table = pyogrio.read_arrow(path)[1]
    rows = [
        {name: value for name, value in row.items() if name not in {*DIFFERENT, "fid"}}
        for row in table.to_pylist()
    ]
    for row in rows:
        row["attributes"] = json.loads(row["attributes"])
    return sorted(rows, key=lambda row: (row["external_id"], row["cubemap_face"] or ""))


@pytest.mark.parametrize("suffix", WRITERS)
def test_export_import_export_gives_equal_rows(harness, original, suffix):
    organization_id, photos = original
    # In the folder of the photos: a manifest names files below its folder.
    first = export(harness, organization_id, suffix, photos / f"exported.{suffix}")
    copy = add_organization(harness, f"copy-{suffix}", first)
    second = export(harness, copy, suffix, harness.folder / f"second.{suffix}")
    rows = read(first)
    assert len(rows) == 7
    assert rows[0]["attributes"]["weather"] == 'rain "and" snow'
    assert {row["uri"][:8] for row in rows} == {"file:///"}
    assert read(second) == rows
    first.unlink()
