"""From a position to the shared space, without a seam anywhere on the Earth.

A position becomes a point on the unit sphere, that point the phases of many plane waves, and their
cosines and sines the input of a small network. Random waves as features: Rahimi and Recht, "Random
Features for Large-Scale Kernel Machines", NeurIPS 2007; for coordinates: Tancik et al., "Fourier
Features Let Networks Learn High Frequency Functions in Low Dimensional Domains", NeurIPS 2020.
Letters: B positions, S scales, M waves per scale, W = S * M, H the width inside, D that of the
shared space.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.nets.blocks import ResidualBlock, unit
from pinpoint.nets.specs import LocationSpec


class FourierWaves(nn.Module):
    """Unit-sphere points `[B, 3]` float64 to cosines and sines `[B, 2 * W]` fp32.

    On the unit sphere a way of d metres along the ground is d / R long (R the Earth's mean radius),
    so a wave of length λ turns by 2π R / λ radians per unit of length. Wave vectors of the scale λ
    are `(2π R / λ) g` with three independent normal components in g: in whichever direction one
    walks, λ is their wavelength in the root mean square, and over a way of d metres the cosines of
    the change of phase have the mean exp(-(2π d / λ)² / 2). A normal g and not one of length 1,
    whose mean swings back up at greater distances. Every scale has as many waves, so two places
    share about as much as their distance, on a logarithmic scale, leaves them.

    What is learned is a shift of each wave vector, zero at first: in a single number of fp32 the
    finest wave vectors (about 100,000) would swallow the steps of an optimiser, and weight decay
    would turn their phases by whole radians per step. A shift of 0.001 turns none by more than
    that, and decay leads back to the first waves.
    """

    base: torch.Tensor

    def __init__(self, spec: LocationSpec) -> None:
        super().__init__()
        wavelengths = wavelengths_m(spec).repeat_interleave(spec.waves)
        pitch = 2.0 * math.pi * EARTH_RADIUS_M / wavelengths
        waves = pitch * torch.randn(3, len(wavelengths), dtype=torch.float64)
        self.register_buffer("base", waves.to(torch.float32))
        self.shift = nn.Parameter(torch.zeros(3, len(wavelengths)))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Cosines first, then sines, each `[B, W]` from the coarsest scale to the finest.

        Phases reach 10⁵ radians, where fp32 has steps of 0.008: half a per cent of a wave's height,
        another one on every device. So they are computed in float64 and whole turns taken off;
        what is left loses nothing in fp32, where cosines are many times cheaper.
        """
        waves = self.base.to(torch.float64) + self.shift.to(torch.float64)
        turns = (points @ waves) / (2.0 * math.pi)
        phases = (2.0 * math.pi * (turns - turns.round())).to(torch.float32)
        return torch.cat([phases.cos(), phases.sin()], dim=1)


class LocationTower(nn.Module):
    """Positions to unit vectors; continuous everywhere, across ±180° and at the poles too.

    Always fp32, with float64 phases, also where autocast is on. Whether CUDA may round products of
    the network to TF32 is the process's setting (`runtime` forbids it); phases never are.

    Args:
        spec: Widths and wavelengths. The waves are drawn from torch's global generator.
    """

    def __init__(self, spec: LocationSpec) -> None:
        super().__init__()
        self.spec = spec
        self.waves = FourierWaves(spec)
        self.network = nn.Sequential(
            nn.Linear(2 * spec.scales * spec.waves, spec.hidden),
            nn.GELU(),
            *(ResidualBlock(spec.hidden) for _ in range(spec.blocks)),
            nn.LayerNorm(spec.hidden),
            nn.Linear(spec.hidden, spec.dim),
        )

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """Positions `[B, 2]`, latitude then longitude, degrees, to fp32 unit vectors `[B, D]`.

        Args:
            positions: float64, as everywhere in this house: in fp32 a longitude of 180° is known to
                0.8 m only. In range (`records.Point` sees to it); NaN gives NaN.

        Raises:
            ValueError: Positions are not `[B, 2]` float64, or the tower was cast from fp32.
        """
        if positions.dtype != torch.float64 or positions.ndim != 2 or positions.shape[1] != 2:
            raise ValueError(
                "positions must be [B, 2] torch.float64, "
                f"not {list(positions.shape)} {positions.dtype}"
            )
        if self.waves.base.dtype != torch.float32:
            raise ValueError(
                f"the location tower was cast to {self.waves.base.dtype}, which moves its waves; "
                "keep its weights in torch.float32 and use autocast for mixed precision"
            )
        with torch.autocast(device_type=positions.device.type, enabled=False):
            return unit(self.network(self.waves(sphere_points(positions))))


def sphere_points(positions: torch.Tensor) -> torch.Tensor:
    """Positions `[B, 2]` degrees on the unit sphere, `[B, 3]`: `geo.points.unit_xyz` in torch."""
    lat, lon = torch.deg2rad(positions).unbind(dim=1)
    across = lat.cos()
    return torch.stack([across * lon.cos(), across * lon.sin(), lat.sin()], dim=1)


def wavelengths_m(spec: LocationSpec) -> torch.Tensor:
    """`[S]` wavelengths in equal ratios, the coarsest first, metres along the ground."""
    coarsest, finest = math.log(spec.coarsest_km * 1e3), math.log(spec.finest_km * 1e3)
    return torch.linspace(coarsest, finest, spec.scales, dtype=torch.float64).exp()
