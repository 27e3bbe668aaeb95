"""Published place-recognition networks: slow loops, layouts of published files, refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from nets import published_layouts as layouts
from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.place_recognition.boq import BoqDinoV2, BoqResNet50, QueryBlock
from pinpoint.nets.place_recognition.dinov2 import DinoSize, DinoV2
from pinpoint.nets.place_recognition.megaloc import MegaLoc, transport_assignment
from pinpoint.nets.place_recognition.networks import (
    build_published,
    convert_published,
)
from pinpoint.nets.place_recognition.published import (
    PUBLISHED_NETWORKS,
    REFUSED_NETWORKS,
    find_published,
)
from pinpoint.nets.place_recognition.selavpr import MultiscaleAdapter, SelaVpr, gem_pool
from pinpoint.nets.towers.backbone import build_tower, init_tower
from pinpoint.nets.towers.feature_maps import FeatureMaps

TINY = DinoSize(width=64, depth=3, heads=2, grid=5)
LAYOUTS = {
    "megaloc": layouts.megaloc(),
    "boq-dinov2": layouts.boq_dinov2(),
    "boq-resnet50": layouts.boq_resnet50(),
    "selavprplusplus-base": layouts.selavpr("base"),
    "selavprplusplus-large": layouts.selavpr("large"),
}
OTHER_LAYOUTS = {
    "megaloc": layouts.megaloc("backbone.model.", mask_token=True),
    "selavprplusplus-base": layouts.selavpr("base", binary=True),
    "selavprplusplus-large": layouts.selavpr("large", binary=True),
}
"""The first release of MegaLoc, and the files of SelaVPR++ with 512 bits."""


def tiny_network(name: str) -> torch.nn.Module:
    """A small variant with random weights, and batch norms with random statistics."""
    torch.manual_seed(7)
    networks = {
        "megaloc": lambda: MegaLoc(TINY, clusters=4, cluster_dim=6, token_dim=5, hidden=16, dim=24),
        "boq-dinov2": lambda: BoqDinoV2(TINY, projected=64, queries=5, rows=3),
        "boq-resnet50": lambda: BoqResNet50(projected=64, queries=5, rows=3),
        "selavprplusplus": lambda: SelaVpr(TINY, adapters=2, dim=24),
    }
    return _randomize(networks[name]()).eval()


def _randomize(network: Any) -> Any:
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
        elif name.endswith("running_mean"):
            buffer.normal_(0.0, 0.1)
    for name, parameter in network.named_parameters():
        if name.endswith(("gamma", "pos_embed", "cls_token")):
            torch.nn.init.normal_(parameter)
    return network


# --- layouts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layout"),
    [*LAYOUTS.items(), *OTHER_LAYOUTS.items()],
    ids=[*LAYOUTS, *(f"{name}-other" for name in OTHER_LAYOUTS)],
)
def test_convert_published_gives_exactly_the_tensors_of_the_network(name, layout):
    converted = convert_published(name, layouts.meta_tensors(layout))
    state = build_published(name).state_dict()
    assert {key: tensor.shape for key, tensor in converted.items()} == {
        key: tensor.shape for key, tensor in state.items()
    }


@pytest.mark.parametrize("name", PUBLISHED_NETWORKS)
def test_published_network_of_full_size_gives_the_stated_width(name):
    published = PUBLISHED_NETWORKS[name]
    side_px = published.preprocess.size_px
    network = build_published(name).to("meta").eval()
    with torch.inference_mode():
        vectors = network(torch.empty(2, 3, side_px, side_px, device="meta"))
    assert vectors.shape == (2, published.dim)


def test_build_published_does_not_change_the_random_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    build_published("boq-resnet50")
    assert torch.equal(torch.get_rng_state(), before)


# --- vectors --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["megaloc", "boq-dinov2", "boq-resnet50", "selavprplusplus"])
def test_published_network_vectors_are_unit_and_independent_of_the_batch(name):
    network = tiny_network(name)
    # 56 px: the learned positions are resized. 70 px: they are used as they are.
    for side_px in (56, 70):
        pixels = torch.randn(5, 3, side_px, side_px, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            batch = network(pixels)
            alone = torch.cat([network(image[None]) for image in pixels])
            reverse = network(pixels.flip(0)).flip(0)
        assert torch.linalg.vector_norm(batch, dim=1) == pytest.approx(torch.ones(5), abs=1e-5)
        assert batch == pytest.approx(alone, abs=1e-5)
        assert batch == pytest.approx(reverse, abs=1e-5)
        # The images differ, so the comparison means something.
        assert (batch[0] - batch[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["megaloc", "boq-dinov2", "selavprplusplus"])
def test_published_network_with_a_size_that_is_no_multiple_of_14_is_refused(name):
    with pytest.raises(ValueError, match="multiples of 14 px"):
        tiny_network(name)(torch.zeros(1, 3, 64, 64))


def test_megaloc_with_too_few_patches_is_refused():
    with pytest.raises(ValueError, match="4 patches cannot be distributed over 4 clusters"):
        tiny_network("megaloc")(torch.zeros(1, 3, 28, 28))


@pytest.mark.parametrize(
    ("name", "layer", "count"),
    [
        ("megaloc", "backbone.blocks.1", 16),
        ("boq-dinov2", "backbone.blocks.1", 16),
        ("selavprplusplus", "adapters.0", 16),
        ("boq-resnet50", "backbone.6", 16),
    ],
)
def test_feature_maps_of_a_published_network_leave_the_class_token_out(name, layer, count):
    """So that a vocabulary can be learned from a layer of these towers."""
    maps = FeatureMaps(tiny_network(name), layer)
    with torch.inference_mode():
        local = maps.extract(torch.zeros(2, 3, 56, 56))
    assert local.features.shape[:2] == (2, count)
    assert local.prefix.shape[1] == int(name != "boq-resnet50")


# --- slow loops -----------------------------------------------------------------------------


def slow_transport(scores: list[list[float]], dustbin: float) -> np.ndarray:
    """Sinkhorn's algorithm for one image, on masses instead of logarithms."""
    clusters, patches = len(scores), len(scores[0])
    kernel = np.exp(np.array([*scores, [dustbin] * patches], dtype=np.float64))
    mass = [1.0] * clusters + [float(patches - clusters)]
    row_scale, column_scale = np.ones(clusters + 1), np.ones(patches)
    for _ in range(3):
        for row in range(clusters + 1):
            total = sum(kernel[row, column] * column_scale[column] for column in range(patches))
            row_scale[row] = mass[row] / total
        for column in range(patches):
            total = sum(kernel[row, column] * row_scale[row] for row in range(clusters + 1))
            column_scale[column] = 1.0 / total
    return (row_scale[:, None] * kernel * column_scale)[:clusters]


