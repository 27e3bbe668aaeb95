"""Refills candidate slots after candidates were removed, by the rule of `search.candidate_slots`.

A gallery without a region does not yield fewer candidates, it yields other ones. Retrieval for
training therefore fetches more candidates than the network receives, and the remaining ones are
assigned to slots again. Empty slots would reveal to a network that the true region is missing, and
no gallery in serving shows that.
Letters: B queries, R candidates that a row has slots for, K candidates that are selected.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from pinpoint.arrays import Flags, Floats32
from pinpoint.nets.reranker.inputs import EmbeddingTable, InputRow
from pinpoint.records import SOURCE_KINDS
from pinpoint.search.candidate_slots import GPS, RAW, CandidateSlots, assign_slots

_EVIDENCE_FIELDS: Final = (
    "evidence_id",
    "evidence_distance_m",
    "bearing_deg",
    "age_years",
    "evidence_present",
)
_CANDIDATE_FIELDS: Final = (
    "id",
    "position",
    "kind",
    "in_channel",
    "raw_score",
    "present",
    *_EVIDENCE_FIELDS,
)


def refill_slots(rows: InputRow, photos: EmbeddingTable, slots: CandidateSlots) -> InputRow:
    """Rows with the candidates that the search would select among the present ones.

    Args:
        rows: Rows with R candidate slots; `present` marks the remaining ones.
        photos: Vectors of the candidates.
        slots: Number of slots.
    """
    _, has_vector = photos.lookup(rows["id"])
    chosen = reassign_slots(rows, rows["present"] & has_vector, channel_scores(rows, photos), slots)
    return select_slots(rows, chosen, slots.candidates)


def channel_scores(rows: InputRow, photos: EmbeddingTable) -> Floats32:
    """Scores of the candidates in the channels `image`, `gps` and `raw`, `[B, R, 3]`.

    Those of `image` and `gps` are cosines of the query to the vectors; candidates without a vector
    get 0. The rows contain those of `raw`, because only its score is needed.
    """
    indices, has_vector = photos.lookup(rows["id"])
    query = np.asarray(rows["query"], dtype=np.float32)
    scores = []
    for table in (photos.image, photos.gps):
        vectors = np.zeros((*indices.shape, query.shape[-1]), dtype=np.float32)
        vectors[has_vector] = table[indices[has_vector]]
        lengths = np.linalg.norm(query, axis=-1)[:, None] * np.linalg.norm(vectors, axis=-1)
        products = np.einsum("bd,brd->br", query, vectors)
        scores.append(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0))
    return np.stack([*scores, rows["raw_score"]], axis=-1)


def reassign_slots(
    rows: InputRow, available: Flags, scores: Floats32, slots: CandidateSlots
) -> Flags:
    """Which available candidates get a slot, `[B, R]`.

    Args:
        rows: Rows of queries. Their candidates are already the result of spatial NMS.
        available: `[B, R]`, the candidates that were not removed.
        scores: Result of `channel_scores`.
        slots: Number of slots.
    """
    retrieved = rows["in_channel"] & available[..., None]
    # Without a quota, the search does not query a channel.
    for channel, quota in ((GPS, slots.gps_quota), (RAW, slots.raw_quota)):
        if quota == 0:
            retrieved[..., channel] = False
    return assign_slots(
        retrieved,
        scores,
        rows["kind"],
        slots,
        num_kinds=len(SOURCE_KINDS),
    )


def select_slots(rows: InputRow, chosen: Flags, candidates: int) -> InputRow:
    """The rows with only the chosen candidates, in their order, and without further slots.

    Args:
        rows: Rows with R candidate slots.
        chosen: `[B, R]`, at most `candidates` in each row.
        candidates: K.
    """
    order = np.argsort(~chosen, axis=1, kind="stable")[:, :candidates]
    present = np.take_along_axis(chosen, order, axis=1)
    columns = {}
    for name in _CANDIDATE_FIELDS:
        values = rows[name]
        indices = order.reshape(*order.shape, *(1,) * (values.ndim - 2))
        columns[name] = np.take_along_axis(values, indices, axis=1)
    columns["present"] = present
    columns["evidence_present"] = columns["evidence_present"] & present[..., None]
    dtype = [
        (name, rows.dtype[name])
        if name not in columns
        else (name, columns[name].dtype, columns[name].shape[1:])
        for name in rows.dtype.names or ()
    ]
    selected = np.zeros(len(rows), dtype=dtype)
    for name in selected.dtype.names or ():
        selected[name] = columns.get(name, rows[name])
    return selected
