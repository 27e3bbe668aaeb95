"""Pictures of what answers state of themselves: reliability, recall against area, risk.

Letters: N rows, as in `measures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.evaluation import measures, promises
from pinpoint.evaluation.canvas import COLOURS, GREY, MARKERS, PALETTE, SHAPES, sheet
from pinpoint.evaluation.measures import CONFIDENT_KM, Measured
from pinpoint.evaluation.report_cells import TITLES, three
from pinpoint.metrics.abstention import risk_curve
from pinpoint.metrics.calibration import disc_area_km2, recall_versus_area
from pinpoint.metrics.intervals import LEVEL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RELIABILITY: Final = "reliability.png"
RECALL_AREA: Final = "recall-area.png"
RISK: Final = "risk-coverage.png"
_CITY_KM: Final = 25.0
_COUNT_BINS: Final = 20
_AREA_KM2: Final = (1e-1, 5.1e8)
"""A block of houses to the whole Earth."""

Flags = NDArray[np.bool_]


def draw_promises(measured: Mapping[str, Measured]) -> dict[str, Figure]:
    """The figures by their file, those for which the arms state enough."""
    drawn = {}
    if any(of.mass_within is not None for of in measured.values()):
        drawn[RELIABILITY] = _reliability(measured)
        drawn[RISK] = _risk(measured)
    stating = {name: of for name, of in measured.items() if of.area_holds}
    if stating:
        drawn[RECALL_AREA] = _recall_area(stating)
    return drawn


def _reliability(measured: Mapping[str, Measured]) -> Figure:
    """Stated against true, one column for each distance, above how often so much is stated."""
    figure = sheet(4.2 * len(CONFIDENT_KM), 5.8)
    grid = figure.subplots(2, len(CONFIDENT_KM), sharex=True, sharey="row", height_ratios=(3, 1))
    for (above, below), km in zip(grid.T, CONFIDENT_KM, strict=True):
        above.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        for name, of in measured.items():
            _reliability_of(above, below, name, of, km)
        above.set(xlim=(0, 1), ylim=(0, 1), title=f"{_stated(measured)} within {km:g} km")
        above.legend(fontsize=8, loc="upper left")
        below.set(xlabel=f"stated {_stated(measured)}")
    grid[0, 0].set(ylabel="share of answers that are so near")
    grid[1, 0].set(ylabel="answers")
    grid[1, 0].locator_params(axis="y", integer=True)
    return figure


def _reliability_of(above: Axes, below: Axes, name: str, of: Measured, km: float) -> None:
    found = promises.reliability_at(of, km, _everything(of))
    if found is None or of.mass_within is None:
        return
    said = f"{TITLES[name]}\ndebiased ECE {_three(found['debiased_ece'])}, n = {found['stated']:,}"
    above.plot(
        [each["confidence"] for each in found["bins"]],
        [each["accuracy"] for each in found["bins"]],
        marker=SHAPES[name],
        markersize=4,
        clip_on=False,
        color=COLOURS[name],
        label=said,
    )
    stated = of.mass_within[km]
    edges = np.linspace(0.0, 1.0, _COUNT_BINS + 1).tolist()
    below.hist(stated[~np.isnan(stated)], bins=edges, histtype="step", color=COLOURS[name])


def _recall_area(measured: Mapping[str, Measured]) -> Figure:
    """How often densest areas and discs hold the truth, by their size, kind by kind."""
    figure = sheet(6.2 * len(measured), 5.2)
    row = figure.subplots(1, len(measured), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, of) in zip(row, measured.items(), strict=True):
        for share in of.area_holds:
            axes.axhline(float(share), color="0.7", linewidth=0.8, linestyle=":")
            axes.text(
                _AREA_KM2[0], float(share), f" claimed: {float(share):.0%}", color=GREY, va="bottom"
            )
        for place, (kind, rows) in enumerate(_kinds(of).items()):
            _recall_area_of(axes, of, kind, rows, place)
        axes.set(xscale="log", xlim=_AREA_KM2, ylim=(0, 1), title=TITLES[name])
        axes.set(xlabel="area (km²)")
        said = f"bars: {LEVEL:.0%} intervals over authors"
        axes.legend(fontsize=8, loc="lower right", title=said, title_fontsize=8)
    row[0].set(ylabel="share of photos taken in it")
    return figure


def _recall_area_of(axes: Axes, of: Measured, kind: str, rows: Flags, place: int) -> None:
    colour = PALETTE[place % len(PALETTE)]
    found = [measures.densest(of, share, rows) for share in of.area_holds]
    held = np.array([each["coverage"]["value"] for each in found])
    ends = np.array([(each["coverage"]["low"], each["coverage"]["high"]) for each in found]).T
    axes.errorbar(
        [each["median_km2"] for each in found],
        held,
        yerr=np.abs(ends - held),
        marker=MARKERS[place % len(MARKERS)],
        color=colour,
        capsize=3,
        label=f"{kind}: densest areas, median size, n = {found[0]['stated']:,}",
    )
    area_km2 = np.geomspace(*_AREA_KM2, 200)
    needed = disc_area_km2(of.error_km[rows])
    searched = recall_versus_area(np.where(np.isnan(needed), np.inf, needed), area_km2)
    said = f"{kind}: discs of one size around the answers"
    axes.plot(area_km2, searched, color=colour, linewidth=0.9, linestyle="--", label=said)


def _risk(measured: Mapping[str, Measured]) -> Figure:
    """Errors among the surest photos, as ever more of them are answered."""
    figure = sheet(7, 5)
    axes = figure.subplots()
    for name, of in measured.items():
        if of.mass_within is None:
            continue
        off = 1.0 - measures.hits(of, _CITY_KM)
        curve = risk_curve(of.mass_within[_CITY_KM], off)
        said = f"{TITLES[name]}, AURC {_three(curve.aurc)}, n = {curve.rows:,}"
        axes.plot(curve.coverage, curve.risk, color=COLOURS[name], label=said)
        kept = promises.abstention(of, _everything(of)) if of.area_holds else None
        if kept is not None and kept["right_of_answered"] is not None:
            at = (1.0 - kept["withheld"], 1.0 - kept["right_of_answered"])
            said = f"abstention threshold: answers {at[0]:.0%}, {at[1]:.0%} of them off"
            axes.plot(*at, SHAPES[name], color=COLOURS[name], markersize=9, mec="black", label=said)
    axes.set(xlim=(0, 1), ylim=(0, 1), title="What answering only the surest photos costs")
    axes.set(xlabel=f"share of photos answered, by falling {_stated(measured)} within 25 km")
    axes.set(ylabel="share of these answers 25 km off or more")
    axes.legend(fontsize=8)
    return figure


def _kinds(of: Measured) -> dict[str, Flags]:
    """Rows by the kind of their photo, of kinds that have rows enough; of one kind, all."""
    values = measures.stratum_values(of).get("kind", [])
    found = {value: measures.in_stratum(of, "kind", value) for value in values}
    found = {kind: rows for kind, rows in found.items() if rows.sum() >= measures.LEAST_STRATUM}
    return found or {"all photos": _everything(of)}


def _everything(of: Measured) -> Flags:
    return np.ones(len(of.error_km), dtype=np.bool_)


def _stated(measured: Mapping[str, Measured]) -> str:
    """What an arm states: a share of the mass becomes a probability by calibration."""
    calibrated = any(of.calibrated for of in measured.values())
    return "probability" if calibrated else "mass (uncalibrated)"


def _three(value: Any) -> str:
    return three(value if np.isfinite(value) else None)
