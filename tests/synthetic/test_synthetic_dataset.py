"""A planet on disk: determined by its seed, resumable, with separated splits."""

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


def load_image(path):
    with Image.open(path) as image:
        image.load()
        return image


def degrees(values, ref):
    whole = float(values[0]) + float(values[1]) / 60 + float(values[2]) / 3600
    return -whole if ref in ("S", "W") else whole


def all_rows_of(planet):
    """Rows of all galleries and queries, with their role and use."""
    listed = []
    for name, path in planet.manifests().items():
        role = name.rsplit("-", 1)[0]
        listed += [{**row, "role": role, "use": "gallery"} for row in rows(path)]
    return listed + [{**row, "use": "query"} for row in rows(planet.labels)]


def test_make_planet_is_determined_by_seed(planet, tmp_path):
    again = make_planet(tmp_path / "again", preset="tiny", seed=7)
    other = make_planet(tmp_path / "other", preset="tiny", seed=8)
    ours = digests(planet.folder)
    assert digests(again.folder) == ours
    assert not set(digests(other.folder).values()) & set(ours.values())
    assert other.digest != planet.digest == preset_digest(PRESETS["tiny"], 7)


def test_make_planet_interrupted_resumes(planet, tmp_path):
    first = make_planet(tmp_path / "p", preset="tiny", seed=7)
    mark = first.folder / "planet.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "complete": False}))
    gone = sorted((first.folder / "galleries").rglob("*.jpg"))[::7]
    kept = sorted((first.folder / "galleries").rglob("*.jpg"))[1]
    for path in gone:
        path.unlink()
    before = kept.stat().st_mtime_ns
    progress = []
    make_planet(first.folder, preset="tiny", seed=7, on_progress=lambda *two: progress.append(two))
    assert digests(first.folder) == digests(planet.folder)
    assert kept.stat().st_mtime_ns == before
    assert progress[-1][0] == progress[-1][1] == planet.gallery + len(planet.queries)


def test_make_planet_complete_is_not_rewritten(planet):
    before = {path: path.stat().st_mtime_ns for path in planet.folder.rglob("*")}
    assert make_planet(planet.folder, preset="tiny", seed=7) == planet
    assert {path: path.stat().st_mtime_ns for path in planet.folder.rglob("*")} == before


def test_make_planet_foreign_folder_is_rejected(planet, tmp_path):
    with pytest.raises(BadRequestError, match="seed 7"):
        make_planet(planet.folder, preset="tiny", seed=9)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadRequestError, match="other files"):
        make_planet(tmp_path, preset="tiny", seed=7)
    with pytest.raises(BadRequestError, match="tiny, demo, small, bench"):
        make_planet(tmp_path / "new", preset="huge", seed=7)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_manifests_and_labels_list_every_file_once(planet):
    files = {path for path in planet.folder.rglob("*.jpg")}
    listed = [
        path.parent / row["file"] for path in planet.manifests().values() for row in rows(path)
    ]
    queries = [planet.labels.parent / "images" / row["file"] for row in rows(planet.labels)]
    assert Counter([*listed, *queries]) == Counter(files)
    assert len(listed) == planet.gallery
    assert sorted(queries) == sorted(query.path for query in planet.queries)


def test_manifest_rows_contain_planet_digest(planet):
    planets = {
        row["planet"]
        for path in (*planet.manifests().values(), planet.labels)
        for row in rows(path)
    }
    assert planets == {f"{GENERATOR} {planet.digest}"}
    assert planet.digest == preset_digest(PRESETS["tiny"], 7)


def test_exif_equals_manifest(planet):
    for path in planet.manifests().values():
        for row in rows(path)[::5]:
            exif = load_image(path.parent / row["file"]).getexif()
            gps, taken = exif.get_ifd(GPS_IFD), exif.get_ifd(EXIF_IFD)
            assert degrees(gps[2], gps[1]) == pytest.approx(float(row["latitude"]), abs=1e-7)
            assert degrees(gps[4], gps[3]) == pytest.approx(float(row["longitude"]), abs=1e-7)
            assert float(gps[17]) == pytest.approx(float(row["heading_deg"]), abs=0.011)
            moment = datetime.strptime(taken[0x9003] + taken[0x9011], "%Y:%m:%d %H:%M:%S%z")
            assert moment == datetime.fromisoformat(row["captured_at"])
            assert exif[0x013B] == row["creator"]


def test_query_files_contain_no_position(planet):
    for query in planet.queries:
        data = query.path.read_bytes()
        assert not load_image(query.path).getexif().get_ifd(GPS_IFD)
        assert query.city.name.encode() not in data


def test_roles_are_separated_by_buffer_and_creator(planet):
    all_rows = all_rows_of(planet)
    where = np.array([position(row) for row in all_rows])
    roles = np.array([row["role"] for row in all_rows])
    apart = roles[:, None] != roles[None, :]
    assert pairwise_m(where)[apart].min() > BUFFER_M
    photos = [row for row in all_rows if row["sequence"] == ""]
    homes = {(row["creator"], row["role"]) for row in photos}
    assert len(homes) == len({creator for creator, _ in homes})
    drives = {(row["sequence"], row["use"]) for row in all_rows if row["sequence"]}
    assert len(drives) == len({name for name, _ in drives})


def test_gallery_covers_all_but_null_regions(planet):
    galleries = np.array([position(row) for row in all_rows_of(planet) if row["use"] == "gallery"])
    for row in rows(planet.labels):
        nearest = pairwise_m(np.array([position(row)]), galleries).min()
        assert (nearest > BUFFER_M) == (row["covered"] == "false")
        assert row["setting"] == ("closed" if row["role"] == "train" else "open")


def test_source_kinds_share_cities_and_differ_in_metadata(planet):
    photos, streets = (rows(planet.manifests()[f"train-{kind}"]) for kind in ("photo", "street"))
    assert {row["file"].split("/")[0] for row in photos} == {
        row["file"].split("/")[0] for row in streets
    }
    creators = Counter(row["creator"] for row in photos)
    assert len(creators) > 6
    assert max(creators.values()) > 1
    assert all(row["sequence"] for row in streets)
    assert not any(row["sequence"] for row in photos)


def test_panoramas_are_street_gallery_images_only(tmp_path):
    demo = make_planet(tmp_path / "demo", preset="demo", seed=7)
    wide = [path for path in demo.folder.rglob("*.jpg") if load_image(path).width == 256]
    assert 0 < len(wide) < 0.2 * demo.gallery
    for path in wide:
        assert "street" in path.name
        assert "queries" not in path.parts
        packet = load_image(path).info["xmp"].decode()
        heading = float(load_image(path).getexif().get_ifd(GPS_IFD)[17])
        assert 'ProjectionType="equirectangular"' in packet
        assert f'PoseHeadingDegrees="{heading:.2f}"' in packet


def test_bench_preset_has_enough_queries():
    preset = PRESETS["bench"].towns["test"]
    assert preset.cities * preset.photo_queries >= 10_000
