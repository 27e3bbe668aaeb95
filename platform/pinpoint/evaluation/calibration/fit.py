"""Calibrates a ranker on the stored rows of a run's calibration split.

Steps: fit temperature, kernels and background mass (`posterior_fit`); fit the probability of "not
in the gallery" (`coverage_fit`), if a share of such queries is assumed; compute split-conformal
levels per stratum with one photo per creator; fit the abstention threshold (`abstention`).
Levels concern the queries in the gallery, also those that are abstained on. The recalibration of
the stated probabilities weights the queries that are not in the gallery by their assumed share.
Queries with compared candidates get corrections (`verification_fit`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from pinpoint import __version__
from pinpoint.errors import BadRequestError
from pinpoint.evaluation.calibration import abstention, coverage_fit, posterior_fit
from pinpoint.evaluation.calibration.calibration_set import (
    CalibrationSet,
    read_calibration_set,
)
from pinpoint.evaluation.calibration.conformal_scores import conformal_levels, score_sample
from pinpoint.evaluation.calibration.verification_fit import fit_verification
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.run import leave_one_out
from pinpoint.evaluation.run.rows import EXCLUDED, UNFILTERED
from pinpoint.evaluation.run.run_manifest import read_run_manifest
from pinpoint.geo import posteriors
from pinpoint.metrics.geolocation import THRESHOLDS_KM
from pinpoint.records import Calibration, CoverageModel, StratumFit, VerificationModel

DEFAULT_OUTSIDE_SHARE: Final = 0.1
"""Assumed share of photos that were taken where the gallery has no image."""
MIN_CREATORS: Final = 10
"""With fewer creators, a coverage of 90 % cannot be guaranteed."""
MIN_CREATORS_PER_STRATUM: Final = 100
"""A stratum with fewer creators gets no parameters of its own."""
_SETTINGS_WITHOUT_EFFECT: Final = ("max_citations", "optimize_for_radius_km")
"""Search settings that do not change the posterior."""


def fit_calibration(
    folder: Path,
    *,
    license: str | None = None,
    max_false_abstention: float = abstention.MAX_FALSE_ABSTENTION,
    outside_share: float | None = None,
) -> Calibration:
    """Fit a calibration on a finished run.

    Args:
        folder: Folder of the run. The arm with exclusions is used if the run has one.
        license: License of the queries; by default that of the protocol.
        max_false_abstention: Maximum share of the correct answers that may be withheld, in (0, 1).
        outside_share: Assumed share of the queries that are not in the gallery, in [0, 1); at 0 the
            probabilities are those of photos in the gallery. By default 0 for labeled photos, and
            `DEFAULT_OUTSIDE_SHARE` for a leave-one-out run.

    Raises:
        BadRequestError: The run is missing or unfinished, its ranker states no probabilities, or
            it has too few creators.
    """
    run = read_run_manifest(folder)
    if run["settings"]["ranker"] == "top1":
        raise BadRequestError(
            "the ranker top1 puts all mass on one candidate and cannot be calibrated"
        )
    arm = EXCLUDED if run["settings"]["exclude"] else UNFILTERED
    queries = read_calibration_set(folder, run, arm)
    if outside_share is None:
        outside_share = DEFAULT_OUTSIDE_SHARE if is_gallery_run(run) else 0.0
    return fit_queries(
        queries,
        run,
        license=license,
        max_false_abstention=max_false_abstention,
        outside_share=outside_share,
    )


def is_gallery_run(run: Mapping[str, Any]) -> bool:
    """Whether the queries of a run are images of the gallery."""
    return bool(run["protocol"] == leave_one_out.PROTOCOL)


def fit_queries(
    queries: CalibrationSet,
    run: Mapping[str, Any],
    *,
    license: str | None = None,
    max_false_abstention: float = abstention.MAX_FALSE_ABSTENTION,
    outside_share: float = 0.0,
) -> Calibration:
    """Fit a calibration on queries of a run; arguments and errors as `fit_calibration`."""
    if not 0 < max_false_abstention < 1:
        raise BadRequestError(
            f"the share of withheld answers must be in (0, 1), not {max_false_abstention}"
        )
    in_gallery = _select_in_gallery(queries)
    density_thresholds = _density_thresholds(in_gallery)
    coverage = coverage_fit.fit_coverage(
        queries.features, queries.ground_truth, queries.in_gallery, outside_share
    )
    strata = _fit_strata(queries, density_thresholds, coverage)
    rule = abstention.fit_threshold(
        queries.features,
        [posteriors.select_fit(query, strata, density_thresholds)[1] for query in queries.features],
        queries.ground_truth,
        queries.in_gallery,
        max_false_abstention,
        coverage,
    )
    verification = fit_verification(
        queries,
        strata,
        density_thresholds,
        coverage,
        rule,
        max_false_abstention=max_false_abstention,
        verify_candidates=run["settings"].get("verify", 0),
    )
    return Calibration(
        ranker=run["settings"]["ranker"],
        contract_digest=run["gallery"]["bundle_digest"],
        reranker_digest=run["settings"].get("reranker"),
        bundle=run["gallery"]["bundle"],
        kernels_km=posterior_fit.KERNELS_KM,
        background_kernels_km=posterior_fit.BACKGROUND_KERNELS_KM,
        density_thresholds=density_thresholds,
        strata=strata,
        abstention=rule,
        coverage=coverage,
        verification=verification,
        search_settings={
            name: value
            for name, value in run["settings"]["search"].items()
            if name not in _SETTINGS_WITHOUT_EFFECT
        },
        source_kinds=tuple(run["settings"]["source_kinds"]),
        data=_describe_data(run, queries),
        num_creators=in_gallery.count_creators(),
        license=license or _license_of(run),
        note=_describe_guarantee(run, in_gallery, coverage, verification),
        code_version=__version__,
    )


def _license_of(run: Mapping[str, Any]) -> str:
    if is_gallery_run(run):
        return "the licenses of the gallery's images"
    return PROTOCOLS[run["protocol"]].license


def _describe_guarantee(
    run: Mapping[str, Any],
    in_gallery: CalibrationSet,
    coverage: CoverageModel | None,
    verification: VerificationModel | None,
) -> str:
    """The note of the calibration: what it was fitted on and what it holds for."""
    num_queries, num_creators = len(in_gallery.features), in_gallery.count_creators()
    if is_gallery_run(run):
        text = (
            f"Fitted on {num_queries} images of the gallery itself, each located without the "
            f"images that belong to it ({num_creators} independent groups). Probabilities and "
            "regions are valid for photos like those of the gallery, taken where it has images."
        )
    else:
        text = (
            f"Fitted on {num_queries} queries by {num_creators} creators "
            f"({PROTOCOLS[run['protocol']].title}). Probabilities and regions are valid for "
            "similar queries, on a similar gallery, taken where the gallery has images."
        )
    if coverage is not None:
        text += (
            f" Probabilities assume that {coverage.outside_share:.0%} of the photos were taken "
            "where the gallery has no image."
        )
    if verification is not None:
        text += (
            " Verification raises or lowers them if candidates were compared "
            f"({verification.num_verified} of {verification.num_queries} queries of the fit were "
            "verified)."
        )
    return f"{text} Queries with a withheld answer are included."


def _select_in_gallery(queries: CalibrationSet) -> CalibrationSet:
    """The queries in the gallery.

    Raises:
        BadRequestError: They have too few creators.
    """
    in_gallery = queries.select(np.flatnonzero(queries.in_gallery))
    num_creators = in_gallery.count_creators()
    if num_creators < MIN_CREATORS:
        raise BadRequestError(
            f"the calibration split has answers to queries of {num_creators} creators; "
            f"at least {MIN_CREATORS} are needed, and some hundreds are recommended"
        )
    return in_gallery


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
    queries: CalibrationSet,
    density_thresholds: Mapping[str, float],
    coverage: CoverageModel | None,
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
        in_stratum = np.array([name in stratum_names for stratum_names in query_strata])
        rows = np.flatnonzero(in_stratum & queries.in_gallery)
        in_gallery = queries.select(rows)
        if fitted and in_gallery.count_creators() < MIN_CREATORS_PER_STRATUM:
            continue
        wider = fitted.get(name.split(", ")[0], fitted.get(posteriors.ALL_QUERIES))
        fitted[name] = posterior_fit.fit_posterior(table.rows(rows), wider)
        outside = queries.select(np.flatnonzero(in_stratum & ~queries.in_gallery))
        strata[name] = _add_conformal_levels(fitted[name], in_gallery, outside, coverage)
    return strata


def _add_conformal_levels(
    fitted: posterior_fit.PosteriorParameters,
    in_gallery: CalibrationSet,
    outside: CalibrationSet,
    coverage: CoverageModel | None,
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
        num_queries=len(in_gallery.features),
        num_creators=in_gallery.count_creators(),
    )
    scores = score_sample(in_gallery.sample_creators(), without_levels, coverage)
    by_region, by_radius = conformal_levels(scores)
    covered = np.ones(len(scores), dtype=np.bool_)
    if coverage is not None and outside.features:
        outside_scores = score_sample(outside.sample_creators(), without_levels, coverage)
        covered = np.arange(len(scores) + len(outside_scores)) < len(scores)
        scores = np.concatenate([scores, outside_scores])
    weights = coverage_fit.share_weights(
        covered, 0.0 if coverage is None else coverage.outside_share
    )
    within = {
        f"{km:g}": posterior_fit.recalibrate(mass, scores[:, 2] <= km, weights)
        for km, mass in zip(THRESHOLDS_KM, scores.T[3:], strict=True)
    }
    return replace(
        without_levels,
        credible_region_levels=by_region,
        credible_disc_levels=by_radius,
        probability_within_km=within,
    )


def _describe_data(run: Mapping[str, Any], queries: CalibrationSet) -> dict[str, str]:
    planet = run["planet"] or {}
    return {
        "protocol": run["protocol"],
        "labels": run["labels"]["digest"],
        "planet": str(planet.get("digest", "")),
        "arm": EXCLUDED if run["settings"]["exclude"] else UNFILTERED,
        "queries_in_gallery": str(int(queries.in_gallery.sum())),
        "queries_not_in_gallery": str(int((~queries.in_gallery).sum())),
        "gallery_images": str(run["gallery"]["images"]),
        "index_build": str(run["gallery"]["index_build"]),
    }
