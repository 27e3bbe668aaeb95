"""Validation metrics of a reranker.

Baselines without weights are measured too: the best image of retrieval, the vote, and the oracle,
which is the best possible choice among the candidates. Letters: V queries, K candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint.geo.distance import haversine_m
from pinpoint.nets.reranker.network import RerankerNetwork
from pinpoint.records import SOURCE_KINDS
from pinpoint.training.core.samples import Rows
from pinpoint.training.reranker.config import RerankerConfig
from pinpoint.training.reranker.examples import SUPPORT_M, Examples
from pinpoint.training.reranker.objective import collate, rerank_loss

RADII_KM: Final = (1.0, 25.0, 200.0)
_BATCH: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankMetrics:
    """Results of the validation queries; all `[V]`, or by name `[V]`."""

    loss: float
    away_km: Mapping[str, NDArray[np.float64]]
    """Error of each ranker's choice; infinity where it has no candidate."""
    null: NDArray[np.float64]
    """Probability of "none of these", uncalibrated."""
    case: NDArray[np.str_]
    """`found`, `missed` (the gallery supports it and no candidate does) or `unsupported`."""
    kinds: NDArray[np.int64]


@torch.no_grad()
def evaluate_reranker(
    net: RerankerNetwork, examples: Examples, rows: Rows, config: RerankerConfig
) -> RerankMetrics:
    """Evaluate all validation queries without augmentation; the network is in evaluation mode."""
    errors_km: dict[str, list[NDArray[np.float64]]] = {
        name: [] for name in ("rerank", "vote", "top1", "oracle")
    }
    losses, nulls, cases = [], [], []
    for start in range(0, len(rows), _BATCH):
        batch_rows = rows[start : start + _BATCH]
        batch = collate(examples, batch_rows)
        output = net(batch.inputs)
        loss = float(rerank_loss(output, batch, config.targets, config.network.reach_km))
        losses.append(loss * len(batch_rows))
        probabilities = torch.cat([output.scores, output.null[:, None]], dim=1).softmax(1)
        nulls.append(probabilities[:, -1].double().numpy())
        present = batch.inputs.present.numpy()
        away = np.where(present, batch.away_km(), np.inf)
        cosines = torch.nn.functional.cosine_similarity(
            batch.inputs.query[:, None], batch.inputs.image, dim=-1
        )
        top1 = cosines.masked_fill(~batch.inputs.present, -2.0).argmax(1).numpy()
        choices = {
            "rerank": output.scores.argmax(1).numpy(),
            "top1": top1,
            "oracle": away.argmin(1),
        }
        for name, choice in choices.items():
            errors_km[name].append(away[np.arange(len(batch_rows)), choice])
        errors_km["vote"].append(_vote_error_km(examples, batch_rows))
        near = (away <= SUPPORT_M / 1_000.0).any(1)
        cases.append(np.where(near, "found", np.where(batch.supported, "missed", "unsupported")))
    return RerankMetrics(
        loss=sum(losses) / len(rows),
        away_km={name: np.concatenate(errors) for name, errors in errors_km.items()},
        null=np.concatenate(nulls),
        case=np.concatenate(cases),
        kinds=np.asarray(examples.rows[rows]["query_kind"], dtype=np.int64),
    )


def _vote_error_km(examples: Examples, rows: Rows) -> NDArray[np.float64]:
    """Error of the vote among all candidates; infinity where it had none."""
    query_rows = examples.rows[rows]
    candidate = np.array(query_rows["voted"], dtype=np.int64)
    positions = query_rows["position"][np.arange(len(candidate)), np.maximum(candidate, 0)]
    return np.where(candidate >= 0, haversine_m(positions, query_rows["truth"]) / 1_000.0, np.inf)


def compute_reranker_metrics(result: RerankMetrics) -> dict[str, float]:
    """Shares within each radius by ranker and kind, the gap closed, and metrics of the null.

    `rerank photo@25km` is a share of the photo queries. `gap photo@25km` is the share of the gap
    between the best image and the oracle that the reranker closes.
    """
    metrics: dict[str, float] = {"loss": result.loss}
    groups = {"all": np.ones(len(result.kinds), dtype=np.bool_)}
    groups |= {kind: result.kinds == code for code, kind in enumerate(SOURCE_KINDS)}
    for group, members in groups.items():
        if not members.any():
            continue
        for radius_km in RADII_KM:
            shares = {
                name: float((away[members] < radius_km).mean())
                for name, away in result.away_km.items()
            }
            suffix = f"{group}@{radius_km:g}km"
            metrics |= {f"{name} {suffix}": share for name, share in shares.items()}
            gap = shares["oracle"] - shares["top1"]
            if gap > 0:
                metrics[f"gap {suffix}"] = (shares["rerank"] - shares["top1"]) / gap
    for case in ("found", "missed", "unsupported"):
        members = result.case == case
        metrics[f"questions {case}"] = float(members.sum())
        if members.any():
            metrics[f"null {case}"] = float(result.null[members].mean())
    without, within = (result.null[result.case == case] for case in ("unsupported", "found"))
    if len(without) and len(within):
        above = (without[:, None] > within).mean() + 0.5 * (without[:, None] == within).mean()
        metrics["null AUROC"] = float(above)
    return metrics
