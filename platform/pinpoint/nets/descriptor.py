"""A descriptor without weights: where in the picture which colours and edge directions lie.

Honest about itself: it finds pictures that are nearly the same view in nearly the same light. It
has learned nothing, so it knows neither places nor things. Letters: B pictures, S their side,
G cells per side of a grid, D the width of the vector.

Gradient histograms: Dalal and Triggs, "Histograms of Oriented Gradients", CVPR 2005. Spatial
pyramid: Lazebnik, Schmid and Ponce, "Beyond Bags of Features", CVPR 2006. Square roots of
histograms: Arandjelović and Zisserman, "Three things everyone should know …", CVPR 2012.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

_DIRECTIONS = 8
_TONES = 8
_OPPONENT_REACH = 0.3
"""Red–green and yellow–blue values beyond this, rare in photos, fall into the outer bins."""


class Descriptor(nn.Module):
    """`[B, 3, S, S]` in [0, 1] to `[B, 384]`, not yet of unit length; no parameters, fp32."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Join seven unit-length parts; coarse grids weigh less, for they tell less apart."""
        opponent = _opponent(pixels)
        edges = _edges(opponent[:, :1])
        tones = _tones(opponent)
        mean, deviation = _statistics(opponent, grid=4)
        parts = (
            _histogram(edges, grid=4),
            0.7 * _histogram(edges, grid=2),
            0.5 * _histogram(edges, grid=1),
            0.7 * mean,
            0.7 * deviation,
            _histogram(tones, grid=2),
            0.7 * _histogram(tones, grid=1),
        )
        return torch.cat(parts, dim=1)


def _opponent(pixels: torch.Tensor) -> torch.Tensor:
    """Light, red–green and yellow–blue, `[B, 3, S, S]`."""
    red, green, blue = pixels.unbind(dim=1)
    return torch.stack(
        [(red + green + blue) / 3, red - green, (red + green) / 2 - blue],
        dim=1,
    )


def _edges(light: torch.Tensor) -> torch.Tensor:
    """Strength of edges by direction modulo 180°, `[B, 8, S, S]`, split over the nearest two."""
    across = F.pad(light[..., :, 2:] - light[..., :, :-2], (1, 1, 0, 0))
    down = F.pad(light[..., 2:, :] - light[..., :-2, :], (0, 0, 1, 1))
    strength = torch.sqrt(across.square() + down.square())
    place = torch.atan2(down, across) * (_DIRECTIONS / math.pi)
    bins = torch.arange(_DIRECTIONS, dtype=light.dtype, device=light.device).view(1, -1, 1, 1)
    half = _DIRECTIONS / 2
    distance = (torch.remainder(place - bins + half, _DIRECTIONS) - half).abs_()
    return (1.0 - distance).clamp_(min=0.0).mul_(strength)


def _tones(opponent: torch.Tensor) -> torch.Tensor:
    """Share of each pixel in eight bins of every opponent channel, `[B, 24, S, S]`."""
    reach = _OPPONENT_REACH
    ranges = ((0.0, 1.0), (-reach, reach), (-reach, reach))
    bins = torch.arange(_TONES, dtype=opponent.dtype, device=opponent.device).view(1, -1, 1, 1)
    shares = []
    for channel, (low, high) in enumerate(ranges):
        place = ((opponent[:, channel : channel + 1] - low) / (high - low)).clamp(0.0, 1.0)
        shares.append((1.0 - (place * (_TONES - 1) - bins).abs_()).clamp_(min=0.0))
    return torch.cat(shares, dim=1)


def _histogram(maps: torch.Tensor, *, grid: int) -> torch.Tensor:
    """Sums over grid cells, square-rooted, at unit length: `[B, C, S, S]` to `[B, C * G * G]`."""
    cells = F.adaptive_avg_pool2d(maps, grid).sqrt()
    return F.normalize(cells.flatten(start_dim=1), dim=1)


def _statistics(opponent: torch.Tensor, *, grid: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean (about mid-grey) and deviation of each channel in each cell, both at unit length."""
    mean = F.adaptive_avg_pool2d(opponent, grid)
    square = F.adaptive_avg_pool2d(opponent.square(), grid)
    deviation = (square - mean.square()).clamp(min=0.0).sqrt()
    grey = torch.tensor([0.5, 0.0, 0.0], dtype=mean.dtype, device=mean.device).view(1, 3, 1, 1)
    return (
        F.normalize((mean - grey).flatten(start_dim=1), dim=1),
        F.normalize(deviation.flatten(start_dim=1), dim=1),
    )
