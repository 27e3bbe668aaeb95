"""Training of towers: from random weights, or the last blocks of a bundle's tower."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nets.aggregated import vlad_bundle, vlad_spec
from nets.towers import timm_bundle
from pinpoint.errors import BadRequestError
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.nets.bundle.aggregated_bundles import pooled_aggregation
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.bundle.checkpoint import load_tower
from pinpoint.nets.runtime import open_encoder
from pinpoint.settings import EncoderSettings, ServiceSettings, Settings
from pinpoint.training.core import checkpoints, loop
from pinpoint.training.core.configs import EmbedderConfig, TowerConfig
from pinpoint.training.embedder.feature_source import (
    TrainedTower,
    compute_features,
    open_feature_source,
)
from pinpoint.training.embedder.train_embedder import train_embedder

WHOLE = {"trainable_blocks": "all", "size_px": 64, "learning_rate": 2e-3}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    timm_bundle(home / "bundles" / "tiny-timm")
    return Settings(services=ServiceSettings(home=home), encoder=EncoderSettings(device="cpu"))


@pytest.fixture(scope="module")
def decoder(settings):
    child_decoder = ChildDecoder(settings.media, children=2)
    yield child_decoder
    child_decoder.close()


def config(planet, **changes):
    manifests = planet.manifests()
    plain = {
        "name": "whole",
        "license": "CC0",
        "note": "Of a test.",
        "tower": "timm:test_resnet",
        "train_tower": WHOLE,
        "sources": [
            {"manifest": manifests["train-photo"], "kind": "photo"},
            {"manifest": manifests["train-street"], "kind": "street"},
        ],
        "geocell_resolution": 4,
        "split": {"val_fraction": 0.3},
        "networks": {"dim": 16, "hidden": 24, "fourier_features_per_scale": 4},
        "losses": {
            "geocell": 1.0,
            "image_gps": 0.2,
            "image_image": 0.0,
            "num_sampled_negatives": 8,
        },
        "schedule": {"steps": 30, "batch_size": 16, "warmup_steps": 2, "checkpoint_steps": 10},
    }
    return EmbedderConfig.model_validate({**plain, **changes})


def trained(run_config, folder, settings, decoder):
    into = folder / f"bundle-{run_config.name}"
    train_embedder(
        run_config, folder / run_config.name, settings=settings, decoder=decoder, into=into
    )
    return into


@pytest.fixture(scope="module")
def whole(planet, settings, decoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return trained(config(planet), folder, settings, decoder)


def test_train_embedder_with_random_tower_writes_serving_bundle(whole, planet, settings):
    bundle = read_bundle(whole)
    assert bundle.contract.preprocess.size_px == 64
    assert str(bundle.contract.tower) == "timm:test_resnet"
    now = load_tower(bundle).network.state_dict()
    first = open_feature_source(config(planet), settings).make_tower().tower.network.state_dict()
    assert not torch.equal(now["conv1.0.weight"], first["conv1.0.weight"])
    assert not torch.equal(now["bn1.running_mean"], first["bn1.running_mean"])
    encoder = open_encoder(
        EncoderSettings(bundle=str(whole), device="cpu"), settings.services.home, 512
    )
    image = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    alone = encoder.encode_query(image, "street")
    assert alone.shape == (16,)
    among = encoder.encode([image, 255 - image, image], "street")
    assert np.allclose(among[[0, 2]], alone, atol=1e-5)


def test_compute_features_of_cached_images_agrees_with_serving(whole, planet, settings):
    """Features of images cached in fp16 agree with the vectors of serving."""
    asked = config(planet)
    front = open_feature_source(asked, settings)
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    cached = np.asarray(front.encode([image])).astype(np.float16)
    tower = front.make_tower()
    tower.tower.load_state_dict(load_tower(read_bundle(whole)).state_dict())
    features = compute_features(tower, cached, np.array([0]))
    bare = load_tower(read_bundle(whole))
    with torch.inference_mode():
        plain = bare(torch.from_numpy(front.encode([image])).view(1, 3, 64, 64)).numpy()
    assert np.allclose(features, plain, atol=2e-3 * np.abs(plain).max())


def test_train_embedder_with_tower_after_interrupt_gives_same_weights(
    whole, planet, settings, decoder, tmp_path, monkeypatch
):
    saved = checkpoints.save_checkpoint

    def broken(state, folder, identity):
        saved(state, folder, identity)
        if state.step == 10:
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_checkpoint", broken)
    with pytest.raises(KeyboardInterrupt):
        trained(config(planet), tmp_path, settings, decoder)
    monkeypatch.setattr(loop, "save_checkpoint", saved)
    again = trained(config(planet), tmp_path, settings, decoder)
    one, other = (read_bundle(folder).contract for folder in (whole, again))
    assert one.weights.sha256 == other.weights.sha256
    assert one.heads.weights.sha256 == other.heads.weights.sha256


def test_apply_variations_agrees_with_loop():
    side_px, shift_px = 5, 2
    asked = TowerConfig(horizontal_flip=True, random_crop_shift_px=shift_px)
    tower = TrainedTower(torch.nn.Identity(), asked, side_px)
    images = torch.randn(64, 3, side_px, side_px, generator=torch.Generator().manual_seed(0))
    how = tower.draw_variations(len(images), np.random.default_rng(0))
    assert [len(set(each)) for each in how.T.tolist()] == [2, 5, 5]

    shown = tower.apply_variations(images.flatten(1), how).view_as(images)
    for before, after, (mirrored, down_px, right_px) in zip(images, shown, how, strict=True):
        for y in range(side_px):
            for x in range(side_px):
                column = side_px - 1 - x if mirrored else x
                line, column = y + down_px - shift_px, column + right_px - shift_px
                line, column = (min(max(each, 0), side_px - 1) for each in (line, column))
                assert torch.equal(after[:, y, x], before[:, line, column])


def test_train_embedder_of_last_block_keeps_earlier_blocks(planet, settings, decoder, tmp_path):
    asked = config(
        planet,
        name="last",
        tower="tiny-timm",
        train_tower={"trainable_blocks": 1, "learning_rate": 1e-3},
    )
    made = trained(asked, tmp_path, settings, decoder)
    before = load_tower(read_bundle(settings.services.home / "bundles" / "tiny-timm"))
    after = load_tower(read_bundle(made)).network.state_dict()
    for name, value in before.network.state_dict().items():
        kept = torch.equal(value, after[name])
        running = "running" in name or "num_batches" in name
        assert kept is (not name.startswith("layer4.") or running), name


def test_open_feature_source_with_incomplete_tower_config_is_refused(planet, settings):
    for change, words in (
        ({"train_tower": None}, "without trained weights"),
        ({"train_tower": {"trainable_blocks": 2, "size_px": 64}}, "without trained weights"),
        ({"train_tower": {"trainable_blocks": "all"}}, "without trained weights"),
        ({"tower": "tiny-timm", "train_tower": {"size_px": 32}}, "input of 64 px: leave"),
    ):
        with pytest.raises(BadRequestError, match=words):
            open_feature_source(config(planet, **change), settings)


def test_train_embedder_with_trained_tower_under_an_aggregation_is_refused(
    planet, settings, decoder, tmp_path
):
    bundles = settings.services.home / "bundles"
    tower = read_bundle(bundles / "tiny-timm")
    channels = pooled_aggregation(tower, "avg", layer="layer3").dim
    vlad_bundle(bundles / "tiny-vlad", tower, vlad_spec(channels, "layer3"))
    run_config = config(planet, tower="tiny-vlad", train_tower={"trainable_blocks": 1})
    with pytest.raises(BadRequestError, match=r"tiny-vlad has an aggregation.*the bare tower"):
        trained(run_config, tmp_path, settings, decoder)
    assert not list(tmp_path.iterdir())
