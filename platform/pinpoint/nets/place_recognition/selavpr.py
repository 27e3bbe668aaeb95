"""SelaVPR++: own implementation of its float vectors for the published weights.

Lu et al., "SelaVPR++: Towards Seamless Adaptation of Foundation Models for Efficient Place
Recognition", IEEE TPAMI 2025, arXiv 2502.16601. A second stream of tokens runs parallel to a frozen
DINOv2: after each block a small adapter with three convolutions adds to it. The published file may
also hold a branch for 512-bit vectors, which is dropped: the index quantizes the float vectors
itself. Whether vectors equal the published ones can only be checked with the published file (docs:
import a bundle). Letters: B images, C channels, N patches, h and w rows and columns of patches.
"""

from __future__ import annotations

from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import nn

from pinpoint.nets.place_recognition.dinov2 import (
    CLASS_TOKENS,
    DINO_BASE,
    DinoSize,
    DinoV2,
    patch_grid,
)
from pinpoint.nets.place_recognition.state_names import NameTable

SELAVPR_NAMES: Final[NameTable] = (
    (r"backbone\.mask_token$", None),
    # The branch for 512-bit vectors.
    (r"backbone\.adapters_hashing\.", None),
    (r"aggregation_hashing\.|linear[34]\.", None),
    (r"backbone\.adapters\.(\d+)\.branch1\.", r"adapters.\1.branch_1x1."),
    (r"backbone\.adapters\.(\d+)\.branch2\.", r"adapters.\1.branch_3x3."),
    (r"backbone\.adapters\.(\d+)\.branch3\.", r"adapters.\1.branch_5x5."),
    (r"backbone\.adapters\.(\d+)\.D_fc1\.", r"adapters.\1.reduction."),
    (r"backbone\.adapters\.(\d+)\.D_fc2\.", r"adapters.\1.expansion."),
    (r"aggregation\.1\.p$", "power"),
    (r"linear1\.", "token_projection."),
    (r"linear2\.", "vector_projection."),
)

_NORM_EPSILON = 1e-3
_POOL_FLOOR = 1e-6
"""Pooled values are at least this large, so that their power is defined."""


class _Convolution(nn.Sequential):
    """Convolution, batch norm with the statistics of training, ReLU."""

    def __init__(self, channels: int, dim: int, side: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(channels, dim, side, padding=side // 2))
        self.add_module("bn", nn.BatchNorm2d(dim, eps=_NORM_EPSILON))
        self.add_module("relu", nn.ReLU())


class MultiscaleAdapter(nn.Module):
    """Tokens to half their channels, three convolutions of the patch map side by side, and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, narrow = channels // 2, channels // 32
        self.reduction = nn.Linear(channels, inner)
        self.branch_1x1 = _Convolution(inner, inner // 2, 1)
        self.branch_3x3 = nn.Sequential(
            _Convolution(inner, narrow, 1), _Convolution(narrow, inner // 4, 3)
        )
        self.branch_5x5 = nn.Sequential(
            _Convolution(inner, narrow, 1), _Convolution(narrow, inner // 4, 5)
        )
        self.expansion = nn.Linear(inner, channels)

    def forward(self, tokens: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
        """`[B, 1+N, C]` to `[B, 1+N, C]`; `grid` is h, w. The class token has no convolution."""
        reduced = F.relu(self.reduction(tokens))
        patches = reduced[:, 1:].transpose(1, 2).reshape(len(tokens), -1, *grid)
        branches = (self.branch_1x1, self.branch_3x3, self.branch_5x5)
        convolved = torch.cat([branch(patches) for branch in branches], dim=1)
        mixed = torch.cat([reduced[:, :1], convolved.flatten(2).transpose(1, 2)], dim=1)
        adapted: torch.Tensor = self.expansion(mixed + reduced)
        return adapted


class SelaVpr(nn.Module):
    """`[B, 3, S, S]` to unit vectors `[B, D]`; S is a multiple of 14 px.

    Args:
        size: Size of DINOv2.
        adapters: Number of adapters, one after each of the last blocks: 12 of 12, or 16 of 24.
        dim: D: 2048 for ViT-B, 4096 for ViT-L.
    """

    def __init__(self, size: DinoSize = DINO_BASE, *, adapters: int = 12, dim: int = 2048) -> None:
        super().__init__()
        self.num_prefix_tokens = CLASS_TOKENS
        self.backbone = DinoV2(size)
        self.adapters = nn.ModuleList(MultiscaleAdapter(size.width) for _ in range(adapters))
        self.token_projection = nn.Linear(size.width, size.width)
        self.power = nn.Parameter(torch.full((1,), 3.0))
        self.vector_projection = nn.Linear(size.width, dim)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """See the class.

        Raises:
            ValueError: A side is not a multiple of 14 px.
        """
        patches = self.token_projection(self._adapted_tokens(pixels)[:, 1:])
        pooled = gem_pool(F.normalize(patches, dim=2), self.power)
        return F.normalize(self.vector_projection(pooled), dim=1)

    def _adapted_tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """The second stream after the last block, `[B, 1+N, C]`."""
        grid = patch_grid(pixels)
        blocks: list[Any] = list(self.backbone.blocks)
        frozen_only = len(blocks) - len(self.adapters)
        tokens = self.backbone.embed_patches(pixels)
        for block in blocks[:frozen_only]:
            tokens = block(tokens)
        adapted = tokens
        for block, adapter in zip(blocks[frozen_only:], self.adapters, strict=True):
            tokens = block(tokens)
            adapted = adapted + adapter(adapted + tokens, grid)
        normalized: torch.Tensor = self.backbone.norm(adapted)
        return normalized


def gem_pool(patches: torch.Tensor, power: torch.Tensor) -> torch.Tensor:
    """Generalized mean over the patches, `[B, N, C]` to `[B, C]`.

    Radenović, Tolias and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", TPAMI
    2019.

    Args:
        patches: `[B, N, C]`.
        power: `[1]`; 1 is the mean, infinity the maximum.
    """
    return patches.clamp(min=_POOL_FLOOR).pow(power).mean(dim=1).pow(1 / power)
