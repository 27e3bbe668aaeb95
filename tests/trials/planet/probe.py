"""A small convolutional net, trained for some minutes to bring pictures of one place together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from trials.planet.ground import EARTH_KM, Ground

_PAIRS, _WIDTH, _DIMS = 160, 32, 128
_NEAR_KM, _NO_NEGATIVE_KM = 2.0, 25.0
_RATE = 2e-3


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
        return functional.normalize(self.say(both), dim=1)


def train(
    planet: Ground, *, steps: int, say: Callable[[str], None], seed: int = 0
) -> tuple[Probe, float]:
    """Train on the gallery of role `train`; the net, and the CPU seconds it took."""
    torch.manual_seed(seed)
    net = Probe().to(memory_format=torch.channels_last)
    scale = nn.Parameter(torch.tensor(2.5))
    steer = torch.optim.AdamW([*net.parameters(), scale], lr=_RATE, weight_decay=0.02)
    pixels = torch.from_numpy(planet.pixels)
    began, spent = time.monotonic(), time.process_time()
    for step, (asked, same) in enumerate(_pairs(planet, seed)):
        if step == steps:
            break
        rate = _RATE * min(1.0, step / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in steer.param_groups:
            group["lr"] = rate
        vectors = net(pixels[np.concatenate([asked, same])])
        loss = _loss(vectors, scale, planet.xyz[asked], planet.xyz[same])
        steer.zero_grad()
        loss.backward()
        steer.step()
        if step % 200 == 0:
            say(f"step {step} loss {loss.item():.3f} {time.monotonic() - began:.0f} s")
    return net.eval(), time.process_time() - spent


def vectors(net: Probe, planet: Ground) -> np.ndarray:
    """`[N, 128]`."""
    pixels = torch.from_numpy(planet.pixels)
    with torch.no_grad():
        parts = [net(pixels[first : first + 512]) for first in range(0, len(pixels), 512)]
    return torch.cat(parts).numpy()


def _loss(
    vectors: torch.Tensor, scale: torch.Tensor, asked: np.ndarray, same: np.ndarray
) -> torch.Tensor:
    """Contrastive over pairs; a neighbour within 25 km is no negative."""
    left, right = vectors[: len(asked)], vectors[len(asked) :]
    away_km = EARTH_KM * np.linalg.norm(asked[:, None] - same[None], axis=2)
    off = torch.from_numpy(away_km < _NO_NEGATIVE_KM) & ~torch.eye(len(asked), dtype=torch.bool)
    logits = (scale.exp() * left @ right.T).masked_fill(off, -1e4)
    target = torch.arange(len(asked))
    forth = functional.cross_entropy(logits, target)
    back = functional.cross_entropy(logits.T, target)
    return (forth + back) / 2


def _pairs(planet: Ground, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows of two pictures near each other, by different authors or drives, of different cities."""
    dice = np.random.default_rng(seed)
    rows = np.flatnonzero((planet.role == "train") & (planet.use == "gallery"))
    cities = [rows[planet.city[rows] == city] for city in np.unique(planet.city[rows])]
    while True:
        asked, same = [], []
        for city in dice.choice(len(cities), min(_PAIRS, len(cities)), replace=False):
            own = cities[city]
            one = dice.choice(own)
            near = EARTH_KM * np.linalg.norm(planet.xyz[own] - planet.xyz[one], axis=1) < _NEAR_KM
            other = (planet.creator[own] != planet.creator[one]) | (
                (planet.drive[own] != planet.drive[one]) & (planet.drive[own] != "")
            )
            choice = own[near & other]
            asked.append(one)
            same.append(dice.choice(choice if len(choice) else own[own != one]))
        yield np.array(asked), np.array(same)
