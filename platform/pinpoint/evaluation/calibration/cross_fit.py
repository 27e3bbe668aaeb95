"""Checks calibrations on queries with a ground truth, and by cross-fitting on the fitted queries.

A calibration that is scored on the queries of its own fit looks too good. Cross-fitting splits the
creators in two halves; each half is scored with the calibration of the other half.
Letters: N queries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from pinpoint.arrays import Flags, Floats
from pinpoint.evaluation.calibration import coverage_fit
from pinpoint.evaluation.calibration.calibration_set import CalibrationSet
from pinpoint.evaluation.calibration.fit import fit_queries
from pinpoint.geo import posteriors
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.hdr import contains_positions
from pinpoint.metrics.calibration import reliability
from pinpoint.metrics.geolocation import CITY_KM, STREET_KM
from pinpoint.metrics.intervals import cluster_codes
from pinpoint.records import Calibration
from pinpoint.search import posterior

FOLD_SEED: Final = 20261130
TRADE_OFF_SHARES: Final = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Shares of the correct answers that are withheld, for the points of the trade-off curve."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredQueries:
    """Stated probabilities and regions of N queries, and what was true."""

    kinds: tuple[str, ...]
    creators: tuple[str | None, ...]
    verified: tuple[bool | None, ...]
    """Whether a candidate is verified; None if none was compared."""
    in_gallery: Flags
    correct: Flags
    """Whether the answer, withheld or not, is within 25 km of the ground truth."""
    p_within_25_km: Floats
    correct_1_km: Flags
    """Same within 1 km."""
    p_within_1_km: Floats
    p_not_in_gallery: Floats
    """0 without a coverage model."""
    abstention_score: Floats
    abstained: Flags
    region_holds: Mapping[str, Flags]
    """Whether the credible region contains the ground truth, by its stated probability."""

    def select(self, rows: Flags) -> ScoredQueries:
        """A subset of the queries."""
        chosen = np.flatnonzero(rows).tolist()
        return ScoredQueries(
            tuple(self.kinds[row] for row in chosen),
            tuple(self.creators[row] for row in chosen),
            tuple(self.verified[row] for row in chosen),
            self.in_gallery[rows],
            self.correct[rows],
            self.p_within_25_km[rows],
            self.correct_1_km[rows],
            self.p_within_1_km[rows],
            self.p_not_in_gallery[rows],
            self.abstention_score[rows],
            self.abstained[rows],
            {share: holds[rows] for share, holds in self.region_holds.items()},
        )


def score_queries(queries: CalibrationSet, calibration: Calibration) -> ScoredQueries:
    """Compute the posterior of each query as serving does, and compare it with the ground truth."""
    rows = []
    for features, position in zip(queries.features, queries.ground_truth, strict=True):
        stated = posterior.compute_posterior(features, calibration)
        stratum, fit = posteriors.select_fit(
            features, calibration.strata, calibration.density_thresholds
        )
        rule = posteriors.select_abstention_rule(features, stratum, calibration)
        point = np.array([stated.point.lat, stated.point.lon])
        rows.append(
            (
                float(haversine_m(point, position)) <= 1e3 * CITY_KM,
                stated.probability_within_km[CITY_KM],
                float(haversine_m(point, position)) <= 1e3 * STREET_KM,
                stated.probability_within_km[STREET_KM],
                stated.p_not_in_gallery if calibration.coverage is not None else 0.0,
                posteriors.abstention_score(
                    features,
                    fit,
                    rule.not_in_gallery_coefficients,
                    posteriors.select_verification_fit(features, stratum, calibration),
                ),
                stated.abstention_reason is not None,
                *(
                    contains_positions(np.array(region.boxes), position[None])[0]
                    for region in stated.credible_regions
                ),
            )
        )
    columns = np.array(rows, dtype=np.float64).T
    return ScoredQueries(
        kinds=tuple(features.kind or "unknown" for features in queries.features),
        creators=tuple(queries.creators),
        verified=tuple(features.verified for features in queries.features),
        in_gallery=queries.in_gallery,
        correct=columns[0] > 0,
        p_within_25_km=columns[1],
        correct_1_km=columns[2] > 0,
        p_within_1_km=columns[3],
        p_not_in_gallery=columns[4],
        abstention_score=columns[5],
        abstained=columns[6] > 0,
        region_holds={
            share: column > 0
            for share, column in zip(posterior.REGION_PROBABILITY_KEYS, columns[7:], strict=True)
        },
    )


def cross_fit(
    queries: CalibrationSet,
    run: Mapping[str, Any],
    *,
    max_false_abstention: float,
    outside_share: float,
) -> ScoredQueries:
    """Check each half of the creators with a calibration that was fitted on the other half.

    Raises:
        BadRequestError: A half has too few creators.
    """
    codes = cluster_codes(queries.creators)
    fold_of_creator = np.random.default_rng(FOLD_SEED).permutation(int(codes.max()) + 1) % 2
    folds = fold_of_creator[codes]
    halves = []
    for fold in (0, 1):
        calibration = fit_queries(
            queries.select(np.flatnonzero(folds != fold)),
            run,
            max_false_abstention=max_false_abstention,
            outside_share=outside_share,
        )
        halves.append(score_queries(queries.select(np.flatnonzero(folds == fold)), calibration))
    return _join(*halves)


def summarize(scored: ScoredQueries, outside_share: float) -> dict[str, Any]:
    """Figures of scored queries: in the gallery, not in it, and mixed at an assumed share.

    Args:
        scored: N queries.
        outside_share: Share of the queries outside the gallery in the mix, in [0, 1).
    """
    covered = scored.select(scored.in_gallery)
    uncovered = scored.select(~scored.in_gallery)
    summary: dict[str, Any] = {"covered": _summarize_covered(covered)}
    if len(uncovered.correct):
        summary["uncovered"] = {
            "queries": len(uncovered.correct),
            "mean_probability_within_25_km": float(uncovered.p_within_25_km.mean()),
            "abstention_rate": float(uncovered.abstained.mean()),
            "correct": int(uncovered.correct.sum()),
        }
        weights = coverage_fit.share_weights(scored.in_gallery, outside_share)
        summary["mix"] = {
            "outside_share": outside_share,
            "accuracy_25_km": float(np.average(scored.correct, weights=weights)),
            "mean_probability_within_25_km": float(
                np.average(scored.p_within_25_km, weights=weights)
            ),
        }
        summary["trade_off"] = trade_off(scored)
    return summary


def trade_off(scored: ScoredQueries) -> list[dict[str, float]]:
    """Points of the curve of abstention: correct answers lost against uncovered ones withheld.

    Args:
        scored: N queries, some of them outside the gallery and some answered correctly.
    """
    is_correct = scored.in_gallery & scored.correct
    scores, outside = scored.abstention_score[is_correct], ~scored.in_gallery
    points = []
    for share in TRADE_OFF_SHARES if is_correct.any() else ():
        threshold = float(np.quantile(scores, 1.0 - share))
        withheld = scored.abstention_score > threshold
        answered = outside & ~withheld
        points.append(
            {
                "threshold": threshold,
                "withheld_correct": float(withheld[is_correct].mean()),
                "withheld_covered": float(withheld[scored.in_gallery].mean()),
                "withheld_uncovered": float(withheld[outside].mean()),
                "mean_probability_of_answered_uncovered": float(
                    scored.p_within_25_km[answered].mean()
                )
                if answered.any()
                else 0.0,
            }
        )
    return points


def _summarize_covered(covered: ScoredQueries) -> dict[str, Any]:
    """Figures of queries in the gallery, withheld answers included."""
    clusters = cluster_codes(covered.creators)
    stated = reliability(covered.p_within_25_km, covered.correct, clusters)
    stated_1_km = reliability(covered.p_within_1_km, covered.correct_1_km, clusters)
    return {
        "queries": len(covered.correct),
        "creators": len(set(covered.creators) - {None}) + covered.creators.count(None),
        "accuracy_25_km": float(covered.correct.mean()),
        "mean_probability_within_25_km": float(covered.p_within_25_km.mean()),
        "debiased_ece": stated.debiased_ece,
        "ece": stated.ece,
        "accuracy_1_km": float(covered.correct_1_km.mean()),
        "mean_probability_within_1_km": float(covered.p_within_1_km.mean()),
        "debiased_ece_1_km": stated_1_km.debiased_ece,
        "coverage": {share: float(holds.mean()) for share, holds in covered.region_holds.items()},
        "abstention_rate": float(covered.abstained.mean()),
        "false_abstention_rate": float(covered.abstained[covered.correct].mean())
        if covered.correct.any()
        else None,
    }


def _join(a: ScoredQueries, b: ScoredQueries) -> ScoredQueries:
    return replace(
        a,
        kinds=a.kinds + b.kinds,
        creators=a.creators + b.creators,
        verified=a.verified + b.verified,
        in_gallery=np.concatenate([a.in_gallery, b.in_gallery]),
        correct=np.concatenate([a.correct, b.correct]),
        p_within_25_km=np.concatenate([a.p_within_25_km, b.p_within_25_km]),
        correct_1_km=np.concatenate([a.correct_1_km, b.correct_1_km]),
        p_within_1_km=np.concatenate([a.p_within_1_km, b.p_within_1_km]),
        p_not_in_gallery=np.concatenate([a.p_not_in_gallery, b.p_not_in_gallery]),
        abstention_score=np.concatenate([a.abstention_score, b.abstention_score]),
        abstained=np.concatenate([a.abstained, b.abstained]),
        region_holds={
            share: np.concatenate([a.region_holds[share], b.region_holds[share]])
            for share in a.region_holds
        },
    )
