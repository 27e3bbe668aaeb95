"""The report as Markdown: what stands in `report.json`, as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pinpoint.evaluation.labels import DROPPED
from pinpoint.evaluation.report_cells import NONE, TITLES, percent, ranged, table
from pinpoint.evaluation.report_promises import promises
from pinpoint.metrics.geolocation import THRESHOLDS_KM

_KM: Final = tuple(f"{each:g}" for each in THRESHOLDS_KM)


def markdown(report: Mapping[str, Any]) -> str:
    """The whole report."""
    run = report["run"]
    parts = [
        f"# {run['protocol']}: {run['settings']['ranker']} on {run['gallery']['bundle']}",
        *[f"> {note}" for note in report["notes"]],
        _asked(report),
        "## Denominators",
        _denominators(report["counts"]),
        "## Accuracy",
        _convention(report),
        _accuracy(report),
        "## Retrieval",
        "Recall@K as place recognition has it, the oracle of the first K candidates: share of "
        "photos with at least one of them near enough; @1 is retrieval alone. Convention: "
        f"{report['convention']['words']}.",
        _oracle(report),
        *_areas(report),
        *_leakage(report),
        *promises(report),
        *_strata(report),
        *_time(report),
        *(f"![{name}]({name})" for name in report["figures"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _asked(report: Mapping[str, Any]) -> str:
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
        ("narrowed to", ", ".join([*settings["kinds"], *settings["sources"]]) or "nothing"),
        ("excluded in the arm with exclusions", ", ".join(settings["exclude"]) or "no such arm"),
    ]
    if planet is not None:
        said = f"{planet['generator']}, {planet['preset']}, seed {planet['seed']}"
        rows.append(("planet", f"{said}, digest {planet['digest']}"))
    return table(("asked", ""), rows)


def _denominators(counts: Mapping[str, Any]) -> str:
    rows: list[tuple[str, object]] = [
        ("rows the release has", counts["expected_rows"]),
        ("rows of labels read", counts["rows"]),
        *((f"– dropped: {DROPPED.get(why, why)}", n) for why, n in counts["dropped"].items()),
        ("labelled photos", counts["questions"]),
        ("asked", counts["asked"]),
        ("– image missing", counts["missing_image"]),
        *((f"– image unreadable: {why}", n) for why, n in counts["unreadable_image"].items()),
        ("read", counts["read"]),
        ("– flagged as placeholder images", counts["placeholders"]),
        ("authors", counts["authors"]),
        ("photos without an author", counts["without_author"]),
    ]
    return table(("rows", "number"), rows)


def _convention(report: Mapping[str, Any]) -> str:
    intervals = report["intervals"]
    return (
        f"Convention: {report['convention']['words']}. Per cent of the photos that were read; in "
        f"brackets the {100 * intervals['level']:.0f} % interval of a bootstrap over "
        f"{intervals['clusters']} ({intervals['resamples']} resamples, seed {intervals['seed']}). "
        "“Of all asked” counts missing and unreadable images as wrong."
    )


def _accuracy(report: Mapping[str, Any]) -> str:
    rows: list[list[object]] = []
    for name, arm in report["arms"].items():
        title = TITLES[name]
        rows.append(_line(title, arm["all"]))
        everyone = arm["all"]["accuracy_of_labelled"]
        asked = report["counts"]["asked"]
        rows.append([f"{title}, of all asked", asked, NONE, *map(percent, everyone.values())])
        if "without_placeholders" in arm:
            rows.append(_line(f"{title}, placeholders left out", arm["without_placeholders"]))
        effects = [arm["all"]["accuracy"][km]["design_effect"] for km in _KM]
        rows.append([f"{title}, design effect", arm["all"]["rows"], NONE, *effects])
    head = ("arm", "photos", "answered", *(f"@{km} km" for km in _KM))
    errors = [
        (
            TITLES[name],
            arm["all"]["answered"],
            arm["all"]["mean_error_km"],
            ranged(arm["all"]["median_error_interval_km"], 1, 1.0),
            ranged(arm["all"]["geoscore"], 0, 1.0),
        )
        for name, arm in report["arms"].items()
    ]
    error_head = ("arm", "answered", "mean error km", "median error km", "GeoScore (all read)")
    return table(head, rows) + "\n\n" + table(error_head, errors)


def _line(title: str, figures: Mapping[str, Any]) -> list[object]:
    accuracy = [ranged(figures["accuracy"][km]) for km in _KM]
    return [title, figures["rows"], figures["answered"], *accuracy]


def _oracle(report: Mapping[str, Any]) -> str:
    rows = [
        [f"{TITLES[name]}, @{depth}", *(ranged(found[km]) for km in _KM)]
        for name, arm in report["arms"].items()
        for depth, found in arm["all"]["oracle"].items()
    ]
    return table(("arm", *(f"@{km} km" for km in _KM)), rows)


def _areas(report: Mapping[str, Any]) -> list[str]:
    rows = [
        (
            TITLES[name],
            level,
            percent(found["as_released"]),
            found["rows"],
            percent(found["labelled_only"]),
            found["labelled"],
        )
        for name, arm in report["arms"].items()
        for level, found in arm["all"]["areas"].items()
    ]
    if not rows:
        return []
    head = ("arm", "area", "as released %", "of", "labelled rows only %", "of")
    words = "The area of an answer is that of the nearest GeoNames city, as OSV-5M has it."
    return ["## Areas", words, table(head, rows)]


def _leakage(report: Mapping[str, Any]) -> list[str]:
    found = report["leakage"]
    if found is None:
        return []
    alike = found["photos_with_near_duplicate_candidates"]
    words = (
        f"Excluded: {', '.join(found['exclude'])}. {found['photos_with_rows_excluded']} photos "
        "had gallery rows of their own, their author or their sequence"
        + (
            ""
            if alike is None
            else f"; {alike} had near-duplicates among the served candidates "
            f"(cosine ≥ {found['near_duplicate_cosine']:g})"
        )
        + ". Served less excluded, in points:"
    )
    gaps = found["served_less_excluded"]
    head = ("", *(f"@{km} km" for km in _KM))
    rows = [
        ["difference", *(ranged(gaps[km]) for km in _KM)],
        ["p", *(f"{gaps[km]['p_value']:.3f}" if gaps[km]["p_value"] else NONE for km in _KM)],
    ]
    return ["## Leakage", words, table(head, rows)]


def _strata(report: Mapping[str, Any]) -> list[str]:
    parts = []
    for name, arm in report["arms"].items():
        rows = [
            [f"{stratum}: {value}", found["rows"], *_stratum(found)]
            for stratum, values in arm["strata"].items()
            for value, found in values.items()
        ]
        if rows:
            depth = max(arm["all"]["oracle"], key=int)
            head = ("stratum", "photos", *(f"@{km} km" for km in _KM), f"oracle@{depth}, 25 km")
            parts += [f"## Strata, {TITLES[name]}", table(head, rows)]
    return parts


def _stratum(found: Mapping[str, Any]) -> list[str]:
    if "accuracy" not in found:
        return ["too few"] + [NONE] * len(_KM)
    (oracle,) = found["oracle"].values()
    return [*(ranged(found["accuracy"][km]) for km in _KM), ranged(oracle["25"])]


def _time(report: Mapping[str, Any]) -> list[str]:
    timings = report["timings"]
    if not timings:
        return []
    flows = ", ".join(f"{TITLES[k]} {ms:.0f} ms" for k, ms in timings["flow_median_ms"].items())
    return [
        "## Time",
        f"Median per photo: reading, decoding and encoding {timings['photo_median_ms']:.0f} ms; "
        f"search {flows}. Evaluating took {timings['overhead']:.3f} times the bare search flow.",
    ]
