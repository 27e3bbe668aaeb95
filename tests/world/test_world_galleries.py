"""A gallery is the same bytes for a seed, in any order, and its files say where they were taken."""

from __future__ import annotations

import csv
import hashlib
import json
from datetime import datetime

import numpy as np
import pytest
from PIL import Image

from pinpoint.world.galleries import make_gallery

SMALL = {"photos_per_place": 3, "streets_per_place": 4, "panoramas": 1}
GPS_IFD, EXIF_IFD = 0x8825, 0x8769


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    return make_gallery(tmp_path_factory.mktemp("gallery"), seed=7, places=5, queries=4, **SMALL)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.jpg"))
    }


def manifest(gallery, kind):
    with (gallery.manifests / f"{kind}.csv").open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


def opened(path):
    """The picture, loaded, its file closed."""
    with Image.open(path) as image:
        image.load()
        return image


def test_the_same_seed_gives_the_same_bytes_whatever_else_is_made(gallery, tmp_path):
    other = make_gallery(tmp_path, seed=7, places=3, queries=0, **SMALL)
    for ours, theirs in ((gallery.street, other.street), (gallery.photo, other.photo)):
        here, there = digests(ours), digests(theirs)
        assert there.items() <= here.items()
        assert len(here) * 3 == len(there) * 5


def test_another_seed_gives_other_pictures(gallery, tmp_path):
    other = make_gallery(tmp_path, seed=8, places=2, queries=0, **SMALL)
    assert not set(digests(gallery.photo).values()) & set(digests(other.photo).values())


def test_a_finished_gallery_is_left_as_it_is(gallery):
    folder = gallery.street.parent
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = make_gallery(folder, seed=7, places=5, queries=4, **SMALL)
    assert again == gallery
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_an_unfinished_gallery_is_made_again(gallery, tmp_path):
    first = make_gallery(tmp_path, seed=7, places=1, queries=1, **SMALL)
    whole = digests(tmp_path)
    (tmp_path / "gallery.json").unlink()
    next(first.photo.rglob("*.jpg")).unlink()
    make_gallery(tmp_path, seed=7, places=1, queries=1, **SMALL)
    assert digests(tmp_path) == whole


def degrees(values, ref):
    whole = float(values[0]) + float(values[1]) / 60 + float(values[2]) / 3600
    return -whole if ref in ("S", "W") else whole


@pytest.mark.parametrize("kind", ["street", "photo"])
def test_exif_says_what_the_manifest_says(gallery, kind):
    rows = manifest(gallery, kind)
    assert len(rows) == 5 * (4 if kind == "street" else 3)
    for row in rows:
        exif = opened(getattr(gallery, kind) / row["file"]).getexif()
        gps, taken = exif.get_ifd(GPS_IFD), exif.get_ifd(EXIF_IFD)
        assert degrees(gps[2], gps[1]) == pytest.approx(float(row["latitude"]), abs=1e-7)
        assert degrees(gps[4], gps[3]) == pytest.approx(float(row["longitude"]), abs=1e-7)
        assert float(gps[17]) == pytest.approx(float(row["heading_deg"]), abs=0.01)
        moment = datetime.strptime(taken[0x9003] + taken[0x9011], "%Y:%m:%d %H:%M:%S%z")
        assert moment == datetime.fromisoformat(row["captured_at"])
        assert exif[0x013B] == row["creator"]


def test_one_street_picture_is_a_panorama(gallery):
    wide = [p for p in gallery.street.rglob("*.jpg") if opened(p).width == 768]
    assert len(wide) == 1
    packet = opened(wide[0]).info["xmp"].decode()
    heading = float(opened(wide[0]).getexif().get_ifd(GPS_IFD)[17])
    assert 'ProjectionType="equirectangular"' in packet
    assert f'PoseHeadingDegrees="{heading:.2f}"' in packet


def test_queries_are_unseen_and_do_not_tell_their_place(gallery):
    known = set(digests(gallery.street).values()) | set(digests(gallery.photo).values())
    truth = json.loads((gallery.street.parent / "queries.json").read_text(encoding="utf-8"))
    assert len(gallery.queries) == len(truth) == 4
    assert len({query.place for query in gallery.queries}) == 4
    for query in gallery.queries:
        data = query.path.read_bytes()
        assert hashlib.sha256(data).hexdigest() not in known
        assert not opened(query.path).getexif().get_ifd(GPS_IFD)
        assert query.place.encode() not in data


def test_every_place_of_a_gallery_has_both_kinds_within_a_hundred_metres(gallery):
    spots = {}
    for kind in ("street", "photo"):
        for row in manifest(gallery, kind):
            spot = spots.setdefault(row["file"].split("/")[0], {})
            spot.setdefault(kind, []).append((float(row["latitude"]), float(row["longitude"])))
    assert len(spots) == 5
    for kinds in spots.values():
        street, photo = np.mean(kinds["street"], axis=0), np.mean(kinds["photo"], axis=0)
        assert np.hypot(*(street - photo)) * 111_000 < 100


def test_colours_and_layout_alone_find_many_queries(tmp_path):
    import torch

    from pinpoint.nets.descriptor import Descriptor  # torch is slow to import

    made = make_gallery(tmp_path, seed=7, places=15, queries=30, panoramas=0)
    paths = [*sorted(made.street.rglob("*.jpg")), *sorted(made.photo.rglob("*.jpg"))]

    def vectors(files):
        pixels = [opened(file).convert("RGB").resize((128, 128)) for file in files]
        batch = np.stack([np.asarray(p, np.float32).transpose(2, 0, 1) / 255 for p in pixels])
        with torch.no_grad():
            return torch.nn.functional.normalize(Descriptor()(torch.from_numpy(batch))).numpy()

    nearest = (vectors([q.path for q in made.queries]) @ vectors(paths).T).argmax(axis=1)
    found = [
        paths[k].parent.name == query.place for k, query in zip(nearest, made.queries, strict=True)
    ]
    assert 0.4 <= np.mean(found) < 1.0  # chance is 1 in 15; a perfect score would be a leak
