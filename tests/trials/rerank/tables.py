"""The tables as Markdown; every figure is computed in `figures`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import numpy as np
from reference_tables import table

from pinpoint.metrics.intervals import Interval
from pinpoint.synthetic.presets import GENERATOR, PRESETS, preset_digest
from trials.rerank.ablations import (
    BEST,
    BOTH,
    BY_THEMSELVES,
    EVIDENCE,
    FULL,
    NONE,
    ORACLE,
    RADII_KM,
    SEARCHES,
    VOTE,
    picks_file,
)
from trials.rerank.bench_run import KINDS, RERANKED, BenchRun
from trials.rerank.figures import (
    Ablation,
    AbstentionFigures,
    CalibrationFigures,
    Gap,
    abstention_figures,
    calibration_figures,
    gap,
    read_ablation,
    read_decided,
    read_run,
    showing,
)

SETTINGS = {"open": "test", "closed": "train"}
"""Setting → role of gallery and queries."""
RANKERS = ("vote", "rerank")
GEOSCORE, WITHIN = AIMS = ("GeoScore", "within km")
"""Objective of an answer: the default, or accuracy within the row's radius."""


def make_report(bench: BenchRun) -> str:
    """All tables with their text."""
    parts = [words(bench), "## From the best image to the oracle", headline(bench)]
    if all(picks_file(bench, search).is_file() for search in SEARCHES):
        parts += ["## What the choice rests on", *ablation(read_ablation(bench))]
    if bench.calibrates:
        parts += ["## Calibration", calibration(bench)]
        if (read_run(bench, "test-rerank").role == "null-test").any():
            parts += ["## Queries not in the gallery", support(bench)]
    return "\n\n".join(parts) + "\n"


def words(bench: BenchRun) -> str:
    """The text above all tables."""
    digest = preset_digest(PRESETS[bench.preset], bench.seed)
    train = json.loads((bench.training(RERANKED) / "report.json").read_text(encoding="utf-8"))
    elsewhere = " of another planet" if bench.trained else ""
    return (
        f"Synthetic planet, not the Earth: {GENERATOR}, preset `{bench.preset}`, seed"
        f" {bench.seed}, digest `{digest}`; bundle `{RERANKED}`, trained on"
        f" {train['queries']['train']:,} queries{elsewhere}. A photo's own row, creator, sequence"
        " and near-duplicates never help. In brackets the 95 % interval of a bootstrap over"
        " creators and sequences."
    )


def gaps(bench: BenchRun) -> dict[tuple[str, str, float, str], Gap]:
    """Gaps by setting, query kind, radius, and objective of the answers."""
    by_case = {}
    for setting, role in SETTINGS.items():
        names = [f"{role}-{each}" for each in RANKERS]
        if not all((bench.run(name) / "report.md").is_file() for name in names):
            continue
        for km in RADII_KM:
            for aim in AIMS if bench.calibrates else AIMS[:1]:
                vote, rerank = (
                    read_run(bench, name) if aim == GEOSCORE else read_decided(bench, name, km)
                    for name in names
                )
                for kind in KINDS:
                    rows = (rerank.role == role) & (rerank.kind == kind)
                    if rows.any():
                        by_case[setting, kind, km, aim] = gap(vote, rerank, rows, km)
    return by_case


def headline(bench: BenchRun) -> str:
    """Percentages of queries answered within a radius, and shares of the gap."""
    rows = [
        [
            setting,
            kind,
            f"{figures.num_queries:,} ({figures.num_creators:,})",
            f"{km:g}",
            aim,
            *map(percent, (figures.top1, figures.vote, figures.rerank, figures.oracle)),
            *map(percent, (figures.closed_by_vote, figures.closed, figures.ahead, figures.gained)),
        ]
        for (setting, kind, km, aim), figures in sorted(gaps(bench).items(), key=_in_order)
    ]
    head = ["setting", "queries", "number (creators)", "km", "chosen for", BEST, VOTE, "rerank"]
    shares = ["gap closed by the vote", "by rerank", "rerank − vote", "rerank − best, points"]
    return table([*head, ORACLE, *shares], rows)


def _in_order(one: tuple[tuple[str, str, float, str], Gap]) -> tuple[bool, str, float, str]:
    (setting, kind, km, aim), _ = one
    return setting != "open", kind, km, aim


