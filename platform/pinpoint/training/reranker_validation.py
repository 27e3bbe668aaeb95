"""How far a reranker brings the questions that it does not learn from.

Beside it what needs no weights: the best picture of retrieval, the vote, and the oracle, which is
the best that any choice among these candidates could be. Letters: V questions, K candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint.geo.distance import haversine_m
from pinpoint.nets.reranker import Reranker
from pinpoint.records import KINDS
from pinpoint.training.examples import SUPPORT_M, Examples
from pinpoint.training.reranker_config import RerankerConfig
from pinpoint.training.reranker_objective import lost, plain
from pinpoint.training.samples import Rows

RADII_KM: Final = (1.0, 25.0, 200.0)
_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What a network made of the validation questions; all `[V]`, or by name `[V]`."""

    loss: float
    away_km: Mapping[str, NDArray[np.float64]]
    """From the truth to what each way of choosing takes; infinity where there is nothing."""
    null: NDArray[np.float64]
    """Probability of "none of these", uncalibrated."""
    case: NDArray[np.str_]
    """`found`, `missed` (the gallery supports it and no candidate does) or `unsupported`."""
    kinds: NDArray[np.int64]


@torch.no_grad()
def tried(net: Reranker, examples: Examples, rows: Rows, config: RerankerConfig) -> Tried:
    """Ask all validation questions, with nothing dropped; the network is in evaluation mode."""
    ways: dict[str, list[NDArray[np.float64]]] = {
        name: [] for name in ("rerank", "vote", "top1", "oracle")
    }
    losses, nulls, cases = [], [], []
    for start in range(0, len(rows), _AT_ONCE):
        own = rows[start : start + _AT_ONCE]
        shown = plain(examples, own)
        said = net(shown.asked)
        losses.append(float(lost(said, shown, config.targets, config.network.reach_km)) * len(own))
        every = torch.cat([said.scores, said.null[:, None]], dim=1).softmax(1)
        nulls.append(every[:, -1].double().numpy())
        there = shown.asked.present.numpy()
        away = np.where(there, shown.away_km(), np.inf)
        like = torch.nn.functional.cosine_similarity(
            shown.asked.query[:, None], shown.asked.image, dim=-1
        )
        first = like.masked_fill(~shown.asked.present, -2.0).argmax(1).numpy()
        picks = {
            "rerank": said.scores.argmax(1).numpy(),
            "top1": first,
            "oracle": away.argmin(1),
        }
        for name, pick in picks.items():
            ways[name].append(away[np.arange(len(own)), pick])
        ways["vote"].append(_voted_km(examples, own))
        near = (away <= SUPPORT_M / 1_000.0).any(1)
        cases.append(np.where(near, "found", np.where(shown.supported, "missed", "unsupported")))
    return Tried(
        loss=sum(losses) / len(rows),
        away_km={name: np.concatenate(found) for name, found in ways.items()},
        null=np.concatenate(nulls),
        case=np.concatenate(cases),
        kinds=np.asarray(examples.rows[rows]["query_kind"], dtype=np.int64),
    )


def _voted_km(examples: Examples, rows: Rows) -> NDArray[np.float64]:
    """How far off the vote among all that was found is; infinity where it had nothing."""
    own = examples.rows[rows]
    seat = np.array(own["voted"], dtype=np.int64)
    places = own["position"][np.arange(len(seat)), np.maximum(seat, 0)]
    return np.where(seat >= 0, haversine_m(places, own["truth"]) / 1_000.0, np.inf)


def measured(found: Tried) -> dict[str, float]:
    """Shares within each radius by ranker and kind, the gap closed, and what the null says.

    `rerank photo@25km` is a share of the photo questions; `gap photo@25km` the share of the way
    from the best picture to the oracle that the reranker went.
    """
    said: dict[str, float] = {"loss": found.loss}
    groups = {"all": np.ones(len(found.kinds), dtype=np.bool_)}
    groups |= {kind: found.kinds == code for code, kind in enumerate(KINDS)}
    for group, own in groups.items():
        if not own.any():
            continue
        for radius_km in RADII_KM:
            shares = {
                name: float((away[own] < radius_km).mean()) for name, away in found.away_km.items()
            }
            at = f"{group}@{radius_km:g}km"
            said |= {f"{name} {at}": share for name, share in shares.items()}
            gap = shares["oracle"] - shares["top1"]
            if gap > 0:
                said[f"gap {at}"] = (shares["rerank"] - shares["top1"]) / gap
    for case in ("found", "missed", "unsupported"):
        own = found.case == case
        said[f"questions {case}"] = float(own.sum())
        if own.any():
            said[f"null {case}"] = float(found.null[own].mean())
    without, within = (found.null[found.case == case] for case in ("unsupported", "found"))
    if len(without) and len(within):
        above = (without[:, None] > within).mean() + 0.5 * (without[:, None] == within).mean()
        said["null AUROC"] = float(above)
    return said
