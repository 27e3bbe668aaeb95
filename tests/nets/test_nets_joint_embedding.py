"""Joint embeddings: bundles with heads behind a tower, written, read and serving each kind."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from nets.geoclip_package import package_folder
from nets.towers import clip_bundle, random_images, timm_bundle
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
def joint_bundle(tower, tmp_path_factory):
    heads, location = networks()
    folder = tmp_path_factory.mktemp("spaces") / "tiny-space"
    return write(folder, tower, heads, location, training=NOTE)


def write(folder, tower, heads, location, **more):
    networks = JointNetworks(heads=heads, location=location, **more)
    labels = {"name": folder.name, "license": "CC0", "note": "Random weights."}
    return write_joint_embedding(folder, tower=tower, networks=networks, **labels)


def encoder(folder):
    return open_encoder(EncoderSettings(bundle=str(folder), device="cpu"), folder, 512)


def test_read_bundle_returns_written_heads_and_location(joint_bundle):
    bundle = read_bundle(joint_bundle)
    heads, location = networks()
    features = torch.randn(6, WIDTH)
    kinds = ["photo", "street"] * 3
    assert torch.equal(load_heads(bundle)(features, kinds), heads(features, kinds))
    places = torch.tensor([[48.9, 2.4], [-90.0, 0.0], [0.0, 180.0]], dtype=torch.float64)
    assert torch.equal(load_location(bundle)(places), location(places))
    assert bundle.contract.heads.training == NOTE
    assert bundle.contract.dims == {"image": DIM, "gps": DIM}


def test_encode_uses_adapter_of_source_kind(joint_bundle, tower):
    photos, opened = random_images(5), encoder(joint_bundle)
    heads, _ = networks()
    pixels = preprocess_images(photos, tower.contract.preprocess, torch.device("cpu"))
    with torch.inference_mode():
        features = load_tower(tower)(pixels)
        for kind in ("photo", "street"):
            wanted = heads(features, [kind] * 5).numpy()
            assert np.allclose(opened.encode(photos, kind), wanted, atol=1e-6)
    photo, street = opened.encode(photos, "photo"), opened.encode(photos, "street")
    assert np.abs(photo - street).max() > 0.01
    assert np.array_equal(opened.encode(photos, None), photo)
    assert np.array_equal(opened.encode(photos, "aerial"), photo)
    assert np.allclose(np.linalg.norm(photo, axis=1), 1.0, atol=1e-6)


def test_encode_row_is_independent_of_batch(joint_bundle):
    photos, opened = random_images(64, seed=3), encoder(joint_bundle)
    together = opened.encode(photos, "street")
    order = np.random.default_rng(0).permutation(64)
    mixed = opened.encode([photos[n] for n in order], "street")
    assert np.abs(mixed - together[order]).max() <= 1e-5
    for number in (0, 17, 63):
        assert (
            np.abs(opened.encode_query(photos[number], "street") - together[number]).max() <= 1e-5
        )


def test_encode_positions_agrees_with_location_tower(joint_bundle):
    rng = np.random.default_rng(1)
    places = rng.uniform((-90, -180), (90, 180), (130, 2))
    places[:4] = [[90.0, 0.0], [-90.0, 7.0], [0.0, 180.0], [0.0, -180.0]]
    opened, location = encoder(joint_bundle), load_location(read_bundle(joint_bundle))
    together = opened.encode_positions(places)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    for position, vector in zip(places, together, strict=True):
        with torch.inference_mode():
            alone = location(torch.from_numpy(position[None])).numpy()[0]
        assert np.abs(vector - alone).max() <= 1e-5
    assert np.abs(opened.encode_positions(places[::-1])[::-1] - together).max() <= 1e-5
    assert np.abs(together[2] - together[3]).max() <= 1e-5, "-180° and 180° are one meridian"
    assert opened.encode_positions(np.empty((0, 2))).shape == (0, DIM)
    with pytest.raises(ValueError, match=r"\[B, 2\]"):
        opened.encode_positions(np.zeros((3, 3)))


def test_encode_positions_without_location_tower_is_refused(tower, tmp_path):
    folder = write(tmp_path / "without", tower, networks()[0], None)
    opened = encoder(folder)
    assert opened.contract.dims == {"image": DIM}
    with pytest.raises(BadBundleError, match="has no location tower"):
        opened.encode_positions(np.zeros((1, 2)))


def test_digest_covers_heads_but_not_name(joint_bundle, tower, tmp_path):
    heads, location = networks()
    plain = digest(tower.contract, 512)
    ours = digest(read_bundle(joint_bundle).contract, 512)
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


def test_read_bundle_with_changed_heads_is_refused(joint_bundle, tmp_path):
    copied = copy_bundle(joint_bundle, tmp_path / "copy")
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
        (lambda contract: contract["heads"]["image"].update(dim=DIM + 1), "heads say"),
        (lambda contract: contract["heads"]["location"].update(dim=DIM + 1), "heads say"),
        (lambda contract: contract["heads"]["image"].update(default_kind="aerial"), "default kind"),
        (
            lambda contract: contract["heads"]["weights"].update(file=contract["weights"]["file"]),
            "same file",
        ),
        (lambda contract: contract["heads"].update(more=1), "more"),
        (
            lambda contract: contract["dims"].pop("gps"),
            "a location tower dims.gps must be 24, not absent",
        ),
        (lambda contract: contract["dims"].update(gps=DIM + 1), "dims.gps must be 24, not 25"),
        (
            lambda contract: contract["heads"].update(location=None),
            "no location tower dims.gps must be absent, not 24",
        ),
    ],
)
def test_read_bundle_with_contradictory_contract_is_refused(joint_bundle, tmp_path, change, words):
    copied = copy_bundle(joint_bundle, tmp_path / "copy")
    path = copied.weights.with_name("contract.json")
    contract = json.loads(path.read_text())
    change(contract)
    path.write_text(json.dumps(contract))
    with pytest.raises(BadBundleError, match=words):
        read_bundle(path.parent)


def test_load_heads_with_mismatched_shape_is_refused(joint_bundle, tmp_path):
    copied = copy_bundle(joint_bundle, tmp_path / "copy")
    path = copied.weights.with_name("contract.json")
    contract = json.loads(path.read_text())
    contract["heads"]["image"]["hidden"] = 48
    path.write_text(json.dumps(contract))
    with pytest.raises(BadBundleError, match="do not fit the contract"):
        load_heads(read_bundle(path.parent))


def test_write_joint_embedding_with_mismatched_parts_leaves_no_files(joint_bundle, tower, tmp_path):
    heads, location = networks()
    wrong = KindHeads(HeadsSpec(feature_dim=WIDTH + 1, hidden=8, dim=DIM))
    for base, image, words in (
        (tower, wrong, "the heads take features of 97"),
        (read_bundle(joint_bundle), heads, "without heads"),
    ):
        with pytest.raises(BadBundleError, match=words):
            write(tmp_path / "bad", base, image, location)
    narrow = LocationTower(LocationSpec(hidden=8, dim=DIM - 1))
    with pytest.raises(BadBundleError, match="heads say"):
        write(tmp_path / "bad", tower, heads, narrow)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConflictError, match="exists already"):
        write(joint_bundle, tower, heads, location)


def test_write_geoclip_with_matching_tower_serves_its_vectors(tmp_path):
    package_folder()
    tower = read_bundle(clip_bundle(tmp_path / "clip" / "bare", embed_dim=768))
    names = {"name": "geoclip", "tower": tower}
    folder = write_geoclip(tmp_path / "geoclip", towers=(str(tower.contract.tower),), **names)
    bundle, opened = read_bundle(folder), encoder(folder)
    assert bundle.contract.heads.logit_scale == pytest.approx(39.7, abs=0.1)
    assert bundle.contract.heads.coordinates.count == 100_000
    listed = load_coordinates(copy_bundle(folder, tmp_path / "copy"))
    np.testing.assert_array_equal(listed.positions, gallery_coordinates())
    assert listed.logit_scale == bundle.contract.heads.logit_scale
    photos = random_images(3)
    features = load_tower(tower)(
        preprocess_images(photos, tower.contract.preprocess, torch.device("cpu"))
    )
    net = build_geoclip(read_geoclip())
    wanted = net.image.unit(features).numpy()
    assert np.allclose(opened.encode(photos, "photo"), wanted, atol=1e-6)
    assert np.array_equal(opened.encode(photos, "street"), opened.encode(photos, None))
    places = torch.tensor([[48.9, 2.4], [-33.9, 151.2]], dtype=torch.float64)
    assert torch.equal(load_location(bundle)(places), net.location(places))
    vectors = opened.encode_positions(places.numpy())
    assert np.allclose(vectors, net.location.unit(places).numpy(), atol=1e-6)


def test_write_geoclip_with_other_tower_is_refused(tower, tmp_path):
    package_folder()
    names = {"name": "geoclip", "tower": tower}
    with pytest.raises(BadBundleError, match="GeoCLIP was trained behind open_clip:ViT-L-14"):
        write_geoclip(tmp_path / "geoclip", **names)
    with pytest.raises(BadBundleError, match="the heads take features of 768"):
        write_geoclip(tmp_path / "geoclip", towers=(str(tower.contract.tower),), **names)
    assert list(tmp_path.iterdir()) == []
