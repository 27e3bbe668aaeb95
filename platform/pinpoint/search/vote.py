"""The `vote` ranker: candidates and evidence vote for places, and distance decides how loudly.

It needs no weights and is the baseline that every learned ranker must beat. With K candidates of
query similarity s, standardised to z over the K (so any tower's scale will do):

    w_j     = softmax(z_j / TEMPERATURE)                                what a candidate is worth
    k(d)    = mean over SCALES_M of exp(-d / scale)                     how far a vote carries
    votes_i = Σ_j w_j k(d_ij)                                           its own, k(0) = 1, included
    boost_i = 1 + EVIDENCE_WEIGHT Σ_e share_e k(d_ie) (exp(min(z_e, Z_MOST) - Z_LEAST) - 1)⁺
    mass_i  ∝ w_i votes_i boost_i

where e runs over the evidence near i that is no candidate itself, z_e is standardised over the
evidence of its kind (which is mostly of wrong places, so it tells what chance looks like), and
share_e is 1 for another kind than the candidate's, else SAME_KIND_SHARE. Evidence that is a
candidate itself votes once, as a candidate, and counts as support.

A candidate's own worth stays a factor: votes added to it alone would let a dense street outvote the
one match (on real street faces the answer within 25 m fell from 73 % of questions to 36 %).

Letters: K candidates, E pairs of a candidate and an evidence photo, U evidence photos, D width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.distance import pairwise_m
from pinpoint.geo.points import lat_lon
from pinpoint.records import Candidate, Evidence, Ranked, Vector

NAME: Final = "vote"
TOP1: Final = "top1"
TEMPERATURE: Final = 0.7
SCALES_M: Final = (100.0, 1_000.0, 25_000.0)
EVIDENCE_WEIGHT: Final = 0.25
SAME_KIND_SHARE: Final = 0.5
Z_LEAST: Final = 1.0
"""Evidence that stands out by less than this says nothing, or dense towns would always win."""
Z_MOST: Final = 4.0
"""Standing out by more than this is not believed more."""
_LEAST_SPREAD: Final = 1e-5
"""Spreads below this are rounding, not information."""
_DIGITS: Final = 6

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Evidence as flat arrays: entry e belongs to candidate `owner[e]`."""

    owner: NDArray[np.intp]
    photo: NDArray[np.intp]
    """Which of the U different photos."""
    distance_m: Floats
    other_kind: NDArray[np.bool_]
    similarity: Floats
    """`[E]`."""


def rank(
    vector: Vector,
    candidates: Sequence[Candidate],
    evidence: Mapping[UUID, Sequence[Evidence]],
) -> tuple[Ranked, ...]:
    """Give every candidate its mass.

    Args:
        vector: Query `[D]`.
        candidates: `[K]`, in any order; the result does not depend on it.
        evidence: For candidates by id what stands near them.

    Returns:
        `[K]` by mass, ties by score, then id; masses sum to 1. Empty for no candidates.
    """
    if not candidates:
        return ()
    voters = sorted(candidates, key=lambda each: (-each.score, each.id.int))
    near = [tuple(evidence.get(each.id, ())) for each in voters]
    photos = _distinct(near)
    similarity = _similarities(vector, list(photos.values()))
    pairs = _pairs(voters, near, list(photos), similarity)
    mass, support = _masses(voters, pairs, list(photos.values()), similarity)

    ends = np.cumsum([len(own) for own in near])
    said = pairs.similarity.tolist()
    ranked = [
        Ranked(
            candidate=each,
            mass=float(mass[i]),
            support=float(support[i]),
            evidence=near[i],
            similarities=tuple(said[ends[i] - len(near[i]) : ends[i]]),
        )
        for i, each in enumerate(voters)
    ]
    # `voters` is in order of score and id, and sorting is stable.
    return tuple(sorted(ranked, key=lambda each: -each.mass))


def top1(
    vector: Vector,
    candidates: Sequence[Candidate],
    evidence: Mapping[UUID, Sequence[Evidence]],
) -> tuple[Ranked, ...]:
    """The `top1` ranker: the most similar candidate has all of the mass, nobody else has a say.

    What retrieval alone is worth. Its regions are no statement: all mass stands on one point.

    Args:
        vector: Query `[D]`.
        candidates: `[K]`, in any order; the result does not depend on it.
        evidence: For candidates by id what stands near them; shown, not heard.

    Returns:
        `[K]` by score, ties by id; the first has mass 1. Empty for no candidates.
    """
    ordered = sorted(candidates, key=lambda each: (-each.score, each.id.int))
    near = [tuple(evidence.get(each.id, ())) for each in ordered]
    photos = _distinct(near)
    similarity = _similarities(vector, list(photos.values())).tolist()
    said = dict(zip(photos, similarity, strict=True))
    return tuple(
        Ranked(
            candidate=each,
            mass=float(place == 0),
            support=0.0,
            evidence=near[place],
            similarities=tuple(said[photo.id.int] for photo in near[place]),
        )
        for place, each in enumerate(ordered)
    )


