"""Towers by library and name, and which libraries imports load."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from nets.towers import CLIP_NAME, clip_weights, register_tiny_clip, timm_weights
from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.towers.backbone import build_tower, suggested_preprocess
from pinpoint.nets.towers.torchvision_ops import allow_torchvision

SAMPLE = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def python(code, **environment):
    """Run code in a fresh interpreter; its last line of output."""
    completed = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout.strip().splitlines()[-1]


def test_build_tower_of_clip_weights_uses_image_encoder(tmp_path):
    file = clip_weights(tmp_path)
    import open_clip

    clip = open_clip.create_model(CLIP_NAME, pretrained=None).eval()
    clip.load_state_dict(load_file(file))
    tower = build_tower(TowerSpec.parse(f"open_clip:{CLIP_NAME}"), file)
    with torch.inference_mode():
        torch.testing.assert_close(tower(SAMPLE), clip.encode_image(SAMPLE))
    assert not [name for name, _ in tower.named_parameters() if "token_embedding" in name]


def test_suggested_preprocess_follows_open_clip_config():
    spec = TowerSpec.parse("open_clip:ViT-gopt-16-SigLIP2-384", pretrained="webli")
    suggested = suggested_preprocess(spec)
    assert (suggested.size_px, suggested.resize, suggested.mean) == (384, "squash", (0.5, 0.5, 0.5))
    clip = suggested_preprocess(TowerSpec.parse("open_clip:ViT-B-32"))
    assert (clip.size_px, clip.resize, round(clip.mean[0], 4)) == (224, "shorter", 0.4815)


def test_build_tower_drops_classifier_weights(tmp_path):
    with_classes = timm_weights(tmp_path / "with.safetensors", classes=10)
    tower = build_tower(TowerSpec.parse("timm:test_resnet"), with_classes)
    bare = {k: v for k, v in load_file(with_classes).items() if not k.startswith("fc.")}
    assert len(bare) < len(load_file(with_classes))
    save_file(bare, tmp_path / "bare.safetensors")
    other = build_tower(TowerSpec.parse("timm:test_resnet"), tmp_path / "bare.safetensors")
    with torch.inference_mode():
        torch.testing.assert_close(tower(SAMPLE), other(SAMPLE))
    assert not tower.training


def test_build_tower_converts_half_weights_to_fp32(tmp_path):
    file = timm_weights(tmp_path / "full.safetensors")
    save_file({k: v.half() for k, v in load_file(file).items()}, tmp_path / "half.safetensors")
    tower = build_tower(TowerSpec.parse("timm:test_resnet"), tmp_path / "half.safetensors")
    assert {parameter.dtype for parameter in tower.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "conv1.0.weight"}, "lack conv1.0.weight"),
        (lambda t: {**t, "stranger": torch.zeros(1)}, "unknown stranger"),
        (lambda t: {**t, "conv1.0.weight": torch.zeros(1)}, r"wrong shapes: conv1.0.weight \[1\]"),
    ],
)
def test_build_tower_with_mismatched_weights_names_them(edit, words, tmp_path):
    file = timm_weights(tmp_path / "w.safetensors")
    save_file(edit(load_file(file)), file)
    with pytest.raises(BadBundleError, match=words):
        build_tower(TowerSpec.parse("timm:test_resnet"), file)


def test_build_tower_with_invalid_safetensors_is_refused(tmp_path):
    spec = TowerSpec.parse("timm:test_resnet")
    (tmp_path / "w.safetensors").write_bytes(b"PK\x03\x04 not tensors")
    for name in ("w.safetensors", "absent.safetensors"):
        with pytest.raises(BadBundleError, match="cannot be read as safetensors"):
            build_tower(spec, tmp_path / name)


@pytest.mark.parametrize(
    ("text", "pretrained", "arguments", "words"),
    [
        ("timm:no_such_tower", "tag", {}, "timm has no 'no_such_tower'"),
        ("timm:test_resnet", "no_such_tag", {}, "timm has no weights 'no_such_tag'"),
        ("timm:test_resnet", None, {}, "neither a weights file nor a pretrained tag"),
        ("timm:test_resnet", "tag", {"pretrained_cfg": "x"}, "not allowed: pretrained_cfg"),
        ("open_clip:No-Such", "openai", {}, "open_clip has no 'No-Such'"),
        ("open_clip:ViT-B-32", "no_such_tag", {}, "it has openai, laion400m_e31"),
        ("open_clip:ViT-B-32", "openai", {}, "quick_gelu=True"),
    ],
)
def test_build_tower_with_invalid_spec_is_refused(text, pretrained, arguments, words):
    spec = TowerSpec.parse(text, pretrained=pretrained, **arguments)
    with pytest.raises(BadBundleError, match=words):
        build_tower(spec, None)


@pytest.mark.parametrize("text", ["mobilenet", "timm:", "timm:a/b", "hub:x", "open_clip:hf-hub:a"])
def test_tower_spec_without_library_is_refused(text):
    with pytest.raises(BadBundleError, match="open_clip:NAME or timm:NAME"):
        TowerSpec.parse(text)


@pytest.mark.parametrize(
    ("tower", "tag", "repository"),
    [
        ("open_clip:ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("timm:test_resnet", "r160_in1k", "timm/test_resnet.r160_in1k"),
    ],
)
def test_build_tower_offline_names_the_repository(tower, tag, repository, tmp_path):
    code = (
        "from pinpoint.errors import UnavailableError\n"
        "from pinpoint.nets.towers.backbone import build_tower\n"
        "from pinpoint.nets.bundle.contract import TowerSpec\n"
        "try:\n"
        f"    build_tower(TowerSpec.parse({tower!r}, pretrained={tag!r}), None)\n"
        "except UnavailableError as error:\n"
        "    print(error.reason, error.message.replace(chr(10), ' '))\n"
    )
    output = python(code, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert output.startswith("weights_unavailable")
    assert f"https://huggingface.co/{repository}" in output


def test_allow_torchvision_makes_it_importable():
    assert allow_torchvision() is allow_torchvision()
    import torchvision

    assert torchvision.__version__


def test_open_encoder_of_descriptor_imports_no_tower_library():
    code = (
        "import sys, pathlib, numpy\n"
        "from pinpoint.nets import runtime\n"
        "from pinpoint.nets.bundle import checkpoint, contract\n"
        "from pinpoint.nets.embedder import embedder\n"
        "from pinpoint.nets.towers import backbone, descriptor, preprocess, torchvision_ops\n"
        "from pinpoint.settings import EncoderSettings\n"
        "settings = EncoderSettings(bundle='descriptor')\n"
        "encoder = runtime.open_encoder(settings, pathlib.Path('nowhere'), 512)\n"
        "encoder.encode([numpy.zeros((9, 9, 3), numpy.uint8)])\n"
        "print(sorted({'timm', 'open_clip', 'torchvision'} & set(sys.modules)))\n"
    )
    assert python(code) == "[]"


def test_register_tiny_clip_makes_it_available(tmp_path):
    register_tiny_clip(tmp_path)
    assert suggested_preprocess(TowerSpec.parse(f"open_clip:{CLIP_NAME}")).size_px == 64
