"""How far the trained space brings the validation pictures: retrieval among themselves.

Every validation picture asks all others but those of its own author and sequence. That is a small
gallery: figures are for comparing runs on the same split, not for saying how well a gallery of
millions is searched. Letters: V validation pictures, K candidates.
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
from pinpoint.nets.heads import KindHeads
from pinpoint.records import Vector
from pinpoint.training.features import Features
from pinpoint.training.fronts import seen_rows
from pinpoint.training.objective import Networks
from pinpoint.training.samples import Rows, Samples, Texts

DEPTHS: Final = (1, 12)
THRESHOLDS_KM: Final = (1.0, 25.0)
_ROWS_AT_ONCE: Final = 1_024

Recalls = Mapping[str, float]
"""Shares by name, as `photo@12,25km`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """The pictures that are not trained on, as networks are tried on them."""

    samples: Samples
    features: Features
    """What is cached of all pictures."""
    rows: Rows

    def measured(self, nets: Networks) -> tuple[Recalls, Recalls]:
        """Recalls of the space and of the tower before it; the networks are in evaluation mode."""
        seen = self._seen(nets)
        return self._of_space(nets, seen), recalls(tower_vectors(seen), self.samples, self.rows)

    def score(self, nets: Networks) -> float:
        """What an early stop goes by: recall@12 within 25 km, as the mean over kinds."""
        found = self._of_space(nets, self._seen(nets))
        kinds = np.unique(self.samples.kinds[self.rows]).tolist()
        return float(np.mean([found[f"{kind}@12,25km"] for kind in kinds]))

    def _seen(self, nets: Networks) -> NDArray[np.float32]:
        return seen_rows(nets.tower, self.features.values, self.rows)

    def _of_space(self, nets: Networks, seen: NDArray[np.float32]) -> Recalls:
        space = space_vectors(nets.heads, seen, self.samples.kinds[self.rows])
        return recalls(space, self.samples, self.rows)


def space_vectors(heads: KindHeads, features: NDArray[np.float32], kinds: Texts) -> Vector:
    """Unit vectors `[V, D]` of features `[V, F]`, through the adapters of their kinds `[V]`."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(features), _ROWS_AT_ONCE):
            some = slice(start, start + _ROWS_AT_ONCE)
            parts.append(heads(torch.from_numpy(features[some]), kinds[some].tolist()).numpy())
    return np.concatenate(parts).astype(np.float32)


def tower_vectors(features: NDArray[np.float32]) -> Vector:
    """The bare tower's own unit vectors `[V, F]`: what heads have to improve on."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit: Vector = features / np.maximum(length, 1e-12)
    return unit


def recalls(vectors: Vector, samples: Samples, rows: Rows) -> Recalls:
    """Recall@1 and @12 within 1 and 25 km, for all questions and for each kind: `photo@12,25km`.

    Args:
        vectors: Of the rows, `[V, D]`, unit length.
        samples: The table.
        rows: The validation rows.
    """
    candidates_km = _candidates_km(vectors, samples, rows)
    kinds = samples.kinds[rows]
    found: dict[str, float] = {}
    for name in ("all", *np.unique(kinds).tolist()):
        own = candidates_km if name == "all" else candidates_km[kinds == name]
        rates = hit_rates(own, DEPTHS, CONVENTIONS["osv5m"], THRESHOLDS_KM)
        for depth, line in zip(DEPTHS, rates, strict=True):
            for km, rate in zip(THRESHOLDS_KM, line, strict=True):
                found[f"{name}@{depth},{km:g}km"] = float(rate)
    return found


def _candidates_km(vectors: Vector, samples: Samples, rows: Rows) -> NDArray[np.float64]:
    """`[V, K]` from each picture to its best candidates, NaN where there are fewer."""
    depth, xyz = min(max(DEPTHS), len(rows)), unit_xyz(samples.positions[rows])
    creators, sequences = samples.creators[rows], samples.sequences[rows]
    found = np.full((len(rows), max(DEPTHS)), np.nan)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        score = vectors[part] @ vectors.T
        for names in (creators, sequences):
            score[(names[part, None] == names[None]) & (names[part, None] != "")] = -np.inf
        score[np.arange(len(score)), np.arange(start, start + len(score))] = -np.inf
        best = np.argsort(-score, axis=1, kind="stable")[:, :depth]
        chord = np.linalg.norm(xyz[part][:, None] - xyz[best], axis=2)
        away_km = 2e-3 * EARTH_RADIUS_M * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0))
        away_km[np.isneginf(np.take_along_axis(score, best, axis=1))] = np.nan
        found[part, :depth] = away_km
    return found
