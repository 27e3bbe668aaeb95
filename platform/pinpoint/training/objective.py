"""What a batch says about the networks: the loss of its rows, from cached features and places.

Letters: B pictures of a batch, E extra places, F width of features, D width of the space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pinpoint.geo.points import EARTH_RADIUS_M, unit_xyz
from pinpoint.nets.heads import KindHeads
from pinpoint.nets.location import LocationTower
from pinpoint.nets.losses import (
    OccupiedCells,
    Temperature,
    cross_source_pairs,
    negative_radius_m,
    negative_weights,
    place_negatives,
    sigmoid_contrastive,
)
from pinpoint.nets.specs import HeadsSpec, LocationSpec
from pinpoint.records import SourceKind
from pinpoint.training.configs import EmbedderConfig
from pinpoint.training.features import Features
from pinpoint.training.samples import Rows, Samples


class Networks(nn.Module):
    """All that is trained: heads, location tower, and a temperature per loss."""

    def __init__(
        self, config: EmbedderConfig, kinds: tuple[SourceKind, ...], features: int
    ) -> None:
        super().__init__()
        asked = config.networks
        default = asked.default_kind if asked.default_kind in kinds else kinds[0]
        self.heads = KindHeads(
            HeadsSpec(
                features=features,
                hidden=asked.hidden,
                dim=asked.dim,
                kinds=kinds,
                default_kind=default,
                adapter_blocks=asked.adapter_blocks,
                trunk_blocks=asked.trunk_blocks,
            )
        )
        self.location = LocationTower(
            LocationSpec(
                hidden=asked.hidden,
                dim=asked.dim,
                blocks=asked.location_blocks,
                scales=asked.location_scales,
                waves=asked.location_waves,
                finest_km=asked.finest_km,
            )
        )
        self.of_places = Temperature()
        self.of_pictures = Temperature()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The training pictures as the loss needs them, all `[N]`."""

    features: NDArray[np.float16]
    """`[N, F]`."""
    positions: NDArray[np.float64]
    """`[N, 2]` degrees."""
    xyz: NDArray[np.float64]
    """`[N, 3]` on the unit sphere."""
    kinds: list[SourceKind]
    kind_codes: NDArray[np.int64]
    author_codes: NDArray[np.int64]
    """Below 0 where the author is not known."""
    cells: OccupiedCells
    """Over the rows that are trained on."""
    rows: Rows
    """The rows that are trained on."""

    @classmethod
    def of(cls, samples: Samples, features: Features, rows: Rows) -> Table:
        """From the table, its cached features and the rows to train on."""
        authors = np.unique(samples.creators, return_inverse=True)[1]
        authors = np.where(samples.creators == "", -1, authors)
        return cls(
            features=features.values,
            positions=samples.positions,
            xyz=unit_xyz(samples.positions),
            kinds=samples.kinds.tolist(),
            kind_codes=np.unique(samples.kinds, return_inverse=True)[1],
            author_codes=authors.astype(np.int64),
            cells=OccupiedCells.of(samples.cells[rows]),
            rows=rows,
        )


def batch_loss(
    nets: Networks, table: Table, rows: Rows, step: int, config: EmbedderConfig
) -> torch.Tensor:
    """The weighted losses of one batch; a pure function of networks, rows and step.

    Each kind has a loss against places of its own, normalised by its own positives, so that no kind
    is drowned by another.
    """
    asked, schedule = config.losses, config.schedule
    radius_m = negative_radius_m(
        step,
        steps=max(1, schedule.steps // 2),
        first_m=max(asked.first_radius_m, asked.last_radius_m),
        last_m=asked.last_radius_m,
    )
    kinds = [table.kinds[row] for row in rows.tolist()]
    seen = nets.heads(torch.from_numpy(table.features[rows].astype(np.float32)), kinds)
    total: torch.Tensor = seen.new_zeros(())
    if asked.place:
        # The batch's own places first: row i belongs to place i.
        drawn = place_negatives(
            table.cells, asked.extra_places, np.random.default_rng([schedule.seed, 1, step])
        )
        places = np.concatenate([rows, table.rows[drawn]])
        known = nets.location(torch.from_numpy(table.positions[places]))
        weights = negative_weights(_away_m(table, rows, places), radius_m)
        own = torch.eye(len(rows), len(places), dtype=torch.bool)
        codes = torch.from_numpy(table.kind_codes[rows])
        scale, bias = nets.of_places()
        for code in torch.unique(codes):
            of = codes == code
            total = total + asked.place * sigmoid_contrastive(
                seen[of], known, scale, bias, own[of], weights[of]
            )
    if asked.picture:
        away_m = _away_m(table, rows, rows)
        pairs = cross_source_pairs(
            away_m,
            torch.from_numpy(table.kind_codes[rows]),
            torch.from_numpy(table.author_codes[rows]),
            asked.near_m,
            same_kind=True,
        )
        scale, bias = nets.of_pictures()
        total = total + asked.picture * sigmoid_contrastive(
            seen, seen, scale, bias, pairs, negative_weights(away_m, radius_m)
        )
    return total


def _away_m(table: Table, rows: Rows, others: Rows) -> torch.Tensor:
    """Great-circle distances `[B, C]`, metres, by the chord: exact enough below a metre, too."""
    gaps = table.xyz[rows][:, None] - table.xyz[others][None]
    chord = np.sqrt((gaps**2).sum(axis=2))
    return torch.from_numpy(2.0 * EARTH_RADIUS_M * np.arcsin(np.clip(chord / 2.0, 0.0, 1.0)))
