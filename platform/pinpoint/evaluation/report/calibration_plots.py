"""Calibration plots: reliability, recall against area, risk against coverage.

Letters: N rows, as in `summary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pinpoint.arrays import Flags
from pinpoint.evaluation.metrics import calibration_metrics, summary
from pinpoint.evaluation.metrics.arm_metrics import ArmMetrics
from pinpoint.evaluation.metrics.summary import CONFIDENCE_RADII_KM
from pinpoint.evaluation.report.cells import ARM_TITLES, format_three
from pinpoint.evaluation.report.plotting import (
    ARM_COLORS,
    ARM_MARKERS,
    GRAY,
    MARKERS,
    PALETTE,
    new_figure,
)
from pinpoint.metrics.abstention import risk_curve
from pinpoint.metrics.calibration import disc_area_km2, recall_versus_area
from pinpoint.metrics.geolocation import CITY_KM
from pinpoint.metrics.intervals import LEVEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RELIABILITY_FILE: Final = "reliability.png"
RECALL_AREA_FILE: Final = "recall-area.png"
RISK_COVERAGE_FILE: Final = "risk-coverage.png"
_HISTOGRAM_BINS: Final = 20
_AREA_LIMITS_KM2: Final = (1e-1, 5.1e8)
"""From a city block to the whole Earth."""


def draw_calibration_plots(arm_metrics: Mapping[str, ArmMetrics]) -> dict[str, Figure]:
    """Figures by file name; figures whose values no arm states are omitted."""
    drawn = {}
    if any(metrics.probability_within_km is not None for metrics in arm_metrics.values()):
        drawn[RELIABILITY_FILE] = _draw_reliability(arm_metrics)
        drawn[RISK_COVERAGE_FILE] = _draw_risk(arm_metrics)
    stating = {
        name: metrics for name, metrics in arm_metrics.items() if metrics.credible_region_covers
    }
    if stating:
        drawn[RECALL_AREA_FILE] = _draw_recall_area(stating)
    return drawn


def _draw_reliability(arm_metrics: Mapping[str, ArmMetrics]) -> Figure:
    """Reliability curve above a histogram of the stated values, one column per distance."""
    figure = new_figure(4.2 * len(CONFIDENCE_RADII_KM), 5.8)
    grid = figure.subplots(
        2, len(CONFIDENCE_RADII_KM), sharex=True, sharey="row", height_ratios=(3, 1)
    )
    for (curve_axes, histogram_axes), km in zip(grid.T, CONFIDENCE_RADII_KM, strict=True):
        curve_axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        for name, metrics in arm_metrics.items():
            _draw_arm_reliability(curve_axes, histogram_axes, name, metrics, km)
        curve_axes.set(
            xlim=(0, 1), ylim=(0, 1), title=f"{_confidence_noun(arm_metrics)} within {km:g} km"
        )
        curve_axes.legend(fontsize=8, loc="upper left")
        histogram_axes.set(xlabel=f"stated {_confidence_noun(arm_metrics)}")
    grid[0, 0].set(ylabel="share of answers within the distance")
    grid[1, 0].set(ylabel="answers")
    grid[1, 0].locator_params(axis="y", integer=True)
    return figure


def _draw_arm_reliability(
    curve_axes: Axes, histogram_axes: Axes, name: str, metrics: ArmMetrics, km: float
) -> None:
    reliability = calibration_metrics.reliability_metrics(metrics, km, _all_rows(metrics))
    if reliability is None or metrics.probability_within_km is None:
        return
    ece = _format_three(reliability["debiased_ece"])
    label = f"{ARM_TITLES[name]}\ndebiased ECE {ece}, n = {reliability['stated']:,}"
    curve_axes.plot(
        [reliability_bin["confidence"] for reliability_bin in reliability["bins"]],
        [reliability_bin["accuracy"] for reliability_bin in reliability["bins"]],
        marker=ARM_MARKERS[name],
        markersize=4,
        clip_on=False,
        color=ARM_COLORS[name],
        label=label,
    )
    stated = metrics.probability_within_km[km]
    edges = np.linspace(0.0, 1.0, _HISTOGRAM_BINS + 1).tolist()
    histogram_axes.hist(
        stated[~np.isnan(stated)], bins=edges, histtype="step", color=ARM_COLORS[name]
    )


def _draw_recall_area(arm_metrics: Mapping[str, ArmMetrics]) -> Figure:
    """Coverage of highest-density regions and of discs against their area, per kind."""
    figure = new_figure(6.2 * len(arm_metrics), 5.2)
    row = figure.subplots(1, len(arm_metrics), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, metrics) in zip(row, arm_metrics.items(), strict=True):
        for share in metrics.credible_region_covers:
            axes.axhline(float(share), color="0.7", linewidth=0.8, linestyle=":")
            axes.text(
                _AREA_LIMITS_KM2[0],
                float(share),
                f" stated: {float(share):.0%}",
                color=GRAY,
                va="bottom",
            )
        for index, (kind, rows) in enumerate(_rows_by_kind(metrics).items()):
            _draw_kind_recall_area(axes, metrics, kind, rows, index)
        axes.set(xscale="log", xlim=_AREA_LIMITS_KM2, ylim=(0, 1), title=ARM_TITLES[name])
        axes.set(xlabel="area (km²)")
        legend_title = f"bars: {LEVEL:.0%} intervals over creators"
        axes.legend(fontsize=8, loc="lower right", title=legend_title, title_fontsize=8)
    row[0].set(ylabel="share of photos inside")
    return figure


def _draw_kind_recall_area(
    axes: Axes, metrics: ArmMetrics, kind: str, rows: Flags, index: int
) -> None:
    color = PALETTE[index % len(PALETTE)]
    regions = [
        summary.hdr_coverage(metrics, share, rows) for share in metrics.credible_region_covers
    ]
    coverage = np.array([region["coverage"]["value"] for region in regions])
    bounds = np.array(
        [(region["coverage"]["low"], region["coverage"]["high"]) for region in regions]
    ).T
    axes.errorbar(
        [region["median_km2"] for region in regions],
        coverage,
        yerr=np.abs(bounds - coverage),
        marker=MARKERS[index % len(MARKERS)],
        color=color,
        capsize=3,
        label=f"{kind}: highest-density regions, median size, n = {regions[0]['stated']:,}",
    )
    area_km2 = np.geomspace(*_AREA_LIMITS_KM2, 200)
    needed_km2 = disc_area_km2(metrics.error_km[rows])
    recall = recall_versus_area(np.where(np.isnan(needed_km2), np.inf, needed_km2), area_km2)
    label = f"{kind}: discs of equal size around the answers"
    axes.plot(area_km2, recall, color=color, linewidth=0.9, linestyle="--", label=label)


def _draw_risk(arm_metrics: Mapping[str, ArmMetrics]) -> Figure:
    """Risk–coverage curve: error rate of the most confident answers against their share."""
    figure = new_figure(7, 5)
    axes = figure.subplots()
    for name, metrics in arm_metrics.items():
        if metrics.probability_within_km is None:
            continue
        errors = 1.0 - summary.hits(metrics, CITY_KM)
        curve = risk_curve(metrics.probability_within_km[CITY_KM], errors)
        label = f"{ARM_TITLES[name]}, AURC {_format_three(curve.aurc)}, n = {curve.rows:,}"
        axes.plot(curve.coverage, curve.risk, color=ARM_COLORS[name], label=label)
        abstention = (
            calibration_metrics.abstention_metrics(metrics, _all_rows(metrics))
            if metrics.credible_region_covers
            else None
        )
        if abstention is not None and abstention["accuracy_of_answered"] is not None:
            point = (1.0 - abstention["abstention_rate"], 1.0 - abstention["accuracy_of_answered"])
            label = f"abstention threshold: answers {point[0]:.0%}, {point[1]:.0%} of them wrong"
            axes.plot(
                *point,
                ARM_MARKERS[name],
                color=ARM_COLORS[name],
                markersize=9,
                mec="black",
                label=label,
            )
    axes.set(xlim=(0, 1), ylim=(0, 1), title="Risk–coverage curve")
    axes.set(
        xlabel=f"share of photos answered, by falling {_confidence_noun(arm_metrics)} within 25 km"
    )
    axes.set(ylabel="share of these answers wrong by 25 km or more")
    axes.legend(fontsize=8)
    return figure


def _rows_by_kind(metrics: ArmMetrics) -> dict[str, Flags]:
    """Rows of every kind that has enough rows; all rows if no kind qualifies."""
    values = summary.stratum_values(metrics).get("kind", [])
    kinds = {value: summary.stratum_mask(metrics, "kind", value) for value in values}
    kinds = {kind: rows for kind, rows in kinds.items() if rows.sum() >= summary.MIN_STRATUM_ROWS}
    return kinds or {"all photos": _all_rows(metrics)}


def _all_rows(metrics: ArmMetrics) -> Flags:
    return np.ones(len(metrics.error_km), dtype=np.bool_)


def _confidence_noun(arm_metrics: Mapping[str, ArmMetrics]) -> str:
    """Name of the stated value: calibration turns a share of the weights into a probability."""
    calibrated = any(metrics.calibrated for metrics in arm_metrics.values())
    return "probability" if calibrated else "weight (uncalibrated)"


def _format_three(value: Any) -> str:
    return format_three(value if np.isfinite(value) else None)
