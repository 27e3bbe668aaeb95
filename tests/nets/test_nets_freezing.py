"""Which parameters of a tower are trained: its last blocks, and nothing before them."""

from __future__ import annotations

import pytest
import torch

from pinpoint.errors import BadBundleError, BadRequestError
from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.towers.backbone import init_tower
from pinpoint.nets.towers.freezing import unfreeze


def trained(tower):
    return {name for name, each in tower.network.named_parameters() if each.requires_grad}


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
    assert not trained(tower)
    unfreeze(tower, spec, 1)
    one = trained(tower)
    assert any(each.startswith(last) for each in one)
    assert not any(each.startswith(before) for each in one)
    unfreeze(tower, spec, 2)
    assert one < trained(tower)
    unfreeze(tower, spec, "all")
    assert trained(tower) == {each for each, _ in tower.network.named_parameters()}
    unfreeze(tower, spec, 1)
    assert trained(tower) == one, "asked again, what was trained before is frozen"


def test_unfreeze_too_many_blocks_is_refused():
    spec = TowerSpec.parse("timm:test_resnet")
    with pytest.raises(BadRequestError, match="has 5 blocks that can be trained separately, not 6"):
        unfreeze(init_tower(spec, seed=0), spec, 6)


def test_init_tower_is_seeded_and_keeps_random_state():
    spec = TowerSpec.parse("timm:test_resnet")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    one, same, other = (init_tower(spec, seed).network.state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(4), expected)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["conv1.0.weight"], other["conv1.0.weight"])
    with pytest.raises(BadBundleError, match="cannot be trained"):
        init_tower(TowerSpec(library="pinpoint", name="descriptor-1"), 0)
