"""Encode with an aggregation, against the bare network: EfficientNet-Lite0 with random weights."""

from __future__ import annotations

from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

from bench.stack import Say
from nets.aggregated import random_tensors, vlad_spec
from pinpoint.nets.bundle.contract import TowerSpec
from pinpoint.nets.towers.aggregation import AggregatedTower, Aggregation
from pinpoint.nets.towers.backbone import Tower, init_tower

TARGET = 1.2
_TOWER = TowerSpec(library="timm", name="tf_efficientnet_lite0")
_SIZE_PX, _BATCH, _CHANNELS = 320, 16, 112
_VOCABULARIES = {
    "vlad 1024": {"local_dim": 32, "num_centers": 32, "whitening_power": None, "dim": 1_024},
    "vlad 48, PCA 256": {"local_dim": None, "num_centers": 48, "dim": 256},
}


def measure(repetitions: int, say: Say) -> dict[str, Any]:
    """Time of an image, turn by turn; the first turn is left out.

    Args:
        repetitions: Turns.
        say: Receives progress messages.

    Returns:
        For each network milliseconds per image and the ratio to the bare network in one batch,
        by the clock and by CPU time, which is comparable on a busy machine too.
    """
    towers: dict[str, Tower] = {"bare": init_tower(_TOWER, 0)}
    for name, changes in _VOCABULARIES.items():
        spec = vlad_spec(_CHANNELS, "blocks.4", **changes)
        aggregation = Aggregation(spec, random_tensors(spec), name)
        towers[name] = AggregatedTower(init_tower(_TOWER, 0), aggregation).eval()
    pixels = torch.randn(_BATCH, 3, _SIZE_PX, _SIZE_PX)
    clock: dict[str, list[float]] = {name: [] for name in towers}
    cpu: dict[str, list[float]] = {name: [] for name in towers}
    with torch.inference_mode():
        for turn in range(repetitions + 1):
            for name, tower in towers.items():
                began, cpu_began = perf_counter(), process_time()
                tower(pixels)
                if turn:
                    clock[name].append((perf_counter() - began) / _BATCH * 1e3)
                    cpu[name].append((process_time() - cpu_began) / _BATCH * 1e3)
            say(f"aggregation: turn {turn} of {repetitions}")
    return {
        name: {
            "ms": round(median(clock[name]), 1),
            "cpu_ms": round(median(cpu[name]), 1),
            "ratio": round(median(clock[name]) / median(clock["bare"]), 3),
            "cpu_ratio": round(median(cpu[name]) / median(cpu["bare"]), 3),
        }
        for name in towers
    }
