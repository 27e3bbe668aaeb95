"""Aggregation: against slow loops, layers of real libraries, and independence of the batch."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from nets.aggregated import random_tensors, vlad_bundle, vlad_spec
from nets.towers import TINY, clip_bundle, random_images, timm_bundle, timm_weights
from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.aggregated_bundles import (
    AGGREGATION_FILE,
    open_feature_maps,
    pooled_aggregation,
    write_aggregated_bundle,
)
from pinpoint.nets.bundle.bundles import copy_bundle, file_sha256, read_bundle
from pinpoint.nets.bundle.checkpoint import load_tower, write_bundle
from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.bundle.digests import digest
from pinpoint.nets.bundle.specs import AggregationSpec, HeadsSpec, VocabularySource
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.nets.embedder.joint_embedding import JointNetworks, write_joint_embedding
from pinpoint.nets.runtime import open_encoder, tower_features
from pinpoint.nets.towers.aggregation import Aggregation, vlad
from pinpoint.nets.towers.backbone import build_tower
from pinpoint.nets.towers.feature_maps import LocalMap
from pinpoint.settings import EncoderSettings
from pinpoint.training.vocabulary.config import VocabularyConfig
from pinpoint.training.vocabulary.learn_vocabulary import learn_from_pixels

SAMPLE = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    return read_bundle(timm_bundle(tmp_path_factory.mktemp("towers") / "tiny-timm"))


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    return read_bundle(
        write_bundle(
            folder / "vit",
            name="vit",
            tower=TowerSpec.parse("timm:test_vit", dynamic_img_size=True),
            weights=timm_weights(folder / "vit.safetensors", "test_vit"),
            preprocess=TINY,
            license="CC0",
        )
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return read_bundle(clip_bundle(tmp_path_factory.mktemp("clip") / "clip"))


@pytest.fixture(scope="module")
def channels(tower):
    return pooled_aggregation(tower, "avg", layer="layer3").dim


@pytest.fixture(scope="module")
def aggregated(tower, channels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "tiny-vlad"
    return vlad_bundle(folder, tower, vlad_spec(channels, "layer3"))


@pytest.fixture(scope="module")
def learned(tower, tmp_path_factory):
    """Centers of real features, so that features of an image have different nearest centers."""
    images = random_images(20, seed=9)
    vocabulary = learn_from_pixels(
        lambda: images,
        tower,
        VocabularyConfig(layer="layer2", num_centers=16, local_dim=8, dimensions=12),
        sources=(VocabularySource(name="blobs", count=20, license="CC0"),),
        device="cpu",
    )
    return write_aggregated_bundle(
        tmp_path_factory.mktemp("learned") / "learned",
        name="learned",
        tower=tower,
        spec=vocabulary.spec,
        tensors=vocabulary.tensors,
        note="Centers of blobs.",
    )


def local_map(*shape, seed=3):
    features = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return LocalMap(features, features[:, :0])


def slow_vlad(features, centers):
    """One feature after the other."""
    sums = np.zeros_like(centers)
    for feature in features:
        distances = [sum((feature - center) ** 2) for center in centers]
        nearest = int(np.argmin(distances))
        for channel in range(len(feature)):
            sums[nearest, channel] += feature[channel] - centers[nearest, channel]
    for row in sums:
        length = sum(value**2 for value in row) ** 0.5
        if length > 0:
            row /= length
    vector = sums.ravel()
    return vector / sum(value**2 for value in vector) ** 0.5


def slow_pca(vector, arrays, power):
    projected = []
    for component, variance in zip(arrays["components"], arrays["variances"], strict=True):
        value = sum((v - m) * c for v, m, c in zip(vector, arrays["mean"], component, strict=True))
        projected.append(value / variance ** (power / 2))
    return np.array(projected) / sum(value**2 for value in projected) ** 0.5


@pytest.mark.parametrize("local_dim", [4, None])
@pytest.mark.parametrize("power", [None, 0.0, 0.25, 1.0])
def test_aggregation_vlad_equals_slow_loops(local_dim, power):
    width = 5 * (local_dim or 9)
    spec = vlad_spec(
        9,
        None,
        local_dim=local_dim,
        whitening_power=power,
        dim=width if power is None else 6,
    )
    tensors, local = random_tensors(spec), local_map(2, 30, 9)
    vectors = Aggregation(spec, tensors, "test")(local).numpy()
    arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    for row, vector in zip(local.features.double().numpy(), vectors, strict=True):
        features = [feature / sum(feature**2) ** 0.5 for feature in row]
        if local_dim:
            features = [
                np.array([(f - arrays["local_mean"]) @ axis for axis in arrays["local_components"]])
                for f in features
            ]
        slow = slow_vlad(features, arrays["centers"])
        if power is not None:
            slow = slow_pca(slow, arrays, power)
        np.testing.assert_allclose(vector, slow, atol=1e-5)


def test_vlad_of_unused_center_is_zero():
    features = torch.ones(1, 4, 2)
    centers = torch.tensor([[0.5, 0.5], [-5.0, -5.0]])
    vector = vlad(features, centers)
    torch.testing.assert_close(vector, torch.tensor([[0.5**0.5, 0.5**0.5, 0.0, 0.0]]))


def test_aggregation_gem_and_avg_equal_slow_loops():
    local = LocalMap(local_map(2, 5, 3).features.abs(), torch.empty(2, 0, 3))
    values = local.features.double().numpy()
    for kind, power in (("avg", 1.0), ("gem", 3.0)):
        spec = AggregationSpec(
            kind=kind, feature_dim=3, dim=3, gem_power=power if kind == "gem" else None
        )
        vectors = Aggregation(spec, {}, "test")(local).numpy()
        for image in range(2):
            means = [
                (sum(values[image, t, c] ** power for t in range(5)) / 5) ** (1 / power)
                for c in range(3)
            ]
            slow = np.array(means) / sum(value**2 for value in means) ** 0.5
            np.testing.assert_allclose(vectors[image], slow, atol=1e-6)


@pytest.mark.parametrize("power", [1.0, 3.0, 10.0, 40.0, 100.0])
@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0, 20.0, 50.0])
def test_aggregation_gem_with_any_power_equals_slow_loop(power, scale):
    features = scale * local_map(2, 49, 3).features.abs()
    spec = AggregationSpec(kind="gem", feature_dim=3, dim=3, gem_power=power)
    vectors = Aggregation(spec, {}, "test")(LocalMap(features, features[:, :0])).numpy()
    values = features.double().clamp(min=1e-6).numpy()
    for image in range(2):
        slow = np.zeros(3)
        for channel in range(3):
            total = sum(value**power for value in values[image, :, channel])
            slow[channel] = (total / 49) ** (1 / power)
        np.testing.assert_allclose(vectors[image], slow / sum(slow**2) ** 0.5, atol=1e-5)


def test_aggregation_cls_reads_first_prefix_token():
    spec = AggregationSpec(kind="cls", feature_dim=3, dim=3)
    tokens = local_map(2, 6, 3).features
    vectors = Aggregation(spec, {}, "test")(LocalMap(tokens[:, 2:], tokens[:, :2]))
    torch.testing.assert_close(vectors, torch.nn.functional.normalize(tokens[:, 0], dim=1))
    with pytest.raises(BadBundleError, match="no class token"):
        Aggregation(spec, {}, "test")(local_map(2, 6, 3))


@pytest.mark.parametrize(
    ("library", "layer", "prefix"),
    [("tower", "layer3", 0), ("vit", "blocks.3", 1), ("clip", "transformer.resblocks.0", 1)],
)
def test_feature_maps_give_the_output_of_a_layer(library, layer, prefix, request):
    bundle = request.getfixturevalue(library)
    network = build_tower(bundle.contract.tower, bundle.weights).network
    outputs = []
    network.get_submodule(layer).register_forward_hook(lambda _m, _i, out: outputs.append(out))
    with torch.inference_mode():
        network(SAMPLE)
        local = open_feature_maps(bundle, layer).extract(SAMPLE)
    expected = outputs[0].flatten(2).transpose(1, 2) if outputs[0].ndim == 4 else outputs[0]
    assert local.prefix.shape[1] == prefix
    torch.testing.assert_close(torch.cat([local.prefix, local.features], dim=1), expected)


def test_feature_maps_do_not_compute_later_layers(tower):
    maps = open_feature_maps(tower, "layer2")
    calls = []
    for name in ("layer1", "layer3"):
        hooked = maps._network.get_submodule(name)
        hooked.register_forward_hook(lambda _m, _i, _o, name=name: calls.append(name))
    maps.extract(SAMPLE)
    assert calls == ["layer1"]


@pytest.mark.parametrize("library", ["tower", "vit", "clip"])
def test_feature_maps_without_layer_give_the_last_output(library, request):
    bundle = request.getfixturevalue(library)
    local = open_feature_maps(bundle, None).extract(SAMPLE)
    assert local.features.ndim == 3
    assert local.features.shape[:2] == (3, {"tower": 4, "vit": 16, "clip": 16}[library])


def test_feature_maps_with_unknown_layer_name_those_that_exist(tower):
    with pytest.raises(BadBundleError, match=r"no layer 'blocks\.4'; it has conv1.*layer4"):
        open_feature_maps(tower, "blocks.4")


def test_encoder_with_vlad_is_independent_of_batch_and_order(learned, tmp_path):
    settings = EncoderSettings(bundle=str(learned), device="cpu", encode_batch=64)
    encoder = open_encoder(settings, tmp_path, 512)
    images = random_images(64, seed=4)
    together = encoder.encode(images)
    assert together.shape == (64, 12)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    assert len(np.unique(together.round(3), axis=0)) == 64
    alone = np.concatenate([encoder.encode([image]) for image in images])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    order = np.random.default_rng(5).permutation(64)
    np.testing.assert_allclose(
        encoder.encode([images[row] for row in order]), together[order], atol=1e-5
    )
    np.testing.assert_allclose(encoder.encode_query(images[7]), together[7], atol=1e-5)
    assert encoder.encode([]).shape == (0, 12)


def test_aggregated_bundle_keeps_the_file_of_the_tower(aggregated, tower, tmp_path):
    bundle = read_bundle(aggregated)
    assert bundle.contract.weights == tower.contract.weights
    assert bundle.contract.dims == {"image": 6}
    assert bundle.aggregation == aggregated / AGGREGATION_FILE
    assert bundle.contract.aggregation.vocabulary.sources[0].license == "CC0"
    copied = copy_bundle(aggregated, tmp_path / "copy")
    assert copied.contract == bundle.contract
    assert file_sha256(copied.aggregation) == bundle.contract.aggregation.weights.sha256


def test_digest_covers_aggregation_but_not_its_provenance(aggregated, tower):
    contract = read_bundle(aggregated).contract
    first = digest(contract, 512)
    assert digest(replace(contract, aggregation=None), 512) != first
    spec = contract.aggregation
    for change in ({"layer": "layer2"}, {"whitening_power": 0.25}):
        assert digest(replace(contract, aggregation=replace(spec, **change)), 512) != first
    relicensed = replace(spec, weights=replace(spec.weights, license="MIT"), vocabulary=None)
    assert digest(replace(contract, aggregation=relicensed), 512) == first


def test_heads_over_an_aggregated_tower_read_its_vectors(aggregated, tmp_path):
    bundle = read_bundle(aggregated)
    torch.manual_seed(1)
    heads = KindHeads(HeadsSpec(feature_dim=6, hidden=8, dim=5)).eval()
    folder = write_joint_embedding(
        tmp_path / "joint",
        name="joint",
        tower=bundle,
        networks=JointNetworks(heads=heads, location=None),
        license="CC0",
        note="Random heads.",
    )
    images = random_images(3, seed=6)
    features = tower_features(bundle, torch.device("cpu"), 2)(images)
    encoder = open_encoder(EncoderSettings(bundle=str(folder), device="cpu"), tmp_path, 512)
    with torch.inference_mode():
        expected = heads(torch.from_numpy(features), ["photo"] * 3).numpy()
    np.testing.assert_allclose(encoder.encode(images, "photo"), expected, atol=1e-5)


def rewrite(folder, *, tensors=None, **changes):
    """Change keys of the aggregation in a contract, and the tensors of its file."""
    path = folder / "contract.json"
    contract = json.loads(path.read_text())
    contract["aggregation"].update(changes)
    if tensors is not None:
        save_file(tensors, folder / AGGREGATION_FILE)
        contract["aggregation"]["weights"]["sha256"] = file_sha256(folder / AGGREGATION_FILE)
    path.write_text(json.dumps(contract))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"surprise": 1}, "aggregation.surprise"),
        ({"kind": "max"}, "aggregation.kind"),
        ({"layer": "../layer3"}, "aggregation.layer"),
        ({"layer": "layer9"}, "no layer 'layer9'"),
        ({"layer": "layer1"}, "channels for layer layer1, the tower gives"),
        ({"dim": 7}, "dims.image is 6, the aggregation gives 7"),
        ({"num_centers": None}, "num_centers belongs to the kind `vlad`"),
        ({"gem_power": 3.0}, "gem_power belongs to the kind `gem`"),
        ({"whitening_power": None}, "dim is 6, the aggregation has 20 dimensions"),
        ({"whitening_power": 1.5}, "aggregation.whitening_power"),
        ({"local_dim": 99_999}, "aggregation"),
        ({"weights": None}, "weights are needed"),
        ({"num_centers": 6}, r"tensor centers is \[5, 4\], the contract states \[6, 4\]"),
    ],
)
def test_aggregated_bundle_with_contract_that_does_not_fit_is_refused(
    changes, words, aggregated, tmp_path
):
    folder = tmp_path / "bundle"
    copy_bundle(aggregated, folder)
    rewrite(folder, **changes)
    with pytest.raises(BadBundleError, match=words):
        load_tower(read_bundle(folder))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "centers"}, "lacks tensor centers"),
        (lambda t: {**t, "stranger": torch.zeros(1)}, "unknown tensor stranger"),
        (lambda t: {**t, "centers": torch.zeros(5, 3)}, r"tensor centers is \[5, 3\]"),
        (lambda t: {**t, "mean": torch.full((20,), float("nan"))}, "tensor mean is not finite"),
        (lambda t: {**t, "variances": torch.zeros(6)}, "variances must be positive"),
    ],
)
def test_aggregated_bundle_with_wrong_tensors_is_refused(edit, words, aggregated, tmp_path):
    folder = tmp_path / "bundle"
    copy_bundle(aggregated, folder)
    rewrite(folder, tensors=edit(load_file(folder / AGGREGATION_FILE)))
    with pytest.raises(BadBundleError, match=words):
        load_tower(read_bundle(folder))


def test_aggregated_bundle_with_changed_file_is_refused(aggregated, tmp_path):
    folder = tmp_path / "bundle"
    copy_bundle(aggregated, folder)
    save_file({"centers": torch.zeros(5, 4)}, folder / AGGREGATION_FILE)
    with pytest.raises(BadBundleError, match="are not those of the contract"):
        read_bundle(folder)
    (folder / AGGREGATION_FILE).unlink()
    with pytest.raises(BadBundleError, match="lacks its aggregation"):
        read_bundle(folder)


def test_write_aggregated_bundle_around_heads_is_refused(aggregated, tmp_path):
    spec = read_bundle(aggregated).contract.aggregation
    heads = KindHeads(HeadsSpec(feature_dim=6, hidden=8, dim=5))
    folder = write_joint_embedding(
        tmp_path / "joint",
        name="joint",
        tower=read_bundle(aggregated),
        networks=JointNetworks(heads=heads, location=None),
        license="CC0",
        note="Random heads.",
    )
    with pytest.raises(BadBundleError, match="has heads"):
        write_aggregated_bundle(
            tmp_path / "other",
            name="other",
            tower=read_bundle(folder),
            spec=spec,
            tensors=random_tensors(spec),
            note="None.",
        )
    assert not (tmp_path / "other").exists()
