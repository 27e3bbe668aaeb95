"""Calibration metrics: reliability, risk–coverage and AUROC of the confidence; abstention.

Letters: N rows, as in `summary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pinpoint.arrays import Flags, Floats
from pinpoint.evaluation.metrics.arm_metrics import ArmMetrics
from pinpoint.metrics.abstention import abstention_auroc, risk_curve
from pinpoint.metrics.calibration import reliability as compute_reliability
from pinpoint.metrics.geolocation import CITY_KM, within


def reliability_metrics(
    metrics: ArmMetrics, threshold_km: float, rows: Flags
) -> dict[str, Any] | None:
    """Reliability bins of the confidence within a threshold; None if the ranker states none."""
    if metrics.probability_within_km is None:
        return None
    correct = within(metrics.error_km[rows], threshold_km, metrics.convention)
    reliability = compute_reliability(
        metrics.probability_within_km[threshold_km][rows], correct, metrics.clusters[rows]
    )
    return {
        "ece": reliability.ece,
        "debiased_ece": reliability.debiased_ece,
        "stated": reliability.stated,
        "bins": [
            {
                "rows": reliability_bin.rows,
                "confidence": reliability_bin.confidence,
                "accuracy": reliability_bin.accuracy,
            }
            for reliability_bin in reliability.bins
        ],
    }


def confidence_metrics(
    metrics: ArmMetrics, confidences: Mapping[float, Floats], rows: Flags
) -> dict[str, Any]:
    """Metrics of the probability near the answer as a confidence, by threshold in km."""
    result: dict[str, Any] = {}
    for threshold_km, confidence in confidences.items():
        correct = within(metrics.error_km[rows], threshold_km, metrics.convention)
        result[f"{threshold_km:g}"] = {
            "reliability": reliability_metrics(metrics, threshold_km, rows),
            "auroc_correct": abstention_auroc(confidence[rows], correct),
            "aurc": risk_curve(confidence[rows], (~correct).astype(np.float64)).aurc,
        }
        covered = _covered_rows(metrics, rows)
        if covered is not None:
            result[f"{threshold_km:g}"]["auroc_in_gallery"] = abstention_auroc(
                confidence[rows], covered
            )
    return result


def abstention_metrics(metrics: ArmMetrics, rows: Flags) -> dict[str, Any]:
    """Abstention rates, overall and separately for photos labeled as covered and uncovered."""
    withheld, p_not_in_gallery = metrics.withheld[rows], metrics.p_not_in_gallery[rows]
    correct = within(metrics.error_km[rows], CITY_KM, metrics.convention)
    result: dict[str, Any] = {
        "abstention_rate": float(withheld.mean()),
        "accuracy_of_answered": float(correct[~withheld].mean()) if not withheld.all() else None,
        "accuracy_of_withheld": float(correct[withheld].mean()) if withheld.any() else None,
    }
    covered = _covered_rows(metrics, rows)
    if covered is not None:
        result["abstention_rate_in_gallery"] = float(withheld[covered].mean())
        result["abstention_rate_not_in_gallery"] = float(withheld[~covered].mean())
        result["auroc_not_in_gallery"] = abstention_auroc(p_not_in_gallery, ~covered)
    return result


def _covered_rows(metrics: ArmMetrics, rows: Flags) -> Flags | None:
    """Mask of the photos labeled as covered; None unless both labels occur."""
    labels = [
        strata.get("covered")
        for strata, selected in zip(metrics.strata, rows, strict=True)
        if selected
    ]
    if set(labels) != {"true", "false"}:
        return None
    return np.array([label == "true" for label in labels], dtype=np.bool_)
