"""Tiny towers with seeded random weights, and seeded images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from pinpoint.nets.bundle.checkpoint import write_bundle
from pinpoint.nets.bundle.contract import Preprocess, TowerSpec
from pinpoint.nets.towers.torchvision_ops import allow_torchvision

CLIP_NAME = "pinpoint-tiny-test"
TINY = Preprocess(size_px=64, resize="shorter", interpolation="bicubic", mean=(0.5, 0.5, 0.5))


def random_images(count: int, seed: int = 0) -> list[np.ndarray]:
    """Random soft blobs on gradients, of different sizes."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        height, width = (int(side) for side in rng.integers(60, 150, 2))
        y, x = np.mgrid[0:height, 0:width] / 100.0
        waves = [
            np.sin(rng.uniform(1, 9) * x + rng.uniform(1, 9) * y + rng.uniform(0, 6))
            for _ in range(3)
        ]
        noise = rng.normal(0, 8, (height, width, 3))
        values = 128 + 90 * np.stack(waves, axis=-1) + noise
        images.append(values.clip(0, 255).astype(np.uint8))
    return images


def timm_weights(file: Path, name: str = "test_resnet", classes: int = 0) -> Path:
    """Random weights of a timm tower, as safetensors."""
    allow_torchvision()
    import timm

    torch.manual_seed(5)
    network = timm.create_model(name, num_classes=classes)
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, file)
    return file


def timm_bundle(folder: Path) -> Path:
    """A bundle of a tiny timm tower."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    return write_bundle(
        folder,
        name="tiny-timm",
        tower=TowerSpec.parse("timm:test_resnet"),
        weights=timm_weights(folder.parent / "timm.safetensors"),
        preprocess=TINY,
        license="CC0",
        note="Random weights.",
    )


def register_tiny_clip(folder: Path, embed_dim: int = 48) -> str:
    """Register a tower with open_clip that is small enough for tests."""
    allow_torchvision()
    import open_clip

    vision = {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32}
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    folder.mkdir(parents=True, exist_ok=True)
    name = CLIP_NAME if embed_dim == 48 else f"{CLIP_NAME}-{embed_dim}"
    config = folder / f"{name}.json"
    config.write_text(json.dumps({"embed_dim": embed_dim, "vision_cfg": vision, "text_cfg": text}))
    open_clip.add_model_config(config)
    return name


def clip_weights(folder: Path, embed_dim: int = 48) -> Path:
    """Random weights of a complete tiny CLIP, image and text, as open_clip publishes them."""
    name = register_tiny_clip(folder, embed_dim)
    import open_clip

    torch.manual_seed(6)
    clip = open_clip.create_model(name, pretrained=None)
    file = folder / "clip.safetensors"
    save_file({key: value.contiguous() for key, value in clip.state_dict().items()}, file)
    return file


def clip_bundle(folder: Path, embed_dim: int = 48) -> Path:
    """A bundle of a tiny open_clip tower."""
    weights = clip_weights(folder.parent, embed_dim)
    name = register_tiny_clip(folder.parent, embed_dim)
    return write_bundle(
        folder,
        name="tiny-clip",
        tower=TowerSpec.parse(f"open_clip:{name}"),
        weights=weights,
        license="CC0",
    )
