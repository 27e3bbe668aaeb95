"""From a tower's features to the shared space: an adapter per source kind, then one trunk.

The shape is that of the paper (arXiv 2606.04133): LayerNorm, Linear, GELU and residual blocks per
source, residual blocks for all, LayerNorm and Linear, unit length. Letters: B pictures, F the width
of the tower's features, H the width inside, D the width of the shared space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

from pinpoint.nets.blocks import ResidualBlock, unit
from pinpoint.nets.specs import HeadsSpec
from pinpoint.records import SourceKind

_STRAIGHT: Final = 3.0
"""Where GELU begins to be the identity …"""
_GAIN: Final = 0.5
"""… and how far from there features of unit variance reach, in the root mean square at most."""


class Adapter(nn.Module):
    """What is particular to one kind of imagery: `[B, F]` to `[B, H]`."""

    def __init__(self, features: int, hidden: int, blocks: int) -> None:
        super().__init__()
        # Towers differ in the length of their features by orders of magnitude; this evens it out.
        self.norm = nn.LayerNorm(features)
        self.enter = nn.Linear(features, hidden)
        self.gelu = nn.GELU()
        self.blocks = nn.Sequential(*(ResidualBlock(hidden) for _ in range(blocks)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Bring one kind's features to where all kinds are alike."""
        adapted: torch.Tensor = self.blocks(self.gelu(self.enter(self.norm(features))))
        return adapted


class KindHeads(nn.Module):
    """Features of pictures of any kinds to unit vectors of the shared space.

    A row's vector depends on its own features and kind alone: rows are sorted by kind, each adapter
    sees only its own, and nothing here is computed over the batch. In fp32 without TF32 two batches
    agree to 1e-5; under autocast only to the precision of its type.

    Training one kind leaves the others' adapters as they are, to the bit, if the loop lets it: an
    adapter without rows takes no part in the pass, so its gradients stay None, and torch's
    optimisers pass over such parameters, weight decay and moments included. That needs
    `zero_grad(set_to_none=True)`, torch's default: with gradients of zero AdamW would still decay
    the weights and follow old moments. Under DDP it needs `find_unused_parameters=True`. An adapter
    that must never change is frozen by `requires_grad_(False)`.

    Args:
        spec: Kinds and widths.
    """

    def __init__(self, spec: HeadsSpec) -> None:
        super().__init__()
        self.spec = spec
        # With a prefix: a kind may be called `train`, which every module has already.
        self.adapters = nn.ModuleDict(
            {
                f"of_{kind}": Adapter(spec.features, spec.hidden, spec.adapter_blocks)
                for kind in spec.kinds
            }
        )
        self.trunk = nn.Sequential(
            *(ResidualBlock(spec.hidden) for _ in range(spec.trunk_blocks)),
            nn.LayerNorm(spec.hidden),
            nn.Linear(spec.hidden, spec.dim),
        )

    @torch.no_grad()
    def start_at_tower(self) -> None:
        """Set the weights so that vectors have the angles of the tower's layer-normed features.

        For little data: what the tower knows is kept until training has better. GELU is straight
        far above zero, a block without output adds nothing, and orthogonal matrices turn without
        bending. Kinds start alike. Where `hidden` or `dim` is below `features`, the matrices
        project, and angles are kept only about.
        """
        for block in self.modules():
            if isinstance(block, ResidualBlock):
                nn.init.zeros_(block.leave.weight)
                nn.init.zeros_(block.leave.bias)
        enters = [each.enter for each in self.modules() if isinstance(each, Adapter)]
        nn.init.orthogonal_(enters[0].weight, _GAIN)
        for enter in enters:
            enter.weight.copy_(enters[0].weight)
            nn.init.constant_(enter.bias, _STRAIGHT)
        leave = self.trunk[-1]
        nn.init.orthogonal_(leave.get_parameter("weight"))
        nn.init.zeros_(leave.get_parameter("bias"))

    def kind_served(self, kind: SourceKind | None) -> SourceKind:
        """Whose adapter serves a kind: its own, or the default's for None and the unknown."""
        return kind if kind is not None and kind in self.spec.kinds else self.spec.default_kind

    def adapter(self, kind: SourceKind | None) -> nn.Module:
        """The adapter that serves a kind."""
        return self.adapters[f"of_{self.kind_served(kind)}"]

    def forward(self, features: torch.Tensor, kinds: Sequence[SourceKind | None]) -> torch.Tensor:
        """Features `[B, F]` to fp32 unit vectors `[B, D]`.

        Args:
            features: As the tower gives them, not normalised; fp16 from a cache is fine.
            kinds: One per row.

        Raises:
            ValueError: Features are not `[B, F]`, or there are not B kinds.
        """
        if features.ndim != 2 or features.shape[1] != self.spec.features:
            raise ValueError(
                f"features must be [B, {self.spec.features}], not {list(features.shape)}"
            )
        if len(kinds) != len(features):
            raise ValueError(f"{len(features)} rows of features came with {len(kinds)} kinds")
        return unit(self.trunk(self._adapt(features.to(torch.float32), kinds)))

    def _adapt(self, features: torch.Tensor, kinds: Sequence[SourceKind | None]) -> torch.Tensor:
        """Every row through the adapter of its kind, `[B, H]`, in the order they came."""
        rows: dict[SourceKind, list[int]] = {}
        for row, kind in enumerate(kinds):
            rows.setdefault(self.kind_served(kind), []).append(row)
        if len(rows) <= 1:
            alone: torch.Tensor = self.adapter(next(iter(rows), None))(features)
            return alone
        index = {kind: torch.tensor(its, device=features.device) for kind, its in rows.items()}
        adapted = torch.cat([self.adapter(kind)(features[its]) for kind, its in index.items()])
        return adapted[torch.argsort(torch.cat(list(index.values())))]
