"""The report of a run: every metric with its denominator, interval and convention.

Everything is computed from `results.parquet`. A report can therefore be made again under another
convention without a new search.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from pinpoint.atomic_files import write_atomic
from pinpoint.errors import BadRequestError
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.metrics import summary
from pinpoint.evaluation.metrics.arm_metrics import ArmMetrics
from pinpoint.evaluation.report.figures import LoadPhoto, draw_figures
from pinpoint.evaluation.report.markdown import render_markdown
from pinpoint.evaluation.report.plotting import NOT_THE_EARTH
from pinpoint.evaluation.run.results import MISSING_FILE, Arm, read_results
from pinpoint.evaluation.run.rows import EXCLUDED, UNFILTERED
from pinpoint.evaluation.run.run_manifest import read_run_manifest
from pinpoint.metrics.conventions import CONVENTIONS, Convention
from pinpoint.metrics.geolocation import THRESHOLDS_KM
from pinpoint.metrics.intervals import LEVEL, paired_bootstrap

REPORT_JSON: Final = "report.json"
REPORT_MD: Final = "report.md"
MIN_REPORT_CREATORS: Final = 30
"""With fewer creators, percentile intervals are too short (see `metrics.intervals`)."""
PLANET_NOTE: Final = (
    "The planet is synthetic: its photos are rendered. These metrics compare methods on it; they "
    "are no evidence about the Earth."
)


def find_convention(name: str) -> Convention:
    """The metrics convention of this name.

    Raises:
        BadRequestError: The name is unknown.
    """
    if name not in CONVENTIONS:
        raise BadRequestError(f"no convention {name!r}; there are {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def make_report(
    folder: Path, load_photo: LoadPhoto, convention: str | None = None
) -> dict[str, Any]:
    """Write `report.json`, `report.md` and the figures of a run to its folder.

    Args:
        folder: Folder of the run.
        load_photo: Loads photos of the worst cases.
        convention: A key of `CONVENTIONS`; by default that of the protocol.

    Raises:
        BadRequestError: The folder contains no results, or the convention is unknown.
    """
    run = read_run_manifest(folder)
    used_convention = find_convention(convention or PROTOCOLS[run["protocol"]].convention)
    arms = read_results(folder)
    first = next(iter(arms))
    depths = summary.recall_depths(run["settings"]["search"]["candidates"])
    arm_metrics = {
        name: summary.compute_metrics(arm, used_convention, depths) for name, arm in arms.items()
    }
    figure_paths = draw_figures(
        folder, arms, arm_metrics, load_photo, _make_caption(run, arms[first])
    )
    report = replace_non_finite(
        {
            "run": run,
            "convention": {
                "name": used_convention.name,
                "description": used_convention.description(),
            },
            "intervals": {
                "level": LEVEL,
                "resamples": summary.RESAMPLES,
                "seed": summary.BOOTSTRAP_SEED,
                "clusters": "creators; a photo without a creator is a separate cluster",
            },
            "counts": _count_rows(run, arms[first]),
            "arms": {
                name: _report_arm(arms[name], metrics) for name, metrics in arm_metrics.items()
            },
            "leakage": _report_leakage(run, arms, arm_metrics),
            "timings": _report_timings(arms),
            "notes": _collect_notes(run, arms, arm_metrics[first]),
            "figures": [path.name for path in figure_paths],
        }
    )
    # Not durable: made again from the results.
    text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
    write_atomic(folder / REPORT_JSON, text, durable=False)
    write_atomic(folder / REPORT_MD, render_markdown(report), durable=False)
    return dict(report)


def replace_non_finite(value: Any) -> Any:
    """Copy of a value with None for every number that JSON cannot represent."""
    if isinstance(value, Mapping):
        return {key: replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _count_rows(run: Mapping[str, Any], arm: Arm) -> dict[str, Any]:
    """All denominators: rows = dropped + queries; evaluated = read + missing + unreadable."""
    protocol, labels = PROTOCOLS[run["protocol"]], run["labels"]
    problems = Counter(problem for problem in arm.problems if problem is not None)
    missing = problems.pop(MISSING_FILE, 0)
    return {
        "expected_rows": protocol.num_labels,
        "released_images": protocol.num_released_images,
        "rows": labels["rows"],
        "dropped": labels["dropped"],
        "queries": labels["queries"],
        "evaluated": labels["evaluated"],
        "missing_image": missing,
        "unreadable_image": dict(sorted(problems.items())),
        "readable": int(arm.readable.sum()),
        "creators": len({creator for creator in arm.creators if creator is not None}),
        "without_creator": sum(creator is None for creator in arm.creators),
        "placeholders": int(arm.placeholder.sum()),
    }


def _report_arm(arm: Arm, metrics: ArmMetrics) -> dict[str, Any]:
    all_rows = np.ones(len(metrics.error_km), dtype=np.bool_)
    result: dict[str, Any] = {"all": summary.summarize_metrics(metrics, all_rows)}
    result["all"]["accuracy_of_labeled"] = {
        f"{threshold:g}": float(summary.hits(metrics, threshold).sum()) / max(1, len(arm.files))
        for threshold in THRESHOLDS_KM
    }
    if metrics.placeholder.any():
        result["without_placeholders"] = summary.summarize_metrics(
            metrics, ~metrics.placeholder, brief=True
        )
    result["strata"] = {
        name: {value: _report_stratum(metrics, name, value) for value in values}
        for name, values in summary.stratum_values(metrics).items()
    }
    return result


def _report_stratum(metrics: ArmMetrics, name: str, value: str) -> dict[str, Any]:
    rows = summary.stratum_mask(metrics, name, value)
    if int(rows.sum()) < summary.MIN_STRATUM_ROWS:
        return {"rows": int(rows.sum())}
    return summary.summarize_metrics(metrics, rows, brief=True)


def _report_leakage(
    run: Mapping[str, Any], arms: Mapping[str, Arm], arm_metrics: Mapping[str, ArmMetrics]
) -> dict[str, Any] | None:
    """Number of photos affected by the exclusions, and their effect on the accuracy."""
    if not {UNFILTERED, EXCLUDED} <= set(arms):
        return None
    unfiltered, excluded = arms[UNFILTERED], arms[EXCLUDED]
    settings = run["settings"]
    cosine = settings["near_duplicate_cosine"]
    num_near_duplicates = (
        None if cosine is None else int((unfiltered.scores >= cosine).any(axis=1).sum())
    )
    differences = {}
    for threshold in THRESHOLDS_KM:
        paired = paired_bootstrap(
            summary.hits(arm_metrics[UNFILTERED], threshold),
            summary.hits(arm_metrics[EXCLUDED], threshold),
            arm_metrics[UNFILTERED].clusters,
            seed=summary.BOOTSTRAP_SEED,
            resamples=summary.RESAMPLES,
        )
        gap = paired.difference
        differences[f"{threshold:g}"] = {
            "value": gap.value,
            "low": gap.low,
            "high": gap.high,
            "p_value": paired.p_value,
        }
    return {
        "exclude": settings["exclude"],
        "near_duplicate_cosine": cosine,
        "photos_with_rows_excluded": int((np.nan_to_num(excluded.excluded) > 0).sum()),
        "photos_with_near_duplicate_candidates": num_near_duplicates,
        "unfiltered_minus_excluded": differences,
    }


def _report_timings(arms: Mapping[str, Arm]) -> dict[str, Any]:
    """Time of the search flow in milliseconds, and the overhead of the evaluation."""
    first = next(iter(arms.values()))
    flow_ms = first.photo_ms + np.sum([arm.flow_ms for arm in arms.values()], axis=0)
    answered = ~np.isnan(flow_ms)
    if not answered.any():
        return {}
    return {
        "photo_median_ms": float(np.median(first.photo_ms[answered])),
        "flow_median_ms": {
            name: float(np.median(arm.flow_ms[answered])) for name, arm in arms.items()
        },
        "overhead": float(first.row_ms[answered].sum() / flow_ms[answered].sum()),
    }


def _collect_notes(run: Mapping[str, Any], arms: Mapping[str, Arm], first: ArmMetrics) -> list[str]:
    protocol = PROTOCOLS[run["protocol"]]
    notes = [*run["labels"]["notes"], f"License of the set: {protocol.license}."]
    if _is_synthetic(run):
        notes.insert(0, PLANET_NOTE)
    num_evaluated, num_labeled = run["labels"]["evaluated"], run["labels"]["queries"]
    if num_evaluated < num_labeled:
        filters = ", ".join(f"{name} = {value}" for name, value in run["labels"]["filters"].items())
        notes.append(
            f"Only {num_evaluated} of {num_labeled} queries were evaluated"
            f"{filters and ': ' + filters}."
        )
    num_creators = len(np.unique(first.clusters))
    if num_creators < MIN_REPORT_CREATORS:
        notes.append(
            f"Intervals are based on {num_creators} creators only and are therefore too short."
        )
    if not any(arm.calibrated.any() for arm in arms.values()):
        notes.append(
            "Regions and weights of the answers are uncalibrated: coverage and reliability below "
            "describe them but are not guaranteed."
        )
    notes.append(run["gallery"]["bundle_note"])
    return notes


def _is_synthetic(run: Mapping[str, Any]) -> bool:
    return run["planet"] is not None or run["protocol"] == "synthetic"


def _make_caption(run: Mapping[str, Any], unfiltered: Arm) -> str:
    """Caption with the provenance of a figure."""
    num_readable = int(unfiltered.readable.sum())
    caption = f"{run['protocol']}, {run['settings']['ranker']}: {num_readable:,} photos read"
    return f"{caption}; {NOT_THE_EARTH}" if _is_synthetic(run) else caption
