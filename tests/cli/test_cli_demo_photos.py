"""The demo on real photos: what is held out, and the chain on a folder with a manifest."""

from __future__ import annotations

import csv
import json
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from pinpoint.bootstrap import build_services
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.demo_photos import hold_out, read_photos, run_photo_demo
from pinpoint.cli.demo_photos_report import PHOTO_DEMO_NOTE
from pinpoint.errors import BadRequestError
from pinpoint.settings import Settings
from stack_fixtures import jpeg, plain_jpeg

PANORAMAS, FACES = 6, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Faces of six panoramas in two drives, with a manifest."""
    folder = tmp_path_factory.mktemp("drives")
    with (folder / "manifest.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "latitude", "longitude", "panorama", "sequence", "licence"])
        for panorama in range(PANORAMAS):
            for face in range(FACES):
                name = f"{panorama}-{face}.jpg"
                (folder / name).write_bytes(plain_jpeg(10 * panorama + face, (96, 72)))
                lon = 2.35 + 0.0001 * panorama
                rows.writerow([name, 48.85, lon, f"p{panorama}", f"s{panorama % 2}", "CC0-1.0"])
    return folder


@pytest.fixture(scope="module")
def organization(running_stack):
    name = f"photos-{uuid4().hex[:8]}"
    services = build_services(running_stack.settings, "operator")
    services.api_keys.create_organization(name)
    services.close()
    return name


def test_hold_out_leaves_no_face_of_a_query_in_the_gallery(folder):
    photos, rejections = read_photos(folder, Settings())
    assert (len(photos), rejections) == (PANORAMAS * FACES, [])
    queries, gallery = hold_out(photos, 2)
    held_out = {photo.capture.panorama_id for photo in queries}
    assert len(held_out) == len(queries) == 2
    assert len(gallery) == (PANORAMAS - 2) * FACES
    assert not held_out & {photo.capture.panorama_id for photo in gallery}
    assert hold_out(photos[::-1], 2)[0] == queries, "the choice depends on the order"
    assert len(hold_out(photos, 100)[0]) == PANORAMAS // 2


def test_hold_out_keeps_copies_of_a_file_together(tmp_path):
    for name, seed in (("a.jpg", 1), ("copy of a.jpg", 1), ("b.jpg", 2)):
        (tmp_path / name).write_bytes(jpeg(seed, 47.5, 8.7))
    (tmp_path / "nowhere.jpg").write_bytes(plain_jpeg(3))
    photos, rejections = read_photos(tmp_path, Settings())
    assert [rejection.error_code for rejection in rejections] == ["no_position"]
    queries, gallery = hold_out(photos, 8)
    assert len(queries) == 1
    assert not {photo.capture.sha256 for photo in gallery} & {queries[0].capture.sha256}


def test_hold_out_of_one_photo_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(1, 47.5, 8.7))
    photos, _ = read_photos(tmp_path, Settings())
    with pytest.raises(BadRequestError, match="1 photos have a position"):
        hold_out(photos, 8)


def test_photo_demo_locates_held_out_photos_in_their_own_source(
    folder, running_stack, organization, capsys, tmp_path
):
    def run(queries, **options):
        return run_photo_demo(
            folder,
            running_stack.settings,
            organization=organization,
            queries=queries,
            source_kind="street",
            out=tmp_path,
            **options,
        )

    report = run(2, as_json=True)
    assert json.loads(capsys.readouterr().out) == report
    gallery = report["gallery"]
    assert (gallery["images"], gallery["held_out"], gallery["indexed"]) == (8, 4, 8)
    held_out = {photo["photo"].rsplit("/", 1)[1][0] for photo in report["photos"]}
    cited = {image["file_name"][0] for p in report["photos"] for image in p["citations"]}
    assert cited
    assert not held_out & cited, "a query met its own panorama"
    with Image.open(tmp_path / "map.png") as image:
        assert "bundle descriptor, ranker vote" in image.info["Description"]
        assert np.asarray(image.convert("RGB")).std() > 5

    again = run(2)
    assert again["gallery"]["duplicate"] == 8
    output = capsys.readouterr().out
    assert PHOTO_DEMO_NOTE in output
    assert f"8 images in the source '{gallery['source']}'; 4 held out" in output
    assert run(3, as_json=True)["gallery"]["source"] != gallery["source"]
    with ApiClient.open(organization=organization, home=running_stack.home) as client:
        assert {s["license"] for s in client.sources()} == {"CC0-1.0"}
