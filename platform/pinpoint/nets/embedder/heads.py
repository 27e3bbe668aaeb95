"""Heads: tower features to the joint space, by one adapter per source kind and a shared trunk.

Architecture of arXiv 2606.04133: LayerNorm, Linear, GELU and residual blocks per source; shared
residual blocks, LayerNorm and Linear; unit length. Letters: B images, F width of the tower's
features, H hidden width, D width of the joint space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

from pinpoint.nets.bundle.specs import HeadsSpec
from pinpoint.nets.embedder.blocks import ResidualBlock, normalize_rows

_GELU_LINEAR_FROM: Final = 3.0
"""Input from which GELU is approximately the identity."""
_INIT_GAIN: Final = 0.5
"""Maximum root mean square deviation from that input, for features of unit variance."""


class Adapter(nn.Module):
    """Adapter of one source kind: `[B, F]` to `[B, H]`."""

    def __init__(self, features: int, hidden: int, blocks: int) -> None:
        super().__init__()
        # Feature lengths differ between towers by orders of magnitude; the norm removes this.
        self.norm = nn.LayerNorm(features)
        self.enter = nn.Linear(features, hidden)
        self.gelu = nn.GELU()
        self.blocks = nn.Sequential(*(ResidualBlock(hidden) for _ in range(blocks)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map the features of one kind to the input space of the trunk."""
        adapted: torch.Tensor = self.blocks(self.gelu(self.enter(self.norm(features))))
        return adapted


class KindHeads(nn.Module):
    """Features of images of any kinds to unit vectors of the joint space.

    A vector depends only on the features and the kind of its row: each adapter sees only rows of
    its kind, and nothing is computed over the batch. In fp32 without TF32 two batches agree to
    1e-5; under autocast only to the precision of its type.

    Training on one kind can leave the adapters of other kinds bit-identical. An adapter without
    rows is not part of the pass, so its gradients stay None. Optimizers of torch skip such
    parameters, including weight decay and moments. This requires `zero_grad(set_to_none=True)`,
    the default of torch: with zero gradients AdamW would still decay the weights and apply old
    moments. DDP also requires `find_unused_parameters=True`. Use `requires_grad_(False)` to freeze
    an adapter permanently.

    Args:
        spec: Kinds and widths.
    """

    def __init__(self, spec: HeadsSpec) -> None:
        super().__init__()
        self.spec = spec
        # With a prefix: a kind may be named `train`, which is an attribute of every module.
        self.adapters = nn.ModuleDict(
            {
                f"of_{kind}": Adapter(spec.feature_dim, spec.hidden, spec.adapter_blocks)
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
        """Initialize the weights so that vectors keep the angles of layer-normed tower features.

        Useful for little data: training starts from the quality of the tower. GELU is linear far
        above zero, a block without output adds nothing, and orthogonal matrices keep angles. All
        kinds start with equal weights. If `hidden` or `dim` is below `features`, the matrices
        project, and angles are kept only approximately.
        """
        for block in self.modules():
            if isinstance(block, ResidualBlock):
                nn.init.zeros_(block.leave.weight)
                nn.init.zeros_(block.leave.bias)
        enter_layers = [module.enter for module in self.modules() if isinstance(module, Adapter)]
        nn.init.orthogonal_(enter_layers[0].weight, _INIT_GAIN)
        for enter in enter_layers:
            enter.weight.copy_(enter_layers[0].weight)
            nn.init.constant_(enter.bias, _GELU_LINEAR_FROM)
        leave = self.trunk[-1]
        nn.init.orthogonal_(leave.get_parameter("weight"))
        nn.init.zeros_(leave.get_parameter("bias"))

    def kind_served(self, kind: str | None) -> str:
        """The kind whose adapter is used: the default for None and unknown kinds, else `kind`."""
        return kind if kind is not None and kind in self.spec.kinds else self.spec.default_kind

    def adapter(self, kind: str | None) -> nn.Module:
        """The adapter used for a kind."""
        return self.adapters[f"of_{self.kind_served(kind)}"]

    def forward(self, features: torch.Tensor, kinds: Sequence[str | None]) -> torch.Tensor:
        """Features `[B, F]` to fp32 unit vectors `[B, D]`.

        Args:
            features: Output of the tower, not normalized; fp16 from a cache is accepted.
            kinds: One per row.

        Raises:
            ValueError: Features are not `[B, F]`, or the number of kinds is not B.
        """
        if features.ndim != 2 or features.shape[1] != self.spec.feature_dim:
            raise ValueError(
                f"features must be [B, {self.spec.feature_dim}], not {list(features.shape)}"
            )
        if len(kinds) != len(features):
            raise ValueError(f"{len(features)} rows of features came with {len(kinds)} kinds")
        return normalize_rows(self.trunk(self._apply_adapters(features.to(torch.float32), kinds)))

    def _apply_adapters(self, features: torch.Tensor, kinds: Sequence[str | None]) -> torch.Tensor:
        """Apply the adapter of its kind to every row, `[B, H]`, in input order."""
        rows: dict[str, list[int]] = {}
        for row, kind in enumerate(kinds):
            rows.setdefault(self.kind_served(kind), []).append(row)
        if len(rows) <= 1:
            single_kind: torch.Tensor = self.adapter(next(iter(rows), None))(features)
            return single_kind
        index = {
            kind: torch.tensor(kind_rows, device=features.device)
            for kind, kind_rows in rows.items()
        }
        adapted = torch.cat(
            [self.adapter(kind)(features[kind_rows]) for kind, kind_rows in index.items()]
        )
        return adapted[torch.argsort(torch.cat(list(index.values())))]
