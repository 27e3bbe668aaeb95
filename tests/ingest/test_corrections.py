"""Values that persons and manifests gave stay, name their origin, and come back when cleared."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from ingest.correction_orders import Play, orders
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
# Beside a track a time needs its offset.
TAKEN, ARTIST = {0x9003: "2024:05:01 10:00:00", 0x9011: "+00:00"}, {0x013B: "file"}
SIX = list(orders())[::8]


@pytest.fixture
def org(harness):
    return harness.organization()


@pytest.fixture
def ground(tmp_path):
    """A folder beside that of the harness."""
    made = tmp_path / "ground"
    made.mkdir()
    return made


def ingest(harness, org, folder, **options):
    """Register a folder and run everything; the batch as it ends and its items by file."""
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


def fix(harness, org, image, **fields):
    with harness.database.write(org) as catalog:
        catalog.update_image(image.id, ImageUpdate(**fields))
    harness.run()
    return row(harness, org, image.external_id)


def row(harness, org, external_id):
    with harness.owner.begin() as unit:
        asked = "SELECT id FROM images WHERE external_id = :name AND state <> 'deleted'"
        image_id = unit.connection.execute(text(asked), {"name": external_id}).scalar_one()
    with harness.database.read(org) as catalog:
        return catalog.image(image_id)


@pytest.mark.parametrize("order", SIX, ids=["-".join(one) for one in SIX])
def test_precedence_in_an_order_of_events_is_kept(harness, org, ground, order):
    folder = ground / "in"
    folder.mkdir()
    for seed in range(3):
        photo = jpeg(seed, 48.0 + seed, 2.0, detail=TAKEN, base=ARTIST)
        (folder / f"{seed}.jpg").write_bytes(photo)
    (folder / "3.jpg").write_bytes(plain_jpeg(3))
    play = Play(harness=harness, org=org, source="photos", folder=folder)
    play.read_files()
    for event in order:
        play.do(event)
    play.check_index()
    play.clear()


def test_image_with_layers_names_the_origin_of_every_value(harness, org, ground):
    (ground / "a.jpg").write_bytes(jpeg(1, 48.0, 2.0, base=ARTIST))
    (ground / "m.csv").write_text("file,latitude,longitude,sequence\na.jpg,49,3,walk\n")
    ingest(harness, org, ground)
    image = row(harness, org, f"{ground.name}/a.jpg")
    assert image.field_sources["position"] == image.position_source == "manifest"
    assert image.field_sources["sequence"] == "manifest"
    assert image.field_sources["creator"] == "file"
    assert image.warnings == (
        "position: manifest 49.000000, 3.000000 is used; exif has 48.000000, 2.000000",
    )
    image = fix(harness, org, image, point=Point(50, 4), creator="me")
    assert image.field_sources["position"] == image.field_sources["creator"] == "manual"
    assert image.position_source == "manual"
    assert any("manifest has 49.000000, 3.000000" in warning for warning in image.warnings)


def test_cleared_value_comes_back_without_the_file(harness, org, ground):
    (ground / "a.jpg").write_bytes(jpeg(1, 48.0, 2.0))
    ingest(harness, org, ground)
    image = row(harness, org, f"{ground.name}/a.jpg")
    moved = fix(
        harness, org, image, point=Point(-33, 151), captured_at=datetime(2020, 1, 1, tzinfo=UTC)
    )
    assert (moved.point, moved.version) == (Point(-33, 151), 2)
    (ground / "a.jpg").unlink()
    back = fix(harness, org, image, clear=frozenset({"position"}))
    assert (back.point, back.position_source, back.version) == (Point(48, 2), "exif", 3)
    assert back.time_source == "manual"
    found = harness.index.fetch([image.id])[0]
    assert (found.version, found.point.lat) == (3, pytest.approx(48, abs=1e-5))
    cells = "SELECT count(*) FROM cell_stats n JOIN images i ON i.cell_r7 = n.cell"
    assert harness.scalar(cells) == 1
    assert harness.scalar("SELECT count(*) FROM cell_stats") == 1


def test_clearing_the_only_position_is_refused(harness, org, ground):
    (ground / "a.jpg").write_bytes(plain_jpeg(1))
    (ground / "m.csv").write_text("file,latitude,longitude\na.jpg,49,3\n")
    ingest(harness, org, ground)
    image = row(harness, org, f"{ground.name}/a.jpg")
    with pytest.raises(BadRequestError, match="position was not set manually"):
        fix(harness, org, image, clear=frozenset({"position"}))
    fix(harness, org, image, point=Point(1, 1))
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE images SET field_layers = field_layers - 'manifest'"))
    with pytest.raises(BadRequestError, match="cannot be cleared"):
        fix(harness, org, image, clear=frozenset({"position"}))
    assert row(harness, org, image.external_id).point == Point(1, 1)


def test_plain_ingest_of_a_file_without_position_keeps_the_manifests(harness, org, ground):
    (ground / "a.jpg").write_bytes(plain_jpeg(1))
    (ground / "m.csv").write_text("file,latitude,longitude,weather\na.jpg,49,3,rain\n")
    _, items = ingest(harness, org, ground, use_manifest=False)
    assert items["a.jpg"].error_code == "no_position"
    ingest(harness, org, ground)
    _, items = ingest(harness, org, ground, use_manifest=False)
    assert (items["a.jpg"].status, items["a.jpg"].error_code) == ("duplicate", "unchanged")
    image = row(harness, org, f"{ground.name}/a.jpg")
    assert (image.point, image.attributes["weather"], image.version) == (Point(49, 3), "rain", 1)


def test_second_manifest_keeps_fields_that_only_the_first_gives(harness, org, ground):
    (ground / "a.jpg").write_bytes(plain_jpeg(1))
    manifest = ground / "m.csv"
    manifest.write_text("file,latitude,longitude\na.jpg,49,3\n")
    ingest(harness, org, ground)
    manifest.write_text("file,heading_deg\na.jpg,90\n")
    _, items = ingest(harness, org, ground)
    image = row(harness, org, f"{ground.name}/a.jpg")
    assert items["a.jpg"].status == "updated"
    assert (image.point, image.heading_deg) == (Point(49, 3), 90.0)


def test_track_fills_a_missing_position_only(harness, org, ground):
    (ground / "a.jpg").write_bytes(saved(noise(96, 72, seed=1), exif=exif(detail=TAKEN)))
    (ground / "b.jpg").write_bytes(jpeg(2, 48.0, 2.0, detail=TAKEN))
    (ground / "walk.gpx").write_text(GPX)
    ingest(harness, org, ground)
    walked = row(harness, org, f"{ground.name}/a.jpg")
    assert walked.position_source == "gpx"
    assert walked.point.lat == pytest.approx(45.1, abs=1e-3)
    assert row(harness, org, f"{ground.name}/b.jpg").position_source == "exif"
    # The track is gone, the bytes are the same: the position stays, under a correction as well.
    (ground / "walk.gpx").unlink()
    _, items = ingest(harness, org, ground)
    assert items["a.jpg"].error_code == "unchanged"
    fix(harness, org, walked, point=Point(1, 1))
    assert fix(harness, org, walked, clear=frozenset({"position"})).position_source == "gpx"
    # With other bytes nobody knows whether the track's position holds.
    (ground / "a.jpg").write_bytes(saved(noise(96, 72, seed=9), exif=exif(detail=TAKEN)))
    _, items = ingest(harness, org, ground)
    assert (items["a.jpg"].status, items["a.jpg"].error_code) == ("rejected", "no_position")


def test_unusable_value_of_the_file_under_a_manifest_is_told(harness, org, ground):
    (ground / "a.jpg").write_bytes(jpeg(1, 0.0, 0.0))
    (ground / "m.csv").write_text("file,latitude,longitude\na.jpg,49,3\n")
    ingest(harness, org, ground)
    image = row(harness, org, f"{ground.name}/a.jpg")
    assert image.position_source == "manifest"
    assert any("0/0" in warning for warning in image.warnings)


def test_manual_heading_of_a_face_stays_on_that_face(harness, org, ground):
    gps = {1: "N", 2: degrees(48.0), 3: "E", 4: degrees(2.0)}
    packet = xmp(GPano__ProjectionType="equirectangular", GPano__PoseHeadingDegrees="90")
    (ground / "p.jpg").write_bytes(saved(noise(512, 256), exif=exif(gps=gps), xmp=packet))
    ingest(harness, org, ground)
    asked = "SELECT id, cubemap_face, heading_deg FROM images ORDER BY heading_deg"

    def headings():
        with harness.owner.begin() as unit:
            return {one.cubemap_face: one for one in unit.connection.execute(text(asked))}

    faces = headings()
    assert {name: one.heading_deg for name, one in faces.items()} == {
        "front": 90.0, "right": 180.0, "back": 270.0, "left": 0.0,
    }  # fmt: skip
    with harness.database.write(org) as catalog:
        catalog.update_image(faces["right"].id, ImageUpdate(heading_deg=181.5))
    harness.run()
    _, items = ingest(harness, org, ground)
    assert items["p.jpg"].status == "duplicate"
    assert headings()["right"].heading_deg == 181.5
    assert headings()["back"].heading_deg == 270.0
    with harness.database.write(org) as catalog:
        catalog.update_image(faces["right"].id, ImageUpdate(clear=frozenset({"heading_deg"})))
    assert headings()["right"].heading_deg == 180.0


def test_notes_go_with_an_erased_image(harness, org, ground):
    (ground / "a.jpg").write_bytes(jpeg(1, 48.0, 2.0))
    ingest(harness, org, ground)
    image = row(harness, org, f"{ground.name}/a.jpg")
    fix(harness, org, image, point=Point(5, 5))
    (ground / "m.csv").write_text("file,latitude,longitude\na.jpg,10,20\n")
    batch, items = ingest(harness, org, ground)
    assert items["a.jpg"].notes == (
        "position: set manually; kept (the manifest gives 10.000000, 20.000000)",
    )
    with harness.database.write(org) as catalog:
        catalog.delete_image(image.id)
    harness.run()
    with harness.database.read(org) as catalog:
        (item,) = catalog.batch_items(batch.id)
    assert (item.file, item.notes) == ("", ())


def test_row_from_before_layers_keeps_its_correction(harness, org, ground):
    (ground / "a.jpg").write_bytes(jpeg(1, 48.0, 2.0))
    ingest(harness, org, ground)
    image = row(harness, org, f"{ground.name}/a.jpg")
    fix(harness, org, image, point=Point(5, 5), creator="me")
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE images SET field_layers = '{}', manual_fields = '{geog,creator}'")
        )
    ingest(harness, org, ground)
    kept = row(harness, org, image.external_id)
    assert (kept.point, kept.creator, kept.position_source) == (Point(5, 5), "me", "manual")
    assert harness.index.count(IndexFilter(organization_id=org)) == 1


def test_soak_comparison_knows_the_columns(harness, org, ground):
    (ground / "a.jpg").write_bytes(jpeg(1, 48.0, 2.0))
    ingest(harness, org, ground)
    fix(harness, org, row(harness, org, f"{ground.name}/a.jpg"), creator="me")
    with harness.owner.begin() as unit:
        (found,) = unit.connection.exec_driver_sql(compare._ROWS, (org,)).all()
        unit.connection.exec_driver_sql(compare._CELLS, (org,)).all()
    assert ["creator"] in found
    assert any('"manual"' in str(value) for value in found)
