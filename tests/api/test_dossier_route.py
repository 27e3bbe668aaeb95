"""`POST /v1/dossiers` on a running API with a fixed answer."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from io import BytesIO
from uuid import UUID

import numpy as np
import pytest

from api import example_dossiers, memory
from api.test_api_problems import problem
from pinpoint.api.dossiers.verify import verify_dossier
from pinpoint.settings import SearchSettings

PHOTO = {"photo": ("p.jpg", b"bytes of a photo")}
IDS = [UUID(int=number) for number in range(3)]


@pytest.fixture
def gallery(api, monkeypatch):
    """An API whose answer has three images: one is not visible for keys, one was deleted."""
    answer = example_dossiers.located_answer()
    monkeypatch.setattr("pinpoint.api.v1.locate_query.pipeline.locate", lambda *_: answer)
    monkeypatch.setattr(memory, "JPEG", example_dossiers.picture())
    for organization in ("default", "acme"):
        rows = api.rows(organization)
        source = rows.add_source("s", "photo", license="CC0", attribution="we")
        for image_id, access in zip(IDS[:2], ("full", "none"), strict=True):
            image = replace(memory.image(source), id=image_id, image_access=access, uri="file:a")
            rows.all_images[image_id] = image
    pixels = np.zeros((48, 64, 3), np.uint8)
    reader = type("Reader", (), {"read": lambda self, uri, images: {images[0].id: pixels}})()
    api.parts.verifier = type("Verifier", (), {"pixels": reader})()
    monkeypatch.setattr("pinpoint.api.v1.match_picture.decode_photo", lambda *_: pixels)
    return api


def read_document(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(BytesIO(response.content)) as archive:
        return json.loads(archive.read("dossier.json")), set(archive.namelist())


def test_dossier_route_returns_a_valid_dossier_and_logs_its_own_operation(gallery, tmp_path):
    with gallery.http() as http:
        response = http.post("/v1/dossiers", files=PHOTO, data={"top": "2", "verify": "3"})
    document, names = read_document(response)
    digest = hashlib.sha256(PHOTO["photo"][1]).hexdigest()
    assert response.headers["content-disposition"] == (
        f'attachment; filename="pinpoint-dossier-{digest[:12]}.zip"'
    )
    path, photo = tmp_path / "out.zip", tmp_path / "p.jpg"
    path.write_bytes(response.content)
    photo.write_bytes(PHOTO["photo"][1])
    assert verify_dossier(path, [photo]).problems == ()
    assert document["query"]["verify"] == 3
    assert document["settings"]["candidates"] == SearchSettings().candidates
    assert document["answer"]["timings_ms"] == {}
    assert len(document["answer"]["candidates"]) == 2
    assert len(document["answer"]["explanation"]["candidates"]) == 3
    assert not any(name.startswith(("photos/", "matches/")) for name in names)
    (line,) = gallery.rows().audit
    assert (line.operation, line.photo_sha256) == ("create_dossier", digest)


def test_dossier_shows_a_key_only_the_images_that_it_may_see(gallery):
    with gallery.http(gallery.parts.api_keys.key("acme", "locate", "read")) as http:
        document, names = read_document(http.post("/v1/dossiers", files=PHOTO))
    omissions = {entry["image_id"]: entry["thumbnail_omission"] for entry in document["images"]}
    assert omissions == {
        str(IDS[0]): None, str(IDS[1]): "not_permitted", str(IDS[2]): "unavailable",
        str(UUID(int=7)): "unavailable",
    }  # fmt: skip
    assert {name for name in names if "/" in name} == {f"thumbnails/{IDS[0]}.jpg"}
    with gallery.http(gallery.parts.api_keys.key("acme", "locate")) as http:
        form = {"include_photo": "true"}
        document, names = read_document(http.post("/v1/dossiers", files=PHOTO, data=form))
    assert {entry["thumbnail_omission"] for entry in document["images"]} == {"no_read_scope"}
    assert {name for name in names if "/" in name} == {"photos/0.bin"}


def test_dossier_with_the_photo_has_match_pictures_of_full_images(gallery):
    form = {"include_photo": "true"}
    key = gallery.parts.api_keys.key("acme", "locate", "read")
    with gallery.http(key) as http:
        document, names = read_document(http.post("/v1/dossiers", files=PHOTO, data=form))
        assert {f"matches/{IDS[0]}.png", "photos/0.bin"} <= names
        rows = gallery.rows("acme")
        rows.all_images[IDS[0]] = replace(rows.all_images[IDS[0]], image_access="thumbnail")
        document, names = read_document(http.post("/v1/dossiers", files=PHOTO, data=form))
    assert f"matches/{IDS[0]}.png" not in names
    (entry,) = [entry for entry in document["images"] if entry["image_id"] == str(IDS[0])]
    assert entry["match_picture_omission"] == "not_permitted"
    assert entry["thumbnail"] is not None


def test_dossier_limits_its_thumbnails(gallery, monkeypatch):
    monkeypatch.setattr("pinpoint.api.v1.dossier_images.MAX_THUMBNAILS", 0)
    with gallery.http() as http:
        document, _ = read_document(http.post("/v1/dossiers", files=PHOTO))
    assert {entry["thumbnail_omission"] for entry in document["images"]} == {"limit", "unavailable"}


def test_dossier_of_a_refused_query_is_the_problem_of_locate(gallery):
    with gallery.http() as http:
        for path in ("/v1/locate", "/v1/dossiers"):
            problem(http.post(path, files=PHOTO, data={"keep": "true"}), 403, "forbidden")
        problem(
            http.post("/v1/dossiers", files=PHOTO, headers={"Accept": "image/png"}),
            406,
            "not_acceptable",
        )
