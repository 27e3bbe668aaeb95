"""The report as Markdown: the content of `report.json` as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pinpoint.evaluation.labels.labels import DROP_REASONS
from pinpoint.evaluation.report.calibration_section import calibration_section
from pinpoint.evaluation.report.cells import (
    ARM_TITLES,
    EMPTY_CELL,
    format_interval,
    format_percent,
    format_table,
)
from pinpoint.metrics.geolocation import THRESHOLDS_KM

_THRESHOLDS: Final = tuple(f"{threshold:g}" for threshold in THRESHOLDS_KM)
_ACCURACY_COLUMNS: Final = tuple(f"@{km} km (%)" for km in _THRESHOLDS)


def render_markdown(report: Mapping[str, Any]) -> str:
    """The whole report."""
    run = report["run"]
    parts = [
        f"# {run['protocol']}: {run['settings']['ranker']} on {run['gallery']['bundle']}",
        *[f"> {note}" for note in report["notes"]],
        _run_table(report),
        "## Denominators",
        _counts_table(report["counts"]),
        "## Accuracy",
        _convention_text(report),
        _accuracy_tables(report),
        "## Retrieval",
        "Recall@K as in place recognition (oracle of the first K candidates): share of photos with "
        "at least one of K candidates within the threshold; @1 is retrieval alone. Convention: "
        f"{report['convention']['description']}.",
        _oracle_table(report),
        *_area_section(report),
        *_leakage_section(report),
        *calibration_section(report),
        *_strata_sections(report),
        *_timing_section(report),
        *(f"![{name}]({name})" for name in report["figures"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _run_table(report: Mapping[str, Any]) -> str:
    run, settings = report["run"], report["run"]["settings"]
    gallery, planet = run["gallery"], run["planet"]
    rows = [
        ("pinpoint", run["version"]),
        ("labels", run["labels"]["digest"]),
        ("bundle", f"{gallery['bundle']} ({gallery['bundle_digest']})"),
        ("index", f"{gallery['index_engine']}, build {gallery['index_build']}"),
        ("gallery images", gallery["images"]),
        ("ranker", settings["ranker"]),
        ("candidates", settings["search"]["candidates"]),
        ("filtered by", ", ".join([*settings["source_kinds"], *settings["sources"]]) or "nothing"),
        ("excluded in the arm with exclusions", ", ".join(settings["exclude"]) or "no such arm"),
    ]
    if planet is not None:
        planet_text = f"{planet['generator']}, {planet['preset']}, seed {planet['seed']}"
        rows.append(("planet", f"{planet_text}, digest {planet['digest']}"))
    return format_table(("setting", "value"), rows)


def _counts_table(counts: Mapping[str, Any]) -> str:
    rows: list[tuple[str, object]] = [
        ("rows of the release", counts["expected_rows"]),
        ("rows of labels read", counts["rows"]),
        *((f"– dropped: {DROP_REASONS.get(why, why)}", n) for why, n in counts["dropped"].items()),
        ("labeled photos", counts["queries"]),
        ("evaluated", counts["evaluated"]),
        ("– image missing", counts["missing_image"]),
        *((f"– image unreadable: {why}", n) for why, n in counts["unreadable_image"].items()),
        ("readable", counts["readable"]),
        ("– flagged as placeholder images", counts["placeholders"]),
        ("creators", counts["creators"]),
        ("photos without a creator", counts["without_creator"]),
    ]
    return format_table(("rows", "number of rows"), rows)


def _convention_text(report: Mapping[str, Any]) -> str:
    intervals = report["intervals"]
    return (
        f"Convention: {report['convention']['description']}. Percent of the readable photos; in "
        f"brackets the {100 * intervals['level']:.0f} % interval of a bootstrap over "
        f"{intervals['clusters']} ({intervals['resamples']} resamples, seed {intervals['seed']}). "
        "“Of all evaluated” counts missing and unreadable images as wrong."
    )


def _accuracy_tables(report: Mapping[str, Any]) -> str:
    rows: list[list[object]] = []
    for name, arm in report["arms"].items():
        title = ARM_TITLES[name]
        rows.append(_accuracy_row(title, arm["all"]))
        accuracy_of_all = arm["all"]["accuracy_of_labeled"]
        num_evaluated = report["counts"]["evaluated"]
        rows.append(
            [
                f"{title}, of all evaluated",
                num_evaluated,
                EMPTY_CELL,
                *map(format_percent, accuracy_of_all.values()),
            ]
        )
        if "without_placeholders" in arm:
            rows.append(
                _accuracy_row(f"{title}, without placeholders", arm["without_placeholders"])
            )
        effects = [arm["all"]["accuracy"][km]["design_effect"] for km in _THRESHOLDS]
        rows.append([f"{title}, design effect (factor)", arm["all"]["rows"], EMPTY_CELL, *effects])
    columns = ("arm", "photos", "answered", *_ACCURACY_COLUMNS)
    errors = [
        (
            ARM_TITLES[name],
            arm["all"]["answered"],
            arm["all"]["mean_error_km"],
            format_interval(arm["all"]["median_error_interval_km"], 1, 1.0),
            format_interval(arm["all"]["geoscore"], 0, 1.0),
        )
        for name, arm in report["arms"].items()
    ]
    error_columns = (
        "arm",
        "answered",
        "mean error (km)",
        "median error (km)",
        "GeoScore of all readable (0–5000)",
    )
    return format_table(columns, rows) + "\n\n" + format_table(error_columns, errors)


def _accuracy_row(title: str, metrics: Mapping[str, Any]) -> list[object]:
    accuracy = [format_interval(metrics["accuracy"][km]) for km in _THRESHOLDS]
    return [title, metrics["rows"], metrics["answered"], *accuracy]


def _oracle_table(report: Mapping[str, Any]) -> str:
    rows = [
        [f"{ARM_TITLES[name]}, @{depth}", *(format_interval(accuracy[km]) for km in _THRESHOLDS)]
        for name, arm in report["arms"].items()
        for depth, accuracy in arm["all"]["oracle"].items()
    ]
    return format_table(("arm", *_ACCURACY_COLUMNS), rows)


def _area_section(report: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            ARM_TITLES[name],
            level,
            format_percent(accuracy["as_released"]),
            accuracy["rows"],
            format_percent(accuracy["labeled_only"]),
            accuracy["labeled"],
        )
        for name, arm in report["arms"].items()
        for level, accuracy in arm["all"]["areas"].items()
    ]
    if not rows:
        return []
    columns = ("arm", "area", "as released (%)", "photos", "labeled rows only (%)", "photos")
    text = "The area of an answer is that of the nearest GeoNames city, as in OSV-5M."
    return ["## Areas", text, format_table(columns, rows)]


def _leakage_section(report: Mapping[str, Any]) -> list[str]:
    leakage = report["leakage"]
    if leakage is None:
        return []
    num_near_duplicates = leakage["photos_with_near_duplicate_candidates"]
    text = (
        f"Excluded: {', '.join(leakage['exclude'])}. {leakage['photos_with_rows_excluded']} photos "
        "had gallery rows with the same bytes, creator or sequence"
        + (
            ""
            if num_near_duplicates is None
            else f"; {num_near_duplicates} had near-duplicates among the unfiltered candidates "
            f"(cosine ≥ {leakage['near_duplicate_cosine']:g})"
        )
        + ". Unfiltered minus excluded:"
    )
    differences = leakage["unfiltered_minus_excluded"]
    columns = ("quantity", *(f"@{km} km" for km in _THRESHOLDS))
    rows = [
        [
            "difference (percentage points)",
            *(format_interval(differences[km]) for km in _THRESHOLDS),
        ],
        [
            "p-value",
            *(
                f"{differences[km]['p_value']:.3f}" if differences[km]["p_value"] else EMPTY_CELL
                for km in _THRESHOLDS
            ),
        ],
    ]
    return ["## Leakage", text, format_table(columns, rows)]


def _strata_sections(report: Mapping[str, Any]) -> list[str]:
    parts = []
    for name, arm in report["arms"].items():
        rows = [
            [f"{stratum}: {value}", metrics["rows"], *_stratum_cells(metrics)]
            for stratum, values in arm["strata"].items()
            for value, metrics in values.items()
        ]
        if rows:
            depth = max(arm["all"]["oracle"], key=int)
            columns = (
                "stratum",
                "photos",
                *_ACCURACY_COLUMNS,
                f"oracle@{depth}, 25 km (%)",
            )
            parts += [f"## Strata, {ARM_TITLES[name]}", format_table(columns, rows)]
    return parts


def _stratum_cells(metrics: Mapping[str, Any]) -> list[str]:
    if "accuracy" not in metrics:
        return ["too few"] + [EMPTY_CELL] * len(_THRESHOLDS)
    (oracle,) = metrics["oracle"].values()
    return [
        *(format_interval(metrics["accuracy"][km]) for km in _THRESHOLDS),
        format_interval(oracle["25"]),
    ]


def _timing_section(report: Mapping[str, Any]) -> list[str]:
    timings = report["timings"]
    if not timings:
        return []
    flows = ", ".join(f"{ARM_TITLES[k]} {ms:.0f} ms" for k, ms in timings["flow_median_ms"].items())
    return [
        "## Time",
        f"Median per photo: reading, decoding and encoding {timings['photo_median_ms']:.0f} ms; "
        f"search {flows}. The evaluation took {timings['overhead']:.3f} times the search flow.",
    ]
