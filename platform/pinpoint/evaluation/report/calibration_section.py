"""Calibration section of the report: stated regions, probabilities and withheld answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinpoint.evaluation.report.cells import (
    ARM_TITLES,
    format_interval,
    format_percent,
    format_table,
    format_three,
)


def calibration_section(report: Mapping[str, Any]) -> list[str]:
    """Stated regions and probabilities compared with the ground truth."""
    return [
        "## Stated regions and probabilities",
        _disc_table(report),
        *_hdr_tables(report),
        *_confidence_section(report),
        *_abstention_section(report),
    ]


def _disc_table(report: Mapping[str, Any]) -> str:
    rows = [
        (
            ARM_TITLES[name],
            f"{100 * region['stated_share']:.0f} %",
            "calibrated" if region["calibrated"] else "uncalibrated",
            format_percent(region["coverage"]),
            region["median_radius_km"],
            region["stated"],
        )
        for name, arm in report["arms"].items()
        for region in arm["all"]["credible_discs"].values()
    ]
    columns = (
        "arm",
        "region",
        "status",
        "contains the ground truth (%)",
        "median radius (km)",
        "answers with a region",
    )
    return format_table(columns, rows)


def _hdr_tables(report: Mapping[str, Any]) -> list[str]:
    """Highest-density regions of all calibrated answers, and per stratum of the calibration."""
    rows: list[list[object]] = []
    for name, arm in report["arms"].items():
        parts = {"all": arm["all"], **arm["strata"].get("calibration", {})}
        for part, figures in parts.items():
            for region in figures.get("credible_regions", {}).values():
                title = f"{100 * region['stated_share']:.0f} %"
                coverage = format_interval(region["coverage"])
                rows.append(
                    [
                        ARM_TITLES[name],
                        part,
                        title,
                        coverage,
                        region["median_km2"],
                        region["stated"],
                    ]
                )
    if not rows:
        return []
    columns = (
        "arm",
        "calibration group",
        "credible region",
        "contains the ground truth (%)",
        "median area (km²)",
        "answers with a region",
    )
    return [format_table(columns, rows)]


def _confidence_section(report: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, arm in report["arms"].items():
        for km, metrics in (arm["all"]["confidence"] or {}).items():
            bins = metrics["reliability"]
            rows.append(
                (
                    ARM_TITLES[name],
                    f"{km} km",
                    *(format_three(bins[key]) for key in ("ece", "debiased_ece")),
                    *(
                        format_three(metrics.get(key))
                        for key in ("auroc_correct", "auroc_in_gallery", "aurc")
                    ),
                )
            )
    if not rows:
        return ["No confidence is stated: the ranker puts all weight on one candidate."]
    columns = (
        "arm",
        "probability within",
        "ECE",
        "debiased ECE",
        "AUROC correct",
        "AUROC in gallery",
        "AURC",
    )
    text = (
        "Confidence is the share of the weights within this distance of the answer, or the stated "
        "probability if the answer is calibrated. An answer is correct if its error is below this "
        "distance."
    )
    return [text, format_table(columns, rows)]


def _abstention_section(report: Mapping[str, Any]) -> list[str]:
    keys = ("abstention_rate", "accuracy_of_answered", "accuracy_of_withheld")
    coverage_keys = ("abstention_rate_in_gallery", "abstention_rate_not_in_gallery")
    rows = [
        (
            ARM_TITLES[name],
            *(format_percent(metrics.get(key)) for key in (*keys, *coverage_keys)),
            format_three(metrics.get("auroc_not_in_gallery")),
        )
        for name, arm in report["arms"].items()
        if (metrics := arm["all"]["abstention"]) is not None
    ]
    if not rows:
        return []
    columns = (
        "arm",
        "abstention rate (%)",
        "answered: correct @25 km (%)",
        "withheld: correct @25 km (%)",
    )
    coverage_columns = (
        "in gallery: abstention rate (%)",
        "not in gallery: abstention rate (%)",
        "AUROC not in gallery",
    )
    return [
        "All metrics above include withheld answers, as best guesses.",
        format_table((*columns, *coverage_columns), rows),
    ]
