"""The config of the paper's tower: read as a run reads it, and built without its 4.7 GB of weights.

The tower lies on torch's meta device: shapes, no numbers.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pinpoint.nets.backbone import Tower, _open_clip_network, suggested_preprocess
from pinpoint.nets.contract import TowerSpec
from pinpoint.training.configs import read_config
from pinpoint.training.objective import Networks

DOCS = Path(__file__).resolve().parents[2] / "docs"
CONFIG = DOCS / "configs" / "paper.toml"
SPEC = TowerSpec.parse("open_clip:ViT-gopt-16-SigLIP2-384", pretrained="webli")
WIDTH, INSIDE, DEPTH, PATCH_PX, SIDE_PX = 1536, 6144, 40, 16, 384


def transformer_parameters():
    """The count of a vision transformer of these sizes that pools by one attending query."""
    linear = lambda entering, leaving: entering * leaving + leaving  # noqa: E731
    norm, mlp = 2 * WIDTH, linear(WIDTH, INSIDE) + linear(INSIDE, WIDTH)
    attention = linear(WIDTH, 3 * WIDTH) + linear(WIDTH, WIDTH)
    block = norm + attention + norm + mlp
    patches = (SIDE_PX // PATCH_PX) ** 2
    entry = linear(3 * PATCH_PX**2, WIDTH) + patches * WIDTH
    pool = WIDTH + attention + norm + mlp  # its query is learned and projected as keys are
    return entry + DEPTH * block + norm + pool


@pytest.fixture(scope="module")
def tower():
    with torch.device("meta"):
        return Tower(_open_clip_network(SPEC, download=False)).eval()


def test_the_tower_has_the_parameters_of_its_sizes(tower):
    assert {each.device.type for each in tower.parameters()} == {"meta"}
    counted = sum(each.numel() for each in tower.parameters())
    assert counted == transformer_parameters() == 1_163_659_776


def test_the_configs_networks_fit_behind_the_tower(tower):
    config = read_config(CONFIG)
    side_px = suggested_preprocess(SPEC).size_px
    assert side_px == SIDE_PX
    features = tower(torch.empty(2, 3, side_px, side_px, device="meta"))
    assert features.shape == (2, WIDTH)
    kinds = tuple(sorted(one.kind for one in config.sources))
    heads = Networks(config, kinds, features.shape[1]).heads
    assert heads(torch.zeros(features.shape), kinds).shape == (2, config.networks.dim)
