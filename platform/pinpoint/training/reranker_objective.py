"""What a batch of questions says about a reranker: soft targets by distance, and what is dropped.

Letters: B questions, K candidates, E evidence photos of a candidate.
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
from pinpoint.nets.rerank_inputs import Row, asked
from pinpoint.nets.rerank_numbers import Asked
from pinpoint.nets.reranker import Judged, Reranker
from pinpoint.records import KINDS
from pinpoint.training.examples import SUPPORT_M, Examples
from pinpoint.training.reranker_config import DropConfig, RerankerConfig, TargetConfig
from pinpoint.training.samples import Rows

_ORDER, _DROPS = 1, 2
"""Set draws of one seed apart: of questions, of what is dropped."""
_REFINED_KM: Final = 25.0
"""Candidates beyond this are wrong, not inexact."""
_HUBER_KM: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Questions as they are shown to the network, and what is known of them."""

    asked: Asked
    truth: NDArray[np.float64]
    """`[B, 2]` degrees."""
    supported: NDArray[np.bool_]
    """Whether what is left of the gallery has anything within 25 km of the truth, `[B]`."""

    def away_km(self) -> NDArray[np.float64]:
        """From the truth to each candidate, `[B, K]`."""
        position = self.asked.position.numpy()
        return haversine_m(position, np.broadcast_to(self.truth[:, None], position.shape)) / 1_000.0


def drawn(rows: Rows, step: int, batch: int, seed: int) -> Rows:
    """The questions of one step: pass after pass, each a new order of all rows."""
    turns = np.arange(step * batch, (step + 1) * batch)
    passes = turns // len(rows)
    orders = {
        each: np.random.default_rng([seed, _ORDER, each]).permutation(rows)
        for each in np.unique(passes).tolist()
    }
    return np.array(
        [orders[which][turn % len(rows)] for which, turn in zip(passes, turns, strict=True)],
        dtype=np.int64,
    )


def plain(examples: Examples, rows: Rows) -> Shown:
    """Questions as they would be asked."""
    own = examples.rows[rows]
    return _seated(examples, own, np.any(own["supported"], axis=1))


