"""Encode with an aggregation against the bare network, EfficientNet-Lite0 with random weights."""

from __future__ import annotations

from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from torch import nn

from bench.stack import Say
from nets.aggregated import random_tensors, vlad_spec
from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.towers.aggregation import AggregatedTower, Aggregation
from pinpoint.nets.towers.backbone import Tower, init_tower

TARGET = 1.2
_TOWER = TowerSpec(library="timm", name="tf_efficientnet_lite0")
_SIZE_PX, _BATCH, _CHANNELS, _TURNS = 320, 16, 112, 5
_VOCABULARIES = {
    "vlad 1024": {"local_dim": 32, "num_centers": 32, "whitening_power": None, "dim": 1_024},
    "vlad 48, PCA 256": {"local_dim": None, "num_centers": 48, "dim": 256},
}


def measure(say: Say) -> dict[str, Any]:
    """Time of an image, turn by turn; the first turn is left out.

    Args:
        say: Receives progress messages.

    Returns:
        For each network milliseconds per image and the ratio to the bare network, by the clock and
        by CPU time, which is comparable on a busy machine too. The bare network takes the images
        in one batch and one by one; the faster way is the baseline.
    """
    bare = init_tower(_TOWER, 0)
    towers: dict[str, nn.Module] = {"bare, one batch": bare, "bare, one by one": OneByOne(bare)}
    for name, changes in _VOCABULARIES.items():
        spec = vlad_spec(_CHANNELS, "blocks.4", **changes)
        aggregation = Aggregation(spec, random_tensors(spec), name)
        towers[name] = AggregatedTower(init_tower(_TOWER, 0), aggregation).eval()
    pixels = torch.randn(_BATCH, 3, _SIZE_PX, _SIZE_PX)
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in towers}
    with torch.inference_mode():
        for turn in range(_TURNS + 1):
            for name, tower in towers.items():
                began, cpu_began = perf_counter(), process_time()
                tower(pixels)
                ended = perf_counter() - began, process_time() - cpu_began
                took[name].append((ended[0] / _BATCH * 1e3, ended[1] / _BATCH * 1e3))
            say(f"aggregation: turn {turn} of {_TURNS}")
    medians = {
        name: (median(ms for ms, _ in rows[1:]), median(cpu_ms for _, cpu_ms in rows[1:]))
        for name, rows in took.items()
    }
    fastest = [min(medians[name][k] for name in list(towers)[:2]) for k in (0, 1)]
    return {
        name: {
            "ms": round(ms, 1),
            "cpu_ms": round(cpu_ms, 1),
            "ratio": round(ms / fastest[0], 3),
            "cpu_ratio": round(cpu_ms / fastest[1], 3),
        }
        for name, (ms, cpu_ms) in medians.items()
    }


class OneByOne(nn.Module):
    """A tower that takes the images of a batch one by one."""

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self._tower = tower

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """`[B, 3, S, S]` to `[B, D]`."""
        return torch.cat([self._tower(image[None]) for image in pixels])
