"""The embedder's objective: the loss of a batch, from cached images and their positions.

Letters: N rows of the table, B images of a batch, E extra positions, W width of a cached row,
D width of the embedding, P occupied cells.
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
from pinpoint.nets.bundle.specs import HeadsSpec, LocationSpec
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.nets.embedder.location import LocationTower
from pinpoint.nets.embedder.losses import (
    CellProxies,
    OccupiedCells,
    Temperature,
    cross_source_pairs,
    negative_radius_m,
    negative_weights,
    sample_negatives,
    sigmoid_contrastive,
)
from pinpoint.records import SourceKind
from pinpoint.training.core.configs import EmbedderConfig
from pinpoint.training.core.distributed import SINGLE_PROCESS, DistributedContext
from pinpoint.training.core.samples import Rows, Samples
from pinpoint.training.core.sampling import NearPairs
from pinpoint.training.embedder.feature_source import TrainedTower, as_float32
from pinpoint.training.embedder.features import Features

_POSITION_STREAM, _VARIATION_STREAM = 1, 2
"""Separate the random streams of one seed and step: extra positions, and image variations."""


class Networks(nn.Module):
    """All trained networks: heads, location tower, one temperature per loss, and optional ones.

    Args:
        config: Sizes and losses.
        kinds: Kinds of the training images.
        feature_dim: Input width of the heads.
        geocells: P, for the geocell loss.
        tower: Tower before the heads, if it is trained; otherwise the table holds features.
    """

    def __init__(
        self,
        config: EmbedderConfig,
        kinds: tuple[SourceKind, ...],
        feature_dim: int,
        *,
        geocells: int = 0,
        tower: TrainedTower | None = None,
    ) -> None:
        super().__init__()
        sizes = config.networks
        default = sizes.default_kind or ("photo" if "photo" in kinds else kinds[0])
        self.heads = KindHeads(
            HeadsSpec(
                feature_dim=feature_dim,
                hidden=sizes.hidden,
                dim=sizes.dim,
                kinds=kinds,
                default_kind=default,
                adapter_blocks=sizes.adapter_blocks,
                trunk_blocks=sizes.trunk_blocks,
            )
        )
        if sizes.init == "tower":
            self.heads.start_at_tower()
        self.location = LocationTower(
            LocationSpec(
                hidden=sizes.hidden,
                dim=sizes.dim,
                blocks=sizes.location_blocks,
                fourier_scales=sizes.fourier_scales,
                fourier_features_per_scale=sizes.fourier_features_per_scale,
                min_wavelength_km=sizes.min_wavelength_km,
            )
        )
        # The names of these attributes are keys of checkpoints.
        self.image_gps_temperature = Temperature()
        self.image_image_temperature = Temperature()
        self.tower = tower
        self.geocell_proxies = CellProxies(geocells, sizes.dim) if config.losses.geocell else None

    def vectors(self, cached: torch.Tensor, kinds: Sequence[SourceKind]) -> torch.Tensor:
        """Unit vectors `[B, D]` of cached rows `[B, W]` fp32."""
        features = cached if self.tower is None else self.tower(cached)
        vectors: torch.Tensor = self.heads(features, kinds)
        return vectors


PARTITIONED: Final = ("heads.", "tower.")
"""Networks of images; with several processes, each process runs them on its part of a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """The training images as the loss needs them, all `[N]`."""

    features: NDArray[np.float16]
    """Cached rows, `[N, W]`."""
    positions: NDArray[np.float64]
    """`[N, 2]` degrees."""
    xyz: NDArray[np.float64]
    """`[N, 3]` on the unit sphere."""
    kinds: list[SourceKind]
    kind_codes: NDArray[np.int64]
    creator_codes: NDArray[np.int64]
    """Below 0 where the creator is unknown."""
    cells: OccupiedCells
    """Cells of the training rows."""
    cell_codes: NDArray[np.int64]
    """In [0, P); below 0 in cells without training rows."""
    rows: Rows
    """The training rows."""
    near_pairs: NearPairs
    """Nearby training rows of another kind."""

    @classmethod
    def of(
        cls, samples: Samples, features: Features, rows: Rows, config: EmbedderConfig
    ) -> FeatureTable:
        """Build from the samples, their cached features, the training rows and the config."""
        creators = np.unique(samples.creators, return_inverse=True)[1]
        creators = np.where(samples.creators == "", -1, creators)
        occupied = np.unique(samples.cells[rows])
        cell = np.searchsorted(occupied, samples.cells).clip(max=len(occupied) - 1)
        return cls(
            features=features.values,
            positions=samples.positions,
            xyz=unit_xyz(samples.positions),
            kinds=samples.kinds.tolist(),
            kind_codes=np.unique(samples.kinds, return_inverse=True)[1],
            creator_codes=creators.astype(np.int64),
            cells=OccupiedCells.of(samples.cells[rows]),
            cell_codes=np.where(occupied[cell] == samples.cells, cell, -1),
            rows=rows,
            near_pairs=NearPairs(
                samples, rows, radius_m=config.losses.positive_radius_m, seed=config.schedule.seed
            ),
        )


