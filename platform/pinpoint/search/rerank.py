"""The `rerank` ranker: orders candidates by the logits of a trained network.

The logits of a query include a no-match logit. As in every ranker, only candidates share the mass;
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
    judgement: RerankOutput,
) -> Ranking:
    """Order candidates by the output of a reranker.

    Args:
        unranked: The candidates with their evidence (`vote.attach_evidence`), in any order.
        candidates: `[K]`, in the order of the reranker's input.
        judgement: Output of the reranker.

    Returns:
        `[K]` by score, ties by id; masses are the softmax of the scores and sum to 1.
    """
    index_by_id: dict[UUID, int] = {entry.id: index for index, entry in enumerate(candidates)}
    scores = np.array(judgement.scores, dtype=np.float64)
    exponentials = np.exp(scores - scores.max(initial=-np.inf))
    masses = (exponentials / exponentials.sum()).tolist()
    order = sorted(
        unranked,
        key=lambda entry: (-scores[index_by_id[entry.candidate.id]], entry.candidate.id.int),
    )
    reranked = []
    for entry in order:
        index = index_by_id[entry.candidate.id]
        attention = tuple(judgement.heard[index].get(photo.id, 0.0) for photo in entry.evidence)
        reranked.append(
            replace(
                entry,
                mass=masses[index],
                support=min(1.0, sum(attention)),
                score=judgement.scores[index],
                refined=judgement.refined[index],
                attention=attention,
            )
        )
    return Ranking(ranked=tuple(reranked), ranker=RERANK_RANKER, null_score=judgement.null)
