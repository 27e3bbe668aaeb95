"""Select the trainable part of a tower: all of it, or its last blocks."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from torch import nn

from pinpoint.errors import BadRequestError
from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.towers.backbone import Tower


def unfreeze(tower: Tower, spec: TowerSpec, blocks: int | Literal["all"]) -> None:
    """Enable gradients for the last blocks of a tower and for no other parameter.

    The library defines blocks: for a Vision Transformer its layers plus one block for all later
    modules; for a convolutional network its stages or their blocks.

    Args:
        tower: Frozen, from `build_tower`.
        spec: Names the library.
        blocks: Number of blocks from the end, or all.

    Raises:
        BadRequestError: The tower has fewer blocks, or the library cannot group its parameters.
    """
    tower.requires_grad_(blocks == "all")
    if blocks == "all":
        return
    groups = _timm_groups(tower.network) if spec.library == "timm" else _clip_groups(tower.network)
    if not 1 <= blocks <= len(groups):
        raise BadRequestError(
            f"tower {spec} has {len(groups)} blocks that can be trained separately, not {blocks}; "
            'set train_tower.blocks to that number or fewer, or to "all"'
        )
    for group in groups[-blocks:]:
        for parameter in group:
            parameter.requires_grad_(True)


def _timm_groups(network: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters by block, in forward order."""
    matcher: Any = getattr(network, "group_matcher", None)
    if matcher is None:
        return []
    grouped = importlib.import_module("timm.models").group_parameters(
        network, matcher(coarse=False), reverse=False
    )
    named = dict(network.named_parameters())
    return [[named[name] for name in names] for _, names in sorted(grouped.items())]


def _clip_groups(network: nn.Module) -> list[list[nn.Parameter]]:
    """Parameter groups of open_clip's Vision Transformer, or of a timm network inside open_clip."""
    trunk = getattr(network, "trunk", None)
    if isinstance(trunk, nn.Module):
        inside = _timm_groups(trunk)
        return [*inside, [*network.head.parameters()]] if inside else []  # type: ignore[union-attr]
    layers = getattr(getattr(network, "transformer", None), "resblocks", None)
    if layers is None:
        return []
    inner = {id(parameter) for parameter in layers.parameters()}
    early = ("conv1", "class_embedding", "positional_embedding", "ln_pre", "patch_dropout")
    after = [
        parameter
        for name, parameter in network.named_parameters()
        if id(parameter) not in inner and not name.startswith(early)
    ]
    return [*([*layer.parameters()] for layer in layers), after]
