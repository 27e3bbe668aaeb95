"""Unfreezing: only the last blocks of a tower are trained."""

from __future__ import annotations

import pytest
import torch

from pinpoint.errors import BadBundleError, BadRequestError
from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.towers.backbone import init_tower
from pinpoint.nets.towers.freezing import unfreeze


def trainable_names(tower):
    return {name for name, value in tower.network.named_parameters() if value.requires_grad}


@pytest.mark.parametrize(
    ("name", "last", "before"),
    [
        ("timm:test_resnet", "layer4.", "layer3."),
        ("timm:test_vit", "norm.", "blocks.4."),
        ("open_clip:ViT-S-32-alt", "ln_post.", "transformer."),
    ],
)
def test_unfreeze_counts_blocks_from_the_end(name, last, before):
    spec = TowerSpec.parse(name)
    tower = init_tower(spec, seed=0)
    assert not trainable_names(tower)
    unfreeze(tower, spec, 1)
    one_block = trainable_names(tower)
    assert any(name.startswith(last) for name in one_block)
    assert not any(name.startswith(before) for name in one_block)
    unfreeze(tower, spec, 2)
    assert one_block < trainable_names(tower)
    unfreeze(tower, spec, "all")
    assert trainable_names(tower) == {name for name, _ in tower.network.named_parameters()}
    unfreeze(tower, spec, 1)
    assert trainable_names(tower) == one_block, "a second call freezes what was trained before"


def test_unfreeze_too_many_blocks_is_refused():
    spec = TowerSpec.parse("timm:test_resnet")
    with pytest.raises(BadRequestError, match="has 5 blocks that can be trained separately, not 6"):
        unfreeze(init_tower(spec, seed=0), spec, 6)


def test_init_tower_is_seeded_and_keeps_random_state():
    spec = TowerSpec.parse("timm:test_resnet")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    first, same, other = (init_tower(spec, seed).network.state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not torch.equal(first["conv1.0.weight"], other["conv1.0.weight"])
    with pytest.raises(BadBundleError, match="cannot be trained"):
        init_tower(TowerSpec(library="pinpoint", name="descriptor-1"), 0)
