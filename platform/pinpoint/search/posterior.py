"""From scores to calibrated probabilities: the posterior of the position of the photo.

The mathematics is in `geo.posteriors`. The features of a query are in `search.query_features`. This
module selects the calibration of a query and builds the posterior of the answer.
Symbols: K candidates, Q nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import numpy as np

from pinpoint.arrays import Floats
from pinpoint.geo import hdr, kernels, posteriors
from pinpoint.geo.gazetteer import most_probable_places
from pinpoint.metrics.geolocation import GEOSCORE_SCALE_KM, THRESHOLDS_KM
from pinpoint.records import (
    CalibratedResult,
    Calibration,
    Contract,
    CoverageModel,
    CredibleDisc,
    CredibleRegion,
    ImageMatch,
    PlaceName,
    Point,
    Posterior,
    QueryFeatures,
    Ranking,
    SearchFilter,
    StratumFit,
    VerificationFit,
)
from pinpoint.search.query_features import compute_query_features
from pinpoint.settings import SearchSettings

REGION_PROBABILITY_KEYS: Final = ("0.5", "0.9")
NUM_NODES: Final = 1_024
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
    features = compute_query_features(
        ranking.ranked, kind=kind, no_match_logit=ranking.no_match_logit, matches=matches
    )
    if calibration is None:
        return CalibratedResult(features=features, note=note)
    applied = features
    model = calibration.verification
    if model is not None and search.verify_candidates > model.verify_candidates:
        # The largest of more numbers of inliers is larger than those of the fit.
        applied = replace(features, verified=None, max_inliers=None)
    posterior = compute_posterior(applied, calibration, search.optimize_for_radius_km)
    return CalibratedResult(
        features=features,
        posterior=posterior,
        note=note,
        abstention_reason=posterior.abstention_reason,
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
        or search_filter.polygons
        or search_filter.countries
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
    verification = posteriors.select_verification_fit(features, stratum, calibration)
    mixture = build_mixture(features, fit, calibration)
    nodes = kernels.quadrature_nodes(mixture, NUM_NODES)
    # Inliers change how probable the answer is, and not the answer.
    answer = select_best_point(features, mixture, nodes, optimize_for_radius_km)
    within = _probability_within(mixture, answer, fit, features, verification)
    levels = (fit.credible_disc_levels, fit.credible_region_levels)
    if verification is not None:
        levels = (verification.credible_disc_levels, verification.credible_region_levels)
        mixture = build_mixture(features, fit, calibration, verification)
        nodes = kernels.quadrature_nodes(mixture, NUM_NODES)
    rule = posteriors.select_abstention_rule(features, stratum, calibration)
    doubt = posteriors.abstention_score(
        features, fit, rule.not_in_gallery_coefficients, verification
    )
    candidate_masses, p_outside_candidates, p_not_in_gallery = _split_mass(
        features, fit, calibration.coverage, verification
    )
    if calibration.coverage is None:
        p_not_in_gallery = None if rule.signal == "outside_candidates" else doubt
    return Posterior(
        stratum=stratum,
        point=Point(lat=float(answer[0]), lon=float(answer[1])),
        probability_within_km=within,
        p_outside_candidates=p_outside_candidates,
        p_not_in_gallery=p_not_in_gallery,
        credible_discs=_credible_discs(mixture, answer, levels[0]),
        credible_regions=_credible_regions(mixture, nodes, levels[1]),
        names=_place_names(features, candidate_masses),
        abstention_reason=rule.signal if doubt > rule.threshold else None,
    )


def build_mixture(
    features: QueryFeatures,
    fit: StratumFit,
    calibration: Calibration,
    verification: VerificationFit | None = None,
) -> kernels.Mixture:
    """The mixture of a query with the kernels of its calibration."""
    return posteriors.mixture(
        features,
        fit,
        calibration.kernels_km,
        calibration.background_kernels_km,
        calibration.coverage,
        verification,
    )


def _split_mass(
    features: QueryFeatures,
    fit: StratumFit,
    coverage: CoverageModel | None,
    verification: VerificationFit | None,
) -> tuple[Floats, float, float | None]:
    """Probability of each candidate `[K]`, of "near none", and of "not in the gallery"."""
    candidate_masses, p_outside_candidates = posteriors.masses(features, fit)
    p_not_in_gallery = None
    if coverage is not None:
        p_not_in_gallery = posteriors.probability(coverage.coefficients, features)
        candidate_masses = (1.0 - p_not_in_gallery) * candidate_masses
        p_outside_candidates = 1.0 - float(candidate_masses.sum())
    if verification is not None:
        factor = np.exp(posteriors.locality_log_odds(features, verification))
        candidate_masses = np.where(
            posteriors.is_near_heaviest(features), candidate_masses * factor, candidate_masses
        )
        total = float(candidate_masses.sum()) + p_outside_candidates
        candidate_masses, p_outside_candidates = (
            candidate_masses / total,
            p_outside_candidates / total,
        )
        p_not_in_gallery = None if p_not_in_gallery is None else p_not_in_gallery / total
    return candidate_masses, p_outside_candidates, p_not_in_gallery


def _probability_within(
    mixture: kernels.Mixture,
    answer: Floats,
    fit: StratumFit,
    features: QueryFeatures,
    verification: VerificationFit | None,
) -> dict[float, float]:
    """Probability by kilometers: the mass inside, recalibrated in log-odds, non-decreasing.

    More inliers never lower it: the mass is that without verification, and the coefficients of the
    inliers are not negative.
    """
    masses = kernels.masses_within(mixture, answer[None], np.array(THRESHOLDS_KM))
    coefficients = np.array([fit.probability_within_km[f"{km:g}"] for km in THRESHOLDS_KM])
    log_odds = coefficients[:, 0] + coefficients[:, 1] * posteriors.log_odds(masses)
    if verification is not None:
        log_odds += np.array(
            [verification.log_odds_within_km[f"{km:g}"] for km in THRESHOLDS_KM]
        ) @ posteriors.verification_features(features)
    recalibrated = 1.0 / (1.0 + np.exp(-log_odds))
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
