"""Report of a self-calibration: which queries could be asked, what holds for them, and a figure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pinpoint.atomic_files import write_atomic
from pinpoint.evaluation.calibration.calibration_set import CalibrationSet, read_calibration_set
from pinpoint.evaluation.calibration.cross_fit import ScoredQueries, cross_fit, summarize
from pinpoint.evaluation.calibration.verification_fit import (
    MIN_VERIFIED_CREATORS,
    count_creators_by_verification,
)
from pinpoint.evaluation.report.plotting import BLUE, GRAY, VERMILION, new_figure, save_figure
from pinpoint.evaluation.run.leave_one_out import EXCLUSION_SCOPES, UNCOVERED
from pinpoint.evaluation.run.rows import EXCLUDED, read_rows
from pinpoint.metrics.calibration import reliability
from pinpoint.metrics.intervals import cluster_codes
from pinpoint.records import Calibration

REPORT_FILE: Final = "report.json"
FIGURE_FILE: Final = "self-calibration.png"
_SCOPE_TEXTS: Final[Mapping[str, str]] = {
    "creator": "all images of the query's creator and sequence were left out: photos by others",
    "sequence": "all images of the query's sequence were left out, but not its creator's others, "
    "because few places have images of two creators: photos of another sequence",
    "capture": "only the panorama and the images taken within seconds were left out, because most "
    "places have images of one sequence only: photos of the same sequence",
}
"""What was left out in each scope, and for which photos the calibration holds."""

_VERIFICATION_GROUPS: Final[Mapping[str, bool | None]] = {
    "verified": True,
    "not verified": False,
    "not compared": None,
}


def report_self_calibration(
    folder: Path,
    run: Mapping[str, Any],
    calibration: Calibration,
    *,
    max_false_abstention: float,
    outside_share: float,
) -> dict[str, Any]:
    """Check a self-calibration by cross-fitting, and write `report.json` and a figure.

    Args:
        folder: Folder of the finished leave-one-out run.
        run: Manifest of the run.
        calibration: Calibration that was fitted on all its queries.
        max_false_abstention: Its maximum share of withheld correct answers.
        outside_share: Its assumed share of photos outside the gallery.

    Raises:
        BadRequestError: There are too few queries for a fit on half of them.
    """
    queries = read_calibration_set(folder, run, EXCLUDED)
    scored = cross_fit(
        queries, run, max_false_abstention=max_false_abstention, outside_share=outside_share
    )
    report = {
        "queries": _count_queries(folder),
        "scopes": dict(run["settings"]["scopes"]),
        "holds_for": _describe_scopes(run["settings"]["scopes"]),
        "notes": _list_warnings(queries, calibration, run),
        "outside_share": outside_share,
        "cross_fitted": summarize(scored, outside_share),
        "by_kind": {
            kind: summarize(scored.select(np.array(scored.kinds) == kind), outside_share)
            for kind in sorted(set(scored.kinds))
        },
        "by_verification": _summarize_by_verification(scored, outside_share),
        "reliability": _list_bins(scored.select(scored.in_gallery)),
        "note": calibration.note,
    }
    text = json.dumps(report, indent=1, ensure_ascii=False)
    write_atomic(folder / REPORT_FILE, text + "\n", durable=False)
    _draw_figure(scored, report, folder / FIGURE_FILE)
    return report


def _list_bins(covered: ScoredQueries) -> list[dict[str, Any]]:
    """Stated probability within 25 km and share of right answers of covered queries, in bins."""
    clusters = cluster_codes(covered.creators)
    stated = reliability(covered.p_within_25_km, covered.correct, clusters)
    return [
        {
            "rows": stated_bin.rows,
            "confidence": stated_bin.confidence,
            "accuracy": stated_bin.accuracy,
        }
        for stated_bin in stated.bins
    ]


def _summarize_by_verification(scored: ScoredQueries, outside_share: float) -> dict[str, Any]:
    """Figures of verified queries, of others, and of those without compared candidates.

    Empty if no query has compared candidates; groups without covered queries are omitted.
    """
    if set(scored.verified) == {None}:
        return {}
    groups = {
        name: np.array([verified is value for verified in scored.verified])
        for name, value in _VERIFICATION_GROUPS.items()
    }
    return {
        name: summarize(scored.select(rows), outside_share)
        for name, rows in groups.items()
        if (rows & scored.in_gallery).any()
    }


def _count_queries(folder: Path) -> dict[str, dict[str, int]]:
    """Number of queries by kind: covered, uncovered, and not asked with the reason."""
    counts: dict[str, Counter[str]] = {}
    for row in read_rows(folder):
        kind_counts = counts.setdefault(row["query_kind"], Counter())
        if row["problem"] is not None:
            kind_counts[f"not asked: {row['problem']}"] += 1
        elif row["strata"]["covered"] == "true":
            kind_counts["covered"] += 1
        elif row["strata"]["role"] == UNCOVERED:
            kind_counts["uncovered"] += 1
        else:
            kind_counts["uncovered after exclusions"] += 1
    return {kind: dict(sorted(kind_counts.items())) for kind, kind_counts in sorted(counts.items())}


def _describe_scopes(scopes: Mapping[str, str]) -> list[str]:
    """One sentence for each scope in use: its sources, and what the calibration holds for."""
    return [
        f"{', '.join(sorted(source for source in scopes if scopes[source] == scope))}: "
        f"{_SCOPE_TEXTS[scope]}"
        for scope in EXCLUSION_SCOPES
        if scope in scopes.values()
    ]


def _list_warnings(
    queries: CalibrationSet, calibration: Calibration, run: Mapping[str, Any]
) -> list[str]:
    """What the calibration lacks, in words."""
    notes = []
    if calibration.coverage is None:
        radius_km = run["settings"]["uncovered_radius_km"]
        reason = (
            "the assumed share is 0"
            if (~queries.in_gallery).any()
            else f"leaving out {radius_km:g} km around an image leaves too little of this gallery"
        )
        notes.append(
            "the probabilities are those of photos taken where the gallery has images, and "
            f"nothing is known about others: {reason}"
        )
    if "verify" in run["settings"] and calibration.verification is None:
        verified, other = count_creators_by_verification(queries)
        notes.append(
            f"verification changes no probability: {verified} independent groups have a verified "
            f"covered query, and {other} one that is not verified; {MIN_VERIFIED_CREATORS} of both "
            "are needed"
        )
    return notes


def _draw_figure(scored: ScoredQueries, report: Mapping[str, Any], path: Path) -> None:
    """Reliability of the probabilities of covered queries, and the trade-off of abstention."""
    figure = new_figure(10.0, 4.6)
    reliability_axes, trade_off_axes = figure.subplots(1, 2)
    covered = scored.select(scored.in_gallery)
    stated = reliability(covered.p_within_25_km, covered.correct, cluster_codes(covered.creators))
    reliability_axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    reliability_axes.plot(
        [bin_.confidence for bin_ in stated.bins],
        [bin_.accuracy for bin_ in stated.bins],
        "o-",
        color=BLUE,
        label=f"covered queries, debiased ECE {stated.debiased_ece:.3f}, n = {stated.stated:,}",
    )
    uncovered = scored.select(~scored.in_gallery)
    if len(uncovered.correct):
        mean = float(uncovered.p_within_25_km.mean())
        label = f"uncovered queries: mean {mean:.2f}, n = {len(uncovered.correct):,}"
        reliability_axes.axvline(mean, color=VERMILION, linestyle="--", label=label)
    reliability_axes.set(xlim=(0, 1), ylim=(0, 1), title="Probability within 25 km")
    reliability_axes.set(xlabel="stated probability", ylabel="share of answers within 25 km")
    reliability_axes.legend(fontsize=8, loc="upper left")
    _draw_trade_off(trade_off_axes, report["cross_fitted"].get("trade_off", ()))
    save_figure(figure, path, "cross-fitted: each half of the creators with the other half's fit")


def _draw_trade_off(axes: Any, points: Sequence[Mapping[str, float]]) -> None:
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes.plot(
        [point["withheld_correct"] for point in points],
        [point["withheld_uncovered"] for point in points],
        "s-",
        color=VERMILION,
    )
    axes.set(xlim=(0, 1), ylim=(0, 1), title="Abstention")
    axes.set(xlabel="share of correct answers withheld", ylabel="share of uncovered withheld")
    if not points:
        axes.text(0.5, 0.5, "no uncovered queries", ha="center", color=GRAY)
