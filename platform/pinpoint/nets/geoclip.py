"""GeoCLIP: its location encoder and image head by our own code, for the weights published with it.

Vivanco Cepeda, Nayak, Shah, "GeoCLIP", NeurIPS 2023, arXiv 2309.16020. A photo goes through CLIP
ViT-L/14 of OpenAI (the projected feature of 768, not normalised), the image head, then to unit
length; a place through the location encoder, then to unit length. Its softmax takes
exp(`logit_scale`) times the cosine; what comes out depends on how densely places stand and is no
calibrated probability. The weights are read by `pinpoint.nets.geoclip_files`.
Letters: B rows of a batch, N places.
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

from pinpoint.errors import BadBundle
from pinpoint.nets.specs import GEOCLIP_DIM, GEOCLIP_FEATURES, GeoClipNet
from pinpoint.records import SourceKind, Vector

_SIGMAS = (2.0**0, 2.0**4, 2.0**8)
_FREQUENCIES, _HIDDEN = 256, 1024
_EQUAL_EARTH = (1.340264, -0.081106, 0.000893, 0.003796)
_SCALE_DEG = 66.50336
_ROWS_AT_ONCE = 4096


# --- networks -------------------------------------------------------------------------------


class _Branch(nn.Module):
    """Random Fourier features of one scale and the perceptron behind them."""

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
    """Places to vectors: Equal Earth plane, three scales of Fourier features, their sum.

    The plane has a seam: a place at 180° and the same place at -180° lie at opposite ends of the
    map, and each pole is a line, so that the longitude given for a pole changes its vector.
    Always computed in fp32, and in the order of operations the weights were published with: at the
    finest scale a phase reaches thousands of radians, and another rounding of the same formula
    already moves a component by 3e-5 (measured).
    """

    spec: ClassVar[GeoClipNet] = "geoclip"

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(_Branch(sigma) for sigma in _SIGMAS)

    def forward(self, places: torch.Tensor) -> torch.Tensor:
        """`[B, 2]` lat, lon in degrees to `[B, 512]`, of no particular length.

        Raises:
            ValueError: Another shape, a latitude beyond ±90, a longitude beyond ±180, or no number.
        """
        _check_places(places)
        if len(places) == 1:
            # A product with one row is rounded otherwise than with several: alone, a place would
            # get another vector than among others.
            return self.forward(places.expand(2, 2))[:1]
        # Half precision does not hold the phases.
        with torch.autocast(places.device.type, enabled=False):
            plane = equal_earth(places.to(torch.float32))
            vectors = torch.zeros(len(places), GEOCLIP_DIM, device=places.device)
            for branch in self.branches:
                vectors = vectors + branch(plane)
        return vectors

    def unit(self, places: torch.Tensor) -> torch.Tensor:
        """As `forward`, at unit length.

        Raises:
            ValueError: As `forward`.
        """
        return F.normalize(self(places), dim=1)


class GeoClipImageHead(nn.Module):
    """Projected features of CLIP ViT-L/14 to the space of the places."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(GEOCLIP_FEATURES, GEOCLIP_FEATURES),
            nn.ReLU(),
            nn.Linear(GEOCLIP_FEATURES, GEOCLIP_DIM),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """`[B, 768]`, as the tower gives them, not normalised, to `[B, 512]` of any length."""
        vectors: torch.Tensor = self.layers(features)
        return vectors

    def unit(self, features: torch.Tensor) -> torch.Tensor:
        """As `forward`, at unit length."""
        return F.normalize(self(features), dim=1)


class GeoClipHeads(GeoClipImageHead):
    """The image head in the place of adapters and trunk: one for every kind, to unit length."""

    spec: ClassVar[GeoClipNet] = "geoclip"

    def forward(
        self, features: torch.Tensor, kinds: Sequence[SourceKind | None] = ()
    ) -> torch.Tensor:
        """`[B, 768]` to unit vectors `[B, 512]`; the kinds change nothing."""
        return F.normalize(super().forward(features), dim=1)


class GeoClip(nn.Module):
    """Both sides and the temperature; its state has `location.*`, `image.*` and `logit_scale`."""

    logit_scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.location = GeoClipLocation()
        self.image = GeoClipImageHead()
        self.register_buffer("logit_scale", torch.tensor(math.log(1 / 0.07)))


def equal_earth(places: torch.Tensor) -> torch.Tensor:
    """Degrees lat, lon `[B, 2]` to the plane `[B, 2]`: x east within ±1, y north within ±0.49.

    Šavrič, Patterson, Jenny, "The Equal Earth map projection", 2018, scaled as GeoCLIP does.
    """
    a1, a2, a3, a4 = _EQUAL_EARTH
    lat, lon = torch.deg2rad(places).unbind(dim=1)
    theta = torch.asin(math.sqrt(3) / 2 * torch.sin(lat))
    # Powers, not Horner's rule: the roundings are part of the weights (see GeoClipLocation).
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1
    x = 2 * math.sqrt(3) * lon * torch.cos(theta) / (3 * slope)
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return torch.stack([x, y], dim=1) * _SCALE_DEG / 180


def place_vectors(location: GeoClipLocation, places: NDArray[np.float64]) -> Vector:
    """Unit vectors `[N, 512]` fp32 of places `[N, 2]` lat, lon in degrees, computed in blocks.

    Raises:
        ValueError: A place is none.
    """
    device = next(location.parameters()).device
    vectors = np.empty((len(places), GEOCLIP_DIM), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(places), _ROWS_AT_ONCE):
            block = torch.from_numpy(places[start : start + _ROWS_AT_ONCE]).to(device)
            vectors[start : start + len(block)] = location.unit(block).cpu().numpy()
    return vectors


def _check_places(places: torch.Tensor) -> None:
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"places must be [B, 2] lat, lon, not {list(places.shape)}")
    limit_deg = torch.tensor([90.0, 180.0], device=places.device)
    # Not `>`: a comparison with NaN is never true.
    bad = ~(places.abs() <= limit_deg).all(dim=1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(f"row {row} is no place: lat, lon {places[row].tolist()} degrees")


# --- tensors of a bundle --------------------------------------------------------------------


def build_geoclip(tensors: Mapping[str, torch.Tensor]) -> GeoClip:
    """Both networks, for inference on the CPU, from tensors named as `GeoClip`'s state is.

    Raises:
        BadBundle: A tensor is missing, unknown, of another shape or kind, or not finite.
    """
    # Without storage: nothing is drawn from the random numbers of whoever calls.
    with torch.device("meta"):
        net = GeoClip()
    wanted = net.state_dict()
    for what, names in (
        ("lack", [name for name in wanted if name not in tensors]),
        ("have unknown", [name for name in tensors if name not in wanted]),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise BadBundle(
                f"these are no weights of GeoCLIP: they {what} {', '.join(names[:3])}{more}"
            )
    for name, mould in wanted.items():
        found = tensors[name]
        if found.shape != mould.shape or found.dtype != torch.float32:
            raise BadBundle(
                f"these are no weights of GeoCLIP: {name} is {found.dtype} {list(found.shape)}, not"
                f" float32 {list(mould.shape)}"
            )
        if not bool(torch.isfinite(found).all()):
            raise BadBundle(f"these weights cannot be used: {name} has values that are not finite")
    net.load_state_dict(dict(tensors), assign=True)
    return net.requires_grad_(False).eval()
