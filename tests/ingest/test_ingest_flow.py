"""Every file is counted, keeps its id, and is replaced by new bytes, on real services."""

from __future__ import annotations

import pytest

from pinpoint.errors import BadRequestError, NotFoundError
from pinpoint.records import ImageUpdate, IndexFilter, Point
from stack_fixtures import jpeg, plain_jpeg, write_photos


def index_count(harness, org):
    return harness.index.count(IndexFilter(organization_id=org))


def image_rows(harness):
    return harness.scalar("SELECT count(*) FROM images WHERE state <> 'deleted'")


def only_image(harness, org):
    with harness.owner.begin() as unit:
        from sqlalchemy import text

        image_id = unit.connection.execute(text("SELECT id FROM images")).scalar_one()
    with harness.database.read(org) as catalog:
        return catalog.image(image_id)


def test_ingest_folder_counts_every_file(harness, tmp_path):
    org = harness.organization()
    folder = tmp_path / "in"
    write_photos(folder, 5)
    (folder / "twin.jpg").write_bytes((folder / "0001.jpg").read_bytes())
    (folder / "nowhere.jpg").write_bytes(plain_jpeg(77))
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "null.jpg").write_bytes(jpeg(78, 0.0, 0.0))

    batch = harness.ingest(folder, org)

    assert batch.is_processed
    assert (batch.items, batch.indexed, batch.duplicate, batch.rejected) == (10, 5, 1, 4)
    assert image_rows(harness) == index_count(harness, org) == 5
    with harness.database.read(org) as catalog:
        items = {item.file: item for item in catalog.batch_items(batch.id)}
    assert {name: item.error_code for name, item in items.items() if item.error_code} == {
        "twin.jpg": "same_bytes",
        "nowhere.jpg": "no_position",
        "broken.jpg": "undecodable",
        "empty.jpg": "empty_file",
        "null.jpg": "null_island",
    }


def test_ingest_twice_changes_nothing(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 4)
    harness.ingest(tmp_path / "in", org)
    before = harness.index.scroll(None, 100)
    again = harness.ingest(tmp_path / "in", org)
    assert (again.items, again.duplicate) == (4, 4)
    assert image_rows(harness) == 4
    assert harness.index.scroll(None, 100) == before


def test_ingest_new_bytes_replaces_image_and_increments_version(harness, tmp_path):
    org = harness.organization()
    folder = tmp_path / "in"
    write_photos(folder, 1)
    harness.ingest(folder, org)
    before = only_image(harness, org)
    (folder / "0000.jpg").write_bytes(jpeg(900, 48.85, 2.35))
    batch = harness.ingest(folder, org)
    after = only_image(harness, org)
    assert batch.updated == 1
    assert (after.id, after.version) == (before.id, before.version + 1)
    assert after.sha256 != before.sha256
    assert harness.index.scroll(None, 10) == [(after.id, after.version, True)]
    assert harness.scalar("SELECT count(*) FROM embeddings") == 1


def test_ingest_new_metadata_updates_without_encoding(harness, tmp_path):
    org = harness.organization()
    (tmp_path / "a.jpg").write_bytes(plain_jpeg(1))
    manifest = tmp_path / "m.csv"
    manifest.write_text("file,latitude,longitude,creator\na.jpg,10,20,ann\n")
    harness.ingest(manifest, org)
    encode, calls = harness.components.encoder.encode, []
    harness.components.encoder.encode = lambda *arguments: (
        calls.append(arguments) or encode(*arguments)
    )
    manifest.write_text("file,latitude,longitude,creator\na.jpg,11,20,ann\n")
    batch = harness.ingest(manifest, org)
    image = only_image(harness, org)
    assert (batch.updated, image.version, image.point) == (1, 2, Point(lat=11, lon=20))
    assert calls == []
    assert harness.index.fetch([image.id])[0].point.lat == pytest.approx(11, abs=1e-6)


def test_ingest_moved_file_is_duplicate(harness, tmp_path):
    org = harness.organization()
    folder = tmp_path / "in"
    write_photos(folder, 2)
    harness.ingest(folder, org)
    (folder / "sub").mkdir()
    (folder / "0001.jpg").rename(folder / "sub" / "moved.jpg")
    batch = harness.ingest(folder, org)
    assert (batch.items, batch.duplicate) == (2, 2)
    assert image_rows(harness) == 2


