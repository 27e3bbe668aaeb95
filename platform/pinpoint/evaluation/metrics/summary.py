"""Metrics of one arm, over a subset of its rows: all, one stratum, or without placeholders.

Letters: N rows, K candidates. Rows are readable photos. Rows without an answer count as wrong and
stay in the denominators; only errors in kilometers are computed over answered rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Flags, Floats
from pinpoint.evaluation.labels.areas import find_areas, normalize_label, osv5m_label
from pinpoint.evaluation.metrics import calibration_metrics
from pinpoint.evaluation.metrics.arm_metrics import ArmMetrics
from pinpoint.evaluation.run.results import Arm
from pinpoint.metrics.calibration import disc_area_km2, recall_versus_area, region_coverage
from pinpoint.metrics.conventions import Convention, distances_km
from pinpoint.metrics.geolocation import THRESHOLDS_KM, area_accuracy, errors, geoscores, within
from pinpoint.metrics.intervals import bootstrap, cluster_codes, design_effect
from pinpoint.metrics.retrieval import oracle_km

RECALL_DEPTHS: Final = (1, 12, 48)
"""Numbers of candidates: the best one, as in the paper, as in the product."""
CROSSED_STRATA: Final = (("kind", "setting"), ("kind", "role"))
"""Pairs of strata that are also reported jointly; results on a synthetic planet are quoted so."""
CONFIDENCE_RADII_KM: Final = (1.0, 25.0, 200.0)
AREAS_KM2: Final = (1.0, 1e2, 1e4, 1e6, 1e8)
MIN_STRATUM_ROWS: Final = 10
"""Strata with fewer rows get a row count but no metrics."""
RESAMPLES: Final = 2_000
BOOTSTRAP_SEED: Final = 20261121


def recall_depths(candidates: int) -> tuple[int, ...]:
    """Values of K for recall@K, given the number of candidates."""
    return tuple(sorted({min(depth, candidates) for depth in RECALL_DEPTHS}))


def compute_metrics(
    arm: Arm, convention: Convention, depths: Sequence[int], chosen: Flags | None = None
) -> ArmMetrics:
    """Compute errors and areas of an arm's readable photos, in the order of the labels.

    Args:
        arm: Answers of the arm.
        convention: Convention for distances.
        depths: Numbers of candidates for recall@K.
        chosen: Mask `[N]` over the arm's queries; selects a subset of readable photos.
    """
    rows = np.flatnonzero(arm.readable if chosen is None else chosen).tolist()
    ground_truth, answers = arm.ground_truth[rows], arm.answers[rows]
    candidates = arm.candidates[rows]
    distances = distances_km(ground_truth[:, None, :], candidates, convention)
    width = candidates.shape[1]
    areas = [arm.areas[row] for row in rows]
    levels = [
        level
        for level in (areas[0] if areas else ())
        if any(row_areas[level] for row_areas in areas)
    ]
    predicted = find_areas(answers) if levels else []
    return ArmMetrics(
        convention=convention,
        clusters=cluster_codes([arm.creators[row] for row in rows]),
        error_km=distances_km(ground_truth, answers, convention),
        best_km={depth: oracle_km(distances, min(depth, width)) for depth in depths},
        probability_within_km=(
            {km: arm.probability_within_km[f"{km:g}"][rows] for km in CONFIDENCE_RADII_KM}
            if arm.probability_within_km
            else _weight_within(answers, candidates, arm.weights[rows])
        ),
        credible_region_covers={
            share: inside[rows] for share, inside in arm.credible_region_covers.items()
        },
        credible_region_km2={
            share: sizes[rows] for share, sizes in arm.credible_region_km2.items()
        },
        withheld=np.array(
            [arm.abstention_reasons[row] is not None for row in rows], dtype=np.bool_
        ),
        p_not_in_gallery=arm.p_not_in_gallery[rows],
        radii_km={share: radii[rows] / 1000.0 for share, radii in arm.radii_m.items()},
        calibrated=bool(arm.calibrated[rows].any()),
        labels={level: [row_areas[level] for row_areas in areas] for level in levels},
        predicted={level: [row_areas[level] for row_areas in predicted] for level in levels},
        strata=[_with_calibration_stratum(arm, row) for row in rows],
        placeholder=arm.placeholder[rows],
    )


def summarize_metrics(metrics: ArmMetrics, rows: Flags, *, brief: bool = False) -> dict[str, Any]:
    """All metrics over a subset of the rows.

    Args:
        metrics: Precomputed inputs of the arm.
        rows: Mask `[N]` over the arm's readable photos.
        brief: Return only the metrics that are reported per stratum.
    """
    error_km, clusters = metrics.error_km[rows], metrics.clusters[rows]
    error_statistics = errors(error_km)
    result: dict[str, Any] = {
        "rows": error_statistics.rows,
        "answered": error_statistics.answered,
        "creators": len(np.unique(clusters)),
        "accuracy": _accuracy_by_threshold(error_km, metrics.convention, clusters),
        "median_error_km": error_statistics.median_km,
        "oracle": {
            str(depth): _accuracy_by_threshold(best_km[rows], metrics.convention, clusters)
            for depth, best_km in metrics.best_km.items()
            if not brief or depth == max(metrics.best_km)
        },
        "geoscore": _bootstrap_interval(
            geoscores(error_km, rounded=metrics.convention.rounded), clusters
        ),
    }
    if metrics.credible_region_covers:
        result["credible_regions"] = {
            share: hdr_coverage(metrics, share, rows) for share in metrics.credible_region_covers
        }
    if brief:
        return result
    answered = ~np.isnan(error_km)
    return result | {
        "mean_error_km": error_statistics.mean_km,
        "median_error_interval_km": _bootstrap_interval(
            error_km[answered], clusters[answered], "median"
        ),
        "areas": {level: _area_metrics(metrics, level, rows) for level in metrics.labels},
        "credible_discs": {
            share: _disc_coverage(metrics, share, rows) for share in metrics.radii_km
        },
        "abstention": calibration_metrics.abstention_metrics(metrics, rows)
        if metrics.credible_region_covers
        else None,
        "recall_versus_area": _recall_versus_area(error_km),
        "confidence": None
        if metrics.probability_within_km is None
        else calibration_metrics.confidence_metrics(metrics, metrics.probability_within_km, rows),
    }


def hits(metrics: ArmMetrics, threshold_km: float, depth: int | None = None) -> Floats:
    """1 if the answer (or the best of the first `depth` candidates) is correct, else 0: `[N]`."""
    error_km = metrics.error_km if depth is None else metrics.best_km[depth]
    return within(error_km, threshold_km, metrics.convention).astype(np.float64)


def hdr_coverage(metrics: ArmMetrics, share: str, rows: Flags) -> dict[str, Any]:
    """Coverage of the ground truth by the highest-density region of a share; its median area."""
    inside, sizes = (
        metrics.credible_region_covers[share][rows],
        metrics.credible_region_km2[share][rows],
    )
    stated = ~np.isnan(inside)
    return {
        "stated_share": float(share),
        "coverage": _bootstrap_interval(inside[stated], metrics.clusters[rows][stated]),
        "median_km2": float(np.median(sizes[stated])) if stated.any() else float("nan"),
        "stated": int(stated.sum()),
    }


def stratum_values(metrics: ArmMetrics) -> dict[str, list[str]]:
    """Values of every stratum that has more than one value."""
    single = sorted({name for strata in metrics.strata for name in strata})
    crossed = [", ".join(names) for names in CROSSED_STRATA if set(names) <= set(single)]
    values = {
        name: sorted({_stratum_value(strata, name) for strata in metrics.strata})
        for name in (*single, *crossed)
    }
    return {name: distinct for name, distinct in values.items() if len(distinct) > 1}


def stratum_mask(metrics: ArmMetrics, name: str, value: str) -> Flags:
    """Mask of the rows with this value of a stratum: `[N]`."""
    return np.array(
        [_stratum_value(strata, name) == value for strata in metrics.strata], dtype=np.bool_
    )


def _with_calibration_stratum(arm: Arm, row: int) -> Mapping[str, str]:
    """Strata of a query, with the stratum of the calibration added."""
    stratum = arm.calibration_groups[row]
    return arm.strata[row] if stratum is None else {**arm.strata[row], "calibration": stratum}


def _stratum_value(strata: Mapping[str, str], name: str) -> str:
    """Value of a stratum; for crossed strata such as `kind, setting` the values in this order."""
    return ", ".join(strata.get(part, "unknown") for part in name.split(", "))


def _accuracy_by_threshold(
    error_km: Floats, convention: Convention, clusters: NDArray[np.int64]
) -> dict[str, Any]:
    return {
        f"{threshold_km:g}": _bootstrap_interval(
            within(error_km, threshold_km, convention).astype(np.float64), clusters
        )
        for threshold_km in THRESHOLDS_KM
    }


def _bootstrap_interval(
    values: Floats, clusters: NDArray[np.int64], statistic: Any = "mean"
) -> dict[str, float]:
    interval = bootstrap(
        values, clusters, seed=BOOTSTRAP_SEED, statistic=statistic, resamples=RESAMPLES
    )
    result = {"value": interval.value, "low": interval.low, "high": interval.high}
    if statistic == "mean":
        result["design_effect"] = design_effect(values, clusters)
    return result


def _area_metrics(metrics: ArmMetrics, level: str, rows: Flags) -> dict[str, Any]:
    """Accuracy for released labels over all rows, and for normalized labels over labeled rows."""
    labels = [
        label for label, selected in zip(metrics.labels[level], rows, strict=True) if selected
    ]
    predicted = [
        name for name, selected in zip(metrics.predicted[level], rows, strict=True) if selected
    ]
    released = area_accuracy([osv5m_label(level, label) for label in labels], predicted)
    normalized = area_accuracy([normalize_label(label) for label in labels], predicted)
    return {
        "as_released": released.as_released,
        "labeled_only": normalized.labeled_only,
        "rows": released.rows,
        "labeled": normalized.labeled,
    }


def _disc_coverage(metrics: ArmMetrics, share: str, rows: Flags) -> dict[str, Any]:
    coverage = region_coverage(metrics.error_km[rows], metrics.radii_km[share][rows])
    return {
        "stated_share": float(share),
        "coverage": coverage.share,
        "median_radius_km": coverage.median_radius_km,
        "stated": coverage.stated,
        "calibrated": metrics.calibrated,
    }


def _recall_versus_area(error_km: Floats) -> dict[str, float]:
    """Share of ground truths inside a disc around the answer, by the area of the disc."""
    needed = np.where(np.isnan(error_km), np.inf, disc_area_km2(error_km))
    shares = recall_versus_area(needed, np.array(AREAS_KM2))
    return {f"{area:g}": share for area, share in zip(AREAS_KM2, shares.tolist(), strict=True)}


def _weight_within(
    answers: Floats, candidates: Floats, weights: Floats
) -> Mapping[float, Floats] | None:
    """Share of the candidates' weights by distance from the answer in km: `[N]` each.

    None if every answer puts all its weight on one candidate: such a ranker states no confidence.
    """
    answered = ~np.isnan(answers[:, 0])
    if not answered.any() or bool((np.nanmax(weights[answered], axis=1) >= 1.0).all()):
        return None
    distances = distances_km(answers[answered][:, None, :], candidates[answered], "haversine-6371")
    shares = {threshold_km: np.full(len(answered), np.nan) for threshold_km in CONFIDENCE_RADII_KM}
    for threshold_km, share in shares.items():
        near = np.where(distances <= threshold_km, weights[answered], 0.0).sum(axis=1)
        share[answered] = np.minimum(near, 1.0)  # sums of weights may exceed 1 by rounding
    return shares
