"""Refills candidate slots after candidates were removed, by the same rules as `search.retrieve`.

A gallery without a region does not yield fewer candidates, it yields other ones. Retrieval for
training therefore fetches more candidates than the network receives, and the remaining ones are
assigned to slots again. Empty slots would reveal to a network that the true region is missing, and
no gallery in serving shows that.
Letters: B queries, R candidates that a row has slots for, K candidates that are selected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Flags, Floats32
from pinpoint.nets.reranker.inputs import EmbeddingTable, InputRow
from pinpoint.records import SOURCE_KINDS

_IMAGE, _GPS = 0, 1
_EVIDENCE_FIELDS: Final = ("near_id", "away_m", "bearing_deg", "age_years", "near_present")
_CANDIDATE_FIELDS: Final = ("id", "position", "kind", "found", "present", *_EVIDENCE_FIELDS)


@dataclass(frozen=True, slots=True)
class CandidateSlots:
    """Number of candidates that are selected."""

    candidates: int
    gps_quota: int
    """Slots reserved for candidates of the channel `gps`."""

    def refill(self, rows: InputRow, photos: EmbeddingTable) -> InputRow:
        """Rows with the candidates that the search would select among the present ones.

        Args:
            rows: Rows with R candidate slots; `present` marks the remaining ones.
            photos: Vectors of the candidates.
        """
        _, has_vector = photos.seats(rows["id"])
        chosen = assign_slots(rows, rows["present"] & has_vector, cosines(rows, photos), self)
        return select_slots(rows, chosen, self.candidates)


def cosines(rows: InputRow, photos: EmbeddingTable) -> tuple[Floats32, Floats32]:
    """Cosines of queries to the image and to the GPS vectors of their candidates, `[B, R]` each.

    Candidates without a vector get 0.
    """
    indices, has_vector = photos.seats(rows["id"])
    query = np.asarray(rows["query"], dtype=np.float32)
    cosines = []
    for table in (photos.image, photos.gps):
        vectors = np.zeros((*indices.shape, query.shape[-1]), dtype=np.float32)
        vectors[has_vector] = table[indices[has_vector]]
        lengths = np.linalg.norm(query, axis=-1)[:, None] * np.linalg.norm(vectors, axis=-1)
        products = np.einsum("bd,brd->br", query, vectors)
        cosines.append(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0))
    return cosines[0], cosines[1]


def assign_slots(
    rows: InputRow, available: Flags, cosines: tuple[Floats32, Floats32], slots: CandidateSlots
) -> Flags:
    """Which available candidates get a slot, `[B, R]`.

    Args:
        rows: Rows of queries.
        available: `[B, R]`, the candidates that were not removed.
        cosines: Result of `cosines`.
        slots: Number of slots.
    """
    chosen = np.zeros_like(available)
    for channel, limit in (
        (_IMAGE, slots.candidates - slots.gps_quota),
        (_GPS, slots.candidates if slots.gps_quota else 0),
        (_IMAGE, slots.candidates),
    ):
        eligible = available & rows["found"][..., channel] & ~chosen
        free = np.maximum(limit - chosen.sum(axis=1), 0)
        chosen |= _best_with_kind_quota(eligible, cosines[channel], rows["kind"], free)
    return chosen


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
    columns["near_present"] = columns["near_present"] & present[..., None]
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


def _best_with_kind_quota(
    eligible: Flags, scores: Floats32, kinds: NDArray[np.int16], free: NDArray[np.int64]
) -> Flags:
    """The best eligible candidates; half of an equal share of the free slots is kept per kind."""
    quota = free // (2 * len(SOURCE_KINDS))
    reserved = np.zeros_like(eligible)
    for code in range(len(SOURCE_KINDS)):
        reserved |= _top_scored(eligible & (kinds == code), scores, quota)
    return reserved | _top_scored(eligible & ~reserved, scores, free - reserved.sum(axis=1))


def _top_scored(eligible: Flags, scores: Floats32, count: NDArray[np.int64]) -> Flags:
    """The `count` highest-scored eligible candidates; ties go to the first."""
    order = np.argsort(np.where(eligible, -scores, np.inf), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(
        ranks, order, np.broadcast_to(np.arange(eligible.shape[1]), eligible.shape), axis=1
    )
    return eligible & (ranks < count[:, None])
