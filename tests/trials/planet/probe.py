"""A small convolutional network, trained for some minutes to separate cities; it is not kept.

Every training city has a proxy vector that its images of both kinds are pulled towards:
Movshovitz-Attias et al., "No Fuss Distance Metric Learning using Proxies" (arXiv 1703.07464).
A contrastive loss on pairs of near images, tried first, learned a tenth as much in the same time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trials.planet.planet_images import PlanetImages

_BATCH, _WIDTH, _DIMS = 320, 32, 128
_RATE, _PROXY_RATE, _WARM_STEPS = 2e-3, 2e-2, 100


class Probe(nn.Module):
    """`[B, H, W, 3]` uint8 to unit vectors `[B, 128]`; about 0.4 M parameters."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for times in (1, 2, 3, 4):
            after = _WIDTH * times
            layers += [nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after)]
            layers += [nn.ReLU(inplace=True)]
            if times in (2, 3):
                layers += [nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after)]
                layers += [nn.ReLU(inplace=True)]
            before = after
        self.look = nn.Sequential(*layers)
        self.say = nn.Sequential(nn.Linear(2 * before, 256), nn.ReLU(), nn.Linear(256, _DIMS))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        planes = pixels.float().permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        seen = self.look(planes / 127.5 - 1)
        both = torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)
        return functional.normalize(self.say(both).float(), dim=1)


def train(
    planet: PlanetImages,
    *,
    steps: int,
    cpu_limit_s: float,
    say: Callable[[str], None],
    seed: int = 0,
) -> tuple[Probe, int, float]:
    """Train on the gallery of role `train`; returns the network, the steps and the CPU seconds.

    A slow machine takes fewer steps; the learning rate still falls to zero.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = Probe()
    # The type stubs lack the keyword.
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rows = np.flatnonzero((planet.role == "train") & (planet.use == "gallery"))
    cities, city = np.unique(planet.city[rows], return_inverse=True)
    proxies = nn.Parameter(0.1 * torch.randn(len(cities), _DIMS))
    scale = nn.Parameter(torch.tensor(2.5))
    optimizer = torch.optim.AdamW(
        [
            {"params": [*net.parameters(), scale], "full": _RATE, "weight_decay": 0.02},
            {"params": [proxies], "full": _PROXY_RATE, "weight_decay": 0.0},
        ],
        lr=0.0,
    )
    pixels, began = torch.from_numpy(planet.pixels), time.process_time()
    for step in range(steps):
        spent = time.process_time() - began
        done = max(step / steps, spent / cpu_limit_s)
        if done >= 1.0:
            return net.eval(), step, spent
        for group in optimizer.param_groups:
            warm = min(1.0, (step + 1) / _WARM_STEPS)
            group["lr"] = group["full"] * warm * 0.5 * (1 + math.cos(math.pi * done))
        batch = rng.choice(len(rows), min(_BATCH, len(rows)), replace=False)
        with torch.autocast("cpu", torch.bfloat16):  # half the time where the processor has it
            vectors = net(pixels[rows[batch]])
        logits = scale.exp() * vectors @ functional.normalize(proxies, dim=1).T
        loss = functional.cross_entropy(logits, torch.from_numpy(city[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 200 == 0:
            say(f"step {step} loss {loss.item():.3f} {spent:.0f} CPU s")
    return net.eval(), steps, time.process_time() - began


def vectors(net: Probe, planet: PlanetImages) -> np.ndarray:
    """`[N, 128]`."""
    pixels = torch.from_numpy(planet.pixels)
    with torch.no_grad():
        parts = [net(pixels[first : first + 512]) for first in range(0, len(pixels), 512)]
    return torch.cat(parts).numpy()
