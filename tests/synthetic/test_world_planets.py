"""A planet on disk: the same for a seed, complete or gone on with, its parts kept apart."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from pinpoint.errors import BadRequestError
from pinpoint.geo.distance import pairwise_m
from pinpoint.synthetic.dataset import make_planet
from pinpoint.synthetic.presets import BUFFER_M, GENERATOR, PRESETS, preset_digest

GPS_IFD, EXIF_IFD = 0x8825, 0x8769


@pytest.fixture(scope="module")
def planet(tmp_path_factory):
    return make_planet(tmp_path_factory.mktemp("planet") / "tiny", preset="tiny", seed=7)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def position(row):
    return float(row["latitude"]), float(row["longitude"])


def opened(path):
    with Image.open(path) as image:
        image.load()
        return image


def degrees(values, ref):
    whole = float(values[0]) + float(values[1]) / 60 + float(values[2]) / 3600
    return -whole if ref in ("S", "W") else whole


def everything(planet):
    """Rows of all galleries and queries, with their role and use."""
    found = []
    for name, path in planet.manifests().items():
        role = name.rsplit("-", 1)[0]
        found += [{**row, "role": role, "use": "gallery"} for row in rows(path)]
    return found + [{**row, "use": "query"} for row in rows(planet.labels)]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(planet, tmp_path):
    again = make_planet(tmp_path / "again", preset="tiny", seed=7)
    other = make_planet(tmp_path / "other", preset="tiny", seed=8)
    ours = digests(planet.folder)
    assert digests(again.folder) == ours
    assert not set(digests(other.folder).values()) & set(ours.values())
    assert other.digest != planet.digest == preset_digest(PRESETS["tiny"], 7)


def test_a_broken_off_planet_is_gone_on_with(planet, tmp_path):
    first = make_planet(tmp_path / "p", preset="tiny", seed=7)
    mark = first.folder / "planet.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "complete": False}))
    gone = sorted((first.folder / "galleries").rglob("*.jpg"))[::7]
    kept = sorted((first.folder / "galleries").rglob("*.jpg"))[1]
    for path in gone:
        path.unlink()
    before = kept.stat().st_mtime_ns
    told = []
    make_planet(first.folder, preset="tiny", seed=7, on_progress=lambda *two: told.append(two))
    assert digests(first.folder) == digests(planet.folder)
    assert kept.stat().st_mtime_ns == before
    assert told[-1][0] == told[-1][1] == planet.gallery + len(planet.queries)


def test_a_complete_planet_is_left_as_it_is(planet):
    before = {path: path.stat().st_mtime_ns for path in planet.folder.rglob("*")}
    assert make_planet(planet.folder, preset="tiny", seed=7) == planet
    assert {path: path.stat().st_mtime_ns for path in planet.folder.rglob("*")} == before


def test_a_folder_of_something_else_is_refused_and_left(planet, tmp_path):
    with pytest.raises(BadRequestError, match="seed 7"):
        make_planet(planet.folder, preset="tiny", seed=9)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadRequestError, match="other files"):
        make_planet(tmp_path, preset="tiny", seed=7)
    with pytest.raises(BadRequestError, match="tiny, demo, small, bench"):
        make_planet(tmp_path / "new", preset="huge", seed=7)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_manifests_and_truth_list_every_file_once(planet):
    files = {path for path in planet.folder.rglob("*.jpg")}
    listed = [
        path.parent / row["file"] for path in planet.manifests().values() for row in rows(path)
    ]
    queries = [planet.labels.parent / "images" / row["file"] for row in rows(planet.labels)]
    assert Counter([*listed, *queries]) == Counter(files)
    assert len(listed) == planet.gallery
    assert sorted(queries) == sorted(one.path for one in planet.queries)


def test_every_row_says_of_which_planet_it_is(planet):
    said = {
        row["planet"]
        for path in (*planet.manifests().values(), planet.labels)
        for row in rows(path)
    }
    assert said == {f"{GENERATOR} {planet.digest}"}
    assert planet.digest == preset_digest(PRESETS["tiny"], 7)


def test_exif_says_what_the_manifest_says(planet):
    for path in planet.manifests().values():
        for row in rows(path)[::5]:
            exif = opened(path.parent / row["file"]).getexif()
            gps, taken = exif.get_ifd(GPS_IFD), exif.get_ifd(EXIF_IFD)
            assert degrees(gps[2], gps[1]) == pytest.approx(float(row["latitude"]), abs=1e-7)
            assert degrees(gps[4], gps[3]) == pytest.approx(float(row["longitude"]), abs=1e-7)
            assert float(gps[17]) == pytest.approx(float(row["heading_deg"]), abs=0.011)
            moment = datetime.strptime(taken[0x9003] + taken[0x9011], "%Y:%m:%d %H:%M:%S%z")
            assert moment == datetime.fromisoformat(row["captured_at"])
            assert exif[0x013B] == row["creator"]


def test_queries_do_not_tell_their_place(planet):
    for one in planet.queries:
        data = one.path.read_bytes()
        assert not opened(one.path).getexif().get_ifd(GPS_IFD)
        assert one.city.name.encode() not in data


def test_roles_keep_their_distance_and_authors_stay_in_one(planet):
    every = everything(planet)
    where = np.array([position(row) for row in every])
    roles = np.array([row["role"] for row in every])
    apart = roles[:, None] != roles[None, :]
    assert pairwise_m(where)[apart].min() > BUFFER_M
    photos = [row for row in every if row["sequence"] == ""]
    homes = {(row["creator"], row["role"]) for row in photos}
    assert len(homes) == len({creator for creator, _ in homes})
    drives = {(row["sequence"], row["use"]) for row in every if row["sequence"]}
    assert len(drives) == len({name for name, _ in drives})


def test_null_regions_have_no_gallery_and_all_others_have_one_near(planet):
    galleries = np.array([position(row) for row in everything(planet) if row["use"] == "gallery"])
    for row in rows(planet.labels):
        nearest = pairwise_m(np.array([position(row)]), galleries).min()
        assert (nearest > BUFFER_M) == (row["covered"] == "false")
        assert row["setting"] == ("closed" if row["role"] == "train" else "open")


def test_both_kinds_stand_in_the_same_towns_with_their_own_habits(planet):
    photos, streets = (rows(planet.manifests()[f"train-{kind}"]) for kind in ("photo", "street"))
    assert {row["file"].split("/")[0] for row in photos} == {
        row["file"].split("/")[0] for row in streets
    }
    authors = Counter(row["creator"] for row in photos)
    assert len(authors) > 6
    assert max(authors.values()) > 1
    assert all(row["sequence"] for row in streets)
    assert not any(row["sequence"] for row in photos)


def test_some_streets_are_panoramas_and_no_question_is(tmp_path):
    made = make_planet(tmp_path / "demo", preset="demo", seed=7)
    wide = [path for path in made.folder.rglob("*.jpg") if opened(path).width == 256]
    assert 0 < len(wide) < 0.2 * made.gallery
    for path in wide:
        assert "street" in path.name
        assert "queries" not in path.parts
        packet = opened(path).info["xmp"].decode()
        heading = float(opened(path).getexif().get_ifd(GPS_IFD)[17])
        assert 'ProjectionType="equirectangular"' in packet
        assert f'PoseHeadingDegrees="{heading:.2f}"' in packet


def test_the_bench_preset_is_large_enough_for_what_it_must_tell():
    town = PRESETS["bench"].towns["test"]
    assert town.cities * town.photo_queries >= 10_000
