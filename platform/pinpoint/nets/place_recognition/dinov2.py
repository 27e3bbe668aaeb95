"""DINOv2's Vision Transformer, shared by the published networks: timm's blocks, Meta's positions.

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", 2023, arXiv 2304.07193.
Parameters have timm's names, which are Meta's names too; only Meta's `mask_token`, which is used in
pretraining alone, has no counterpart. Meta and timm resize the learned positions to another grid
differently. Published networks were trained with Meta's way, so it is implemented here.
Letters: B images, C channels, N patches, h and w rows and columns of patches.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import nn

from pinpoint.nets.towers.torchvision_ops import allow_torchvision

PATCH_PX: Final = 14
CLASS_TOKENS: Final = 1
"""Tokens before the patch tokens in every layer; a vocabulary of a layer leaves them out."""

_GRID_OFFSET = 0.1
"""Meta adds this to the number of rows and columns before it computes the scale of the resize. It
shifts the samples, so without it the vectors differ from the published ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DinoSize:
    """Size of the transformer; tests use small ones."""

    width: int
    """C: channels of a token."""
    depth: int
    """Number of blocks."""
    heads: int
    grid: int = 37
    """Rows and columns of the learned positions; 37 for images of 518 px."""


DINO_BASE: Final = DinoSize(width=768, depth=12, heads=12)
DINO_LARGE: Final = DinoSize(width=1024, depth=24, heads=16)


class DinoV2(nn.Module):
    """Pixels to tokens; images of any size that is a multiple of 14 px."""

    def __init__(self, size: DinoSize, *, final_norm: bool = True) -> None:
        super().__init__()
        allow_torchvision()
        # `Any`: timm's network has no types that mypy could use.
        network: Any = importlib.import_module("timm").create_model(
            "vit_base_patch14_dinov2",
            num_classes=0,
            embed_dim=size.width,
            depth=size.depth,
            num_heads=size.heads,
            img_size=PATCH_PX * size.grid,
        )
        self.grid = size.grid
        self.cls_token: nn.Parameter = network.cls_token
        self.pos_embed: nn.Parameter = network.pos_embed
        self.patch_embed = network.patch_embed
        self.blocks: nn.Sequential = network.blocks
        self.norm: nn.Module = network.norm if final_norm else nn.Identity()

    def embed_patches(self, pixels: torch.Tensor) -> torch.Tensor:
        """`[B, 3, 14h, 14w]` to the input of the first block, `[B, 1+N, C]`; the class is first.

        Raises:
            ValueError: A side is not a multiple of 14 px.
        """
        rows, columns = patch_grid(pixels)
        patches = self.patch_embed.proj(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(pixels), -1, -1), patches], dim=1)
        return tokens + self._positions(rows, columns)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """`[B, 3, 14h, 14w]` to tokens `[B, 1+N, C]`; the class token is first.

        Raises:
            ValueError: As `embed_patches`.
        """
        tokens: torch.Tensor = self.norm(self.blocks(self.embed_patches(pixels)))
        return tokens

    def _positions(self, rows: int, columns: int) -> torch.Tensor:
        """Learned positions for a grid, `[1, 1+N, C]`: bicubic, without antialiasing."""
        if rows == columns == self.grid:
            return self.pos_embed
        learned = self.pos_embed[:, 1:].transpose(1, 2).reshape(1, -1, self.grid, self.grid)
        scale = ((rows + _GRID_OFFSET) / self.grid, (columns + _GRID_OFFSET) / self.grid)
        resized = F.interpolate(learned, scale_factor=scale, mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)


def patch_grid(pixels: torch.Tensor) -> tuple[int, int]:
    """Rows and columns of patches of `[B, 3, 14h, 14w]`.

    Raises:
        ValueError: A side is not a multiple of 14 px.
    """
    height_px, width_px = pixels.shape[-2:]
    if height_px % PATCH_PX or width_px % PATCH_PX:
        raise ValueError(
            f"DINOv2 takes multiples of {PATCH_PX} px, such as 224 or 322, not "
            f"{width_px} × {height_px}"
        )
    return height_px // PATCH_PX, width_px // PATCH_PX


def patch_map(tokens: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Patch tokens of `[B, 1+N, C]` as a feature map `[B, C, h, w]`; the class is dropped."""
    images, _, channels = tokens.shape
    return tokens[:, 1:].transpose(1, 2).reshape(images, channels, *patch_grid(pixels))
