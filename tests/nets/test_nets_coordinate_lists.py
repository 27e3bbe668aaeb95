"""Coordinate lists of bundles: writing, reading, encoding once, and error messages."""

from __future__ import annotations

import hashlib
import json
import threading

import numpy as np
import pytest
import torch

from nets.towers import timm_bundle
from pinpoint.errors import BadBundleError, ConflictError
from pinpoint.nets.bundle.bundles import copy_bundle, read_bundle
from pinpoint.nets.bundle.digests import digest
from pinpoint.nets.bundle.specs import HeadsSpec, LocationSpec
from pinpoint.nets.embedder.coordinate_lists import load_coordinates
from pinpoint.nets.embedder.embedder import Embedder
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.nets.embedder.joint_embedding import JointNetworks, write_joint_embedding
from pinpoint.nets.embedder.location import LocationTower
from pinpoint.nets.runtime import open_encoder
from pinpoint.settings import EncoderSettings

DIM = 24
EDGES = [(90.0, 0.0), (-90.0, 7.5), (0.1 + 0.2, 180.0), (-1e-9, -180.0)]


def positions(count=5_000):
    rng = np.random.default_rng(4)
    drawn = np.column_stack([rng.uniform(-90, 90, count), rng.uniform(-180, 180, count)])
    return np.vstack([EDGES, drawn])


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    tower = read_bundle(timm_bundle(folder / "bare"))
    torch.manual_seed(3)
    heads = KindHeads(HeadsSpec(feature_dim=tower.contract.dims["image"], hidden=16, dim=DIM))
    location = LocationTower(LocationSpec(hidden=16, dim=DIM))

    def write_named(name, **more):
        networks = JointNetworks(heads=heads, **{"location": location, **more})
        return write_joint_embedding(
            folder / name,
            name=name,
            tower=tower,
            networks=networks,
            license="CC0",
            note="Random.",
        )

    return write_named


@pytest.fixture(scope="module")
def listing(write):
    return write("listing", coordinates=positions(), logit_scale=12.0)


def encoder(folder):
    return open_encoder(EncoderSettings(bundle=str(folder), device="cpu"), folder, 512)


def test_load_coordinates_returns_exact_positions(listing, tmp_path):
    listed = load_coordinates(copy_bundle(listing, tmp_path / "copy"))
    np.testing.assert_array_equal(listed.positions, positions())
    assert listed.logit_scale == 12.0
    file = listing / read_bundle(listing).contract.heads.coordinates.file
    assert listed.digest == hashlib.sha256(file.read_bytes()).hexdigest()


def test_digest_does_not_cover_coordinates(listing, write):
    without = read_bundle(write("without"))
    assert load_coordinates(without) is None
    assert digest(without.contract, 512) == digest(read_bundle(listing).contract, 512)


def test_coordinate_gallery_is_encoded_once_over_threads(listing, monkeypatch):
    opened, calls, original = encoder(listing), [], Embedder.encode_positions
    monkeypatch.setattr(
        Embedder, "encode_positions", lambda *args: calls.append(1) or original(*args)
    )
    galleries = []
    threads = [
        threading.Thread(target=lambda: galleries.append(opened.coordinate_gallery()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(galleries), len(calls)) == (4, 1)
    gallery = galleries[0]
    assert all(other is gallery for other in galleries)
    assert gallery.vectors.shape == (len(positions()), DIM)
    for number in (0, 3, 4_095, 4_096, len(positions()) - 1):
        alone = opened.encode_positions(positions()[number : number + 1])[0]
        np.testing.assert_allclose(gallery.vectors[number], alone, rtol=0, atol=1e-5)


def test_coordinate_gallery_without_list_names_the_command(write):
    with pytest.raises(ConflictError, match="pinpoint bundles import geoclip") as caught:
        encoder(write("none")).coordinate_gallery()
    assert caught.value.reason == "no_coordinates"
    assert "bundle none is in use and has no list of coordinates" in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lat,lon\n1,2\n91,0\n", r"row 1 is not a position: lat, lon \[91.0, 0.0\]"),
        ("lat,lon\n1,2\nnan,0\n", "row 1 is not a position"),
        ("lat,lon\n1,2\n", r"2 rows of two numbers, not 'lat,lon' and \[1, 2\]"),
        ("lat,lon\n1,2,3\n4,5,6\n", r"not 'lat,lon' and \[2, 3\]"),
        ("lon,lat\n1,2\n3,4\n", "not 'lon,lat'"),
        ("lat,lon\n1,2\nhere,0\n", "cannot be read"),
    ],
)
def test_load_coordinates_with_invalid_list_is_refused(listing, tmp_path, text, words):
    bundle = copy_bundle(listing, tmp_path / "copy")
    bundle.coordinates.write_text(text)
    with pytest.raises(
        BadBundleError, match=r"coordinates .*coordinates\.csv are not those of the contract"
    ):
        read_bundle(bundle.coordinates.parent)
    path = bundle.coordinates.with_name("contract.json")
    contract = json.loads(path.read_text())
    contract["heads"]["coordinates"] |= {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "count": 2,
    }
    path.write_text(json.dumps(contract))
    with pytest.raises(BadBundleError, match=words):
        load_coordinates(read_bundle(path.parent))
    bundle.coordinates.unlink()
    with pytest.raises(BadBundleError, match="lacks its coordinates"):
        read_bundle(path.parent)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"logit_scale": None}, "needs a location encoder and a logit scale"),
        ({"location": None}, "needs a location encoder and a logit scale"),
        ({"coordinates": np.empty((0, 2))}, r"must be \[N, 2\]"),
        ({"coordinates": np.array([[0.0, 181.0]])}, "row 0 is not a position"),
    ],
)
def test_write_joint_embedding_with_invalid_coordinates_is_refused(write, changes, words):
    with pytest.raises(BadBundleError, match=words):
        write("bad", **{"coordinates": positions(3), "logit_scale": 12.0, **changes})
