"""Bundles with random heads and a random location tower behind a tiny tower."""

from __future__ import annotations

from pathlib import Path

import torch

from nets.towers import timm_bundle
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.bundle.specs import HeadsSpec, LocationSpec
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.nets.embedder.joint_embedding import JointNetworks, write_joint_embedding
from pinpoint.nets.embedder.location import LocationTower

JOINT_DIM = 24


def random_joint_bundle(folder: Path, *, raw_channel: bool, seed: int = 3) -> Path:
    """A bundle with the channels `image` and `gps`, and `raw` if requested; equal for a seed."""
    tower_folder = folder.with_name(f"{folder.name}-tower")
    tower = read_bundle(timm_bundle(tower_folder))
    torch.manual_seed(seed)
    width = tower.contract.dims["image"]
    heads = KindHeads(HeadsSpec(feature_dim=width, hidden=16, dim=JOINT_DIM))
    location = LocationTower(LocationSpec(hidden=16, dim=JOINT_DIM))
    return write_joint_embedding(
        folder,
        name=folder.name,
        tower=tower,
        networks=JointNetworks(heads=heads, location=location, raw_channel=raw_channel),
        license="CC0",
        note="Random weights.",
    )