def ablation(figures: Ablation) -> list[str]:
    """The table of evidence, then one change per row."""
    rows = []
    for search in SEARCHES:
        arms = [BEST, VOTE, *search.evidence, ORACLE]
        arms += [BY_THEMSELVES] if search is FULL else []
        for kind in KINDS if (figures.kind == KINDS[-1]).any() else KINDS[:1]:
            for arm in arms:
                said = [percent(figures.share(search.name, arm, kind, km)) for km in RADII_KM]
                against = "–"
                if NONE in search.evidence and arm in EVIDENCE[1:]:
                    pair = ((search.name, arm), (search.name, NONE))
                    against = percent(figures.minus(*pair, kind))
                rows.append([kind, _searched(search.name), _arm(arm), *said, against])
    head = ["queries", "candidates", "shown", *(f"@{km:g} km" for km in RADII_KM)]
    return [
        f"{len(figures.kind):,} of the test's queries. Before calibration: the refined place with"
        " most of the scores' weight within the column's radius; the vote's first candidate, with"
        " the evidence that the reranker sees.",
        table([*head, "minus no evidence, points @25 km"], rows),
        table(["queries", "one minus another, points @25 km", "difference"], _changes(figures)),
    ]


def _changes(figures: Ablation) -> Iterable[list[object]]:
    full = (FULL.name, BOTH)
    changes = {
        "candidates that see each other, minus alone": (full, (FULL.name, BY_THEMSELVES)),
        "48 candidates, minus 12": (full, ("both-12", BOTH)),
        "rerank, minus vote": (full, (FULL.name, VOTE)),
        "both kinds of candidates, minus photos only": (full, ("photo", BOTH)),
        "both kinds of candidates, minus street views only": (full, ("street", BOTH)),
    }
    for kind in KINDS:
        if (figures.kind == kind).any():
            for name, pair in changes.items():
                yield [kind, name, percent(figures.minus(*pair, kind))]


def _searched(name: str) -> str:
    one = next(each for each in SEARCHES if each.name == name)
    return f"{one.candidates} {one.kind or 'of both kinds'}"


def _arm(arm: str) -> str:
    return f"evidence: {arm}" if arm in EVIDENCE else arm


def calibration_by_ranker(bench: BenchRun) -> dict[str, dict[str, CalibrationFigures]]:
    """Calibration figures by ranker and stratum."""
    return {each: calibration_figures(read_run(bench, f"test-{each}")) for each in RANKERS}


def calibration(bench: BenchRun) -> str:
    """The calibration table of queries that the gallery covers."""
    rows = [
        [
            ranker,
            stratum,
            f"{figures.num_queries:,} ({figures.num_creators:,})",
            f"{figures.debiased_ece:.3f}",
            *(percent(held) for _, held in sorted(figures.held.items())),
        ]
        for ranker, strata in calibration_by_ranker(bench).items()
        for stratum, figures in strata.items()
    ]
    head = ["ranker", "stratum", "queries (creators)", "debiased ECE of P(within 25 km)"]
    return table([*head, "50 % areas hold, %", "90 % areas hold, %"], rows)


def abstention_by_ranker(bench: BenchRun) -> dict[str, dict[str, AbstentionFigures]]:
    """Abstention figures by ranker and query kind."""
    shows = showing(bench.preset, bench.seed)
    by_ranker = {}
    for ranker in RANKERS:
        run = read_run(bench, f"test-{ranker}")
        by_ranker[ranker] = abstention_figures(run, np.array([file in shows for file in run.files]))
    return by_ranker


def support(bench: BenchRun) -> str:
    """The table of regions without a gallery against regions with one."""
    rows = []
    cases: list[str] = []
    for ranker, kinds in abstention_by_ranker(bench).items():
        for kind, figures in kinds.items():
            cases = list(figures.withheld)
            said = [_case(*figures.withheld[case]) for case in cases]
            rows.append([ranker, kind, _three(figures.auroc), _three(figures.auroc_all), *said])
    head = ["ranker", "queries", "AUROC against informative", "against all in gallery"]
    return table([*head, *(f"withheld: {case}" for case in cases)], rows)


def percent(interval: Interval) -> str:
    """Per cent with its interval."""
    if math.isnan(interval.value):
        return "–"
    text = f"{100 * interval.value:.1f}"
    if math.isnan(interval.low):
        return text
    return f"{text} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _case(share: float, count: int) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} % of {count:,}"


def _three(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
