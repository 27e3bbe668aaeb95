"""Features of a query at decision time, from which a calibration computes the posterior.

Symbols: K candidates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import lat_lon
from pinpoint.geo.posteriors import AGREEMENT_RADIUS_M
from pinpoint.records import ImageMatch, QueryFeatures, RankedCandidate, Verification

_MIN_REACH_M: Final = 500.0
"""Minimum reach for the density estimate: nearer evidence may be of the same panorama."""
_MIN_WEIGHT: Final = 1e-12
_DIGITS: Final = 6


def compute_query_features(
    ranked: Sequence[RankedCandidate],
    *,
    kind: str | None,
    no_match_logit: float | None = None,
    matches: Mapping[UUID, ImageMatch] = MappingProxyType({}),
) -> QueryFeatures:
    """Features from which the posterior is computed.

    Args:
        ranked: `[K]`, in any order, at least one.
        kind: Source kind of the query, as given by the caller.
        no_match_logit: Logit of a reranker's no-match candidate.
        matches: Matches of candidates by their local features, by image id.
    """
    compared = compared_verifications(ranked, matches)
    points = [entry.refined_position or entry.candidate.point for entry in ranked]
    scored = all(entry.rerank_logit is not None for entry in ranked)
    return QueryFeatures(
        kind=kind,
        positions=tuple((point.lat, point.lon) for point in points),
        logits=tuple(
            float(
                entry.rerank_logit
                if scored and entry.rerank_logit is not None
                else _log_weight(entry.weight)
            )
            for entry in ranked
        ),
        no_match_logit=no_match_logit,
        max_similarity=max(entry.candidate.score for entry in ranked),
        neighborhood_similarity=_neighborhood_similarity(ranked),
        neighborhood_coherence=neighborhood_coherence(ranked),
        gallery_density=_gallery_density(ranked),
        verified=any(verification.verified for verification in compared) if compared else None,
        max_inliers=max((verification.inliers for verification in compared), default=None),
    )


def compared_verifications(
    ranked: Sequence[RankedCandidate], matches: Mapping[UUID, ImageMatch]
) -> list[Verification]:
    """Verifications of candidates within 25 km of the heaviest one.

    Empty if none of them is verified and a candidate could not be compared: the photo may well
    show what that candidate shows.

    Args:
        ranked: `[K]`, in any order, at least one.
        matches: Matches of candidates by their local features, by image id.
    """
    heaviest = find_heaviest(ranked)
    distances_m = haversine_m(
        lat_lon([entry.candidate.point for entry in ranked]), lat_lon([heaviest.candidate.point])
    )
    near = [
        match
        for entry, distance_m in zip(ranked, distances_m.tolist(), strict=True)
        if distance_m <= AGREEMENT_RADIUS_M
        and (match := matches.get(entry.candidate.id)) is not None
    ]
    compared = [match.verification for match in near if match.match is not None]
    is_complete = len(compared) == len(near)
    if is_complete or any(verification.verified for verification in compared):
        return compared
    return []


def find_heaviest(ranked: Sequence[RankedCandidate]) -> RankedCandidate:
    """The candidate with the highest weight, the first of equal ones."""
    return max(ranked, key=lambda entry: (entry.weight, -entry.candidate.rank))


def _neighborhood_similarity(ranked: Sequence[RankedCandidate]) -> float:
    """Mean similarity of candidates and their evidence: one similar image may be by chance."""
    means = [float(np.mean([entry.candidate.score, *entry.similarities])) for entry in ranked]
    weights = [entry.weight for entry in ranked]
    return round(float(np.average(means, weights=weights)), _DIGITS)


def neighborhood_coherence(ranked: Sequence[RankedCandidate]) -> float:
    """How much more the query resembles the images of a place than they resemble each other.

    The images are the evidence of the heaviest candidate and of the candidates within 25 km of it.

    Args:
        ranked: `[K]`, in any order, at least one.

    Returns:
        Mean cosine of the query to the M images, minus their mean cosine over all pairs; 0 with
        fewer than two images.
    """
    heaviest = find_heaviest(ranked)
    distances_m = haversine_m(
        lat_lon([entry.candidate.point for entry in ranked]), lat_lon([heaviest.candidate.point])
    )
    vectors, similarities = {}, {}
    for entry, distance_m in zip(ranked, distances_m.tolist(), strict=True):
        if distance_m <= AGREEMENT_RADIUS_M:
            for photo, similarity in zip(entry.evidence, entry.similarities, strict=True):
                vectors[photo.id] = photo.vector
                similarities[photo.id] = similarity
    if len(vectors) < 2:
        return 0.0
    units = np.stack([vectors[id_] for id_ in sorted(vectors)]).astype(np.float64)
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), _MIN_WEIGHT)
    count = len(units)
    total = units.sum(axis=0)
    mutual = (float(total @ total) - float(np.square(units).sum())) / (count * (count - 1))
    mean = float(np.mean([similarities[id_] for id_ in sorted(similarities)]))
    return round(mean - mutual, _DIGITS)


def _gallery_density(ranked: Sequence[RankedCandidate]) -> float:
    """Weighted mean number of gallery images per km² around the candidates.

    For each candidate it is the number of evidence photos over the area of the disc that contains
    them. In a sparse gallery all photos are read; in a dense gallery the disc is small.
    """
    density = 0.0
    for entry in ranked:
        reach_m = max([_MIN_REACH_M, *(photo.distance_m for photo in entry.evidence)])
        density += entry.weight * len(entry.evidence) / (np.pi * (reach_m / 1_000.0) ** 2)
    return round(float(density), _DIGITS)


def _log_weight(weight: float) -> float:
    return float(np.log(max(weight, _MIN_WEIGHT)))
