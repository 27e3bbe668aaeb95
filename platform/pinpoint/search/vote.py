"""The `vote` ranker: candidates and evidence vote for positions, weighted by distance.

It needs no weights and is the baseline for every learned ranker. K candidates have the query
similarity s, standardized to z over the K, so that the scale of the tower does not matter:

    w_j     = softmax(z_j / VOTE_TEMPERATURE)                           weight of a candidate
    k(d)    = mean over SCALES_M of exp(-d / scale)                     weight by distance
    votes_i = Σ_j w_j k(d_ij)                                           including j = i, k(0) = 1
    boost_i = 1 + EVIDENCE_WEIGHT Σ_e share_e k(d_ie) (exp(min(z_e, Z_MOST) - Z_LEAST) - 1)⁺
    weight_i ∝ w_i votes_i boost_i

where e runs over the evidence near i that is not a candidate itself. z_e is standardized over the
evidence of its kind; most of it is at wrong positions, so it is a sample of chance similarity.
share_e is 1 for another kind than the candidate's, otherwise SAME_KIND_SHARE. Evidence that is a
candidate itself votes once, as a candidate, and counts as evidence.

The factor w_i keeps the similarity of the candidate itself in its weight. With votes as the only
term, a dense street would outvote the one match: on real street faces, answers within 25 m fell
from 73 % to 36 % of the queries.

Symbols: K candidates, E pairs of candidate and evidence photo, U evidence photos, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats
from pinpoint.geo.distance import pairwise_m
from pinpoint.geo.points import lat_lon
from pinpoint.records import (
    VOTE_TEMPERATURE,
    Candidate,
    Evidence,
    RankedCandidate,
    Vector,
)
from pinpoint.vector_math import cosine_similarity

VOTE_RANKER: Final = "vote"
TOP1: Final = "top1"
SCALES_M: Final = (100.0, 1_000.0, 25_000.0)
EVIDENCE_WEIGHT: Final = 0.25
SAME_KIND_SHARE: Final = 0.5
Z_MIN: Final = 1.0
"""Evidence with a smaller z-score has no weight; otherwise dense cities would always win."""
Z_MAX: Final = 4.0
"""Higher z-scores of evidence do not increase its weight."""
_MIN_SPREAD: Final = 1e-5
"""Smaller standard deviations are rounding errors, not information."""
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Evidence as flat arrays: entry e belongs to candidate `owner[e]`."""

    owner: NDArray[np.intp]
    photo: NDArray[np.intp]
    """Index of the photo among the U distinct photos."""
    distance_m: Floats
    other_kind: NDArray[np.bool_]
    similarity: Floats
    """`[E]`."""


def rank_by_vote(
    vector: Vector,
    candidates: Sequence[Candidate],
    evidence: Mapping[UUID, Sequence[Evidence]],
) -> tuple[RankedCandidate, ...]:
    """Compute the weight of every candidate.

    Args:
        vector: Query `[D]`.
        candidates: `[K]`, in any order; the result does not depend on it.
        evidence: Evidence near each candidate, by candidate id.

    Returns:
        `[K]` by weight, ties by score, then `Candidate.tie_key`; weights sum to 1. Empty for no
        candidates.
    """
    if not candidates:
        return ()
    voters = sorted(candidates, key=lambda candidate: (-candidate.score, candidate.tie_key))
    near = [tuple(evidence.get(voter.id, ())) for voter in voters]
    photos = _distinct_photos(near)
    similarity = _compute_similarities(vector, list(photos.values()))
    pairs = _flatten_pairs(voters, near, list(photos), similarity)
    weights, evidence_shares = _compute_weights(voters, pairs, list(photos.values()), similarity)

    ends = np.cumsum([len(photos_near) for photos_near in near])
    pair_similarities = pairs.similarity.tolist()
    ranked = [
        RankedCandidate(
            candidate=voter,
            weight=float(weights[i]),
            evidence_share=float(evidence_shares[i]),
            evidence=near[i],
            similarities=tuple(pair_similarities[ends[i] - len(near[i]) : ends[i]]),
        )
        for i, voter in enumerate(voters)
    ]
    # `voters` is sorted by score and tie key, and sorting is stable.
    return tuple(sorted(ranked, key=lambda entry: -entry.weight))


def rank_top1(
    vector: Vector,
    candidates: Sequence[Candidate],
    evidence: Mapping[UUID, Sequence[Evidence]],
) -> tuple[RankedCandidate, ...]:
    """The `top1` ranker: the most similar candidate gets all of the weight.

    It measures retrieval alone. Its regions have no meaning, because all weight is at one point.

    Args:
        vector: Query `[D]`.
        candidates: `[K]`, in any order; the result does not depend on it.
        evidence: Evidence near each candidate, by candidate id; returned, but not used.

    Returns:
        `[K]` by score, ties by `Candidate.tie_key`; the first has weight 1. Empty for no
        candidates.
    """
    unranked = attach_evidence(vector, candidates, evidence)
    return (*(replace(entry, weight=1.0) for entry in unranked[:1]), *unranked[1:])