def test_transport_assignment_equals_slow_loop():
    scores = 3 * torch.randn(3, 4, 11, generator=torch.Generator().manual_seed(2))
    assignment = transport_assignment(scores, torch.tensor(0.7))
    for image in range(3):
        expected = slow_transport(scores[image].tolist(), 0.7)
        assert assignment[image].numpy() == pytest.approx(expected, abs=1e-5)
    # The rest of each patch is in the dustbin.
    assert (assignment.sum(dim=1) < 1 + 1e-5).all()


def test_transport_assignment_stays_finite_with_large_scores():
    scores = torch.tensor([[[800.0, -800.0, 0.0], [-800.0, 800.0, 0.0]]])
    assignment = transport_assignment(scores, torch.tensor(1.0))
    # Three iterations do not converge: the dustbin still has a tenth of the first two patches.
    expected = torch.tensor([[0.9, 0.0, 0.0], [0.0, 0.9, 0.0]])
    assert assignment[0] == pytest.approx(expected, abs=1e-4)


def slow_attention(attention, queries: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """`nn.MultiheadAttention` for one image, by loops over queries and heads."""
    width = queries.shape[1]
    weight = attention.in_proj_weight.detach().double().numpy()
    bias = attention.in_proj_bias.detach().double().numpy()
    q, k, v = (
        rows @ weight[part * width : (part + 1) * width].T + bias[part * width : (part + 1) * width]
        for part, rows in enumerate((queries, memory, memory))
    )
    head_width = width // attention.num_heads
    result = np.zeros_like(q)
    for index in range(len(q)):
        for start in range(0, width, head_width):
            part = slice(start, start + head_width)
            scores = [float(q[index, part] @ key[part]) / math.sqrt(head_width) for key in k]
            weights = [math.exp(score - max(scores)) for score in scores]
            for share, value in zip(weights, v, strict=True):
                result[index, part] += share / sum(weights) * value[part]
    out = attention.out_proj
    return result @ out.weight.detach().double().numpy().T + out.bias.detach().double().numpy()


def slow_norm(norm, rows: np.ndarray) -> np.ndarray:
    centered = rows - rows.mean(axis=1, keepdims=True)
    scaled = centered / np.sqrt((centered**2).mean(axis=1, keepdims=True) + norm.eps)
    return scaled * norm.weight.detach().numpy() + norm.bias.detach().numpy()


def test_query_block_equals_slow_loop():
    torch.manual_seed(4)
    block = QueryBlock(128, queries=5).eval()
    for norm in (block.query_norm, block.result_norm):
        torch.nn.init.normal_(norm.weight)
    features = torch.randn(2, 7, 128)
    with torch.inference_mode():
        encoded, results = block(features)
    queries = block.queries[0].detach().double().numpy()
    queries = slow_norm(
        block.query_norm, queries + slow_attention(block.query_attention, queries, queries)
    )
    for image in range(2):
        memory = encoded[image].double().numpy()
        expected = slow_norm(
            block.result_norm, slow_attention(block.map_attention, queries, memory)
        )
        assert results[image].numpy() == pytest.approx(expected, abs=1e-5)


def test_gem_pool_equals_slow_loop():
    patches = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(5))
    pooled = gem_pool(patches, torch.tensor([2.5]))
    for image in range(2):
        for channel in range(3):
            powers = [max(float(patches[image, n, channel]), 1e-6) ** 2.5 for n in range(6)]
            expected = (sum(powers) / 6) ** (1 / 2.5)
            assert float(pooled[image, channel]) == pytest.approx(expected, rel=1e-5)


