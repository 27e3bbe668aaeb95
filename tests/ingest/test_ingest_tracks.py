"""Tracks, clocks and manifests all the way: registered, claimed, read, kept in the catalog."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from media.gpx_files import Gpx, Trk, render, walk
from media.pictures import exif, noise, saved
from pinpoint.records import Batch, ReadOptions
from registration import register_folder
from stack_fixtures import ServiceHarness, plain_jpeg


@pytest.fixture
def harness(database_url: str, api_database_url: str, tmp_path: Path):
    made = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    yield made
    made.close()


def timed(seed: int, clock: str) -> bytes:
    """A photo without a position, whose camera says nothing of a zone."""
    return saved(noise(96, 72, seed=seed), exif=exif(detail={0x9003: f"2023:09:10 {clock}"}))


def ingest(harness: ServiceHarness, path: Path, options: ReadOptions) -> Batch:
    organization_id = harness.api_keys.create_organization(f"org-{path.name}").id
    batch = register_folder(
        path,
        source="photos",
        kind="photo",
        organization_id=organization_id,
        database=harness.operator,
        settings=harness.settings,
        options=options,
    )
    harness.run()
    with harness.database.read(organization_id) as catalog:
        return catalog.batch(batch.id)


def rows(
    harness: ServiceHarness, batch: Batch
) -> dict[str, tuple[float, float, datetime, str, dict[str, object]]]:
    """File → position, time, origin and attributes of the rows of a batch's source."""
    statement = text(
        "SELECT external_id, ST_Y(geom) AS lat, ST_X(geom) AS lon, captured_at, position_source, "
        "attributes FROM images WHERE source_id = :source"
    )
    with harness.owner.begin() as unit:
        found = unit.connection.execute(statement, {"source": batch.source_id}).all()
    return {
        Path(row.external_id).name: (
            round(row.lat, 6),
            round(row.lon, 6),
            row.captured_at.astimezone(UTC),
            row.position_source,
            row.attributes if isinstance(row.attributes, dict) else json.loads(row.attributes),
        )
        for row in found
    }


def test_ingest_folder_with_a_track_options_travel_to_the_worker(
    harness: ServiceHarness, tmp_path: Path
) -> None:
    folder = tmp_path / "walks"
    folder.mkdir()
    tracks = [
        Trk(segments=[walk(60.0, 24.0, minutes=300)], name="Aino"),
        Trk(segments=[walk(59.0, 25.0, minutes=300)], name="Mart"),
    ]
    (folder / "day.gpx").write_bytes(render(Gpx(tracks=tracks), encoding="ISO-8859-1"))
    (folder / "a.jpg").write_bytes(timed(1, "11:20:00"))
    (folder / "late.jpg").write_bytes(timed(2, "23:20:00"))
    options = ReadOptions(track="Mart", time_zone="Europe/Helsinki", camera_clock_offset_s=600.0)
    batch = ingest(harness, folder, options)
    assert (batch.indexed, batch.rejected) == (1, 1)
    (lat, lon, captured_at, source, attributes) = rows(harness, batch)["a.jpg"]
    assert (lat, lon, source) == (59.03, 25.0, "gpx")
    assert captured_at == datetime(2023, 9, 10, 8, 30, tzinfo=UTC)
    assert attributes["track"] == "day.gpx#2 (Mart)"
    assert attributes["time_zone"] == "Europe/Helsinki"


def test_ingest_folder_with_a_track_without_options_rejected_with_reasons(
    harness: ServiceHarness, tmp_path: Path
) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "day.gpx").write_bytes(render(Gpx(tracks=[Trk(segments=[walk(60.0, 24.0)])])))
    (folder / "a.jpg").write_bytes(timed(3, "08:10:00"))
    batch = ingest(harness, folder, ReadOptions())
    assert (batch.indexed, batch.rejected) == (0, 1)
    statement = (
        "SELECT count(*) FROM batch_items WHERE batch_id = :b AND error_code = 'time_zone_unknown'"
    )
    assert harness.scalar(statement, b=batch.id) == 1


def test_ingest_manifest_of_another_program_kept_as_it_says(
    harness: ServiceHarness, tmp_path: Path
) -> None:
    folder = tmp_path / "list"
    folder.mkdir()
    for seed, name in enumerate(("a.jpg", "b.jpg", "c.jpg"), start=10):
        (folder / name).write_bytes(plain_jpeg(seed))
    (folder / "m.csv").write_text(
        "sep=;\nImage;Y;X;DateTimeOriginal;Höhe;Floor\n"
        "a.jpg;-33,45;-70,66;2019:11:24 09:00:00;x;2\n"
        "b.jpg;-33,46;-70,67;1574598615000;NaN;NaN\n"
        "c.jpg;-33,47;-70,68;01/06/2024;;\n",
        encoding="utf-8",
    )
    options = ReadOptions(time_zone="America/Santiago", columns={"X": "longitude", "Y": "latitude"})
    batch = ingest(harness, folder / "m.csv", options)
    assert (batch.indexed, batch.rejected) == (2, 1)
    found = rows(harness, batch)
    assert found["a.jpg"][:4] == (
        -33.45,
        -70.66,
        datetime(2019, 11, 24, 12, tzinfo=UTC),
        "manifest",
    )
    assert found["a.jpg"][4]["Floor"] == "2"
    assert found["b.jpg"][2] == datetime(2019, 11, 24, 12, 30, 15, tzinfo=UTC)
    assert "Floor" not in found["b.jpg"][4]
