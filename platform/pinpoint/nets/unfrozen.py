"""Which part of a tower is trained: all of it, or its last blocks, as the library divides it."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from torch import nn

from pinpoint.errors import BadRequest
from pinpoint.nets.backbone import Tower
from pinpoint.nets.contract import TowerSpec


def unfreeze(tower: Tower, spec: TowerSpec, blocks: int | Literal["all"]) -> None:
    """Let gradients reach the last blocks of a tower, and no other parameter.

    What counts as a block is the library's to say: of a Vision Transformer its layers, and one
    more for what follows them; of a convolutional network its stages or their blocks.

    Args:
        tower: As `build_tower` gives it, frozen.
        spec: Its library.
        blocks: How many from the end, or all.

    Raises:
        BadRequest: The tower has fewer blocks, or the library cannot divide it.
    """
    tower.requires_grad_(blocks == "all")
    if blocks == "all":
        return
    groups = _timm_groups(tower.network) if spec.library == "timm" else _clip_groups(tower.network)
    if not 1 <= blocks <= len(groups):
        raise BadRequest(
            f"tower {spec} has {len(groups)} blocks that can be trained apart, not {blocks}; "
            'set train_tower.blocks to as many or fewer, or to "all"'
        )
    for group in groups[-blocks:]:
        for parameter in group:
            parameter.requires_grad_(True)


def _timm_groups(network: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters by block, the first one first."""
    matcher: Any = getattr(network, "group_matcher", None)
    if matcher is None:
        return []
    grouped = importlib.import_module("timm.models").group_parameters(
        network, matcher(coarse=False), reverse=False
    )
    named = dict(network.named_parameters())
    return [[named[name] for name in names] for _, names in sorted(grouped.items())]


def _clip_groups(network: nn.Module) -> list[list[nn.Parameter]]:
    """Of open_clip's own Vision Transformer, or of a network of timm inside open_clip."""
    trunk = getattr(network, "trunk", None)
    if isinstance(trunk, nn.Module):
        inside = _timm_groups(trunk)
        return [*inside, [*network.head.parameters()]] if inside else []  # type: ignore[union-attr]
    layers = getattr(getattr(network, "transformer", None), "resblocks", None)
    if layers is None:
        return []
    inner = {id(each) for each in layers.parameters()}
    early = ("conv1", "class_embedding", "positional_embedding", "ln_pre", "patch_dropout")
    after = [
        parameter
        for name, parameter in network.named_parameters()
        if id(parameter) not in inner and not name.startswith(early)
    ]
    return [*([*layer.parameters()] for layer in layers), after]