def slow_convolution(layer, grid: np.ndarray) -> np.ndarray:
    """Convolution `[C, h, w]`, batch norm with its statistics, ReLU, by loops over positions."""
    conv, norm = layer.conv, layer.bn
    weight, bias = conv.weight.detach().double().numpy(), conv.bias.detach().double().numpy()
    reach = weight.shape[-1] // 2
    _, rows, columns = grid.shape
    result = np.zeros((len(weight), rows, columns))
    for row in range(rows):
        for column in range(columns):
            for down in range(-reach, reach + 1):
                for right in range(-reach, reach + 1):
                    if 0 <= row + down < rows and 0 <= column + right < columns:
                        values = grid[:, row + down, column + right]
                        result[:, row, column] += weight[:, :, down + reach, right + reach] @ values
    scale = norm.weight.detach().numpy() / np.sqrt(norm.running_var.numpy() + norm.eps)
    shift = norm.bias.detach().numpy() + (bias - norm.running_mean.numpy()) * scale
    return np.maximum(result * scale[:, None, None] + shift[:, None, None], 0.0)


def test_multiscale_adapter_equals_slow_loop():
    torch.manual_seed(6)
    adapter = _randomize(MultiscaleAdapter(64)).eval()
    tokens = torch.randn(2, 1 + 3 * 4, 64)
    with torch.inference_mode():
        adapted = adapter(tokens, (3, 4))
        reduced = torch.relu(adapter.reduction(tokens))
    for image in range(2):
        grid = reduced[image, 1:].double().numpy().T.reshape(32, 3, 4)
        parts = [slow_convolution(adapter.branch_1x1, grid)]
        for branch in (adapter.branch_3x3, adapter.branch_5x5):
            parts.append(slow_convolution(branch[1], slow_convolution(branch[0], grid)))
        mixed = reduced[image].double().numpy().copy()
        mixed[0] *= 2.0
        mixed[1:] += np.concatenate(parts).reshape(32, 12).T
        weight = adapter.expansion.weight.detach().double().numpy()
        expected = mixed @ weight.T + adapter.expansion.bias.detach().double().numpy()
        assert adapted[image].numpy() == pytest.approx(expected, abs=1e-5)


def cubic_weight(distance: float) -> float:
    """Keys' cubic kernel with a = -0.75."""
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def test_dinov2_positions_equal_slow_loop():
    torch.manual_seed(8)
    backbone = _randomize(DinoV2(TINY))
    pixels = torch.zeros(1, 3, 42, 56)
    with torch.inference_mode():
        tokens = backbone.embed_patches(pixels)[0].double().numpy()
    learned = backbone.pos_embed[0, 1:].detach().double().numpy().reshape(5, 5, 64)
    bias = backbone.patch_embed.proj.bias.detach().double().numpy()
    for row in range(3):
        for column in range(4):
            expected = np.zeros(64)
            y, x = (row + 0.5) * 5 / 3.1 - 0.5, (column + 0.5) * 5 / 4.1 - 0.5
            for top in range(math.floor(y) - 1, math.floor(y) + 3):
                for left in range(math.floor(x) - 1, math.floor(x) + 3):
                    weight = cubic_weight(y - top) * cubic_weight(x - left)
                    expected += weight * learned[min(max(top, 0), 4), min(max(left, 0), 4)]
            assert tokens[1 + row * 4 + column] == pytest.approx(expected + bias, abs=1e-4)


def test_dinov2_at_its_learned_grid_equals_timm():
    import timm

    torch.manual_seed(9)
    backbone = _randomize(DinoV2(TINY)).eval()
    network: Any = timm.create_model(
        "vit_base_patch14_dinov2", num_classes=0, embed_dim=64, depth=3, num_heads=2, img_size=70
    ).eval()
    network.load_state_dict(backbone.state_dict())
    pixels = torch.randn(2, 3, 70, 70)
    with torch.inference_mode():
        assert backbone(pixels) == pytest.approx(network.forward_features(pixels), abs=1e-5)


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SuperPoint", "superglue", "R2D2", "MASt3R", "DINOv3", "salad"])
def test_find_published_refuses_by_license(name):
    assert name.lower() in REFUSED_NETWORKS
    with pytest.raises(BadBundleError, match=f"{name} is not offered: .*licen"):
        find_published(name)


def test_find_published_with_unknown_name_lists_the_names():
    with pytest.raises(BadBundleError, match="no published network 'netvlad'; there are megaloc"):
        find_published("netvlad")


def test_tower_of_a_published_network_is_neither_downloaded_nor_trained():
    spec = TowerSpec.parse("place_recognition:megaloc", pretrained="v1")
    with pytest.raises(BadBundleError, match=r"fetch https://huggingface.co/gberton/MegaLoc"):
        build_tower(spec, None)
    with pytest.raises(BadBundleError, match="cannot be trained"):
        init_tower(spec, 0)
