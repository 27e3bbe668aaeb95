"""Crops, several photos and match pictures on a running stack, by command and client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pinpoint.cli.api_client import ApiClient
from pinpoint.errors import BadRequestError, NotFoundError
from pinpoint.records import DEFAULT_MIN_INLIERS
from scenes import SIZE, other_view, save_scene, scene
from stack_fixtures import unique

SCENES = unique("scenes")
"""Name of the source with the scenes."""


@pytest.fixture(scope="module")
def client(running_stack, tmp_path_factory):
    """A client of the running stack, with a source of five scenes in the open sea."""
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(5):
        (folder / f"scene-{seed}.jpg").write_bytes(save_scene(scene(seed), 34.0, 18.0 + seed))
    with ApiClient.open(home=running_stack.home) as opened:
        name = SCENES
        opened.add_source(name, "photo", license="CC0", attribution="the test")
        batch = opened.ingest_folder(folder, source=name, wait=True)
        assert batch["indexed"] == 5
        yield opened


def run_command(running_stack, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "pinpoint.cli", *map(str, arguments)],
        env={**os.environ, "PINPOINT_HOME": str(running_stack.home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def best_file(answer):
    return answer["candidates"][0]["file_name"]


def test_locate_other_view_is_verified_and_cites_the_scene(client):
    photo = save_scene(other_view(scene(2)))
    answer = client.locate(photo, sources=[SCENES], include=["matches"])
    assert answer["verified"] is True
    by_name = {entry["file_name"]: entry["verification"] for entry in answer["candidates"]}
    assert by_name["scene-2.jpg"]["verified"]
    assert sum(entry["verified"] for entry in by_name.values()) == 1
    best = answer["matches"][0]
    assert len(best["query_points"]) == by_name["scene-2.jpg"]["inliers"] >= DEFAULT_MIN_INLIERS
    assert (best["image_width_px"], best["image_height_px"]) == SIZE
    again = client.locate(photo, sources=[SCENES], include=["matches"])
    assert again["matches"] == answer["matches"]
    unverified = client.locate(photo, sources=[SCENES], verify=0)
    assert (unverified["verified"], unverified["verification_threshold"]) == (False, None)


def test_match_picture_shows_both_images(client):
    photo = save_scene(other_view(scene(2)))
    picture = client.match_picture(photo, sources=[SCENES])
    assert client.match_picture(photo, sources=[SCENES]) == picture
    with Image.open(BytesIO(picture)) as image:
        assert image.format == "PNG"
        assert image.width > SIZE[0]
    with pytest.raises(NotFoundError, match="no match picture"):
        client.match_picture(photo, sources=[SCENES], verify=0)


def test_two_photos_of_one_place_help_where_one_fails(client):
    # One photo shows mostly another scene; the second one shows the place.
    mixed = scene(4).copy()
    mixed.paste(scene(1).crop((0, 0, 120, 320)), (0, 0))
    misleading, clear = save_scene(mixed), save_scene(other_view(scene(1)))
    alone = client.locate(misleading, sources=[SCENES])
    assert best_file(alone) == "scene-4.jpg"
    fused = client.locate([misleading, clear, clear], sources=[SCENES])
    scores = {
        name: {entry["file_name"]: entry["score"] for entry in answer["candidates"]}["scene-1.jpg"]
        for name, answer in (("alone", alone), ("fused", fused))
    }
    assert scores["fused"] > scores["alone"]
    assert fused["verified"] is True


def test_equal_photos_get_the_answer_of_one_photo(client):
    photo = save_scene(other_view(scene(3)))
    answers = [
        client.locate(photos, sources=[SCENES], include=["matches"])
        for photos in (photo, [photo, photo, photo])
    ]
    for answer in answers:
        # A claim is that of one photo, so three photos have three.
        del answer["timings_ms"], answer["claims"]
    assert answers[0] == answers[1]


def test_order_of_photos_does_not_change_the_answer(client):
    photos = [save_scene(other_view(scene(seed))) for seed in (1, 2, 3)]
    answers = [client.locate(order, sources=[SCENES]) for order in (photos, photos[::-1])]
    for answer in answers:
        del answer["timings_ms"]
    assert answers[0] == answers[1]


def test_crop_of_a_large_photo_finds_the_scene_in_its_background(client):
    large = Image.fromarray(
        np.random.default_rng(9).integers(0, 255, (1_500, 2_000, 3), dtype=np.uint8)
    )
    large.paste(scene(0), (1_400, 1_000))
    photo = save_scene(large)
    crop = (1_400, 1_000, *SIZE)
    answer = client.locate(photo, sources=[SCENES], crop=crop)
    assert (best_file(answer), answer["verified"]) == ("scene-0.jpg", True)
    page = client.similar(photo, sources=[SCENES], crop=crop)
    assert page["groups"][0]["hits"][0]["file_name"] == "scene-0.jpg"
    with pytest.raises(BadRequestError, match="2000 x 1500") as error:
        client.locate(photo, crop="1900,1400,420,320")
    assert error.value.reason == "crop_outside_image"


def test_command_writes_the_match_picture_and_prints_inliers(client, running_stack, tmp_path):
    photo, second = tmp_path / "a.jpg", tmp_path / "b.jpg"
    photo.write_bytes(save_scene(other_view(scene(2))))
    second.write_bytes(save_scene(scene(2)))
    picture = tmp_path / "matches.png"
    done = run_command(
        running_stack, "locate", photo, second, "--same-location", "--in-source", SCENES,
        "--matches", picture,
    )  # fmt: skip
    assert "inliers" in done.stdout
    assert f"verified: {DEFAULT_MIN_INLIERS} inliers or more (default" in done.stdout
    assert f"{photo}, {second}: 34.00000, 20.00000" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    separate = run_command(
        running_stack, "locate", photo, second, "--crop", "0,0,420,320", "--crop", "10,10,300,200",
        "--in-source", SCENES, "--json",
    )  # fmt: skip
    answers = json.loads(separate.stdout)["answers"]
    assert [answer["photos"] for answer in answers] == [[str(photo)], [str(second)]]
    assert all(answer["answer"]["verified"] for answer in answers)


def test_command_writes_a_dossier_that_another_command_verifies(client, running_stack, tmp_path):
    photo, other = tmp_path / "a.jpg", tmp_path / "b.jpg"
    photo.write_bytes(save_scene(other_view(scene(2))))
    other.write_bytes(save_scene(scene(3)))
    dossier = tmp_path / "out.zip"
    done = run_command(
        running_stack, "locate", photo, "--in-source", SCENES, "--dossier", dossier,
        "--include-photo", "--json",
    )  # fmt: skip
    assert f"dossier in {dossier}, SHA-256" in done.stderr
    (answer,) = json.loads(done.stdout)["answers"]
    with zipfile.ZipFile(dossier) as archive:
        document = json.loads(archive.read("dossier.json"))
        assert archive.read("photos/0.jpg") == photo.read_bytes()
        pictures = [name for name in archive.namelist() if name.startswith("matches/")]
    assert document["answer"] == answer["answer"]
    assert document["answer"]["verified"] is True
    assert document["photos"][0]["file_name"] == "a.jpg"
    assert len(pictures) >= 1
    assert all(entry["thumbnail"] for entry in document["images"])
    good = run_command(running_stack, "verify-dossier", dossier, "--photo", photo)
    assert "complete and unchanged" in good.stdout
    bad = run_command(
        running_stack, "verify-dossier", dossier, "--photo", other, code=os.EX_DATAERR
    )
    assert bad.stdout.startswith("other_photo: ")


def test_command_with_wrong_options_explains_them(running_stack, tmp_path):
    photo = tmp_path / "a.jpg"
    photo.write_bytes(save_scene(scene(2)))
    cases = [
        (["--crop", "1,2"], "four whole numbers"),
        (["--crop", "0,0,9,9"], "too small"),
        (["--crop", "0,0,99,99", "--crop", "0,0,99,99"], "2 times for 1 photos"),
    ]
    for arguments, message in cases:
        assert message in run_command(running_stack, "locate", photo, *arguments, code=64).stderr
    two = run_command(running_stack, "locate", photo, photo, "--matches", "x.png", code=64)
    assert "one query" in two.stderr
    two = run_command(running_stack, "locate", photo, photo, "--dossier", "x.zip", code=64)
    assert "one dossier" in two.stderr
