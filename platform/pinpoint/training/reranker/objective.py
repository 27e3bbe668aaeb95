"""The reranker's objective: soft targets by distance, and augmentation of the training queries.

Letters: B queries, K candidates, E evidence photos of a candidate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import bearing_deg
from pinpoint.nets.reranker.features import RerankBatch
from pinpoint.nets.reranker.inputs import InputRow, to_rerank_batch
from pinpoint.nets.reranker.network import RerankerNetwork, RerankTensors
from pinpoint.records import SOURCE_KINDS
from pinpoint.training.core.samples import Rows
from pinpoint.training.reranker.config import AugmentationConfig, RerankerConfig, TargetConfig
from pinpoint.training.reranker.examples import SUPPORT_M, Examples

_ORDER_STREAM, _AUGMENTATION_STREAM = 1, 2
"""Separate the random streams of one seed: order of the queries, and augmentation."""
_MAX_REFINED_KM: Final = 25.0
"""Candidates beyond this distance are wrong, so their position is not refined."""
_HUBER_DELTA_KM: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankTrainingBatch:
    """A batch of queries as the network receives them, and their ground truth."""

    inputs: RerankBatch
    truth: NDArray[np.float64]
    """`[B, 2]` degrees."""
    supported: NDArray[np.bool_]
    """Whether the remaining gallery has an image within 25 km of the ground truth, `[B]`."""

    def away_km(self) -> NDArray[np.float64]:
        """Distance from the ground truth to each candidate, `[B, K]`."""
        position = self.inputs.position.numpy()
        return haversine_m(position, np.broadcast_to(self.truth[:, None], position.shape)) / 1_000.0


def sample_batch(rows: Rows, step: int, batch: int, seed: int) -> Rows:
    """The queries of one step; each epoch is a new permutation of all rows."""
    draws = np.arange(step * batch, (step + 1) * batch)
    epochs = draws // len(rows)
    orders = {
        epoch: np.random.default_rng([seed, _ORDER_STREAM, epoch]).permutation(rows)
        for epoch in np.unique(epochs).tolist()
    }
    return np.array(
        [orders[epoch][draw % len(rows)] for epoch, draw in zip(epochs, draws, strict=True)],
        dtype=np.int64,
    )


def collate(examples: Examples, rows: Rows) -> RerankTrainingBatch:
    """A batch of queries without augmentation."""
    query_rows = examples.rows[rows]
    return _fill_slots(examples, query_rows, np.any(query_rows["supported"], axis=1))


def augment(
    examples: Examples, rows: Rows, step: int, seed: int, drops: AugmentationConfig
) -> RerankTrainingBatch:
    """A batch of queries with augmentation; a pure function of rows, seed and step."""
    query_rows = np.array(examples.rows[rows])
    rng = np.random.default_rng([seed, _AUGMENTATION_STREAM, step])
    count = len(rows)

    def draw_queries(share: float) -> NDArray[np.bool_]:
        return rng.random(count) < share

    present, near, in_channel = (
        query_rows["present"],
        query_rows["near_present"],
        query_rows["found"],
    )
    present &= ~examples.hidden[rows]
    supported = np.array(query_rows["supported"])
    near[draw_queries(drops.evidence)] = False
    without_kind, code = draw_queries(drops.kind), rng.integers(supported.shape[1], size=count)
    dropped_kind = np.where(without_kind, code, -1)
    present &= query_rows["kind"] != dropped_kind[:, None]
    evidence_kind = np.repeat(np.arange(len(SOURCE_KINDS)), near.shape[-1] // len(SOURCE_KINDS))
    near &= evidence_kind != dropped_kind[:, None, None]
    supported[without_kind, code[without_kind]] = False
    without_gps = draw_queries(drops.channel)
    present &= ~without_gps[:, None] | in_channel[..., 0]
    in_channel[without_gps, :, 1] = False
    without_region = draw_queries(drops.region)
    center, around_truth = _draw_region_centers(query_rows, rng, drops.region_km)
    inside = haversine_m(query_rows["position"], center[:, None]) <= drops.region_km * 1_000.0
    present &= ~(without_region[:, None] & inside)
    supported[without_region & around_truth] = False
    near &= present[..., None]
    batch = _fill_slots(examples, query_rows, np.any(supported, axis=1))
    gps = batch.inputs.gps * torch.from_numpy(~without_gps)[:, None, None]
    # After the slots are filled, so that these stay empty: some galleries are sparse.
    remains = torch.from_numpy(rng.random(batch.inputs.near_present.shape) >= drops.photo)
    near_present = batch.inputs.near_present & remains
    return replace(batch, inputs=replace(batch.inputs, gps=gps, near_present=near_present))


def _fill_slots(
    examples: Examples, query_rows: InputRow, supported: NDArray[np.bool_]
) -> RerankTrainingBatch:
    """The candidates that the search would select among the remaining ones."""
    if examples.slots is not None:
        query_rows = examples.slots.refill(query_rows, examples.photos)
    return RerankTrainingBatch(
        inputs=to_rerank_batch(query_rows, examples.photos),
        truth=np.array(query_rows["truth"]),
        supported=supported,
    )


def _draw_region_centers(
    query_rows: InputRow, rng: np.random.Generator, region_km: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Centers of the removed regions, `[B, 2]`, and whether the ground truth loses its support.

    Half of them are at the ground truth, half at a candidate so far from it that support remains.
    Without such a candidate, the center is the ground truth.
    """
    min_m = region_km * 1_000.0 + SUPPORT_M
    position = query_rows["position"]
    far = query_rows["present"] & (haversine_m(position, query_rows["truth"][:, None]) > min_m)
    candidate = np.argmax(np.where(far, rng.random(far.shape), -1.0), axis=1)
    at_truth = (rng.random(len(candidate)) < 0.5) | ~far.any(1)
    rows = np.arange(len(candidate))
    center = np.where(at_truth[:, None], query_rows["truth"], position[rows, candidate])
    return center, at_truth


