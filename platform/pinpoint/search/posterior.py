"""From scores to calibrated probabilities: the posterior of the position of the photo.

The mathematics is in `geo.posteriors`. This module computes the features of a query, selects its
calibration and builds the posterior of the answer. Symbols: K candidates, Q nodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import numpy as np

from pinpoint.arrays import Floats
from pinpoint.geo import hdr, kernels, posteriors
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.gazetteer import most_probable_places
from pinpoint.geo.points import lat_lon
from pinpoint.metrics.geolocation import GEOSCORE_SCALE_KM, THRESHOLDS_KM
from pinpoint.records import (
    CalibratedResult,
    Calibration,
    Contract,
    CredibleDisc,
    CredibleRegion,
    ImageMatch,
    PlaceName,
    Point,
    Posterior,
    QueryFeatures,
    RankedCandidate,
    Ranking,
    SearchFilter,
    StratumFit,
)
from pinpoint.settings import SearchSettings

REGION_PROBABILITY_KEYS: Final = ("0.5", "0.9")
NUM_NODES: Final = 1_024
_MIN_REACH_M: Final = 500.0
"""Minimum reach for the density estimate: nearer evidence may be of the same panorama."""
_MIN_WEIGHT: Final = 1e-12
_UNCALIBRATED_SETTINGS: Final = frozenset({"verify_candidates"})
"""Search settings that change neither candidates nor weights."""
_DIGITS: Final = 6

Nodes = tuple[Floats, Floats]
"""Positions `[Q, 2]` and weights `[Q]` of a posterior (`geo.kernels.quadrature_nodes`)."""


def calibrate_result(
    ranking: Ranking,
    contract: Contract,
    search_filter: SearchFilter,
    search: SearchSettings,
    *,
    kind: str | None = None,
    num_photos: int = 1,
    matches: Mapping[UUID, ImageMatch] = MappingProxyType({}),
) -> CalibratedResult:
    """The posterior, if a calibration applies to the query, and a note on the calibration.

    Args:
        ranking: `[K]` candidates, the name of their ranker, and a reranker's no-match logit.
        contract: Contract of the bundle; contains the calibrations.
        search_filter: The search filter.
        search: The search settings.
        kind: Source kind of the query, as given by the caller.
        num_photos: Number of photos of the query.
        matches: Matches of candidates by their local features, by image id.
    """
    calibration, note = select_calibration(
        contract, ranking.ranker, search_filter, search.model_dump(mode="json")
    )
    if calibration is not None and num_photos > 1:
        # The mean of several vectors has other similarities than the vector of one photo.
        calibration, note = None, "queries with several photos are not calibrated"
    if not ranking.ranked:
        return CalibratedResult(note=note, abstention_reason="no_candidates")
    features = query_features(
        ranking.ranked, kind=kind, no_match_logit=ranking.no_match_logit, matches=matches
    )
    if calibration is None:
        return CalibratedResult(features=features, note=note)
    posterior = compute_posterior(features, calibration, search.optimize_for_radius_km)
    return CalibratedResult(
        features=features,
        posterior=posterior,
        note=note,
        abstention_reason=posterior.abstention_reason,
    )


def query_features(
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
    compared = [
        match.verification
        for entry in ranked
        if (match := matches.get(entry.candidate.id)) is not None and match.match is not None
    ]
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


def select_calibration(
    contract: Contract, ranker: str, search_filter: SearchFilter, search: Mapping[str, Any]
) -> tuple[Calibration | None, str]:
    """The calibration that applies to a query, or None, and a note that explains it.

    A filter in space or time changes the probabilities, and so do other search settings. Then the
    calibration does not apply. A filter on sources only makes the gallery smaller.
    """
    calibration = contract.calibrations.get(ranker)
    if calibration is None:
        return None, f"bundle {contract.name} has no calibration for the ranker {ranker}"
    changed_settings = [
        name
        for name, value in calibration.search_settings.items()
        if name not in _UNCALIBRATED_SETTINGS and search.get(name) != value
    ]
    if changed_settings:
        return None, f"it was fitted with other search settings: {', '.join(changed_settings)}"
    if (
        search_filter.circle
        or search_filter.box
        or search_filter.polygon
        or search_filter.captured_after
        or search_filter.captured_before
    ):
        return None, "queries with a filter in space or time are not calibrated"
    if set(search_filter.source_kinds) != set(calibration.source_kinds):
        return None, "it was fitted on other source kinds than those of the filter"
    return calibration, calibration.note


def select_best_point(
    features: QueryFeatures,
    mixture: kernels.Mixture,
    nodes: Nodes,
    optimize_for_radius_km: float | None,
) -> Floats:
    """The candidate position `[2]` with the highest expected GeoScore; the first of equal ones.

    Args:
        features: Features of the query; its points are the possible answers.
        mixture: Posterior of the query.
        nodes: Quadrature nodes of the posterior.
        optimize_for_radius_km: Maximize accuracy within this radius instead, in kilometers.
    """
    if optimize_for_radius_km is not None:
        return select_most_probable_point(features, mixture, optimize_for_radius_km)
    points = np.array(features.positions)
    expected_scores = kernels.expected_scores(*nodes, points, GEOSCORE_SCALE_KM)
    return np.asarray(points[np.argmax(expected_scores)])


def select_most_probable_point(
    features: QueryFeatures, mixture: kernels.Mixture, km: float
) -> Floats:
    """The candidate position `[2]` with the most mass within `km`; the first of equal ones."""
    points = np.array(features.positions)
    return np.asarray(points[np.argmax(kernels.masses_within(mixture, points, km))])


def compute_posterior(
    features: QueryFeatures, calibration: Calibration, optimize_for_radius_km: float | None = None
) -> Posterior:
    """Compute the posterior, its point, its probabilities and its credible regions.

    Args:
        features: Features of the query.
        calibration: Calibration of the bundle and ranker.
        optimize_for_radius_km: As in `select_best_point`.
    """
    stratum, fit = posteriors.select_fit(
        features, calibration.strata, calibration.density_thresholds
    )
    mixture = posteriors.mixture(
        features,
        fit,
        calibration.kernels_km,
        calibration.background_kernels_km,
        calibration.coverage,
    )
    nodes = kernels.quadrature_nodes(mixture, NUM_NODES)
    answer = select_best_point(features, mixture, nodes, optimize_for_radius_km)
    abstention = calibration.abstention
    candidate_masses, p_outside_candidates = posteriors.masses(features, fit)
    doubt = posteriors.abstention_score(features, fit, abstention)
    p_not_in_gallery = None if abstention.signal == "outside_candidates" else doubt
    if calibration.coverage is not None:
        p_not_in_gallery = posteriors.probability(calibration.coverage.coefficients, features)
        candidate_masses = (1.0 - p_not_in_gallery) * candidate_masses
        p_outside_candidates = 1.0 - float(candidate_masses.sum())
    return Posterior(
        stratum=stratum,
        point=Point(lat=float(answer[0]), lon=float(answer[1])),
        probability_within_km=_probability_within(mixture, answer, fit),
        p_outside_candidates=p_outside_candidates,
        p_not_in_gallery=p_not_in_gallery,
        credible_discs=_credible_discs(mixture, answer, fit.credible_disc_levels),
        credible_regions=_credible_regions(mixture, nodes, fit.credible_region_levels),
        names=_place_names(features, candidate_masses),
        abstention_reason=abstention.signal if doubt > abstention.threshold else None,
    )


def _probability_within(
    mixture: kernels.Mixture, answer: Floats, fit: StratumFit
) -> dict[float, float]:
    """Probability by kilometers: the mass inside, recalibrated in log-odds, non-decreasing."""
    masses = kernels.masses_within(mixture, answer[None], np.array(THRESHOLDS_KM))
    coefficients = np.array([fit.probability_within_km[f"{km:g}"] for km in THRESHOLDS_KM])
    log_odds = posteriors.log_odds(masses)
    recalibrated = 1.0 / (1.0 + np.exp(-coefficients[:, 0] - coefficients[:, 1] * log_odds))
    monotonic = np.round(np.maximum.accumulate(recalibrated), _DIGITS).tolist()
    return dict(zip(THRESHOLDS_KM, monotonic, strict=True))


def _credible_discs(
    mixture: kernels.Mixture, answer: Floats, levels: Mapping[str, float]
) -> tuple[CredibleDisc, ...]:
    masses = np.minimum(np.array(list(levels.values())), 1.0)
    radii_m = (1_000.0 * kernels.radius_for_mass_km(mixture, answer, masses)).tolist()
    return tuple(
        CredibleDisc(probability=float(share), radius_m=radius_m)
        for share, radius_m in zip(levels, radii_m, strict=True)
    )


def _credible_regions(
    mixture: kernels.Mixture, nodes: Nodes, levels: Mapping[str, float]
) -> tuple[CredibleRegion, ...]:
    positions, weights = nodes
    log_densities = kernels.log_density(mixture, positions)
    regions = []
    for share, level in levels.items():
        boxes = hdr.hdr_boxes(mixture, kernels.hdr_log_density(log_densities, weights, level))
        regions.append(
            CredibleRegion(
                probability=float(share),
                level=min(level, 1.0),
                area_km2=hdr.area_km2(boxes),
                boxes=tuple((s, w, n, e) for s, w, n, e in boxes.tolist()),
            )
        )
    return tuple(regions)


def _place_names(features: QueryFeatures, candidate_masses: Floats) -> tuple[PlaceName, ...]:
    """The most probable country, region and city, by the probability of the candidates in them."""
    return tuple(
        PlaceName(level=level, name=name, probability=round(probability, _DIGITS))
        for level, (name, probability) in most_probable_places(
            np.array(features.positions), candidate_masses
        ).items()
    )


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
    heaviest = max(ranked, key=lambda entry: (entry.weight, -entry.candidate.rank))
    distances_m = haversine_m(
        lat_lon([entry.candidate.point for entry in ranked]),
        lat_lon([heaviest.candidate.point]),
    )
    vectors, similarities = {}, {}
    for entry, distance_m in zip(ranked, distances_m.tolist(), strict=True):
        if distance_m <= posteriors.AGREEMENT_RADIUS_M:
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
