"""The `rerank` ranker: what a trained network says of the candidates, put in order.

Scores are logits of one question, its null's beside them; here only candidates share the mass, as
they do in every ranker, and the null is handed on to whoever decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint.ports import VectorIndex
from pinpoint.records import Candidate, Exclusions, IndexPoint, Judgement, Ranked, Ranking

NAME: Final = "rerank"
MISSING: Final = "the bundle has no reranker"
"""Why an answer comes from the vote."""

Retrieved = tuple[tuple[Candidate, ...], Exclusions | None]
"""What retrieval brings."""


def seen(found: Retrieved, index: VectorIndex | None) -> tuple[Retrieved, list[IndexPoint]]:
    """What was found, and its candidates as the index holds them; nothing without an index."""
    ids = [each.id for each in found[0]]
    return found, index.fetch(ids, vectors=True) if index is not None and ids else []


def ranking(voted: Sequence[Ranked], candidates: Sequence[Candidate], said: Judgement) -> Ranking:
    """Candidates in the order of a reranker.

    Args:
        voted: The candidates with their evidence, as another ranker has them, in any order.
        candidates: `[K]`, in the order in which they were judged.
        said: What the reranker says of them.

    Returns:
        `[K]` by score, ties by id; masses are the softmax of the scores and sum to 1.
    """
    seats: dict[UUID, int] = {each.id: seat for seat, each in enumerate(candidates)}
    scores = np.array(said.scores, dtype=np.float64)
    worth = np.exp(scores - scores.max(initial=-np.inf))
    masses = (worth / worth.sum()).tolist()
    order = sorted(
        voted, key=lambda each: (-scores[seats[each.candidate.id]], each.candidate.id.int)
    )
    judged = []
    for each in order:
        seat = seats[each.candidate.id]
        attention = tuple(said.heard[seat].get(photo.id, 0.0) for photo in each.evidence)
        judged.append(
            replace(
                each,
                mass=masses[seat],
                support=min(1.0, sum(attention)),
                score=said.scores[seat],
                refined=said.refined[seat],
                attention=attention,
            )
        )
    return Ranking(ranked=tuple(judged), ranker=NAME, null_score=said.null)