def test_ingest_panorama_creates_four_images_in_one_item(harness, tmp_path):
    from media.pictures import exif, noise, saved, xmp
    from stack_fixtures import degrees

    org = harness.organization()
    folder = tmp_path / "in"
    folder.mkdir()
    gps = {1: "N", 2: degrees(48.0), 3: "E", 4: degrees(2.0)}
    packet = xmp(GPano__ProjectionType="equirectangular", GPano__PoseHeadingDegrees="90")
    (folder / "pano.jpg").write_bytes(saved(noise(512, 256), exif=exif(gps=gps), xmp=packet))
    batch = harness.ingest(folder, org, source="street", kind="street")
    assert (batch.items, batch.indexed) == (1, 1)
    points = harness.index.fetch([row[0] for row in harness.index.scroll(None, 10)])
    assert len(points) == 4
    assert len({point.group for point in points}) == 1
    with harness.database.read(org) as catalog:
        images = catalog.images([point.id for point in points])
    assert {(i.cubemap_face, i.heading_deg) for i in images.values()} == {
        ("front", 90.0),
        ("right", 180.0),
        ("back", 270.0),
        ("left", 0.0),
    }
    # The same file as a plain photo loses three faces and remains one item.
    (folder / "pano.jpg").write_bytes(saved(noise(64, 48, seed=9), exif=exif(gps=gps)))
    again = harness.ingest(folder, org, source="street")
    assert again.updated == 1
    assert index_count(harness, org) == image_rows(harness) == 1


def test_update_image_position_survives_next_ingest(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 1)
    harness.ingest(tmp_path / "in", org)
    image = only_image(harness, org)
    with harness.database.write(org) as catalog:
        fixed = catalog.update_image(image.id, ImageUpdate(point=Point(lat=-33, lon=151)))
    assert (fixed.version, fixed.state) == (2, "pending")
    harness.run()
    assert harness.index.fetch([image.id])[0].point.lat == pytest.approx(-33, abs=1e-6)
    again = harness.ingest(tmp_path / "in", org)
    assert again.duplicate == 1
    assert only_image(harness, org).point == Point(lat=-33, lon=151)


def test_update_image_without_fields_raises(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 1)
    harness.ingest(tmp_path / "in", org)
    with (
        harness.database.write(org) as catalog,
        pytest.raises(BadRequestError, match="nothing to update"),
    ):
        catalog.update_image(only_image(harness, org).id, ImageUpdate())


def test_delete_image_removes_data_and_allows_new_ingest(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 2)
    harness.ingest(tmp_path / "in", org)
    with harness.database.read(org) as catalog:
        deleted_id = next(iter(catalog.images([row[0] for row in harness.index.scroll(None, 10)])))
    with harness.database.write(org) as catalog:
        catalog.delete_image(deleted_id)
    with harness.database.read(org) as catalog, pytest.raises(NotFoundError):
        catalog.image(deleted_id)
    harness.run()
    assert harness.scalar("SELECT count(*) FROM images") == index_count(harness, org) == 1
    assert harness.scalar("SELECT count(*) FROM embeddings") == 1
    assert harness.scalar("SELECT count(*) FROM thumbnails") == 1
    again = harness.ingest(tmp_path / "in", org)
    assert (again.indexed, again.duplicate) == (1, 1)
    assert index_count(harness, org) == 2
    with harness.database.read(org) as catalog:
        assert catalog.image(deleted_id).version == 3  # above its tombstone


def test_erase_source_removes_rows_and_frees_its_name(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 3)
    harness.ingest(tmp_path / "in", org)
    with harness.database.write(org) as catalog:
        assert catalog.erase_source(catalog.source("photos").id) == 3
    harness.run()
    for table in ("images", "sources", "batches", "batch_items", "item_images", "cell_stats"):
        assert harness.scalar(f"SELECT count(*) FROM {table}") == 0, table
    assert index_count(harness, org) == 0
    assert harness.ingest(tmp_path / "in", org).indexed == 3


def test_cell_stats_equal_recount(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "in", 30)
    harness.ingest(tmp_path / "in", org)
    with harness.database.write(org) as catalog:
        rows = [row[0] for row in harness.index.scroll(None, 100)]
        catalog.delete_image(rows[0])
        catalog.update_image(rows[1], ImageUpdate(point=Point(lat=1, lon=1)))
    harness.run()
    drift = """
        SELECT count(*) FROM (SELECT * FROM cell_stats WHERE resolution = 7) n FULL JOIN (
            SELECT cell_r7, source_id, count(*) AS images FROM images
             WHERE state IN ('pending', 'indexed') GROUP BY 1, 2) i
            ON i.cell_r7 = n.cell AND i.source_id = n.source_id
         WHERE n.images IS DISTINCT FROM i.images"""
    assert harness.scalar(drift) == 0
    assert harness.scalar("SELECT sum(images) FROM cell_stats WHERE resolution = 3") == 29


@pytest.mark.parametrize(("policy", "blobs"), [("reference", 0), ("copy", 2), ("rendition", 2)])
def test_originals_follow_source_policy(harness, tmp_path, policy, blobs):
    org = harness.organization()
    write_photos(tmp_path / "in", 2)
    with harness.operator.write(org) as catalog:
        catalog.add_source("photos", "photo", originals=policy)
    for _ in range(2):
        harness.ingest(tmp_path / "in", org)
        kept = [path for path in (harness.folder / "blobs").rglob("*") if path.is_file()]
        assert len(kept) == blobs
    image_ids = [row[0] for row in harness.index.scroll(None, 10)]
    with harness.operator.write(org) as catalog:
        for image_id in image_ids:
            catalog.delete_image(image_id)
    harness.run()
    assert [path for path in (harness.folder / "blobs").rglob("*") if path.is_file()] == []
