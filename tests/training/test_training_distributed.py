"""Training in several processes started by torchrun gives the weights of one process."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nets.towers import timm_bundle
from pinpoint.training.core.distributed import DistributedContext
from training.embedder_runs import write_config

STEPS = 12
CHANGES = (
    ("batch_size = 16", "batch_size = 14"),
    ("[schedule]", "[losses]\ngeocell = 0.5\n[schedule]"),
)
"""A batch of 14 with its partners is no multiple of two: some rows are computed twice."""


def trained(home, planet, folder, name, count):
    config = write_config(planet, folder, name, steps=STEPS, changes=CHANGES)
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    words = ["-m", "pinpoint.cli", "train", "embedder", "--config", str(config), "--out"]
    completed = subprocess.run(
        [sys.executable, *(start if count > 1 else []), *words, str(folder / name)],
        env={**os.environ, "PINPOINT_HOME": str(home), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return home / "bundles" / name


@pytest.mark.ci
@pytest.mark.timeout(300)
def test_train_embedder_in_two_processes_gives_same_weights(planet, tmp_path):
    timm_bundle(tmp_path / "bundles" / "tiny-timm")
    one, two = (trained(tmp_path, planet, tmp_path, f"by-{n}", n) for n in (1, 2))
    before = torch.load(tmp_path / "by-1" / "checkpoint.pt", weights_only=True)["nets"]
    after = torch.load(tmp_path / "by-2" / "checkpoint.pt", weights_only=True)["nets"]
    moved = 0.0
    for name, value in before.items():
        if value.is_floating_point():
            assert torch.allclose(after[name], value, atol=2e-4), name
            moved = max(moved, float(value.abs().max()))
    assert moved > 0.1
    kept, same = (load_file(folder / "heads.safetensors") for folder in (one, two))
    assert kept.keys() == same.keys()
    assert all(torch.allclose(kept[name], same[name], atol=2e-4) for name in kept)


@pytest.mark.parametrize(("rows", "count"), [(12, 3), (13, 3), (2, 4)])
def test_distributed_context_parts_recombine_to_batch(rows, count):
    batch = np.arange(100, 100 + rows)
    parts = [DistributedContext(rank=rank, count=count).shard(batch) for rank in range(count)]
    assert len({len(part) for part in parts}) == 1
    assert np.array_equal(np.stack(parts, axis=1).reshape(-1)[:rows], batch)
