"""Corrections of many images: statuses, repetition, panoramas and tables of any format."""

from __future__ import annotations

from uuid import uuid4

import pytest
from sqlalchemy import text

from media.pictures import exif, noise, saved, xmp
from media.vector_manifest_files import write_vector_file
from pinpoint.errors import BadRequestError
from pinpoint.ingest.register import register_files
from pinpoint.media.manifests.correction_rows import (
    CorrectionRow,
    read_corrections,
    to_request_row,
)
from pinpoint.records import ImageCorrection, ImageUpdate, Point, ReadOptions, Rejected
from pinpoint.settings import MediaSettings
from stack_fixtures import degrees, jpeg

READ = (MediaSettings(), ReadOptions())


@pytest.fixture
def gallery(harness, tmp_path):
    """An organization with three images; returns it and their ids by external id."""
    org = harness.organization()
    folder = tmp_path / "ground"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        (folder / f"{name}.jpg").write_bytes(jpeg(seed, 48.0 + seed, 2.0))
    register(harness, org, folder)
    with harness.owner.begin() as unit:
        rows = unit.connection.execute(text("SELECT external_id, id FROM images")).all()
    return org, {row.external_id: row.id for row in rows}


def register(harness, org, folder):
    register_files(
        folder,
        source="photos",
        kind="photo",
        organization_id=org,
        database=harness.operator,
        settings=harness.settings,
    )
    harness.run()


def correct(harness, org, *corrections):
    with harness.database.write(org) as catalog:
        return catalog.update_images(corrections)


def versions(harness):
    with harness.owner.begin() as unit:
        rows = unit.connection.execute(text("SELECT id, version FROM images")).all()
    return {row.id: row.version for row in rows}


def test_update_images_sets_values_and_repetition_changes_nothing(harness, gallery):
    org, ids = gallery
    corrections = (
        ImageCorrection(
            image_id=ids["ground/a.jpg"], update=ImageUpdate(point=Point(1, 2), creator="me")
        ),
        ImageCorrection(
            source="photos", external_id="ground/b.jpg", update=ImageUpdate(heading_deg=90.5)
        ),
        ImageCorrection(
            source="photos", external_id="ground/no.jpg", update=ImageUpdate(heading_deg=1)
        ),
        ImageCorrection(image_id=uuid4(), update=ImageUpdate(heading_deg=1)),
        ImageCorrection(
            image_id=ids["ground/c.jpg"], update=ImageUpdate(clear=frozenset({"position"}))
        ),
    )
    before = versions(harness)
    results = correct(harness, org, *corrections)
    assert [result.status for result in results] == [
        *("updated", "updated", "rejected", "rejected", "unchanged")
    ]
    assert {result.error_code for result in results if result.status == "rejected"} == {"not_found"}
    changed = {
        image_id for image_id, version in versions(harness).items() if version != before[image_id]
    }
    assert changed == {ids["ground/a.jpg"], ids["ground/b.jpg"]}
    harness.run()
    with harness.database.read(org) as catalog:
        image = catalog.image(ids["ground/a.jpg"])
    assert (image.point, image.creator, image.state) == (Point(1, 2), "me", "indexed")
    assert image.field_sources["position"] == "manual"
    before = versions(harness)
    again = correct(harness, org, *corrections)
    assert [result.status for result in again] == [
        *("unchanged", "unchanged", "rejected", "rejected", "unchanged")
    ]
    assert versions(harness) == before


def test_update_images_two_rows_of_one_image_apply_in_order(harness, gallery):
    org, ids = gallery
    image_id = ids["ground/a.jpg"]
    results = correct(
        harness,
        org,
        ImageCorrection(image_id=image_id, update=ImageUpdate(creator="one")),
        ImageCorrection(
            source="photos", external_id="ground/a.jpg", update=ImageUpdate(creator="two")
        ),
    )
    assert [result.status for result in results] == ["updated", "updated"]
    with harness.database.read(org) as catalog:
        image = catalog.image(image_id)
    assert (image.creator, image.version) == ("two", 2)


