"""What a batch says about the networks: its loss, from what is cached of its pictures and places.

Letters: N rows of the table, B pictures of a batch, E extra places, W width of a cached row, D that
of the space, P occupied cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pinpoint.geo.points import EARTH_RADIUS_M, unit_xyz
from pinpoint.nets.heads import KindHeads
from pinpoint.nets.location import LocationTower
from pinpoint.nets.losses import (
    CellProxies,
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
from pinpoint.training.fronts import TrainedTower, as_float32
from pinpoint.training.processes import ALONE, Processes
from pinpoint.training.samples import Rows, Samples
from pinpoint.training.sampling import NearPairs

_PLACES, _SHOWN = 1, 2
"""Set draws of one seed and step apart: of places, and of how pictures are shown."""


class Networks(nn.Module):
    """All that is trained: heads, location tower, a temperature per loss, and what else is asked.

    Args:
        config: Sizes, and which losses.
        kinds: Of the training pictures.
        features: Width of what the heads take.
        cells: P, for the loss of cells.
        tower: Before the heads, where it is trained; else the table holds features.
    """

    def __init__(
        self,
        config: EmbedderConfig,
        kinds: tuple[SourceKind, ...],
        features: int,
        *,
        cells: int = 0,
        tower: TrainedTower | None = None,
    ) -> None:
        super().__init__()
        asked = config.networks
        default = asked.default_kind or ("photo" if "photo" in kinds else kinds[0])
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
        if asked.start == "tower":
            self.heads.start_at_tower()
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
        self.tower = tower
        self.cells = CellProxies(cells, asked.dim) if config.losses.cell else None

    def vectors(self, cached: torch.Tensor, kinds: Sequence[SourceKind]) -> torch.Tensor:
        """Cached rows `[B, W]` fp32 to unit vectors `[B, D]`."""
        features = cached if self.tower is None else self.tower(cached)
        found: torch.Tensor = self.heads(features, kinds)
        return found


PARTED: Final = ("heads.", "tower.")
"""Networks that see pictures, and so, of several processes, each its own part of a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The training pictures as the loss needs them, all `[N]`."""

    features: NDArray[np.float16]
    """What is cached, `[N, W]`."""
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
    cell_codes: NDArray[np.int64]
    """In [0, P); below 0 in cells without rows that are trained on."""
    rows: Rows
    """The rows that are trained on."""
    near: NearPairs
    """Partners of theirs of another kind."""

    @classmethod
    def of(cls, samples: Samples, features: Features, rows: Rows, config: EmbedderConfig) -> Table:
        """From the table, its cached features, the rows to train on and how."""
        authors = np.unique(samples.creators, return_inverse=True)[1]
        authors = np.where(samples.creators == "", -1, authors)
        occupied = np.unique(samples.cells[rows])
        cell = np.searchsorted(occupied, samples.cells).clip(max=len(occupied) - 1)
        return cls(
            features=features.values,
            positions=samples.positions,
            xyz=unit_xyz(samples.positions),
            kinds=samples.kinds.tolist(),
            kind_codes=np.unique(samples.kinds, return_inverse=True)[1],
            author_codes=authors.astype(np.int64),
            cells=OccupiedCells.of(samples.cells[rows]),
            cell_codes=np.where(occupied[cell] == samples.cells, cell, -1),
            rows=rows,
            near=NearPairs(samples, rows, radius_m=config.losses.near_m, seed=config.schedule.seed),
        )


def batch_loss(
    nets: Networks,
    table: Table,
    rows: Rows,
    step: int,
    config: EmbedderConfig,
    processes: Processes = ALONE,
) -> torch.Tensor:
    """The weighted losses of one batch `[B]`; a pure function of networks, rows and step."""
    asked, schedule = config.losses, config.schedule
    radius_m = negative_radius_m(
        step,
        steps=max(1, schedule.steps // 2),
        first_m=max(asked.first_radius_m, asked.last_radius_m),
        last_m=asked.last_radius_m,
    )
    shown = rows
    if asked.picture:
        # A batch that is even over cells holds next to no two pictures of one place: partners of
        # another kind come along, for this loss only.
        partners = table.near.draw(step, rows)
        shown = np.concatenate([rows, np.setdiff1d(partners[partners >= 0], rows)])
    turn = processes.part(np.arange(len(shown)))
    kinds = [table.kinds[row] for row in shown[turn].tolist()]
    cached = as_float32(table.features[shown[turn]])
    if nets.tower is not None:
        dice = np.random.default_rng([schedule.seed, _SHOWN, step])
        cached = nets.tower.varied(cached, nets.tower.variations(len(shown), dice)[turn])
    own = nets.vectors(cached, kinds)
    every = processes.gathered(own, len(shown))
    total: torch.Tensor = every.new_zeros(())
    if nets.cells is not None:
        codes = torch.from_numpy(table.cell_codes[rows])
        total = total + asked.cell * nets.cells(every[: len(rows)], codes)
    if asked.place:
        dice = np.random.default_rng([schedule.seed, _PLACES, step])
        drawn = table.rows[place_negatives(table.cells, asked.extra_places, dice)]
        seen = every[: len(rows)]
        total = total + asked.place * _against_places(nets, table, seen, rows, drawn, radius_m)
    if asked.picture:
        total = total + asked.picture * _against_pictures(
            nets, table, every, shown, radius_m, near_m=asked.near_m, least=len(rows) / 4
        )
    return total


def _against_places(
    nets: Networks, table: Table, seen: torch.Tensor, rows: Rows, drawn: Rows, radius_m: float
) -> torch.Tensor:
    """Pictures `[B, D]` against their own places and further ones, `[B + E]`.

    Each kind has a loss of its own, normalised by its own positives, so that none is drowned.
    """
    # The batch's own places first: row i belongs to place i.
    places = np.concatenate([rows, drawn])
    known = nets.location(torch.from_numpy(table.positions[places]))
    weights = negative_weights(_away_m(table, rows, places), radius_m)
    own = torch.eye(len(rows), len(places), dtype=torch.bool)
    codes = torch.from_numpy(table.kind_codes[rows])
    scale, bias = nets.of_places()
    total = seen.new_zeros(())
    for code in torch.unique(codes):
        of = codes == code
        total = total + sigmoid_contrastive(seen[of], known, scale, bias, own[of], weights[of])
    return total


def _against_pictures(
    nets: Networks,
    table: Table,
    every: torch.Tensor,
    shown: Rows,
    radius_m: float,
    *,
    near_m: float,
    least: float,
) -> torch.Tensor:
    """Pictures against each other: one place seen by another kind or another author.

    Args:
        nets: For the temperature.
        table: Who took what where.
        every: `[S, D]`.
        shown: The rows they are of, `[S]`.
        radius_m: Of soft negatives; a picture is no negative of itself.
        near_m: How far apart a positive pair may stand.
        least: What to divide by at least: where partners are rare, one pair must not carry the
            weight of all negatives.
    """
    away_m = _away_m(table, shown, shown)
    pairs = cross_source_pairs(
        away_m,
        torch.from_numpy(table.kind_codes[shown]),
        torch.from_numpy(table.author_codes[shown]),
        near_m,
        same_kind=True,
    )
    count = pairs.sum()
    positives = torch.where(count > 0, count.clamp(min=least), 0.0)
    scale, bias = nets.of_pictures()
    return sigmoid_contrastive(
        every, every, scale, bias, pairs, negative_weights(away_m, radius_m), positives
    )


def _away_m(table: Table, rows: Rows, others: Rows) -> torch.Tensor:
    """Great-circle distances `[B, C]`, metres, by the chord: exact enough below a metre, too."""
    here, there = torch.from_numpy(table.xyz[rows]), torch.from_numpy(table.xyz[others])
    # Not by a matrix product: that is the difference of two numbers near 1.
    chord = torch.cdist(here, there, compute_mode="donot_use_mm_for_euclid_dist")
    return 2.0 * EARTH_RADIUS_M * torch.arcsin((chord / 2.0).clamp(max=1.0))
