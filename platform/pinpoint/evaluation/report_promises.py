"""The part of the report about stated regions, probabilities and withheld answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pinpoint.evaluation.report_cells import TITLES, percent, ranged, table, three


def promises(report: Mapping[str, Any]) -> list[str]:
    """What answers state of themselves, against what is true."""
    return [
        "## Stated regions and masses",
        _regions(report),
        *_densest(report),
        *_confidence(report),
        *_abstention(report),
    ]


def _regions(report: Mapping[str, Any]) -> str:
    rows = [
        (
            TITLES[name],
            f"{100 * region['stated_share']:.0f} %",
            "calibrated" if region["calibrated"] else "uncalibrated",
            percent(region["coverage"]),
            region["median_radius_km"],
            region["stated"],
        )
        for name, arm in report["arms"].items()
        for region in arm["all"]["regions"].values()
    ]
    head = ("arm", "region", "the answer says", "holds the truth %", "median radius km", "stated")
    return table(head, rows)


def _densest(report: Mapping[str, Any]) -> list[str]:
    """Densest areas of all calibrated answers, and of each stratum of the calibration."""
    rows: list[list[object]] = []
    for name, arm in report["arms"].items():
        parts = {"all": arm["all"], **arm["strata"].get("calibration", {})}
        for part, figures in parts.items():
            for found in figures.get("densest", {}).values():
                title = f"{100 * found['stated_share']:.0f} %"
                held = ranged(found["coverage"])
                rows.append([TITLES[name], part, title, held, found["median_km2"], found["stated"]])
    if not rows:
        return []
    head = ("arm", "stratum", "densest area", "holds the truth %", "median km²", "stated")
    return [table(head, rows)]


def _confidence(report: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, arm in report["arms"].items():
        for km, found in (arm["all"]["confidence"] or {}).items():
            bins = found["reliability"]
            rows.append(
                (
                    TITLES[name],
                    f"{km} km",
                    *(three(bins[key]) for key in ("ece", "debiased_ece")),
                    *(three(found.get(key)) for key in ("auroc_right", "auroc_covered", "aurc")),
                )
            )
    if not rows:
        return ["No confidence is stated: the ranker puts all mass on one candidate."]
    head = ("arm", "mass within", "ECE", "debiased ECE", "AUROC right", "AUROC covered", "AURC")
    words = (
        "Confidence is the share of the mass within so many kilometres of the answer (of "
        "calibrated answers the stated probability), right is an answer within them."
    )
    return [words, table(head, rows)]


def _abstention(report: Mapping[str, Any]) -> list[str]:
    keys = ("withheld", "right_of_answered", "right_of_withheld")
    known = ("withheld_of_covered", "withheld_of_uncovered")
    rows = [
        (
            TITLES[name],
            *(percent(found.get(key)) for key in (*keys, *known)),
            three(found.get("auroc_uncovered")),
        )
        for name, arm in report["arms"].items()
        if (found := arm["all"]["abstention"]) is not None
    ]
    if not rows:
        return []
    head = ("arm", "withheld %", "answered: right @25 km %", "withheld: right @25 km %")
    more = ("of covered photos withheld %", "of uncovered ones %", "AUROC of no support")
    return [
        "Withheld answers stay in all figures above, as the guesses that they are.",
        table((*head, *more), rows),
    ]