def soft_targets(
    away_km: NDArray[np.float64],
    present: NDArray[np.bool_],
    supported: NDArray[np.bool_],
    targets: TargetConfig,
) -> NDArray[np.float64]:
    """Target probability of each candidate; that of "none of these" is last, `[B, K + 1]`."""
    weights = np.zeros_like(away_km)
    for scale_km, weight in targets.scales.items():
        weights += weight * np.exp(-away_km / scale_km)
    null = np.where(supported, targets.null_weight, targets.null_weight_unsupported)
    unnormalized = np.column_stack([np.where(present, weights, 0.0), null])
    return np.asarray(unnormalized / unnormalized.sum(axis=1, keepdims=True))


def rerank_loss(
    output: RerankTensors, batch: RerankTrainingBatch, targets: TargetConfig, reach_km: float
) -> torch.Tensor:
    """Cross-entropy against the soft targets plus Huber loss of the refined positions; a scalar."""
    away_km = batch.away_km()
    present = batch.inputs.present.numpy()
    target = torch.from_numpy(soft_targets(away_km, present, batch.supported, targets)).float()
    log_p = torch.cat([output.scores, output.null[:, None]], dim=1).log_softmax(1)
    # An absent candidate has target 0 and log-probability minus infinity; it must contribute 0.
    entropy = -(target * log_p.masked_fill(target == 0, 0.0)).sum(1).mean()
    close = torch.from_numpy(present & (away_km <= _MAX_REFINED_KM))
    offset_km = torch.from_numpy(offset_targets_km(batch, reach_km)).float()
    error = F.huber_loss(output.offset_km, offset_km, reduction="none", delta=_HUBER_DELTA_KM)
    refined = (error.sum(-1) * close).sum() / close.sum().clamp(min=1)
    return entropy + targets.refinement * refined


def offset_targets_km(batch: RerankTrainingBatch, reach_km: float) -> NDArray[np.float64]:
    """Offset of each candidate towards the ground truth, east and north, limited to the reach.

    Returns:
        `[B, K, 2]`, in the tangent plane of the candidate.
    """
    position = batch.inputs.position.numpy()
    truth = np.broadcast_to(batch.truth[:, None], position.shape)
    bearing = np.radians(bearing_deg(position, truth))
    length = np.minimum(haversine_m(position, truth) / 1_000.0, reach_km)
    return np.stack([np.sin(bearing), np.cos(bearing)], axis=-1) * length[..., None]


def reranker_batch_loss(
    net: RerankerNetwork, examples: Examples, rows: Rows, step: int, config: RerankerConfig
) -> torch.Tensor:
    """The loss of one step; a pure function of network, rows and step."""
    seed = config.schedule.seed
    batch_rows = sample_batch(rows, step, config.schedule.batch, seed)
    batch = augment(examples, batch_rows, step, seed, config.drops)
    return rerank_loss(net(batch.inputs), batch, config.targets, config.network.reach_km)