def dropped(examples: Examples, rows: Rows, step: int, seed: int, drops: DropConfig) -> Shown:
    """Questions from which something was taken; a pure function of rows, seed and step."""
    own, dice = np.array(examples.rows[rows]), np.random.default_rng([seed, _DROPS, step])
    count = len(rows)

    def chosen(share: float) -> NDArray[np.bool_]:
        return dice.random(count) < share

    present, near, found = own["present"], own["near_present"], own["found"]
    present &= ~examples.hidden[rows]
    supported = np.array(own["supported"])
    near[chosen(drops.evidence)] = False
    without, code = chosen(drops.kind), dice.integers(supported.shape[1], size=count)
    gone = np.where(without, code, -1)
    present &= own["kind"] != gone[:, None]
    near &= np.repeat(np.arange(len(KINDS)), near.shape[-1] // len(KINDS)) != gone[:, None, None]
    supported[without, code[without]] = False
    unplaced = chosen(drops.channel)
    present &= ~unplaced[:, None] | found[..., 0]
    found[unplaced, :, 1] = False
    emptied = chosen(drops.region)
    centre, around_truth = _centres(own, dice, drops.region_km)
    inside = haversine_m(own["position"], centre[:, None]) <= drops.region_km * 1_000.0
    present &= ~(emptied[:, None] & inside)
    supported[emptied & around_truth] = False
    near &= present[..., None]
    left = _seated(examples, own, np.any(supported, axis=1))
    gps = left.asked.gps * torch.from_numpy(~unplaced)[:, None, None]
    # Last, for these seats stay empty: galleries are thin in places.
    stays = torch.from_numpy(dice.random(left.asked.near_present.shape) >= drops.photo)
    near_present = left.asked.near_present & stays
    return replace(left, asked=replace(left.asked, gps=gps, near_present=near_present))


def _seated(examples: Examples, own: Row, supported: NDArray[np.bool_]) -> Shown:
    """Of what is left of some rows, what the search would show."""
    if examples.seats is not None:
        own = examples.seats.taken(own, examples.photos)
    return Shown(
        asked=asked(own, examples.photos), truth=np.array(own["truth"]), supported=supported
    )


def _centres(
    own: Row, dice: np.random.Generator, region_km: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where regions are emptied, `[B, 2]`, and whether that leaves the truth without support.

    Half of them around the truth, half around a candidate so far from it that no support is lost;
    where there is no such candidate, around the truth.
    """
    least_m = region_km * 1_000.0 + SUPPORT_M
    position = own["position"]
    far = own["present"] & (haversine_m(position, own["truth"][:, None]) > least_m)
    pick = np.argmax(np.where(far, dice.random(far.shape), -1.0), axis=1)
    truth = (dice.random(len(pick)) < 0.5) | ~far.any(1)
    rows = np.arange(len(pick))
    centre = np.where(truth[:, None], own["truth"], position[rows, pick])
    return centre, truth


def soft_targets(
    away_km: NDArray[np.float64],
    present: NDArray[np.bool_],
    supported: NDArray[np.bool_],
    targets: TargetConfig,
) -> NDArray[np.float64]:
    """What share of the answer each candidate should have; the null is last, `[B, K + 1]`."""
    worth = np.zeros_like(away_km)
    for scale_km, weight in targets.scales.items():
        worth += weight * np.exp(-away_km / scale_km)
    null = np.where(supported, targets.null_weight, targets.null_weight_unsupported)
    every = np.column_stack([np.where(present, worth, 0.0), null])
    return np.asarray(every / every.sum(axis=1, keepdims=True))


def lost(judged: Judged, shown: Shown, targets: TargetConfig, reach_km: float) -> torch.Tensor:
    """Cross-entropy against the soft targets, and Huber of the refined places; a scalar."""
    away_km = shown.away_km()
    there = shown.asked.present.numpy()
    wanted = torch.from_numpy(soft_targets(away_km, there, shown.supported, targets)).float()
    logs = torch.cat([judged.scores, judged.null[:, None]], dim=1).log_softmax(1)
    # A candidate that is not there has no share and no score: 0 times minus infinity is nothing.
    entropy = -(wanted * logs.masked_fill(wanted == 0, 0.0)).sum(1).mean()
    close = torch.from_numpy(there & (away_km <= _REFINED_KM))
    way = torch.from_numpy(ways_km(shown, reach_km)).float()
    far = F.huber_loss(judged.offset_km, way, reduction="none", delta=_HUBER_KM).sum(-1)
    refined = (far * close).sum() / close.sum().clamp(min=1)
    return entropy + targets.refinement * refined


def ways_km(shown: Shown, reach_km: float) -> NDArray[np.float64]:
    """From each candidate towards the truth, east and north, no farther than it may go.

    Returns:
        `[B, K, 2]`, in the tangent plane of the candidate.
    """
    position = shown.asked.position.numpy()
    truth = np.broadcast_to(shown.truth[:, None], position.shape)
    turn = np.radians(bearing_deg(position, truth))
    length = np.minimum(haversine_m(position, truth) / 1_000.0, reach_km)
    return np.stack([np.sin(turn), np.cos(turn)], axis=-1) * length[..., None]


def batch_loss(
    net: Reranker, examples: Examples, rows: Rows, step: int, config: RerankerConfig
) -> torch.Tensor:
    """The loss of one step; a pure function of network, rows and step."""
    seed = config.schedule.seed
    own = drawn(rows, step, config.schedule.batch, seed)
    shown = dropped(examples, own, step, seed, config.drops)
    return lost(net(shown.asked), shown, config.targets, config.network.reach_km)
