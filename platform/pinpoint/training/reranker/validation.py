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
from pinpoint.metrics.abstention import abstention_auroc
from pinpoint.nets.reranker.features import RerankBatch
from pinpoint.nets.reranker.network import RerankerNetwork
from pinpoint.records import SOURCE_KINDS
from pinpoint.training.core.samples import Rows
from pinpoint.training.reranker.config import RerankerConfig
from pinpoint.training.reranker.examples import IN_GALLERY_RADIUS_M, Examples
from pinpoint.training.reranker.objective import collate, rerank_loss

RADII_KM: Final = (1.0, 25.0, 200.0)
_BATCH: Final = 32
RETRIEVED: Final = "retrieved"
NOT_RETRIEVED: Final = "not_retrieved"
"""The gallery has an image near the ground truth, and no candidate is near it."""
NOT_IN_GALLERY: Final = "not_in_gallery"
CASES: Final = (RETRIEVED, NOT_RETRIEVED, NOT_IN_GALLERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankMetrics:
    """Results of the validation queries; all `[V]`, or by name `[V]`."""

    loss: float
    errors_km: Mapping[str, NDArray[np.float64]]
    """Error of each ranker's choice; infinity where it has no candidate."""
    p_no_match: NDArray[np.float64]
    """Probability of "none of these", uncalibrated."""
    case: NDArray[np.str_]
    """One of `CASES`, by the images within 25 km of the ground truth."""
    kinds: NDArray[np.int64]


@torch.no_grad()
def evaluate_reranker(
    net: RerankerNetwork, examples: Examples, rows: Rows, config: RerankerConfig
) -> RerankMetrics:
    """Evaluate all validation queries without augmentation; the network is in evaluation mode."""
    errors_km: dict[str, list[NDArray[np.float64]]] = {
        name: [] for name in ("rerank", "vote", "top1", "oracle")
    }
    losses, p_no_match, cases = [], [], []
    for start in range(0, len(rows), _BATCH):
        batch_rows = rows[start : start + _BATCH]
        batch = collate(examples, batch_rows)
        output = net(batch.inputs)
        loss = float(rerank_loss(output, batch, config.targets, config.network.max_offset_km))
        losses.append(loss * len(batch_rows))
        logits = torch.cat([output.logits, output.no_match_logit[:, None]], dim=1)
        p_no_match.append(logits.softmax(1)[:, -1].double().numpy())
        distance_km = np.where(batch.inputs.present.numpy(), batch.distance_km(), np.inf)
        choices = {
            "rerank": output.logits.argmax(1).numpy(),
            "top1": _most_similar_candidate(batch.inputs),
            "oracle": distance_km.argmin(1),
        }
        for name, choice in choices.items():
            errors_km[name].append(distance_km[np.arange(len(batch_rows)), choice])
        errors_km["vote"].append(_vote_error_km(examples, batch_rows))
        is_retrieved = (distance_km <= IN_GALLERY_RADIUS_M / 1_000.0).any(1)
        missed = np.where(batch.in_gallery, NOT_RETRIEVED, NOT_IN_GALLERY)
        cases.append(np.where(is_retrieved, RETRIEVED, missed))
    return RerankMetrics(
        loss=sum(losses) / len(rows),
        errors_km={name: np.concatenate(errors) for name, errors in errors_km.items()},
        p_no_match=np.concatenate(p_no_match),
        case=np.concatenate(cases),
        kinds=np.asarray(examples.rows[rows]["query_kind"], dtype=np.int64),
    )


def _most_similar_candidate(inputs: RerankBatch) -> NDArray[np.int64]:
    """Index of the candidate with the highest cosine to its query, `[B]`."""
    cosines = torch.nn.functional.cosine_similarity(inputs.query[:, None], inputs.image, dim=-1)
    best: NDArray[np.int64] = cosines.masked_fill(~inputs.present, -2.0).argmax(1).numpy()
    return best


def _vote_error_km(examples: Examples, rows: Rows) -> NDArray[np.float64]:
    """Error of the vote among all candidates; infinity where it had none."""
    query_rows = examples.rows[rows]
    candidate = np.array(query_rows["vote_choice"], dtype=np.int64)
    positions = query_rows["position"][np.arange(len(candidate)), np.maximum(candidate, 0)]
    distance_km = haversine_m(positions, query_rows["ground_truth"]) / 1_000.0
    return np.where(candidate >= 0, distance_km, np.inf)


def compute_reranker_metrics(result: RerankMetrics) -> dict[str, float]:
    """Shares within each radius by ranker and kind, the gap closed, and no-match metrics.

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
                name: float((error_km[members] < radius_km).mean())
                for name, error_km in result.errors_km.items()
            }
            suffix = f"{group}@{radius_km:g}km"
            metrics |= {f"{name} {suffix}": share for name, share in shares.items()}
            gap = shares["oracle"] - shares["top1"]
            if gap > 0:
                metrics[f"gap {suffix}"] = (shares["rerank"] - shares["top1"]) / gap
    for case in CASES:
        members = result.case == case
        metrics[f"queries {case}"] = float(members.sum())
        if members.any():
            metrics[f"p_no_match {case}"] = float(result.p_no_match[members].mean())
    is_scored = np.isin(result.case, (RETRIEVED, NOT_IN_GALLERY))
    auroc = abstention_auroc(result.p_no_match[is_scored], result.case[is_scored] == NOT_IN_GALLERY)
    if not np.isnan(auroc):
        metrics["no_match AUROC"] = auroc
    return metrics
