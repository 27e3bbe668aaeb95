"""GeoCLIP: own implementation of its location encoder and image head, for the published weights.

Vivanco Cepeda, Nayak, Shah, "GeoCLIP", NeurIPS 2023, arXiv 2309.16020. A photo passes through
OpenAI's CLIP ViT-L/14 (the projected feature of width 768, not normalized) and the image head. A
position passes through the location encoder. Both vectors are scaled to unit length. The softmax
is over exp(`logit_scale`) times the cosine. Its result depends on the density of the coordinates
and is not a calibrated probability. `pinpoint.nets.geoclip.files` reads the weights.
Letters: B rows of a batch, N positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.specs import GEOCLIP_DIM, GEOCLIP_FEATURES, GeoClipNet
from pinpoint.records import SourceKind, Vector

_SIGMAS = (2.0**0, 2.0**4, 2.0**8)
_FREQUENCIES, _HIDDEN = 256, 1024
_EQUAL_EARTH_COEFFICIENTS = (1.340264, -0.081106, 0.000893, 0.003796)
_SCALE_DEG = 66.50336
_POSITIONS_PER_PASS = 4096


# --- networks -------------------------------------------------------------------------------


class _Branch(nn.Module):
    """Random Fourier features of one scale, followed by an MLP."""

    frequencies: torch.Tensor

    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", sigma * torch.randn(_FREQUENCIES, 2))
        self.layers = nn.Sequential(
            nn.Linear(2 * _FREQUENCIES, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, GEOCLIP_DIM),
        )

    def forward(self, plane: torch.Tensor) -> torch.Tensor:
        phase = (2 * math.pi * plane) @ self.frequencies.T
        vectors: torch.Tensor = self.layers(torch.cat([phase.cos(), phase.sin()], dim=1))
        return vectors


class GeoClipLocation(nn.Module):
    """Positions to vectors: Equal Earth projection, then the sum of three Fourier feature scales.

    The projection is discontinuous: the longitudes 180° and -180° of one position are at opposite
    ends of the map. Each pole is a line, so the longitude of a pole changes its vector.
    Always computed in fp32, in the operation order of the published code. Phases of the finest
    scale reach thousands of radians, and another rounding of the same formula moves a component
    by 3e-5 (measured).
    """

    spec: ClassVar[GeoClipNet] = "geoclip"

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_Branch(sigma) for sigma in _SIGMAS)

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        """`[B, 2]` lat, lon in degrees to `[B, 512]`, not normalized.

        Raises:
            ValueError: Another shape, a latitude beyond ±90, a longitude beyond ±180, or NaN.
        """
        _check_positions(positions)
        if len(positions) == 1:
            # A matrix product with one row rounds differently than with several rows: a single
            # position would get another vector than the same position in a batch.
            return self.forward(positions.expand(2, 2))[:1]
        # Half precision is too coarse for the phases.
        with torch.autocast(positions.device.type, enabled=False):
            plane = equal_earth(positions.to(torch.float32))
            vectors = torch.zeros(len(positions), GEOCLIP_DIM, device=positions.device)
            for branch in self.branches:
                vectors = vectors + branch(plane)
        return vectors

    def unit(self, positions: torch.Tensor) -> torch.Tensor:
        """As `forward`, at unit length.

        Raises:
            ValueError: As `forward`.
        """
        return F.normalize(self(positions), dim=1)


class GeoClipImageHead(nn.Module):
    """Projected features of CLIP ViT-L/14 to the joint space."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(GEOCLIP_FEATURES, GEOCLIP_FEATURES),
            nn.ReLU(),
            nn.Linear(GEOCLIP_FEATURES, GEOCLIP_DIM),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """`[B, 768]` tower output, not normalized, to `[B, 512]`, not normalized."""
        vectors: torch.Tensor = self.layers(features)
        return vectors

    def unit(self, features: torch.Tensor) -> torch.Tensor:
        """As `forward`, at unit length."""
        return F.normalize(self(features), dim=1)


