"""Calibrates a ranker on the stored rows of a run's calibration split.

Steps: fit temperature, kernels and background mass (`posterior_fit`); compute split-conformal
levels per stratum with one photo per creator; fit the abstention threshold (`abstention`).
Queries that are not in the gallery are used for the abstention threshold only.
Levels also count queries that are abstained on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint import __version__
from pinpoint.arrays import Flags, Floats
from pinpoint.errors import BadRequestError
from pinpoint.evaluation.calibration import abstention, posterior_fit
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.run.rows import EXCLUDED, UNFILTERED, read_decision_features, read_rows
from pinpoint.evaluation.run.run_manifest import read_run_manifest
from pinpoint.geo import kernels, posteriors
from pinpoint.geo.distance import haversine_m
from pinpoint.metrics.conformal import conformal_level, sample_one_per_creator
from pinpoint.metrics.geolocation import THRESHOLDS_KM
from pinpoint.records import Calibration, QueryFeatures, StratumFit
from pinpoint.search import posterior

CALIBRATION_ROLES: Final = ("calibration", "null-train")
"""Roles of a planet's queries that are used for fitting; all other queries are for tests."""
MIN_CREATORS: Final = 10
"""With fewer creators, a coverage of 90 % cannot be guaranteed."""
MIN_CREATORS_PER_STRATUM: Final = 100
"""A stratum with fewer creators gets no parameters of its own."""
MIN_LEVEL: Final = 2e-3
"""Minimum mass of a region: two of a posterior's quadrature nodes."""
CALIBRATION_SEED: Final = 20261121
_FEATURE_NAMES: Final = {feature.name for feature in fields(QueryFeatures)}
_SETTINGS_WITHOUT_EFFECT: Final = ("max_citations", "optimize_for_radius_km")
"""Search settings that do not change the posterior."""


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationSet:
    """N answered queries of the calibration split."""

    features: Sequence[QueryFeatures]
    ground_truth: Floats
    """`[N, 2]`."""
    creators: Sequence[str | None]
    in_gallery: Flags
    """`[N]`: the labels do not mark the query as outside the gallery."""

    def select(self, rows: NDArray[np.intp]) -> CalibrationSet:
        """A subset of the queries."""
        return CalibrationSet(
            [self.features[row] for row in rows],
            self.ground_truth[rows],
            [self.creators[row] for row in rows],
            self.in_gallery[rows],
        )

    def count_creators(self) -> int:
        """Number of creators; a photo without a creator counts as a separate creator."""
        return len(sample_one_per_creator(self.creators, CALIBRATION_SEED))


def fit_calibration(
    folder: Path,
    *,
    license: str | None = None,
    max_false_abstention: float = abstention.MAX_FALSE_ABSTENTION,
) -> Calibration:
    """Fit a calibration on a finished run.

    Args:
        folder: Folder of the run. The arm with exclusions is used if the run has one.
        license: License of the queries; by default that of the protocol.
        max_false_abstention: Maximum share of the correct answers that may be withheld, in (0, 1).

    Raises:
        BadRequestError: The run is missing or unfinished, its ranker states no probabilities, or
            it has too few creators.
    """
    run = read_run_manifest(folder)
    if run["settings"]["ranker"] == "top1":
        raise BadRequestError(
            "the ranker top1 puts all mass on one candidate and cannot be calibrated"
        )
    if not 0 < max_false_abstention < 1:
        raise BadRequestError(
            f"the share of withheld answers must be in (0, 1), not {max_false_abstention}"
        )
    arm = EXCLUDED if run["settings"]["exclude"] else UNFILTERED
    queries = _read_calibration_set(folder, run, arm)
    in_gallery = _select_in_gallery(queries, folder)
    density_thresholds = _density_thresholds(in_gallery)
    strata = _fit_strata(in_gallery, density_thresholds)
    num_creators = in_gallery.count_creators()
    protocol = PROTOCOLS[run["protocol"]]
    return Calibration(
        ranker=run["settings"]["ranker"],
        contract_digest=run["gallery"]["bundle_digest"],
        reranker_digest=run["settings"].get("reranker"),
        bundle=run["gallery"]["bundle"],
        kernels_km=posterior_fit.KERNELS_KM,
        background_kernels_km=posterior_fit.BACKGROUND_KERNELS_KM,
        density_thresholds=density_thresholds,
        strata=strata,
        abstention=abstention.fit_threshold(
            queries.features,
            [
                posteriors.select_fit(features, strata, density_thresholds)[1]
                for features in queries.features
            ],
            queries.ground_truth,
            queries.in_gallery,
            max_false_abstention,
        ),
        search_settings={
            name: value
            for name, value in run["settings"]["search"].items()
            if name not in _SETTINGS_WITHOUT_EFFECT
        },
        source_kinds=tuple(run["settings"]["source_kinds"]),
        data=_describe_data(run, arm, queries),
        num_creators=num_creators,
        license=license or protocol.license,
        note=(
            f"Fitted on {len(in_gallery.features)} queries by {num_creators} creators "
            f"({protocol.title}). Probabilities and regions are valid for similar queries, on a "
            "similar gallery, taken where the gallery has images. Queries with a withheld answer "
            "are included."
        ),
        code_version=__version__,
    )


