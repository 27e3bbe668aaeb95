"""The channel `raw`: the features that the heads read, in the same forward pass."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from nets.joint_bundles import JOINT_DIM, random_joint_bundle
from nets.towers import random_images, timm_bundle
from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.bundle.digests import digest
from pinpoint.nets.runtime import open_encoder, tower_features
from pinpoint.settings import EncoderSettings


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Two bundles with the same networks, without and with the channel."""
    folder = tmp_path_factory.mktemp("bundles")
    return [
        random_joint_bundle(folder / name, raw_channel=raw_channel)
        for name, raw_channel in (("without", False), ("with", True))
    ]


@pytest.fixture(scope="module")
def encoders(bundles):
    torch.set_num_threads(1)
    return [
        open_encoder(EncoderSettings(bundle=str(folder), device="cpu"), folder, 512)
        for folder in bundles
    ]


def test_encode_channels_raw_equals_unit_tower_features(bundles, encoders):
    photos, (_, encoder) = random_images(6), encoders
    features = tower_features(read_bundle(bundles[1]), torch.device("cpu"), 64)(photos)
    vectors = encoder.encode_channels(photos, "street")
    assert set(vectors) == {"image", "raw"}
    wanted = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors["raw"], wanted, atol=1e-6, rtol=0)
    assert vectors["raw"].dtype == np.float32


def test_encode_channels_image_is_bit_equal_without_raw(encoders):
    photos, (without, encoder) = random_images(6), encoders
    for kind in ("photo", "street", None):
        assert np.array_equal(
            encoder.encode_channels(photos, kind)["image"], without.encode(photos, kind)
        )
        assert np.array_equal(
            encoder.encode_query(photos[0], kind), without.encode_query(photos[0], kind)
        )
    assert set(without.encode_channels(photos)) == {"image"}
    assert set(without.encode_query_channels(photos[0])) == {"image"}


def test_encode_channels_raw_is_independent_of_batch_order_and_kind(encoders):
    photos, (_, encoder) = random_images(64, seed=3), encoders
    together = encoder.encode_channels(photos, "photo")["raw"]
    order = np.random.default_rng(0).permutation(64)
    mixed = encoder.encode_channels([photos[n] for n in order], "street")["raw"]
    assert np.abs(mixed - together[order]).max() <= 1e-5
    for number in (0, 17, 63):
        alone = encoder.encode_query_channels(photos[number], "photo")["raw"]
        assert np.abs(alone - together[number]).max() <= 1e-5
        assert np.array_equal(alone, encoder.encode_query_channels(photos[number])["raw"])


def test_encode_channels_of_no_images_has_all_widths(encoders):
    _, encoder = encoders
    width = encoder.contract.dims["raw"]
    shapes = {channel: rows.shape for channel, rows in encoder.encode_channels([]).items()}
    assert shapes == {"image": (0, JOINT_DIM), "raw": (0, width)}
    assert encoder.contract.dims == {"image": JOINT_DIM, "gps": JOINT_DIM, "raw": width}


def test_digest_differs_only_with_raw_channel(bundles, tmp_path):
    without, with_raw = (digest(read_bundle(folder).contract, 512) for folder in bundles)
    assert without != with_raw
    # The text of a contract without the channel has no trace of it, so its digest is unchanged.
    assert "raw" not in (bundles[0] / "contract.json").read_text()
    again = random_joint_bundle(tmp_path / "again", raw_channel=True)
    assert digest(read_bundle(again).contract, 512) == with_raw


def change_dims(folder, **dims):
    path = folder / "contract.json"
    contract = json.loads(path.read_text())
    contract["dims"] |= dims
    path.write_text(json.dumps(contract))
    return folder


def test_read_bundle_with_wrong_raw_width_is_refused(tmp_path):
    folder = random_joint_bundle(tmp_path / "joint", raw_channel=True)
    width = read_bundle(folder).contract.dims["raw"]
    with pytest.raises(BadBundleError, match=f"read {width} features, dims.raw is {width + 1}"):
        read_bundle(change_dims(folder, raw=width + 1))


def test_read_bundle_without_heads_refuses_raw(tmp_path):
    folder = timm_bundle(tmp_path / "bare")
    with pytest.raises(BadBundleError, match=r"dims\.raw must be absent"):
        read_bundle(change_dims(folder, raw=read_bundle(folder).contract.dims["image"]))
