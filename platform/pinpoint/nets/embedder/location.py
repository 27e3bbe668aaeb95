"""Location tower: positions to the joint space, continuous everywhere on the Earth.

A position is mapped to a point on the unit sphere, then to the phases of many plane waves. Their
cosines and sines are the input of a small network. Random Fourier features: Rahimi and Recht,
"Random Features for Large-Scale Kernel Machines", NeurIPS 2007; for coordinates: Tancik et al.,
"Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains",
NeurIPS 2020. Letters: B positions, S scales, M waves per scale, W = S * M, H hidden width, D width
of the joint space.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.nets.bundle.specs import LocationSpec
from pinpoint.nets.embedder.blocks import ResidualBlock, normalize_rows


class FourierWaves(nn.Module):
    """Unit-sphere points `[B, 3]` float64 to cosines and sines `[B, 2 * W]` fp32.

    A distance of d meters along the ground has length d / R on the unit sphere (R: mean radius of
    the Earth), so the phase of a wave of wavelength λ changes by 2π R / λ radians per unit length.
    Wave vectors of scale λ are `(2π R / λ) g`, where g has three independent normal components. In
    every direction, λ is the root mean square wavelength. Over d meters, the mean cosine of the
    phase change is exp(-(2π d / λ)² / 2). For a g of length 1, this mean would increase again at
    greater distances. All scales have the same number of waves, so the similarity of two
    positions decreases about linearly with the logarithm of their distance.

    The learned parameter is a shift of each wave vector, initially zero. If the wave vectors
    themselves were learned, fp32 would round away optimizer steps on the finest ones (about
    100,000), and weight decay would change their phases by whole radians per step. A shift of 0.001
    changes no phase by more than 0.001, and decay leads back to the initial waves.
    """

    base: torch.Tensor

    def __init__(self, spec: LocationSpec) -> None:
        super().__init__()
        wavelengths = wavelengths_m(spec).repeat_interleave(spec.fourier_features_per_scale)
        pitch = 2.0 * math.pi * EARTH_RADIUS_M / wavelengths
        waves = pitch * torch.randn(3, len(wavelengths), dtype=torch.float64)
        self.register_buffer("base", waves.to(torch.float32))
        self.shift = nn.Parameter(torch.zeros(3, len(wavelengths)))

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        """Cosines first, then sines, each `[B, W]` from the coarsest scale to the finest.

        Phases reach 10⁵ radians, where the resolution of fp32 is 0.008: an error of half a percent
        of the amplitude that differs between devices. Therefore phases are computed in float64 and
        reduced modulo 2π. The remainder is exact enough in fp32, where cosines are much cheaper.
        """
        waves = self.base.to(torch.float64) + self.shift.to(torch.float64)
        turns = (points @ waves) / (2.0 * math.pi)
        phases = (2.0 * math.pi * (turns - turns.round())).to(torch.float32)
        return torch.cat([phases.cos(), phases.sin()], dim=1)


class LocationTower(nn.Module):
    """Positions to unit vectors; continuous everywhere, including ±180° and the poles.

    Always fp32 with float64 phases, also under autocast. TF32 for matrix products of the network is
    a setting of the process (`runtime` disables it); phases never use TF32.

    Args:
        spec: Widths and wavelengths. The waves are drawn from torch's global generator.
    """

    def __init__(self, spec: LocationSpec) -> None:
        super().__init__()
        self.spec = spec
        self.waves = FourierWaves(spec)
        self.network = nn.Sequential(
            nn.Linear(2 * spec.fourier_scales * spec.fourier_features_per_scale, spec.hidden),
            nn.GELU(),
            *(ResidualBlock(spec.hidden) for _ in range(spec.blocks)),
            nn.LayerNorm(spec.hidden),
            nn.Linear(spec.hidden, spec.dim),
        )

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """Positions `[B, 2]`, latitude then longitude, degrees, to fp32 unit vectors `[B, D]`.

        Args:
            positions: float64, because in fp32 a longitude of 180° has a resolution of only 0.8 m.
                In range (checked by `records.Point`); NaN gives NaN.

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
            return normalize_rows(self.network(self.waves(sphere_points(positions))))


def sphere_points(positions: torch.Tensor) -> torch.Tensor:
    """Positions `[B, 2]` degrees on the unit sphere, `[B, 3]`: `geo.points.unit_xyz` in torch."""
    lat, lon = torch.deg2rad(positions).unbind(dim=1)
    across = lat.cos()
    return torch.stack([across * lon.cos(), across * lon.sin(), lat.sin()], dim=1)


def wavelengths_m(spec: LocationSpec) -> torch.Tensor:
    """`[S]` wavelengths in equal ratios, coarsest first, meters along the ground."""
    coarsest, finest = (
        math.log(spec.max_wavelength_km * 1e3),
        math.log(spec.min_wavelength_km * 1e3),
    )
    return torch.linspace(coarsest, finest, spec.fourier_scales, dtype=torch.float64).exp()
