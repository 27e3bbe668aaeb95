"""Layers of timm's networks: which have clear axes, and which are refused."""

import re

import pytest
import torch

from pinpoint.errors import BadBundleError
from pinpoint.nets.towers.feature_maps import FeatureMaps
from pinpoint.nets.towers.torchvision_ops import allow_torchvision


def timm_network(name, **arguments):
    allow_torchvision()
    import timm

    return timm.create_model(name, num_classes=0, **arguments).eval()


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "side", "layer", "shape"),
    [
        # Channels last, before position embeddings; 4 × 4 patches.
        ("test_vit", 64, "patch_embed", "[2, 4, 4, 64]"),
        ("test_vit", 64, "blocks.2.attn.q_norm", "[2, 2, 17, 32]"),
        ("test_vit", 64, "blocks.2.mlp.fc1", "[2, 17, 192]"),
        ("test_vit", 64, "head", "[2, 64]"),
        ("test_convnext", 64, "stages.1.blocks.0.mlp.fc1", "[2, 8, 8, 128]"),
        ("test_convnext", 64, "stages.1.blocks.0.mlp.fc2", "[2, 8, 8, 32]"),
        # As many rows and columns as channels.
        ("test_convnext", 96, "stages.0.blocks.0.mlp.fc2", "[2, 24, 24, 24]"),
        # Windows, each a row of the batch.
        ("swin_tiny_patch4_window7_224", 224, "layers.0.blocks.0.attn", "[128, 49, 96]"),
        ("swin_tiny_patch4_window7_224", 224, "patch_embed.proj", "[2, 96, 56, 56]"),
    ],
)
def test_feature_maps_refuse_a_layer_with_other_axes(name, side, layer, shape):
    arguments = {"dynamic_img_size": True} if name == "test_vit" else {}
    maps = FeatureMaps(timm_network(name, **arguments), layer)
    with pytest.raises(BadBundleError, match=f"gives {re.escape(shape)}.*a width of the tower"):
        maps.extract(torch.zeros(2, 3, side, side))


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "side", "layer", "features"),
    [
        ("tf_efficientnet_lite0", 64, "blocks.3", (16, 80)),
        ("tf_efficientnet_lite0", 64, "blocks.4", (16, 112)),
        ("resnet18", 64, "layer3", (16, 256)),
        ("resnet18", 64, "layer3.0", (16, 256)),
        ("resnet18", 256, "layer1", (4_096, 64)),
        ("test_vit", 160, "blocks.3", (100, 64)),
        ("test_vit", 160, "blocks.3.attn", (100, 64)),
        ("test_convnext", 96, "stages.0", (576, 24)),
        ("test_convnext", 64, "stages.1.blocks.1", (64, 32)),
        ("swin_tiny_patch4_window7_224", 224, "layers.2", (196, 384)),
        ("swin_tiny_patch4_window7_224", 224, None, (49, 768)),
    ],
)
def test_feature_maps_take_blocks_and_stages(name, side, layer, features):
    local = FeatureMaps(timm_network(name), layer).extract(torch.zeros(2, 3, side, side))
    assert local.features.shape == (2, *features)
    assert local.prefix.shape[1] == int(name == "test_vit")


@torch.inference_mode()
def test_feature_maps_of_patch_embedding_keep_all_patches():
    """The class token is added later."""
    network = timm_network("test_vit", dynamic_img_size=False)
    images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(2))
    expected = network.patch_embed(images)
    local = FeatureMaps(network, "patch_embed").extract(images)
    assert local.prefix.shape == (2, 0, 64)
    torch.testing.assert_close(local.features, expected)