def test_update_images_of_another_organization_are_not_found(harness, gallery):
    _, ids = gallery
    other = harness.organization("birch")
    results = correct(
        harness,
        other,
        *(
            ImageCorrection(image_id=image_id, update=ImageUpdate(creator="x"))
            for image_id in ids.values()
        ),
        ImageCorrection(
            source="photos", external_id="ground/a.jpg", update=ImageUpdate(creator="x")
        ),
    )
    assert {(result.status, result.error_code, result.image_ids) for result in results} == {
        ("rejected", "not_found", ())
    }


def test_update_images_external_id_names_all_faces_of_a_panorama(harness, tmp_path):
    org = harness.organization()
    packet = xmp(GPano__ProjectionType="equirectangular", GPano__PoseHeadingDegrees="90")
    gps = {1: "N", 2: degrees(48.0), 3: "E", 4: degrees(2.0)}
    (tmp_path / "pano").mkdir()
    (tmp_path / "pano" / "p.jpg").write_bytes(
        saved(noise(512, 256), exif=exif(gps=gps), xmp=packet)
    )
    register(harness, org, tmp_path / "pano")
    name = {"source": "photos", "external_id": "pano/p.jpg"}
    moved, turned = correct(
        harness,
        org,
        ImageCorrection(**name, update=ImageUpdate(point=Point(1, 2))),
        ImageCorrection(**name, update=ImageUpdate(heading_deg=5)),
    )
    assert (moved.status, len(moved.image_ids)) == ("updated", 4)
    assert (turned.status, turned.error_code) == ("rejected", "bad_row")
    with harness.database.read(org) as catalog:
        assert {catalog.image(id_).point for id_ in moved.image_ids} == {Point(1, 2)}


def test_update_images_text_that_cannot_be_stored_costs_its_row(harness, gallery):
    org, ids = gallery
    results = correct(
        harness,
        org,
        ImageCorrection(image_id=ids["ground/a.jpg"], update=ImageUpdate(creator="ü" * 2_000)),
        ImageCorrection(image_id=ids["ground/b.jpg"], update=ImageUpdate(creator="ok")),
    )
    assert [(result.status, result.error_code) for result in results] == [
        ("rejected", "text_too_long"),
        ("updated", None),
    ]
    correction = ImageCorrection(image_id=ids["ground/a.jpg"], update=ImageUpdate(creator="x"))
    with pytest.raises(BadRequestError, match="at most 1000"):
        correct(harness, org, *([correction] * 1_001))


def test_read_corrections_table_reports_each_row(tmp_path):
    image_id = uuid4()
    (tmp_path / "fix.csv").write_text(
        "id,external_id,source,lat,lon,heading_deg,clear,note\n"
        f"{image_id},,,1,2,,,x\n"
        ",a.jpg,walk,,,90,creator captured_at,\n"
        ",a.jpg,,,,90,,\n"
        "7,,,,,90,,\n"
        f"{image_id},,,,,,,\n"
        f"{image_id},,,1,,,,\n"
        f"{image_id},,,,,90,heading_deg,\n"
        f"{image_id},,,,,90,altitude,\n"
    )
    first, second, *others = read_corrections(tmp_path / "fix.csv", *READ)
    assert isinstance(first, CorrectionRow)
    assert isinstance(second, CorrectionRow)
    assert to_request_row(first) == {"id": str(image_id), "lat": 1.0, "lon": 2.0}
    assert to_request_row(second) == {
        "source": "walk",
        "external_id": "a.jpg",
        "heading_deg": 90.0,
        "clear": ["creator", "captured_at"],
    }
    messages = [row.error_message for row in others if isinstance(row, Rejected)]
    for message, part in zip(
        messages,
        ("names no image", "not the id", "changes nothing", "without a usable", "both", "altitude"),
        strict=True,
    ):
        assert part in message
    assert messages[0].startswith("row 3: ")


def test_read_corrections_vector_file_with_source_option(tmp_path):
    columns = {"external_id": ["x/a", "x/b"], "creator": ["me", None]}
    path = write_vector_file(tmp_path / "fix.gpkg", "EPSG:3857", columns=columns)
    rows = list(read_corrections(path, *READ, source="walk"))
    assert [(row.external_id, row.source) for row in rows if isinstance(row, CorrectionRow)] == [
        ("x/a", "walk"),
        ("x/b", "walk"),
    ]
    assert isinstance(rows[0], CorrectionRow)
    assert rows[0].metadata_override.lat == pytest.approx(48.8583)
