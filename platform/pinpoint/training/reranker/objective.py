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
from pinpoint.search.candidate_slots import GPS, IMAGE, RAW
from pinpoint.training.core.samples import Rows
from pinpoint.training.reranker.config import AugmentationConfig, RerankerConfig, TargetConfig
from pinpoint.training.reranker.examples import IN_GALLERY_RADIUS_M, Examples
from pinpoint.training.reranker.slots import refill_slots

_ORDER_STREAM, _AUGMENTATION_STREAM = 1, 2
"""Separate the random streams of one seed: order of the queries, and augmentation."""
_MAX_REFINED_KM: Final = 25.0
"""Candidates beyond this distance are wrong, so their position is not refined."""
_HUBER_DELTA_KM: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankTrainingBatch:
    """A batch of queries as the network receives them, and their ground truth."""

    inputs: RerankBatch
    ground_truth: NDArray[np.float64]
    """`[B, 2]` degrees."""
    in_gallery: NDArray[np.bool_]
    """Whether the remaining gallery has an image within 25 km of the ground truth, `[B]`."""

    def distance_km(self) -> NDArray[np.float64]:
        """Distance from the ground truth to each candidate, `[B, K]`."""
        position = self.inputs.position.numpy()
        return (
            haversine_m(position, np.broadcast_to(self.ground_truth[:, None], position.shape))
            / 1_000.0
        )


def sample_batch(rows: Rows, step: int, batch_size: int, seed: int) -> Rows:
    """The queries of one step; each epoch is a new permutation of all rows."""
    draws = np.arange(step * batch_size, (step + 1) * batch_size)
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
    return _fill_slots(examples, examples.rows[rows])


def augment(
    examples: Examples, rows: Rows, step: int, seed: int, augmentation: AugmentationConfig
) -> RerankTrainingBatch:
    """A batch of queries with augmentation; a pure function of rows, seed and step."""
    query_rows = np.array(examples.rows[rows])
    query_rows["present"] &= ~examples.hidden[rows]
    rng = np.random.default_rng([seed, _AUGMENTATION_STREAM, step])
    _drop_evidence(query_rows, rng, augmentation.drop_evidence)
    _drop_source_kind(query_rows, rng, augmentation.drop_source_kind)
    without_gps = _drop_gps_channel(query_rows, rng, augmentation.drop_gps_channel)
    _drop_region(query_rows, rng, augmentation)
    query_rows["evidence_present"] &= query_rows["present"][..., None]
    batch = _fill_slots(examples, query_rows)
    gps = batch.inputs.gps * torch.from_numpy(~without_gps)[:, None, None]
    # After the slots are filled, so that these stay empty: some galleries are sparse.
    draws = rng.random(batch.inputs.evidence_present.shape)
    is_kept = torch.from_numpy(draws >= augmentation.drop_evidence_photo)
    evidence_present = batch.inputs.evidence_present & is_kept
    return replace(batch, inputs=replace(batch.inputs, gps=gps, evidence_present=evidence_present))


def _drop_evidence(query_rows: InputRow, rng: np.random.Generator, share: float) -> None:
    """Remove all evidence of a share of the queries."""
    query_rows["evidence_present"][rng.random(len(query_rows)) < share] = False


def _drop_source_kind(query_rows: InputRow, rng: np.random.Generator, share: float) -> None:
    """Remove the candidates and the evidence of one kind from a share of the queries."""
    is_dropped = rng.random(len(query_rows)) < share
    codes = rng.integers(len(SOURCE_KINDS), size=len(query_rows))
    dropped_kind = np.where(is_dropped, codes, -1)
    query_rows["present"] &= query_rows["kind"] != dropped_kind[:, None]
    per_kind = query_rows["evidence_present"].shape[-1] // len(SOURCE_KINDS)
    evidence_kind = np.repeat(np.arange(len(SOURCE_KINDS)), per_kind)
    query_rows["evidence_present"] &= evidence_kind != dropped_kind[:, None, None]
    query_rows["in_gallery"][is_dropped, codes[is_dropped]] = False


def _drop_gps_channel(
    query_rows: InputRow, rng: np.random.Generator, share: float
) -> NDArray[np.bool_]:
    """Remove the candidates that only the channel `gps` retrieved; returns these queries, `[B]`."""
    without_gps = rng.random(len(query_rows)) < share
    retrieved = query_rows["in_channel"]
    query_rows["present"] &= ~without_gps[:, None] | retrieved[..., IMAGE] | retrieved[..., RAW]
    retrieved[without_gps, :, GPS] = False
    return without_gps


def _drop_region(
    query_rows: InputRow, rng: np.random.Generator, augmentation: AugmentationConfig
) -> None:
    """Remove the candidates in one region from a share of the queries."""
    radius_km = augmentation.drop_region_radius_km
    without_region = rng.random(len(query_rows)) < augmentation.drop_region
    centers, at_ground_truth = _draw_region_centers(query_rows, rng, radius_km)
    inside = haversine_m(query_rows["position"], centers[:, None]) <= radius_km * 1_000.0
    query_rows["present"] &= ~(without_region[:, None] & inside)
    query_rows["in_gallery"][without_region & at_ground_truth] = False


