"""Who is shown of a question from which something was taken: what the search would have found then.

A gallery without a region does not bring fewer candidates, it brings others. So more is sought than
is shown, and what is left is seated anew, by the rules of `search.retrieve`. Were the seats left
empty, a network would tell by their number that the right place is gone, and no gallery says so.
Letters: B questions, R candidates that there is room for, K that are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.nets.rerank_inputs import Photos, Row
from pinpoint.records import KINDS

Flags = NDArray[np.bool_]
Floats = NDArray[np.float32]

_IMAGE, _GPS = 0, 1
_OF_EVIDENCE: Final = ("near_id", "away_m", "bearing_deg", "age_years", "near_present")
_OF_CANDIDATES: Final = ("id", "position", "kind", "found", "present", *_OF_EVIDENCE)


@dataclass(frozen=True, slots=True)
class Seats:
    """How many candidates are shown."""

    candidates: int
    of_gps: int
    """Seats kept for what the channel `gps` finds."""

    def taken(self, rows: Row, photos: Photos) -> Row:
        """Questions with those candidates that the search would seat of what is present.

        Args:
            rows: With room for R; `present` says what is left.
            photos: Has their vectors.
        """
        _, known = photos.seats(rows["id"])
        chosen = seated(rows, rows["present"] & known, likenesses(rows, photos), self)
        return shown(rows, chosen, self.candidates)


def likenesses(rows: Row, photos: Photos) -> tuple[Floats, Floats]:
    """Cosines of queries to the pictures and to the places of their candidates, `[B, R]` each.

    Photos that are not known, and places without a vector, have 0.
    """
    seats, known = photos.seats(rows["id"])
    query = np.asarray(rows["query"], dtype=np.float32)
    found = []
    for table in (photos.image, photos.gps):
        vectors = np.zeros((*seats.shape, query.shape[-1]), dtype=np.float32)
        vectors[known] = table[seats[known]]
        lengths = np.linalg.norm(query, axis=-1)[:, None] * np.linalg.norm(vectors, axis=-1)
        products = np.einsum("bd,brd->br", query, vectors)
        found.append(np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0))
    return found[0], found[1]


def seated(rows: Row, left: Flags, alike: tuple[Floats, Floats], seats: Seats) -> Flags:
    """Which of the candidates that are left have a seat, `[B, R]`.

    Args:
        rows: Questions.
        left: `[B, R]`, what was not taken from them.
        alike: By `likenesses`.
        seats: How many there are.
    """
    taken = np.zeros_like(left)
    for channel, until in (
        (_IMAGE, seats.candidates - seats.of_gps),
        (_GPS, seats.candidates if seats.of_gps else 0),
        (_IMAGE, seats.candidates),
    ):
        fresh = left & rows["found"][..., channel] & ~taken
        free = np.maximum(until - taken.sum(axis=1), 0)
        taken |= _shared(fresh, alike[channel], rows["kind"], free)
    return taken


def shown(rows: Row, chosen: Flags, candidates: int) -> Row:
    """The rows with the chosen candidates alone, in their order, and room for no more.

    Args:
        rows: Questions with room for R.
        chosen: `[B, R]`, no more than `candidates` of a question.
        candidates: K.
    """
    order = np.argsort(~chosen, axis=1, kind="stable")[:, :candidates]
    there = np.take_along_axis(chosen, order, axis=1)
    picked = {}
    for name in _OF_CANDIDATES:
        values = rows[name]
        seats = order.reshape(*order.shape, *(1,) * (values.ndim - 2))
        picked[name] = np.take_along_axis(values, seats, axis=1)
    picked["present"] = there
    picked["near_present"] = picked["near_present"] & there[..., None]
    kind = [
        (name, rows.dtype[name])
        if name not in picked
        else (name, picked[name].dtype, picked[name].shape[1:])
        for name in rows.dtype.names or ()
    ]
    made = np.zeros(len(rows), dtype=kind)
    for name in made.dtype.names or ():
        made[name] = picked.get(name, rows[name])
    return made


def _shared(
    fresh: Flags, scores: Floats, kinds: NDArray[np.int16], free: NDArray[np.int64]
) -> Flags:
    """The best of `fresh` for the free seats, half of an equal share kept for each kind."""
    share = free // (2 * len(KINDS))
    first = np.zeros_like(fresh)
    for code in range(len(KINDS)):
        first |= _best(fresh & (kinds == code), scores, share)
    return first | _best(fresh & ~first, scores, free - first.sum(axis=1))


def _best(there: Flags, scores: Floats, count: NDArray[np.int64]) -> Flags:
    """The `count` highest of what is there; of equal ones the first."""
    order = np.argsort(np.where(there, -scores, np.inf), axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(there.shape[1]), there.shape), axis=1)
    return there & (ranks < count[:, None])