def _select_in_gallery(queries: CalibrationSet, folder: Path) -> CalibrationSet:
    """The queries in the gallery.

    Raises:
        BadRequestError: They have too few creators.
    """
    in_gallery = queries.select(np.flatnonzero(queries.in_gallery))
    num_creators = in_gallery.count_creators()
    if num_creators < MIN_CREATORS:
        raise BadRequestError(
            f"the calibration split of {folder} has answers to queries of {num_creators} creators; "
            f"at least {MIN_CREATORS} are needed, and some hundreds are recommended"
        )
    return in_gallery


def _read_calibration_set(folder: Path, run: Mapping[str, Any], arm: str) -> CalibrationSet:
    """The answered queries of the calibration split.

    Raises:
        BadRequestError: The run is unfinished, was made by a version without calibrations, or has
            no answered query.
    """
    answered, rows = [], 0
    for row in read_rows(folder):
        rows += 1
        answer = row["arms"].get(arm)
        if (
            answer is None
            or row["strata"].get("role", CALIBRATION_ROLES[0]) not in CALIBRATION_ROLES
        ):
            continue
        if "features" not in answer or set(answer["features"] or _FEATURE_NAMES) != _FEATURE_NAMES:
            raise BadRequestError(
                f"{folder} was made by an earlier version: evaluate again in a new folder"
            )
        if answer["features"] is not None:
            answered.append((read_decision_features(answer["features"]), row))
    if rows < run["labels"]["evaluated"]:
        raise BadRequestError(
            f"{folder} has {rows} of {run['labels']['evaluated']} rows: finish the run first"
        )
    if not answered:
        raise BadRequestError(
            f"{folder} has no answered query of the calibration split (role {CALIBRATION_ROLES[0]})"
        )
    return CalibrationSet(
        [features for features, _ in answered],
        np.array([(row["lat"], row["lon"]) for _, row in answered]),
        [row["creator"] for _, row in answered],
        np.array([row["strata"].get("covered") != "false" for _, row in answered]),
    )


def _density_thresholds(queries: CalibrationSet) -> dict[str, float]:
    """Median density of the queries of each kind."""
    kinds = sorted({features.kind for features in queries.features if features.kind is not None})
    return {
        kind: float(
            np.median(
                [features.gallery_density for features in queries.features if features.kind == kind]
            )
        )
        for kind in kinds
    }


def _fit_strata(
    queries: CalibrationSet, density_thresholds: Mapping[str, float]
) -> dict[str, StratumFit]:
    """Fit every stratum with enough creators, and `all`; wide strata are priors of narrow ones."""
    table = posterior_fit.design_matrix(queries.features, queries.ground_truth)
    query_strata = [
        posteriors.group_names(features, density_thresholds) for features in queries.features
    ]
    narrowness = {
        name: width_rank
        for stratum_names in query_strata
        for width_rank, name in enumerate(reversed(stratum_names))
    }
    fitted: dict[str, posterior_fit.PosteriorParameters] = {}
    strata = {}
    for name in sorted(narrowness, key=lambda name: (narrowness[name], name)):
        rows = np.flatnonzero([name in stratum_names for stratum_names in query_strata])
        subset = queries.select(rows)
        if fitted and subset.count_creators() < MIN_CREATORS_PER_STRATUM:
            continue
        wider = fitted.get(name.split(", ")[0], fitted.get(posteriors.ALL_QUERIES))
        fitted[name] = posterior_fit.fit_posterior(table.rows(rows), wider)
        strata[name] = _add_conformal_levels(fitted[name], subset)
    return strata


