"""The `rerank` ranker: orders candidates by the logits of a trained network.

The logits of a query include a no-match logit. As in every ranker, only candidates have a weight;
the no-match logit is passed on to the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint.records import Candidate, RankedCandidate, Ranking, RerankOutput

RERANK_RANKER: Final = "rerank"
NO_RERANKER: Final = "the bundle has no reranker"
"""Reason why the vote ranked an answer."""


def order_by_reranker(
    unranked: Sequence[RankedCandidate],
    candidates: Sequence[Candidate],
    reranked: RerankOutput,
) -> Ranking:
    """Order candidates by the output of a reranker.

    Args:
        unranked: The candidates with their evidence (`vote.attach_evidence`), in any order.
        candidates: `[K]`, in the order of the reranker's input.
        reranked: Output of the reranker.

    Returns:
        `[K]` by logit, ties by `Candidate.tie_key`; weights are the softmax of the logits and
        sum to 1.
    """
    index_by_id: dict[UUID, int] = {entry.id: index for index, entry in enumerate(candidates)}
    logits = np.array(reranked.logits, dtype=np.float64)
    exponentials = np.exp(logits - logits.max(initial=-np.inf))
    weights = (exponentials / exponentials.sum()).tolist()
    order = sorted(
        unranked,
        key=lambda entry: (-logits[index_by_id[entry.candidate.id]], entry.candidate.tie_key),
    )
    ordered = []
    for entry in order:
        index = index_by_id[entry.candidate.id]
        attention = tuple(reranked.attention[index].get(photo.id, 0.0) for photo in entry.evidence)
        ordered.append(
            replace(
                entry,
                weight=weights[index],
                evidence_share=min(1.0, sum(attention)),
                rerank_logit=reranked.logits[index],
                refined_position=reranked.refined_positions[index],
                attention=attention,
            )
        )
    return Ranking(
        ranked=tuple(ordered), ranker=RERANK_RANKER, no_match_logit=reranked.no_match_logit
    )
