"""Text encoders of open_clip towers: in the bundle, with the vectors of the library."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from nets.towers import clip_bundle, random_images, timm_bundle
from pinpoint.errors import BadBundleError, UnsupportedQueryError
from pinpoint.nets.bundle.bundles import copy_bundle, read_bundle
from pinpoint.nets.bundle.checkpoint import write_bundle
from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.bundle.digests import digest
from pinpoint.nets.runtime import open_encoder
from pinpoint.nets.towers.torchvision_ops import allow_torchvision
from pinpoint.settings import EncoderSettings

NAME = "pinpoint-tiny-text-test"
TEXTS = ["a red phone box", "snow", "a red phone box " * 40, "", "🏔 Zürich"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of a tiny CLIP with the vocabulary of open_clip's own tokenizer."""
    allow_torchvision()
    import open_clip

    folder = tmp_path_factory.mktemp("text")
    vision = {"image_size": 64, "layers": 1, "width": 64, "patch_size": 16, "head_width": 32}
    text = {"context_length": 16, "vocab_size": 49_408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    (folder / f"{NAME}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{NAME}.json")
    torch.manual_seed(3)
    clip = open_clip.create_model(NAME, pretrained=None)
    file = folder / "clip.safetensors"
    save_file({name: value.contiguous() for name, value in clip.state_dict().items()}, file)
    return file


@pytest.fixture(scope="module")
def home(weights, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    (home / "bundles").mkdir()
    write_bundle(
        home / "bundles" / "tiny-text",
        name="tiny-text",
        tower=TowerSpec.parse(f"open_clip:{NAME}"),
        weights=weights,
        license="CC0",
    )
    return home


def open_bundle(home, name):
    return open_encoder(EncoderSettings(bundle=name, device="cpu"), home, 512)


def test_encode_texts_agrees_with_open_clip(home, weights):
    import open_clip

    clip = open_clip.create_model(NAME, pretrained=None).eval()
    clip.load_state_dict(load_file(weights))
    with torch.inference_mode():
        expected = clip.encode_text(open_clip.get_tokenizer(NAME)(TEXTS), normalize=True).numpy()
    encoder = open_bundle(home, "tiny-text")
    vectors = encoder.encode_texts(TEXTS)
    np.testing.assert_allclose(vectors, expected, atol=1e-5, rtol=0)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors.shape[1] == encoder.encode(random_images(1)).shape[1]
    # Alone or with others, a text has the same vector.
    for number, text in enumerate(TEXTS):
        assert encoder.encode_texts([text])[0].tobytes() == vectors[number].tobytes()


def test_text_weights_are_part_of_the_bundle_and_not_of_its_digest(home, tmp_path):
    bundle = read_bundle(home / "bundles" / "tiny-text")
    assert bundle.contract.text.file == "text.safetensors"
    assert bundle.text in bundle.files
    copied = copy_bundle(home / "bundles" / "tiny-text", tmp_path / "copy")
    assert copied.text.read_bytes() == bundle.text.read_bytes()
    without = read_bundle(home / "bundles" / "tiny-text").contract
    object.__setattr__(without, "text", None)
    assert digest(without, 512) == digest(bundle.contract, 512)
    copied.text.write_bytes(b"x")
    with pytest.raises(BadBundleError, match="text weights"):
        read_bundle(tmp_path / "copy")


def test_encode_texts_without_text_encoder_names_the_remedy(tmp_path):
    timm_bundle(tmp_path / "bundles" / "tiny-timm")
    # Its vocabulary is smaller than that of the tokenizer.
    clip_bundle(tmp_path / "bundles" / "tiny-clip")
    for name in ("tiny-timm", "tiny-clip", "descriptor"):
        with pytest.raises(UnsupportedQueryError, match="pinpoint bundles import") as refused:
            open_bundle(tmp_path, name).encode_texts(["snow"])
        assert refused.value.reason == "no_text_encoder"