def embedder_batch_loss(
    nets: Networks,
    table: FeatureTable,
    rows: Rows,
    step: int,
    config: EmbedderConfig,
    processes: DistributedContext = SINGLE_PROCESS,
) -> torch.Tensor:
    """The weighted losses of one batch `[B]`; a pure function of networks, rows and step."""
    losses, schedule = config.losses, config.schedule
    radius_m = negative_radius_m(
        step,
        steps=max(1, schedule.steps // 2),
        start_m=max(losses.negative_radius_start_m, losses.negative_radius_end_m),
        end_m=losses.negative_radius_end_m,
    )
    encoded_rows = rows
    if losses.image_image:
        # A batch that is balanced over cells contains almost no two images of one position, so
        # partners of another kind are added for this loss only.
        partners = table.near_pairs.draw(step, rows)
        encoded_rows = np.concatenate([rows, np.setdiff1d(partners[partners >= 0], rows)])
    shard = processes.shard(np.arange(len(encoded_rows)))
    kinds = [table.kinds[row] for row in encoded_rows[shard].tolist()]
    cached = as_float32(table.features[encoded_rows[shard]])
    if nets.tower is not None:
        rng = np.random.default_rng([schedule.seed, _VARIATION_STREAM, step])
        cached = nets.tower.apply_variations(
            cached, nets.tower.draw_variations(len(encoded_rows), rng)[shard]
        )
    shard_vectors = nets.vectors(cached, kinds)
    vectors = processes.all_gather(shard_vectors, len(encoded_rows))
    total: torch.Tensor = vectors.new_zeros(())
    if nets.geocell_proxies is not None:
        codes = torch.from_numpy(table.cell_codes[rows])
        total = total + losses.geocell * nets.geocell_proxies(vectors[: len(rows)], codes)
    if losses.image_gps:
        rng = np.random.default_rng([schedule.seed, _POSITION_STREAM, step])
        extra = table.rows[sample_negatives(table.cells, losses.num_sampled_negatives, rng)]
        batch_vectors = vectors[: len(rows)]
        total = total + losses.image_gps * _position_loss(
            nets, table, batch_vectors, rows, extra, radius_m
        )
    if losses.image_image:
        total = total + losses.image_image * _image_loss(
            nets,
            table,
            vectors,
            encoded_rows,
            radius_m,
            positive_radius_m=losses.positive_radius_m,
            min_positives=len(rows) / 4,
        )
    return total


def _position_loss(
    nets: Networks,
    table: FeatureTable,
    vectors: torch.Tensor,
    rows: Rows,
    extra: Rows,
    radius_m: float,
) -> torch.Tensor:
    """Contrastive loss of images `[B, D]` against their own and extra positions `[B + E]`.

    Each kind has its own loss, normalized by its positives, so that no kind dominates.
    """
    # The batch's own positions come first: row i belongs to position i.
    position_rows = np.concatenate([rows, extra])
    position_vectors = nets.location(torch.from_numpy(table.positions[position_rows]))
    weights = negative_weights(_pairwise_m(table, rows, position_rows), radius_m)
    positives = torch.eye(len(rows), len(position_rows), dtype=torch.bool)
    codes = torch.from_numpy(table.kind_codes[rows])
    scale, bias = nets.image_gps_temperature()
    total = vectors.new_zeros(())
    for code in torch.unique(codes):
        is_kind = codes == code
        total = total + sigmoid_contrastive(
            vectors[is_kind], position_vectors, scale, bias, positives[is_kind], weights[is_kind]
        )
    return total


def _image_loss(
    nets: Networks,
    table: FeatureTable,
    vectors: torch.Tensor,
    rows: Rows,
    radius_m: float,
    *,
    positive_radius_m: float,
    min_positives: float,
) -> torch.Tensor:
    """Contrastive loss between images of one position, of another kind or by another creator.

    Args:
        nets: Networks, for the temperature.
        table: Kinds, creators and positions.
        vectors: `[S, D]`.
        rows: Their rows, `[S]`.
        radius_m: Radius of soft negatives; an image is no negative of itself.
        positive_radius_m: Maximum distance of a positive pair.
        min_positives: Smallest divisor of the loss. If partners are rare, one pair must not get the
            weight of all negatives.
    """
    distances_m = _pairwise_m(table, rows, rows)
    pairs = cross_source_pairs(
        distances_m,
        torch.from_numpy(table.kind_codes[rows]),
        torch.from_numpy(table.creator_codes[rows]),
        positive_radius_m,
        same_kind=True,
    )
    count = pairs.sum()
    positives = torch.where(count > 0, count.clamp(min=min_positives), 0.0)
    scale, bias = nets.image_image_temperature()
    return sigmoid_contrastive(
        vectors, vectors, scale, bias, pairs, negative_weights(distances_m, radius_m), positives
    )


def _pairwise_m(table: FeatureTable, rows: Rows, others: Rows) -> torch.Tensor:
    """Great-circle distances `[B, C]` in meters, from chords; accurate below one meter, too."""
    xyz, other_xyz = torch.from_numpy(table.xyz[rows]), torch.from_numpy(table.xyz[others])
    # A matrix product would subtract two numbers near 1.
    chord = torch.cdist(xyz, other_xyz, compute_mode="donot_use_mm_for_euclid_dist")
    return 2.0 * EARTH_RADIUS_M * torch.arcsin((chord / 2.0).clamp(max=1.0))
