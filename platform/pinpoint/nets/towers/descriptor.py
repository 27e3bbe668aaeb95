"""Descriptor without weights: spatial histograms of colors and edge directions.

It finds images of nearly the same view in nearly the same light. It is not trained, so it
recognizes neither places nor objects. Letters: B images, S their side, G grid cells per side,
D vector width.

Gradient histograms: Dalal and Triggs, "Histograms of Oriented Gradients", CVPR 2005. Spatial
pyramid: Lazebnik, Schmid and Ponce, "Beyond Bags of Features", CVPR 2006. Square roots of
histograms: Arandjelović and Zisserman, "Three things everyone should know …", CVPR 2012.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

_NUM_DIRECTIONS = 8
_NUM_TONES = 8
_OPPONENT_RANGE = 0.3
"""Red–green and yellow–blue values beyond this limit, rare in photos, go to the outer bins."""


class Descriptor(nn.Module):
    """`[B, 3, S, S]` in [0, 1] to `[B, 384]`, not yet of unit length; no parameters, fp32."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Concatenate seven unit-length parts; coarse grids discriminate less and weigh less."""
        opponent = _opponent_channels(pixels)
        edges = _edge_maps(opponent[:, :1])
        tones = _tone_maps(opponent)
        mean, deviation = _grid_statistics(opponent, grid=4)
        parts = (
            _grid_histogram(edges, grid=4),
            0.7 * _grid_histogram(edges, grid=2),
            0.5 * _grid_histogram(edges, grid=1),
            0.7 * mean,
            0.7 * deviation,
            _grid_histogram(tones, grid=2),
            0.7 * _grid_histogram(tones, grid=1),
        )
        return torch.cat(parts, dim=1)


def _opponent_channels(pixels: torch.Tensor) -> torch.Tensor:
    """Lightness, red–green and yellow–blue, `[B, 3, S, S]`."""
    red, green, blue = pixels.unbind(dim=1)
    return torch.stack(
        [(red + green + blue) / 3, red - green, (red + green) / 2 - blue],
        dim=1,
    )


def _edge_maps(light: torch.Tensor) -> torch.Tensor:
    """Gradient magnitude by direction modulo 180°, `[B, 8, S, S]`, split over two adjacent bins."""
    dx = F.pad(light[..., :, 2:] - light[..., :, :-2], (1, 1, 0, 0))
    dy = F.pad(light[..., 2:, :] - light[..., :-2, :], (0, 0, 1, 1))
    magnitude = torch.sqrt(dx.square() + dy.square())
    bin_position = torch.atan2(dy, dx) * (_NUM_DIRECTIONS / math.pi)
    bins = torch.arange(_NUM_DIRECTIONS, dtype=light.dtype, device=light.device).view(1, -1, 1, 1)
    half_circle = _NUM_DIRECTIONS / 2
    distance = (
        torch.remainder(bin_position - bins + half_circle, _NUM_DIRECTIONS) - half_circle
    ).abs_()
    return (1.0 - distance).clamp_(min=0.0).mul_(magnitude)


def _tone_maps(opponent: torch.Tensor) -> torch.Tensor:
    """Soft assignment of each pixel to eight bins per opponent channel, `[B, 24, S, S]`."""
    limit = _OPPONENT_RANGE
    ranges = ((0.0, 1.0), (-limit, limit), (-limit, limit))
    bins = torch.arange(_NUM_TONES, dtype=opponent.dtype, device=opponent.device).view(1, -1, 1, 1)
    shares = []
    for channel, (low, high) in enumerate(ranges):
        bin_position = ((opponent[:, channel : channel + 1] - low) / (high - low)).clamp(0.0, 1.0)
        shares.append((1.0 - (bin_position * (_NUM_TONES - 1) - bins).abs_()).clamp_(min=0.0))
    return torch.cat(shares, dim=1)


def _grid_histogram(maps: torch.Tensor, *, grid: int) -> torch.Tensor:
    """Square roots of cell means, at unit length: `[B, C, S, S]` to `[B, C * G * G]`."""
    cells = F.adaptive_avg_pool2d(maps, grid).sqrt()
    return F.normalize(cells.flatten(start_dim=1), dim=1)


def _grid_statistics(opponent: torch.Tensor, *, grid: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (minus mid-gray) and deviation per channel and cell, both at unit length."""
    mean = F.adaptive_avg_pool2d(opponent, grid)
    mean_square = F.adaptive_avg_pool2d(opponent.square(), grid)
    deviation = (mean_square - mean.square()).clamp(min=0.0).sqrt()
    gray = torch.tensor([0.5, 0.0, 0.0], dtype=mean.dtype, device=mean.device).view(1, 3, 1, 1)
    return (
        F.normalize((mean - gray).flatten(start_dim=1), dim=1),
        F.normalize(deviation.flatten(start_dim=1), dim=1),
    )
