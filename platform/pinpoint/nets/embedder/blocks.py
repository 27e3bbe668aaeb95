"""Blocks shared by the heads and the location tower. Letters: B rows, H hidden width."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ResidualBlock(nn.Module):
    """`x + MLP(LayerNorm(x))`, `[B, H]` to `[B, H]`; the MLP has one hidden layer of width H.

    The norm comes before the MLP and not after the sum (Xiong et al., "On Layer Normalization in
    the Transformer Architecture", ICML 2020), so gradients flow through the sum unchanged.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, width)
        self.leave = nn.Linear(width, width)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Add the MLP's output to the input."""
        added: torch.Tensor = self.leave(F.gelu(self.enter(self.norm(rows))))
        return rows + added


def normalize_rows(rows: torch.Tensor) -> torch.Tensor:
    """`[B, D]` to fp32 rows of length 1, computed in fp32 also where autocast is on.

    A row of zeros stays zero and a row that is not finite becomes NaN, so both are detectable.
    """
    with torch.autocast(device_type=rows.device.type, enabled=False):
        return F.normalize(rows.to(torch.float32), dim=1)
