"""Manual and manifest values are kept, have a source, and are restored when cleared."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from ingest.correction_scenario import CorrectionScenario, event_orders
from media.pictures import exif, noise, saved, xmp
from pinpoint.errors import BadRequestError
from pinpoint.ingest.register import register_files
from pinpoint.records import ImageUpdate, IndexFilter, Point
from stack_fixtures import degrees, jpeg, plain_jpeg
from trials.soak import compare

GPX = """<gpx version="1.1"><trk><trkseg>
<trkpt lat="45.0" lon="6.0"><time>2024-05-01T09:59:00Z</time></trkpt>
<trkpt lat="45.2" lon="6.2"><time>2024-05-01T10:01:00Z</time></trkpt>
</trkseg></trk></gpx>
"""
# A time needs its offset when a track gives the position.
TAKEN, ARTIST = {0x9003: "2024:05:01 10:00:00", 0x9011: "+00:00"}, {0x013B: "file"}
ORDERS = list(event_orders())[::8]


@pytest.fixture
def org(harness):
    return harness.organization()


@pytest.fixture
def photo_folder(tmp_path):
    """A folder outside that of the services."""
    folder = tmp_path / "ground"
    folder.mkdir()
    return folder


def ingest(harness, org, folder, **options):
    """Register a folder and run all tasks; returns the finished batch and its items by file."""
    batch = register_files(
        folder,
        source="photos",
        kind="photo",
        organization_id=org,
        database=harness.operator,
        settings=harness.settings,
        **options,
    ).batch
    harness.run()
    with harness.database.read(org) as catalog:
        items = {item.file: item for item in catalog.batch_items(batch.id)}
        return catalog.batch(batch.id), items


def correct_image(harness, org, image, **fields):
    with harness.database.write(org) as catalog:
        catalog.update_image(image.id, ImageUpdate(**fields))
    harness.run()
    return stored_image(harness, org, image.external_id)


def stored_image(harness, org, external_id):
    with harness.owner.begin() as unit:
        statement = "SELECT id FROM images WHERE external_id = :name AND state <> 'deleted'"
        image_id = unit.connection.execute(text(statement), {"name": external_id}).scalar_one()
    with harness.database.read(org) as catalog:
        return catalog.image(image_id)


@pytest.mark.parametrize("order", ORDERS, ids=["-".join(order) for order in ORDERS])
def test_field_layers_any_event_order_keeps_precedence(harness, org, photo_folder, order):
    folder = photo_folder / "in"
    folder.mkdir()
    for seed in range(3):
        photo = jpeg(seed, 48.0 + seed, 2.0, detail=TAKEN, base=ARTIST)
        (folder / f"{seed}.jpg").write_bytes(photo)
    (folder / "3.jpg").write_bytes(plain_jpeg(3))
    scenario = CorrectionScenario(harness=harness, org=org, source="photos", folder=folder)
    scenario.read_files()
    for event in order:
        scenario.apply_event(event)
    scenario.check_index()
    scenario.clear_manual_values()


def test_sidecar_and_manifest_elsewhere_are_layers_of_the_image(harness, org, tmp_path):
    folder = tmp_path / "ground"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(plain_jpeg(1))
    geo = {"latitude": 10.0, "longitude": 20.0}
    (folder / "a.jpg.json").write_text(json.dumps({"geoData": geo}))
    _, items = ingest(harness, org, folder)
    assert items["a.jpg"].status == "indexed"
    image = stored_image(harness, org, "ground/a.jpg")
    assert (image.point, image.field_sources["position"]) == (Point(10, 20), "sidecar")
    (tmp_path / "elsewhere.csv").write_text("file,lat,lon\na.jpg,11,21\n../a.jpg,1,2\n")
    batch, _ = ingest(harness, org, folder, manifest=tmp_path / "elsewhere.csv")
    assert (batch.updated, batch.rejected) == (1, 1)
    image = stored_image(harness, org, "ground/a.jpg")
    assert (image.point, image.field_sources["position"]) == (Point(11, 21), "manifest")
    (folder / "a.jpg.json").unlink()
    (folder / "a.jpg").write_bytes(plain_jpeg(2))
    ingest(harness, org, folder)
    image = stored_image(harness, org, "ground/a.jpg")
    assert "position: manifest 11.000000, 21.000000 is used; sidecar has 10" in image.warnings[0]


def test_image_with_layers_reports_field_sources(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(jpeg(1, 48.0, 2.0, base=ARTIST))
    (photo_folder / "m.csv").write_text("file,latitude,longitude,sequence\na.jpg,49,3,walk\n")
    ingest(harness, org, photo_folder)
    image = stored_image(harness, org, f"{photo_folder.name}/a.jpg")
    assert image.field_sources["position"] == image.position_source == "manifest"
    assert image.field_sources["sequence"] == "manifest"
    assert image.field_sources["creator"] == "file"
    assert image.warnings == (
        "position: manifest 49.000000, 3.000000 is used; exif has 48.000000, 2.000000",
    )
    image = correct_image(harness, org, image, point=Point(50, 4), creator="me")
    assert image.field_sources["position"] == image.field_sources["creator"] == "manual"
    assert image.position_source == "manual"
    assert any("manifest has 49.000000, 3.000000" in warning for warning in image.warnings)


def test_update_image_clear_without_file_restores_file_value(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(jpeg(1, 48.0, 2.0))
    ingest(harness, org, photo_folder)
    image = stored_image(harness, org, f"{photo_folder.name}/a.jpg")
    moved = correct_image(
        harness, org, image, point=Point(-33, 151), captured_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    assert (moved.point, moved.version) == (Point(-33, 151), 2)
    (photo_folder / "a.jpg").unlink()
    back = correct_image(harness, org, image, clear=frozenset({"position"}))
    assert (back.point, back.position_source, back.version) == (Point(48, 2), "exif", 3)
    assert back.time_source == "manual"
    indexed = harness.index.fetch([image.id])[0]
    assert (indexed.version, indexed.point.lat) == (3, pytest.approx(48, abs=1e-5))
    cells = "SELECT count(*) FROM cell_stats n JOIN images i ON i.cell_r7 = n.cell"
    assert harness.scalar(cells) == 1
    assert harness.scalar("SELECT count(*) FROM cell_stats WHERE resolution = 7") == 1


def test_update_image_clear_only_position_raises(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(plain_jpeg(1))
    (photo_folder / "m.csv").write_text("file,latitude,longitude\na.jpg,49,3\n")
    ingest(harness, org, photo_folder)
    image = stored_image(harness, org, f"{photo_folder.name}/a.jpg")
    with pytest.raises(BadRequestError, match="position was not set manually"):
        correct_image(harness, org, image, clear=frozenset({"position"}))
    correct_image(harness, org, image, point=Point(1, 1))
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE images SET field_layers = field_layers - 'manifest'"))
    with pytest.raises(BadRequestError, match="cannot be cleared"):
        correct_image(harness, org, image, clear=frozenset({"position"}))
    assert stored_image(harness, org, image.external_id).point == Point(1, 1)


def test_ingest_without_manifest_keeps_manifest_position(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(plain_jpeg(1))
    (photo_folder / "m.csv").write_text("file,latitude,longitude,weather\na.jpg,49,3,rain\n")
    _, items = ingest(harness, org, photo_folder, use_manifest=False)
    assert items["a.jpg"].error_code == "no_position"
    ingest(harness, org, photo_folder)
    _, items = ingest(harness, org, photo_folder, use_manifest=False)
    assert (items["a.jpg"].status, items["a.jpg"].error_code) == ("duplicate", "unchanged")
    image = stored_image(harness, org, f"{photo_folder.name}/a.jpg")
    assert (image.point, image.attributes["weather"], image.version) == (Point(49, 3), "rain", 1)


def test_ingest_second_manifest_keeps_fields_of_first(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(plain_jpeg(1))
    manifest = photo_folder / "m.csv"
    manifest.write_text("file,latitude,longitude\na.jpg,49,3\n")
    ingest(harness, org, photo_folder)
    manifest.write_text("file,heading_deg\na.jpg,90\n")
    _, items = ingest(harness, org, photo_folder)
    image = stored_image(harness, org, f"{photo_folder.name}/a.jpg")
    assert items["a.jpg"].status == "updated"
    assert (image.point, image.heading_deg) == (Point(49, 3), 90.0)


def test_ingest_with_track_fills_only_missing_positions(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(saved(noise(96, 72, seed=1), exif=exif(detail=TAKEN)))
    (photo_folder / "b.jpg").write_bytes(jpeg(2, 48.0, 2.0, detail=TAKEN))
    (photo_folder / "walk.gpx").write_text(GPX)
    ingest(harness, org, photo_folder)
    walked = stored_image(harness, org, f"{photo_folder.name}/a.jpg")
    assert walked.position_source == "gpx"
    assert walked.point.lat == pytest.approx(45.1, abs=1e-3)
    assert stored_image(harness, org, f"{photo_folder.name}/b.jpg").position_source == "exif"
    # Without the track and with the same bytes the position is kept, also under a correction.
    (photo_folder / "walk.gpx").unlink()
    _, items = ingest(harness, org, photo_folder)
    assert items["a.jpg"].error_code == "unchanged"
    correct_image(harness, org, walked, point=Point(1, 1))
    assert (
        correct_image(harness, org, walked, clear=frozenset({"position"})).position_source == "gpx"
    )
    # With other bytes the position of the track may be wrong.
    (photo_folder / "a.jpg").write_bytes(saved(noise(96, 72, seed=9), exif=exif(detail=TAKEN)))
    _, items = ingest(harness, org, photo_folder)
    assert (items["a.jpg"].status, items["a.jpg"].error_code) == ("rejected", "no_position")


def test_ingest_unusable_file_position_under_manifest_adds_warning(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(jpeg(1, 0.0, 0.0))
    (photo_folder / "m.csv").write_text("file,latitude,longitude\na.jpg,49,3\n")
    ingest(harness, org, photo_folder)
    image = stored_image(harness, org, f"{photo_folder.name}/a.jpg")
    assert image.position_source == "manifest"
    assert any("0/0" in warning for warning in image.warnings)


def test_update_image_heading_of_cubemap_face_changes_only_that_face(harness, org, photo_folder):
    gps = {1: "N", 2: degrees(48.0), 3: "E", 4: degrees(2.0)}
    packet = xmp(GPano__ProjectionType="equirectangular", GPano__PoseHeadingDegrees="90")
    (photo_folder / "p.jpg").write_bytes(saved(noise(512, 256), exif=exif(gps=gps), xmp=packet))
    ingest(harness, org, photo_folder)
    statement = "SELECT id, cubemap_face, heading_deg FROM images ORDER BY heading_deg"

    def headings():
        with harness.owner.begin() as unit:
            return {
                face_row.cubemap_face: face_row
                for face_row in unit.connection.execute(text(statement))
            }

    faces = headings()
    assert {name: face_row.heading_deg for name, face_row in faces.items()} == {
        "front": 90.0, "right": 180.0, "back": 270.0, "left": 0.0,
    }  # fmt: skip
    with harness.database.write(org) as catalog:
        catalog.update_image(faces["right"].id, ImageUpdate(heading_deg=181.5))
    harness.run()
    _, items = ingest(harness, org, photo_folder)
    assert items["p.jpg"].status == "duplicate"
    assert headings()["right"].heading_deg == 181.5
    assert headings()["back"].heading_deg == 270.0
    with harness.database.write(org) as catalog:
        catalog.update_image(faces["right"].id, ImageUpdate(clear=frozenset({"heading_deg"})))
    assert headings()["right"].heading_deg == 180.0


def test_delete_image_removes_item_notes(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(jpeg(1, 48.0, 2.0))
    ingest(harness, org, photo_folder)
    image = stored_image(harness, org, f"{photo_folder.name}/a.jpg")
    correct_image(harness, org, image, point=Point(5, 5))
    (photo_folder / "m.csv").write_text("file,latitude,longitude\na.jpg,10,20\n")
    batch, items = ingest(harness, org, photo_folder)
    assert items["a.jpg"].notes == (
        "position: set manually; kept (the manifest gives 10.000000, 20.000000)",
    )
    with harness.database.write(org) as catalog:
        catalog.delete_image(image.id)
    harness.run()
    with harness.database.read(org) as catalog:
        (item,) = catalog.batch_items(batch.id)
    assert (item.file, item.notes) == ("", ())


def test_ingest_row_without_layers_keeps_manual_fields(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(jpeg(1, 48.0, 2.0))
    ingest(harness, org, photo_folder)
    image = stored_image(harness, org, f"{photo_folder.name}/a.jpg")
    correct_image(harness, org, image, point=Point(5, 5), creator="me")
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE images SET field_layers = '{}', manual_fields = '{geog,creator}'")
        )
    ingest(harness, org, photo_folder)
    kept = stored_image(harness, org, image.external_id)
    assert (kept.point, kept.creator, kept.position_source) == (Point(5, 5), "me", "manual")
    assert harness.index.count(IndexFilter(organization_id=org)) == 1


def test_soak_comparison_queries_match_schema(harness, org, photo_folder):
    (photo_folder / "a.jpg").write_bytes(jpeg(1, 48.0, 2.0))
    ingest(harness, org, photo_folder)
    correct_image(
        harness, org, stored_image(harness, org, f"{photo_folder.name}/a.jpg"), creator="me"
    )
    with harness.owner.begin() as unit:
        (soak_row,) = unit.connection.exec_driver_sql(compare._ROWS, (org,)).all()
        unit.connection.exec_driver_sql(compare._CELLS, (org,)).all()
    assert ["creator"] in soak_row
    assert any('"manual"' in str(value) for value in soak_row)