class GeoClipHeads(GeoClipImageHead):
    """The image head instead of adapters and trunk: one for all kinds, with unit-length output."""

    spec: ClassVar[GeoClipNet] = "geoclip"

    def forward(
        self, features: torch.Tensor, kinds: Sequence[SourceKind | None] = ()
    ) -> torch.Tensor:
        """`[B, 768]` to unit vectors `[B, 512]`; the kinds are ignored."""
        return F.normalize(super().forward(features), dim=1)


class GeoClip(nn.Module):
    """Both encoders and the temperature; state keys `location.*`, `image.*` and `logit_scale`."""

    logit_scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.location = GeoClipLocation()
        self.image = GeoClipImageHead()
        self.register_buffer("logit_scale", torch.tensor(math.log(1 / 0.07)))


def equal_earth(positions: torch.Tensor) -> torch.Tensor:
    """Degrees lat, lon `[B, 2]` to the plane `[B, 2]`: x east within ±1, y north within ±0.49.

    Šavrič, Patterson, Jenny, "The Equal Earth map projection", 2018, scaled as GeoCLIP does.
    """
    a1, a2, a3, a4 = _EQUAL_EARTH_COEFFICIENTS
    lat, lon = torch.deg2rad(positions).unbind(dim=1)
    theta = torch.asin(math.sqrt(3) / 2 * torch.sin(lat))
    # Powers instead of Horner's rule: the weights depend on this rounding (see GeoClipLocation).
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1
    x = 2 * math.sqrt(3) * lon * torch.cos(theta) / (3 * slope)
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return torch.stack([x, y], dim=1) * _SCALE_DEG / 180


def encode_positions(location: GeoClipLocation, positions: NDArray[np.float64]) -> Vector:
    """Unit vectors `[N, 512]` fp32 of positions `[N, 2]` lat, lon in degrees, in blocks.

    Raises:
        ValueError: A position is out of range or NaN.
    """
    device = next(location.parameters()).device
    vectors = np.empty((len(positions), GEOCLIP_DIM), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(positions), _POSITIONS_PER_PASS):
            block = torch.from_numpy(positions[start : start + _POSITIONS_PER_PASS]).to(device)
            vectors[start : start + len(block)] = location.unit(block).cpu().numpy()
    return vectors


def _check_positions(positions: torch.Tensor) -> None:
    if positions.ndim != 2 or positions.shape[1] != 2:
        raise ValueError(f"positions must be [B, 2] lat, lon, not {list(positions.shape)}")
    limit_deg = torch.tensor([90.0, 180.0], device=positions.device)
    # Not `>`: a comparison with NaN is never true.
    bad = ~(positions.abs() <= limit_deg).all(dim=1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(f"row {row} is not a position: lat, lon {positions[row].tolist()} degrees")


# --- tensors of a bundle --------------------------------------------------------------------


def build_geoclip(tensors: Mapping[str, torch.Tensor]) -> GeoClip:
    """Both networks, for inference on the CPU, from tensors named like the state of `GeoClip`.

    Raises:
        BadBundleError: A tensor is missing, unknown, not finite, or of another shape or type.
    """
    # Without storage, so nothing is drawn from the caller's random generator.
    with torch.device("meta"):
        net = GeoClip()
    state = net.state_dict()
    for complaint, names in (
        ("lack", [name for name in state if name not in tensors]),
        ("have unknown", [name for name in tensors if name not in state]),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise BadBundleError(
                "these are not the weights of GeoCLIP: "
                f"they {complaint} {', '.join(names[:3])}{more}"
            )
    for name, expected in state.items():
        tensor = tensors[name]
        if tensor.shape != expected.shape or tensor.dtype != torch.float32:
            raise BadBundleError(
                f"these are not the weights of GeoCLIP: {name} is {tensor.dtype} "
                f"{list(tensor.shape)}, not float32 {list(expected.shape)}"
            )
        if not bool(torch.isfinite(tensor).all()):
            raise BadBundleError(
                f"these weights cannot be used: {name} has values that are not finite"
            )
    net.load_state_dict(dict(tensors), assign=True)
    return net.requires_grad_(False).eval()