def attach_evidence(
    vector: Vector,
    candidates: Sequence[Candidate],
    evidence: Mapping[UUID, Sequence[Evidence]],
) -> tuple[RankedCandidate, ...]:
    """The candidates with their evidence and its similarities to the query; their weight is 0.

    Args:
        vector: Query `[D]`.
        candidates: `[K]`, in any order.
        evidence: Evidence near each candidate, by candidate id.

    Returns:
        `[K]` by score, ties by `Candidate.tie_key`.
    """
    ordered = sorted(candidates, key=lambda candidate: (-candidate.score, candidate.tie_key))
    near = [tuple(evidence.get(candidate.id, ())) for candidate in ordered]
    photos = _distinct_photos(near)
    similarity = _compute_similarities(vector, list(photos.values())).tolist()
    similarity_by_photo = dict(zip(photos, similarity, strict=True))
    return tuple(
        RankedCandidate(
            candidate=candidate,
            weight=0.0,
            evidence_share=0.0,
            evidence=photos_near,
            similarities=tuple(similarity_by_photo[photo.id.int] for photo in photos_near),
        )
        for candidate, photos_near in zip(ordered, near, strict=True)
    )


def _distinct_photos(near: Sequence[Sequence[Evidence]]) -> dict[int, Evidence]:
    """Every evidence photo once, by id, because a photo is often near several candidates.

    Sorted by `Evidence.tie_key`, because the order of a sum decides its last digit.
    """
    photos: dict[int, Evidence] = {}
    for photos_near in near:
        for photo in photos_near:
            photos.setdefault(photo.id.int, photo)
    return dict(sorted(photos.items(), key=lambda entry: entry[1].tie_key))


def _compute_similarities(vector: Vector, photos: Sequence[Evidence]) -> Floats:
    """Cosine similarity of the query to each photo, `[U]`.

    Rounded, so that the order of summation cannot change an answer.
    """
    if not photos:
        return np.zeros(0)
    matrix = np.array([photo.vector for photo in photos])
    return np.asarray(np.round(cosine_similarity(matrix, np.asarray(vector)), _DIGITS))


def _flatten_pairs(
    voters: Sequence[Candidate],
    near: Sequence[Sequence[Evidence]],
    photos: Sequence[int],
    similarity: Floats,
) -> _Pairs:
    """Flatten the evidence of all candidates, in their order."""
    photo_index = {photo: number for number, photo in enumerate(photos)}
    photo = np.array(
        [photo_index[entry.id.int] for photos_near in near for entry in photos_near], dtype=np.intp
    )
    return _Pairs(
        owner=np.repeat(np.arange(len(near)), [len(photos_near) for photos_near in near]),
        photo=photo,
        distance_m=np.array(
            [entry.distance_m for photos_near in near for entry in photos_near], dtype=np.float64
        ),
        other_kind=np.array(
            [
                entry.source_kind != voters[i].source_kind
                for i, photos_near in enumerate(near)
                for entry in photos_near
            ],
            dtype=bool,
        ),
        similarity=similarity[photo],
    )


def _compute_weights(
    voters: Sequence[Candidate], pairs: _Pairs, photos: Sequence[Evidence], similarity: Floats
) -> tuple[Floats, Floats]:
    """Weight and evidence share of every candidate, `[K]` each, by the formula above."""
    weights = np.exp(
        _compute_zscores(np.array([voter.score for voter in voters])) / VOTE_TEMPERATURE
    )
    weights /= weights.sum()
    votes = weights * _distance_weight(pairwise_m(lat_lon([voter.point for voter in voters])))

    voter_index = {candidate.id.int: j for j, candidate in enumerate(voters)}
    voter_of_photo = np.array(
        [voter_index.get(photo.id.int, -1) for photo in photos], dtype=np.intp
    )
    cast_by = voter_of_photo[pairs.photo]
    is_evidence = np.zeros_like(votes, dtype=bool)
    is_evidence[pairs.owner[cast_by >= 0], cast_by[cast_by >= 0]] = True

    zscores = _compute_zscores_by_kind(photos, similarity, voter_of_photo < 0)[pairs.photo]
    boosts = np.maximum(np.expm1(np.minimum(zscores, Z_MAX) - Z_MIN), 0.0)
    boosts *= np.where(pairs.other_kind, 1.0, SAME_KIND_SHARE) * _distance_weight(pairs.distance_m)
    evidence_boost = np.bincount(pairs.owner, weights=boosts * (cast_by < 0), minlength=len(voters))

    total = votes.sum(axis=1) * (1.0 + EVIDENCE_WEIGHT * evidence_boost)
    candidate_votes = np.where(is_evidence, 0.0, votes).sum(axis=1)
    unnormalized = weights * total
    return unnormalized / unnormalized.sum(), np.clip(1.0 - candidate_votes / total, 0.0, 1.0)


def _distance_weight(distance_m: Floats) -> Floats:
    """Weight of a vote at this distance: 1 at 0 m, decreasing over all scales."""
    total = np.zeros_like(distance_m)
    for scale_m in SCALES_M:
        total += np.exp(distance_m * (-1.0 / scale_m))
    return total / len(SCALES_M)


def _compute_zscores(values: Floats) -> Floats:
    """Distance from the mean in standard deviations; zeros if the values do not differ."""
    spread = float(values.std())
    if spread < _MIN_SPREAD:
        return np.zeros_like(values)
    return np.asarray((values - values.mean()) / spread)


def _compute_zscores_by_kind(
    photos: Sequence[Evidence], similarity: Floats, voting: NDArray[np.bool_]
) -> Floats:
    """Similarities standardized within each kind over the `voting` ones; others are 0, `[U]`."""
    zscores = np.zeros(len(photos))
    kinds = np.array([photo.source_kind for photo in photos], dtype=object)
    for kind in sorted(set(kinds.tolist())):
        is_kind = (kinds == kind) & voting
        if is_kind.any():
            zscores[is_kind] = _compute_zscores(similarity[is_kind])
    return zscores
