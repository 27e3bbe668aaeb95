"""Bundles with an aggregation around tiny towers, with seeded random vocabularies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from pinpoint.nets.bundle.aggregated_bundles import unwritten_weights, write_aggregated_bundle
from pinpoint.nets.bundle.bundles import Bundle
from pinpoint.nets.bundle.specs import (
    AggregationSpec,
    VocabularyNote,
    VocabularySource,
    aggregation_shapes,
)

NOTE = VocabularyNote(
    sources=(VocabularySource(name="test images", count=7, license="CC0"),), seed=0
)


def vlad_spec(channels: int, layer: str | None, **changes) -> AggregationSpec:
    """Four channels after the local PCA, five centers, six dimensions."""
    spec = AggregationSpec(
        kind="vlad",
        layer=layer,
        feature_dim=channels,
        local_dim=4,
        num_centers=5,
        whitening_power=0.5,
        dim=6,
        weights=unwritten_weights("CC0"),
        vocabulary=NOTE,
    )
    return replace(spec, **changes)


def random_tensors(spec: AggregationSpec, seed: int = 0) -> dict[str, torch.Tensor]:
    """Tensors of the right names and shapes."""
    random = torch.Generator().manual_seed(seed)
    tensors = {
        name: 0.3 * torch.randn(shape, generator=random)
        for name, shape in aggregation_shapes(spec).items()
    }
    if "variances" in tensors:
        tensors["variances"] = tensors["variances"].abs() + 0.01
    return tensors


def vlad_bundle(folder: Path, tower: Bundle, spec: AggregationSpec) -> Path:
    """Write a bundle with a random vocabulary."""
    return write_aggregated_bundle(
        folder,
        name=folder.name,
        tower=tower,
        spec=spec,
        tensors=random_tensors(spec),
        note="Random vocabulary.",
    )
