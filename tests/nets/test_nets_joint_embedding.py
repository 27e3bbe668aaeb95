"""A trained space: heads behind a tower into a bundle and out of it, serving each kind."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from nets.geoclip_package import package_folder
from nets.towers import clip_bundle, pictures, timm_bundle
from pinpoint.errors import BadBundleError, ConflictError
from pinpoint.nets.bundle.bundles import copy_bundle, read_bundle
from pinpoint.nets.bundle.checkpoint import load_tower
from pinpoint.nets.bundle.contract import TrainingNote
from pinpoint.nets.bundle.digests import digest
from pinpoint.nets.bundle.specs import HeadsSpec, LocationSpec
from pinpoint.nets.embedder.coordinate_lists import load_coordinates
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.nets.embedder.joint_embedding import (
    JointNetworks,
    load_heads,
    load_location,
    write_geoclip,
    write_joint_embedding,
)
from pinpoint.nets.embedder.location import LocationTower
from pinpoint.nets.geoclip.files import gallery_coordinates, read_geoclip
from pinpoint.nets.geoclip.network import build_geoclip
from pinpoint.nets.runtime import open_encoder
from pinpoint.nets.towers.preprocess import preprocess_images
from pinpoint.settings import EncoderSettings

WIDTH, DIM = 96, 24
NOTE = TrainingNote(
    data_fingerprint="f00d", split="by author and 1 km", steps=3, metrics={"recall@12": 0.5}
)


def networks(seed=0):
    torch.manual_seed(seed)
    heads = KindHeads(HeadsSpec(feature_dim=WIDTH, hidden=32, dim=DIM))
    return heads.eval(), LocationTower(LocationSpec(hidden=32, dim=DIM)).eval()


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return read_bundle(timm_bundle(tmp_path_factory.mktemp("towers") / "bare"))


@pytest.fixture(scope="module")
def made(tower, tmp_path_factory):
    heads, location = networks()
    folder = tmp_path_factory.mktemp("spaces") / "tiny-space"
    return write(folder, tower, heads, location, training=NOTE)


def write(folder, tower, heads, location, **more):
    networks = JointNetworks(heads=heads, location=location, **more)
    said = {"name": folder.name, "license": "CC0", "note": "Random weights."}
    return write_joint_embedding(folder, tower=tower, networks=networks, **said)


def encoder(folder):
    return open_encoder(EncoderSettings(bundle=str(folder), device="cpu"), folder, 512)


def test_read_bundle_returns_written_heads_and_location(made):
    bundle = read_bundle(made)
    heads, location = networks()
    features = torch.randn(6, WIDTH)
    kinds = ["photo", "street"] * 3
    assert torch.equal(load_heads(bundle)(features, kinds), heads(features, kinds))
    places = torch.tensor([[48.9, 2.4], [-90.0, 0.0], [0.0, 180.0]], dtype=torch.float64)
    assert torch.equal(load_location(bundle)(places), location(places))
    assert bundle.contract.heads.training == NOTE
    assert bundle.contract.dims == {"image": DIM, "gps": DIM}


def test_encode_uses_adapter_of_source_kind(made, tower):
    some, eye = pictures(5), encoder(made)
    heads, _ = networks()
    seen = preprocess_images(some, tower.contract.preprocess, torch.device("cpu"))
    with torch.inference_mode():
        features = load_tower(tower)(seen)
        for kind in ("photo", "street"):
            wanted = heads(features, [kind] * 5).numpy()
            assert np.allclose(eye.encode(some, kind), wanted, atol=1e-6)
    photo, street = eye.encode(some, "photo"), eye.encode(some, "street")
    assert np.abs(photo - street).max() > 0.01
    assert np.array_equal(eye.encode(some, None), photo)
    assert np.array_equal(eye.encode(some, "aerial"), photo)
    assert np.allclose(np.linalg.norm(photo, axis=1), 1.0, atol=1e-6)


def test_encode_row_is_independent_of_batch(made):
    some, eye = pictures(64, seed=3), encoder(made)
    together = eye.encode(some, "street")
    order = np.random.default_rng(0).permutation(64)
    mixed = eye.encode([some[n] for n in order], "street")
    assert np.abs(mixed - together[order]).max() <= 1e-5
    for number in (0, 17, 63):
        assert np.abs(eye.encode_query(some[number], "street") - together[number]).max() <= 1e-5


def test_encode_positions_agrees_with_location_tower(made):
    rng = np.random.default_rng(1)
    places = rng.uniform((-90, -180), (90, 180), (130, 2))
    places[:4] = [[90.0, 0.0], [-90.0, 7.0], [0.0, 180.0], [0.0, -180.0]]
    eye, location = encoder(made), load_location(read_bundle(made))
    together = eye.encode_positions(places)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    for one, vector in zip(places, together, strict=True):
        with torch.inference_mode():
            alone = location(torch.from_numpy(one[None])).numpy()[0]
        assert np.abs(vector - alone).max() <= 1e-5
    assert np.abs(eye.encode_positions(places[::-1])[::-1] - together).max() <= 1e-5
    assert np.abs(together[2] - together[3]).max() <= 1e-5, "one meridian, one place"
    assert eye.encode_positions(np.empty((0, 2))).shape == (0, DIM)
    with pytest.raises(ValueError, match=r"\[B, 2\]"):
        eye.encode_positions(np.zeros((3, 3)))


def test_encode_positions_without_location_tower_is_refused(tower, tmp_path):
    folder = write(tmp_path / "without", tower, networks()[0], None)
    eye = encoder(folder)
    assert eye.contract.dims == {"image": DIM}
    with pytest.raises(BadBundleError, match="has no location tower"):
        eye.encode_positions(np.zeros((1, 2)))


def test_digest_covers_heads_but_not_name(made, tower, tmp_path):
    heads, location = networks()
    plain = digest(tower.contract, 512)
    ours = digest(read_bundle(made).contract, 512)
    same = write(tmp_path / "other-name", tower, heads, location)
    other = write(tmp_path / "other", tower, networks(seed=1)[0], location)
    assert digest(read_bundle(same).contract, 512) == ours, "neither name nor note count"
    assert len({plain, ours, digest(read_bundle(other).contract, 512)}) == 3
    without = write(tmp_path / "without", tower, heads, None)
    assert load_location(read_bundle(without)) is None


def test_read_bundle_of_an_older_format_names_both_formats(tower, tmp_path):
    copied = copy_bundle(tower.weights.parent, tmp_path / "old")
    path = copied.weights.with_name("contract.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 1}))
    with pytest.raises(BadBundleError, match="has contract format 1; this version reads 2"):
        read_bundle(path.parent)


def test_read_bundle_with_changed_heads_is_refused(made, tmp_path):
    copied = copy_bundle(made, tmp_path / "copy")
    data = bytearray(copied.heads.read_bytes())
    data[-1] ^= 1
    copied.heads.write_bytes(bytes(data))
    with pytest.raises(BadBundleError, match=r"heads\.safetensors are not those of the contract"):
        read_bundle(copied.heads.parent)
    copied.heads.unlink()
    with pytest.raises(BadBundleError, match="lacks its weights"):
        read_bundle(copied.heads.parent)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: said["heads"]["image"].update(dim=DIM + 1), "heads say"),
        (lambda said: said["heads"]["location"].update(dim=DIM + 1), "heads say"),
        (lambda said: said["heads"]["image"].update(default_kind="aerial"), "default kind"),
        (lambda said: said["heads"]["weights"].update(file=said["weights"]["file"]), "same file"),
        (lambda said: said["heads"].update(more=1), "more"),
        (lambda said: said["dims"].pop("gps"), "a location tower dims.gps must be 24, not absent"),
        (lambda said: said["dims"].update(gps=DIM + 1), "dims.gps must be 24, not 25"),
        (
            lambda said: said["heads"].update(location=None),
            "no location tower dims.gps must be absent, not 24",
        ),
    ],
)
def test_read_bundle_with_contradictory_contract_is_refused(made, tmp_path, change, words):
    copied = copy_bundle(made, tmp_path / "copy")
    path = copied.weights.with_name("contract.json")
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))
    with pytest.raises(BadBundleError, match=words):
        read_bundle(path.parent)


def test_load_heads_with_mismatched_shape_is_refused(made, tmp_path):
    copied = copy_bundle(made, tmp_path / "copy")
    path = copied.weights.with_name("contract.json")
    said = json.loads(path.read_text())
    said["heads"]["image"]["hidden"] = 48
    path.write_text(json.dumps(said))
    with pytest.raises(BadBundleError, match="do not fit the contract"):
        load_heads(read_bundle(path.parent))


def test_write_joint_embedding_with_mismatched_parts_leaves_no_files(made, tower, tmp_path):
    heads, location = networks()
    wrong = KindHeads(HeadsSpec(feature_dim=WIDTH + 1, hidden=8, dim=DIM))
    for base, image, words in (
        (tower, wrong, "the heads take features of 97"),
        (read_bundle(made), heads, "without heads"),
    ):
        with pytest.raises(BadBundleError, match=words):
            write(tmp_path / "bad", base, image, location)
    narrow = LocationTower(LocationSpec(hidden=8, dim=DIM - 1))
    with pytest.raises(BadBundleError, match="heads say"):
        write(tmp_path / "bad", tower, heads, narrow)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConflictError, match="exists already"):
        write(made, tower, heads, location)


def test_write_geoclip_with_matching_tower_serves_its_vectors(tmp_path):
    package_folder()
    tower = read_bundle(clip_bundle(tmp_path / "clip" / "bare", embed_dim=768))
    said = {"name": "geoclip", "tower": tower}
    folder = write_geoclip(tmp_path / "geoclip", towers=(str(tower.contract.tower),), **said)
    bundle, eye = read_bundle(folder), encoder(folder)
    assert bundle.contract.heads.logit_scale == pytest.approx(39.7, abs=0.1)
    assert bundle.contract.heads.coordinates.count == 100_000
    listed = load_coordinates(copy_bundle(folder, tmp_path / "copy"))
    np.testing.assert_array_equal(listed.positions, gallery_coordinates())
    assert listed.logit_scale == bundle.contract.heads.logit_scale
    some = pictures(3)
    features = load_tower(tower)(
        preprocess_images(some, tower.contract.preprocess, torch.device("cpu"))
    )
    net = build_geoclip(read_geoclip())
    wanted = net.image.unit(features).numpy()
    assert np.allclose(eye.encode(some, "photo"), wanted, atol=1e-6)
    assert np.array_equal(eye.encode(some, "street"), eye.encode(some, None))
    places = torch.tensor([[48.9, 2.4], [-33.9, 151.2]], dtype=torch.float64)
    assert torch.equal(load_location(bundle)(places), net.location(places))
    said = eye.encode_positions(places.numpy())
    assert np.allclose(said, net.location.unit(places).numpy(), atol=1e-6)


def test_write_geoclip_with_other_tower_is_refused(tower, tmp_path):
    package_folder()
    said = {"name": "geoclip", "tower": tower}
    with pytest.raises(BadBundleError, match="GeoCLIP was trained behind open_clip:ViT-L-14"):
        write_geoclip(tmp_path / "geoclip", **said)
    with pytest.raises(BadBundleError, match="the heads take features of 768"):
        write_geoclip(tmp_path / "geoclip", towers=(str(tower.contract.tower),), **said)
    assert list(tmp_path.iterdir()) == []