def _distinct(near: Sequence[Sequence[Evidence]]) -> dict[int, Evidence]:
    """Every evidence photo once, by id: one photo often stands near many candidates."""
    found: dict[int, Evidence] = {}
    for own in near:
        for each in own:
            found.setdefault(each.id.int, each)
    return dict(sorted(found.items()))


def _similarities(vector: Vector, photos: Sequence[Evidence]) -> Floats:
    """Cosine similarity of the query to each photo, `[U]`.

    Double precision and rounded, so that no order of summation can be seen in an answer. Row by
    row (`vecdot`): BLAS's matrix product starts threads for this, and waits for busy cores.
    """
    if not photos:
        return np.zeros(0)
    matrix = np.array([each.vector for each in photos]).astype(np.float64)
    query = np.asarray(vector, dtype=np.float64)
    lengths = np.sqrt(np.vecdot(matrix, matrix) * np.vecdot(query, query))
    cosines = np.vecdot(matrix, query) / np.where(lengths > 0, lengths, 1.0)
    return np.asarray(np.round(cosines, _DIGITS))


def _pairs(
    voters: Sequence[Candidate],
    near: Sequence[Sequence[Evidence]],
    photos: Sequence[int],
    similarity: Floats,
) -> _Pairs:
    """Flatten the evidence of all candidates, in their order."""
    seat = {photo: number for number, photo in enumerate(photos)}
    photo = np.array([seat[each.id.int] for own in near for each in own], dtype=np.intp)
    return _Pairs(
        owner=np.repeat(np.arange(len(near)), [len(own) for own in near]),
        photo=photo,
        distance_m=np.array([each.distance_m for own in near for each in own], dtype=np.float64),
        other_kind=np.array(
            [each.kind != voters[i].kind for i, own in enumerate(near) for each in own], dtype=bool
        ),
        similarity=similarity[photo],
    )


def _masses(
    voters: Sequence[Candidate], pairs: _Pairs, photos: Sequence[Evidence], similarity: Floats
) -> tuple[Floats, Floats]:
    """Mass and support of every candidate, `[K]` each, by the formula above."""
    worth = np.exp(_standard(np.array([each.score for each in voters])) / TEMPERATURE)
    worth /= worth.sum()
    votes = worth * _carry(pairwise_m(lat_lon([each.point for each in voters])))

    number = {each.id.int: j for j, each in enumerate(voters)}
    voter = np.array([number.get(each.id.int, -1) for each in photos], dtype=np.intp)
    cast_by = voter[pairs.photo]
    is_evidence = np.zeros_like(votes, dtype=bool)
    is_evidence[pairs.owner[cast_by >= 0], cast_by[cast_by >= 0]] = True

    said = _standard_by_kind(photos, similarity, voter < 0)[pairs.photo]
    loud = np.maximum(np.expm1(np.minimum(said, Z_MOST) - Z_LEAST), 0.0)
    loud *= np.where(pairs.other_kind, 1.0, SAME_KIND_SHARE) * _carry(pairs.distance_m)
    heard = np.bincount(pairs.owner, weights=loud * (cast_by < 0), minlength=len(voters))

    total = votes.sum(axis=1) * (1.0 + EVIDENCE_WEIGHT * heard)
    own = np.where(is_evidence, 0.0, votes).sum(axis=1)
    mass = worth * total
    return mass / mass.sum(), np.clip(1.0 - own / total, 0.0, 1.0)


def _carry(distance_m: Floats) -> Floats:
    """How much of a vote arrives at this distance: 1 at 0 m, falling over all scales."""
    arrived = np.zeros_like(distance_m)
    for scale_m in SCALES_M:
        arrived += np.exp(distance_m * (-1.0 / scale_m))
    return arrived / len(SCALES_M)


def _standard(values: Floats) -> Floats:
    """Distance from the mean in spreads; zeros where the values do not differ."""
    spread = float(values.std())
    if spread < _LEAST_SPREAD:
        return np.zeros_like(values)
    return np.asarray((values - values.mean()) / spread)


def _standard_by_kind(
    photos: Sequence[Evidence], similarity: Floats, heard: NDArray[np.bool_]
) -> Floats:
    """Similarities standardised within each kind over the `heard` ones; the rest is 0, `[U]`."""
    standard = np.zeros(len(photos))
    kinds = np.array([each.kind for each in photos], dtype=object)
    for kind in sorted(set(kinds.tolist())):
        these = (kinds == kind) & heard
        if these.any():
            standard[these] = _standard(similarity[these])
    return standard