def _add_conformal_levels(
    fitted: posterior_fit.PosteriorParameters, queries: CalibrationSet
) -> StratumFit:
    """Parameters of a stratum with the conformal levels that give its regions their coverage."""
    without_levels = StratumFit(
        temperature=fitted.temperature,
        candidate_density_exponent=fitted.candidate_density_exponent,
        kernel_weights=tuple(fitted.kernel_weights.tolist()),
        outside_candidates_coefficients=tuple(fitted.outside_candidates_coefficients.tolist()),
        background_kernel_weights=tuple(fitted.background_kernel_weights.tolist()),
        credible_region_levels={},
        credible_disc_levels={},
        probability_within_km={},
        num_queries=len(queries.features),
        num_creators=queries.count_creators(),
    )
    sample = queries.select(sample_one_per_creator(queries.creators, CALIBRATION_SEED))
    scores = np.array(
        [
            nonconformity_scores(features, without_levels, position)
            for features, position in zip(sample.features, sample.ground_truth, strict=True)
        ]
    )
    by_region, by_radius = (
        {
            share: _bounded_conformal_level(column, float(share))
            for share in posterior.REGION_PROBABILITY_KEYS
        }
        for column in scores.T[:2]
    )
    within = {
        f"{km:g}": posterior_fit.recalibrate(mass, scores[:, 2] <= km)
        for km, mass in zip(THRESHOLDS_KM, scores.T[3:], strict=True)
    }
    return replace(
        without_levels,
        credible_region_levels=by_region,
        credible_disc_levels=by_radius,
        probability_within_km=within,
    )


def _bounded_conformal_level(scores: Floats, share: float) -> float:
    """Conformal level, clipped to the range from `MIN_LEVEL` to 1."""
    return min(1.0, max(MIN_LEVEL, conformal_level(scores, share)))


def nonconformity_scores(
    features: QueryFeatures, fit: StratumFit, ground_truth: Floats
) -> list[float]:
    """Scores for the conformal levels and the recalibration of probabilities.

    Args:
        features: Features of the query.
        fit: Parameters of its stratum; levels are ignored.
        ground_truth: Ground truth, `[2]` degrees.

    Returns:
        Mass of the smallest highest-density region that contains the ground truth; mass of the
        smallest disc around the answer that contains it; error of the answer in km; mass within
        each of `THRESHOLDS_KM` of the answer.
    """
    mixture = posteriors.mixture(
        features, fit, posterior_fit.KERNELS_KM, posterior_fit.BACKGROUND_KERNELS_KM
    )
    positions, weights = nodes = kernels.quadrature_nodes(mixture, posterior.NUM_NODES)
    ground_truth_density = float(kernels.log_density(mixture, ground_truth[None])[0])
    node_densities = kernels.log_density(mixture, positions)
    answer = posterior.select_best_point(features, mixture, nodes, None)
    error_km = float(haversine_m(answer, ground_truth)) / 1_000.0
    masses = [
        float(kernels.masses_within(mixture, answer[None], km)[0])
        for km in (error_km, *THRESHOLDS_KM)
    ]
    return [
        kernels.hdr_level_of(node_densities, weights, ground_truth_density),
        masses[0],
        error_km,
        *masses[1:],
    ]


def _describe_data(run: Mapping[str, Any], arm: str, queries: CalibrationSet) -> dict[str, str]:
    planet = run["planet"] or {}
    return {
        "protocol": run["protocol"],
        "labels": run["labels"]["digest"],
        "planet": str(planet.get("digest", "")),
        "arm": arm,
        "queries_in_gallery": str(int(queries.in_gallery.sum())),
        "queries_not_in_gallery": str(int((~queries.in_gallery).sum())),
        "gallery_images": str(run["gallery"]["images"]),
        "index_build": str(run["gallery"]["index_build"]),
    }
