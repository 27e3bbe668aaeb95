"""Validation metrics of an embedder: retrieval among the validation images.

Every validation image is a query against all others, except those of its own creator and sequence.
That is a small gallery: the metrics compare runs on the same split and do not estimate retrieval in
a gallery of millions. Letters: V validation images, K candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint.geo.points import EARTH_RADIUS_M, unit_xyz
from pinpoint.metrics.conventions import CONVENTIONS
from pinpoint.metrics.retrieval import hit_rates
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.records import Vector
from pinpoint.training.core.samples import Rows, Samples, Texts
from pinpoint.training.embedder.feature_source import compute_features
from pinpoint.training.embedder.features import Features
from pinpoint.training.embedder.objective import Networks

DEPTHS: Final = (1, 12)
EMBEDDER_THRESHOLDS_KM: Final = (1.0, 25.0)
_BATCH_ROWS: Final = 1_024

Recalls = Mapping[str, float]
"""Shares by name, for example `photo@12,25km`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The validation images, and the evaluation of networks on them."""

    samples: Samples
    features: Features
    """Cached rows of all images."""
    rows: Rows

    def measure(self, nets: Networks) -> tuple[Recalls, Recalls]:
        """Recalls of the embedding and of the bare tower; the networks are in evaluation mode."""
        features = self._tower_features(nets)
        tower_recalls = recalls(tower_vectors(features), self.samples, self.rows)
        return self._embedding_recalls(nets, features), tower_recalls

    def score(self, nets: Networks) -> float:
        """Score for early stopping: recall@12 within 25 km, as the mean over kinds."""
        rates = self._embedding_recalls(nets, self._tower_features(nets))
        kinds = np.unique(self.samples.kinds[self.rows]).tolist()
        return float(np.mean([rates[f"{kind}@12,25km"] for kind in kinds]))

    def _tower_features(self, nets: Networks) -> NDArray[np.float32]:
        return compute_features(nets.tower, self.features.values, self.rows)

    def _embedding_recalls(self, nets: Networks, features: NDArray[np.float32]) -> Recalls:
        vectors = embed_features(nets.heads, features, self.samples.kinds[self.rows])
        return recalls(vectors, self.samples, self.rows)


def embed_features(heads: KindHeads, features: NDArray[np.float32], kinds: Texts) -> Vector:
    """Unit vectors `[V, D]` of features `[V, F]`, through the adapters of their kinds `[V]`."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(features), _BATCH_ROWS):
            batch = slice(start, start + _BATCH_ROWS)
            parts.append(heads(torch.from_numpy(features[batch]), kinds[batch].tolist()).numpy())
    return np.concatenate(parts).astype(np.float32)


def tower_vectors(features: NDArray[np.float32]) -> Vector:
    """The bare tower's unit vectors `[V, F]`, the baseline of the heads."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit: Vector = features / np.maximum(length, 1e-12)
    return unit


def recalls(vectors: Vector, samples: Samples, rows: Rows) -> Recalls:
    """Recall@1 and @12 within 1 and 25 km, for all queries and for each kind: `photo@12,25km`.

    Args:
        vectors: Unit vectors of the rows, `[V, D]`.
        samples: The table.
        rows: The validation rows.
    """
    distances_km = _candidate_distances_km(vectors, samples, rows)
    kinds = samples.kinds[rows]
    rates: dict[str, float] = {}
    for name in ("all", *np.unique(kinds).tolist()):
        group_km = distances_km if name == "all" else distances_km[kinds == name]
        table = hit_rates(group_km, DEPTHS, CONVENTIONS["osv5m"], EMBEDDER_THRESHOLDS_KM)
        for depth, line in zip(DEPTHS, table, strict=True):
            for km, rate in zip(EMBEDDER_THRESHOLDS_KM, line, strict=True):
                rates[f"{name}@{depth},{km:g}km"] = float(rate)
    return rates


def _candidate_distances_km(vectors: Vector, samples: Samples, rows: Rows) -> NDArray[np.float64]:
    """Distances `[V, K]` from each image to its best candidates, NaN for missing ones."""
    depth, xyz = min(max(DEPTHS), len(rows)), unit_xyz(samples.positions[rows])
    creators, sequences = samples.creators[rows], samples.sequences[rows]
    distances_km = np.full((len(rows), max(DEPTHS)), np.nan)
    for start in range(0, len(rows), _BATCH_ROWS):
        batch = slice(start, start + _BATCH_ROWS)
        score = vectors[batch] @ vectors.T
        for names in (creators, sequences):
            score[(names[batch, None] == names[None]) & (names[batch, None] != "")] = -np.inf
        score[np.arange(len(score)), np.arange(start, start + len(score))] = -np.inf
        best = np.argsort(-score, axis=1, kind="stable")[:, :depth]
        chord = np.linalg.norm(xyz[batch][:, None] - xyz[best], axis=2)
        away_km = 2e-3 * EARTH_RADIUS_M * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0))
        away_km[np.isneginf(np.take_along_axis(score, best, axis=1))] = np.nan
        distances_km[batch, :depth] = away_km
    return distances_km
