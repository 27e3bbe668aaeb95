"""Quality reports: what the API and the web page show of an evaluation or a calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from pinpoint.evaluation.report.report_file import PLANET_NOTE
from pinpoint.evaluation.run.results import Arm
from pinpoint.geo.distance import haversine_m
from pinpoint.records.quality_reports import (
    NewQualityReport,
    QueryError,
    ReliabilityBin,
    ReportMetric,
)

MAX_ERRORS: Final = 2_000
"""Maximum number of queries of an error map; more are thinned evenly."""
RELIABILITY_KM: Final = "25"
"""Threshold of the reliability, as keys of reports spell it."""


def make_evaluation_report(report: Mapping[str, Any], arms: Mapping[str, Arm]) -> NewQualityReport:
    """The quality report of a run, from its `report.json` and its rows.

    Args:
        report: Result of `report_file.make_report`.
        arms: Rows of the run by arm; the first one is reported.
    """
    name, arm = next(iter(arms.items()))
    metrics, run = report["arms"][name]["all"], report["run"]
    shares = [
        ReportMetric(
            name=f"within {km} km",
            value=interval["value"],
            low=interval["low"],
            high=interval["high"],
        )
        for km, interval in metrics["accuracy"].items()
    ]
    median = metrics["median_error_interval_km"]
    error = ReportMetric(
        name="median error",
        value=median["value"],
        low=median["low"],
        high=median["high"],
        unit="km",
    )
    reliability = ((metrics["confidence"] or {}).get(RELIABILITY_KM) or {}).get("reliability")
    return NewQualityReport(
        kind="evaluation",
        bundle=run["gallery"]["bundle"],
        title=f"{run['protocol']}, {run['settings']['ranker']}, {name}",
        is_synthetic=PLANET_NOTE in report["notes"],
        queries=metrics["answered"],
        metrics=(*shares, error, *_list_calibration_errors(reliability)),
        reliability=() if reliability is None else _read_bins(reliability["bins"]),
        notes=tuple(report["notes"]),
        errors=_sample_errors(arm),
    )


def make_calibration_report(report: Mapping[str, Any], bundle: str) -> NewQualityReport:
    """The quality report of a self-calibration.

    Args:
        report: Result of `report_self_calibration`.
        bundle: Name of the calibrated bundle.
    """
    covered = report["cross_fitted"]["covered"]
    metrics = [
        ReportMetric(name="within 1 km", value=covered["accuracy_1_km"]),
        ReportMetric(name="within 25 km", value=covered["accuracy_25_km"]),
        ReportMetric(
            name="stated probability within 25 km",
            value=covered["mean_probability_within_25_km"],
            unit="probability",
        ),
        ReportMetric(
            name="debiased calibration error", value=covered["debiased_ece"], unit="probability"
        ),
        ReportMetric(name="withheld", value=covered["abstention_rate"]),
        *(
            ReportMetric(name=f"{float(share):.0%} regions hold", value=value)
            for share, value in covered["coverage"].items()
        ),
    ]
    uncovered = report["cross_fitted"].get("uncovered")
    if uncovered is not None:
        metrics += [
            ReportMetric(
                name="uncovered: stated probability within 25 km",
                value=uncovered["mean_probability_within_25_km"],
                unit="probability",
            ),
            ReportMetric(name="uncovered: withheld", value=uncovered["abstention_rate"]),
        ]
    return NewQualityReport(
        kind="calibration",
        bundle=bundle,
        title="leave-one-out queries from the gallery, cross-fitted",
        is_synthetic=False,
        queries=covered["queries"],
        metrics=tuple(metrics),
        reliability=_read_bins(report["reliability"]),
        notes=(*report["holds_for"], *report["notes"]),
    )


def _list_calibration_errors(reliability: Mapping[str, Any] | None) -> list[ReportMetric]:
    if reliability is None:
        return []
    value = reliability["debiased_ece"]
    return [ReportMetric(name="debiased calibration error", value=value, unit="probability")]


def _read_bins(bins: list[Mapping[str, Any]]) -> tuple[ReliabilityBin, ...]:
    return tuple(
        ReliabilityBin(stated=row["confidence"], observed=row["accuracy"], queries=row["rows"])
        for row in bins
        if row["rows"]
    )


def _sample_errors(arm: Arm) -> tuple[QueryError, ...]:
    """Errors of answered queries; positions have four decimals (11 m)."""
    answered = np.flatnonzero(~np.isnan(arm.answers[:, 0]))
    step = max(1, -(-len(answered) // MAX_ERRORS))
    rows = answered[::step]
    positions = arm.ground_truth[rows]
    errors_km = haversine_m(positions, arm.answers[rows]) / 1_000
    return tuple(
        QueryError(
            lat=round(float(lat), 4), lon=round(float(lon), 4), error_km=round(float(error), 3)
        )
        for (lat, lon), error in zip(positions, errors_km, strict=True)
    )