def _fill_slots(examples: Examples, query_rows: InputRow) -> RerankTrainingBatch:
    """The candidates that the search would select among the remaining ones."""
    in_gallery = np.any(query_rows["in_gallery"], axis=1)
    if examples.slots is not None:
        query_rows = refill_slots(query_rows, examples.photos, examples.slots)
    return RerankTrainingBatch(
        inputs=to_rerank_batch(query_rows, examples.photos),
        ground_truth=np.array(query_rows["ground_truth"]),
        in_gallery=in_gallery,
    )


def _draw_region_centers(
    query_rows: InputRow, rng: np.random.Generator, region_km: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Centers of the removed regions, `[B, 2]`, and whether they are at the ground truth, `[B]`.

    Half of them are at the ground truth, half at a candidate so far from it that the gallery still
    covers the ground truth. Without such a candidate, the center is the ground truth.
    """
    min_m = region_km * 1_000.0 + IN_GALLERY_RADIUS_M
    positions, ground_truth = query_rows["position"], query_rows["ground_truth"]
    is_far = query_rows["present"] & (haversine_m(positions, ground_truth[:, None]) > min_m)
    candidate = np.argmax(np.where(is_far, rng.random(is_far.shape), -1.0), axis=1)
    at_ground_truth = (rng.random(len(candidate)) < 0.5) | ~is_far.any(1)
    far_positions = positions[np.arange(len(candidate)), candidate]
    return np.where(at_ground_truth[:, None], ground_truth, far_positions), at_ground_truth


def soft_targets(
    distance_km: NDArray[np.float64],
    present: NDArray[np.bool_],
    in_gallery: NDArray[np.bool_],
    targets: TargetConfig,
) -> NDArray[np.float64]:
    """Target probability of each candidate; that of "none of these" is last, `[B, K + 1]`."""
    weights = np.zeros_like(distance_km)
    for scale_km, weight in targets.target_bandwidths_km.items():
        weights += weight * np.exp(-distance_km / scale_km)
    no_match = np.where(in_gallery, targets.no_match_weight, targets.no_match_weight_not_in_gallery)
    unnormalized = np.column_stack([np.where(present, weights, 0.0), no_match])
    return np.asarray(unnormalized / unnormalized.sum(axis=1, keepdims=True))


def rerank_loss(
    output: RerankTensors, batch: RerankTrainingBatch, targets: TargetConfig, max_offset_km: float
) -> torch.Tensor:
    """Cross-entropy against the soft targets plus Huber loss of the refined positions; a scalar."""
    distance_km = batch.distance_km()
    present = batch.inputs.present.numpy()
    target = torch.from_numpy(soft_targets(distance_km, present, batch.in_gallery, targets)).float()
    log_p = torch.cat([output.logits, output.no_match_logit[:, None]], dim=1).log_softmax(1)
    # An absent candidate has target 0 and log-probability minus infinity; it must contribute 0.
    entropy = -(target * log_p.masked_fill(target == 0, 0.0)).sum(1).mean()
    close = torch.from_numpy(present & (distance_km <= _MAX_REFINED_KM))
    offset_km = torch.from_numpy(offset_targets_km(batch, max_offset_km)).float()
    error = F.huber_loss(output.offset_km, offset_km, reduction="none", delta=_HUBER_DELTA_KM)
    refined = (error.sum(-1) * close).sum() / close.sum().clamp(min=1)
    return entropy + targets.refinement_weight * refined


def offset_targets_km(batch: RerankTrainingBatch, max_offset_km: float) -> NDArray[np.float64]:
    """Offset of each candidate towards the ground truth, east and north, limited to the reach.

    Returns:
        `[B, K, 2]`, in the tangent plane of the candidate.
    """
    position = batch.inputs.position.numpy()
    ground_truth = np.broadcast_to(batch.ground_truth[:, None], position.shape)
    bearing = np.radians(bearing_deg(position, ground_truth))
    length = np.minimum(haversine_m(position, ground_truth) / 1_000.0, max_offset_km)
    return np.stack([np.sin(bearing), np.cos(bearing)], axis=-1) * length[..., None]


def reranker_batch_loss(
    net: RerankerNetwork, examples: Examples, rows: Rows, step: int, config: RerankerConfig
) -> torch.Tensor:
    """The loss of one step; a pure function of network, rows and step."""
    seed = config.schedule.seed
    batch_rows = sample_batch(rows, step, config.schedule.batch_size, seed)
    batch = augment(examples, batch_rows, step, seed, config.augmentation)
    return rerank_loss(net(batch.inputs), batch, config.targets, config.network.max_offset_km)
