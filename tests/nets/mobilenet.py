"""A bundle of a real, small tower: MobileNet v1 trained on ImageNet."""

from __future__ import annotations

from pathlib import Path

from pinpoint.nets.bundle.checkpoint import write_bundle
from pinpoint.nets.bundle.contract import Preprocess, TowerSpec
from shared_data import shared_data


def mobilenet_bundle(folder: Path) -> Path:
    """Write the bundle to `folder`, which must not exist; skips the test without the weights."""
    half = (0.5, 0.5, 0.5)
    return write_bundle(
        folder,
        name="mobilenet-v1",
        tower=TowerSpec.parse("timm:mobilenetv1_100", pad_type="same"),
        weights=shared_data() / "weights" / "mobilenet_v1_imagenet.safetensors",
        preprocess=Preprocess(
            size_px=224, resize="squash", interpolation="bilinear", mean=half, std=half
        ),
        license="Apache-2.0",
    )
