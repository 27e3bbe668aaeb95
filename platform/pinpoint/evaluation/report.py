"""The report of a run: every figure with its denominator, its interval and its convention.

Everything is computed from `results.parquet`, so a report can be made again, under another
convention, without asking anything again.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from pinpoint.errors import BadRequest
from pinpoint.evaluation import measures
from pinpoint.evaluation.asked import read_run
from pinpoint.evaluation.canvas import NOT_THE_EARTH
from pinpoint.evaluation.figures import Look, draw_figures
from pinpoint.evaluation.measures import Measured
from pinpoint.evaluation.protocols import PROTOCOLS
from pinpoint.evaluation.report_text import markdown
from pinpoint.evaluation.results import MISSING, Arm, read_results
from pinpoint.evaluation.rows import EXCLUDED, SERVED
from pinpoint.metrics.conventions import CONVENTIONS, Convention
from pinpoint.metrics.geolocation import THRESHOLDS_KM
from pinpoint.metrics.intervals import LEVEL, compare

REPORT_JSON: Final = "report.json"
REPORT_MD: Final = "report.md"
FEW_AUTHORS: Final = 30
"""Below this, percentile intervals over clusters are too short (see `metrics.intervals`)."""
PLANET_NOTE: Final = (
    "The planet is synthetic: drawn, not photographed. These figures compare methods on it; none "
    "of them says anything about the Earth."
)


def convention_named(name: str) -> Convention:
    """One of the field's conventions.

    Raises:
        BadRequest: There is none of that name.
    """
    if name not in CONVENTIONS:
        raise BadRequest(f"no convention {name!r}; there are {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def make_report(folder: Path, look: Look, convention: str | None = None) -> dict[str, Any]:
    """Write `report.json`, `report.md` and the pictures of a run beside its results.

    Args:
        folder: Of the run.
        look: Shows photos of the worst cases.
        convention: A key of `CONVENTIONS`; the protocol's own by default.

    Raises:
        BadRequest: There are no results, or there is no such convention.
    """
    run = read_run(folder)
    used = convention_named(convention or PROTOCOLS[run["protocol"]].convention)
    arms = read_results(folder)
    first = next(iter(arms))
    depths = measures.depths_of(run["settings"]["search"]["candidates"])
    measured = {name: measures.measure(arm, used, depths) for name, arm in arms.items()}
    drawn = draw_figures(folder, arms, measured, look, _underneath(run, arms[first]))
    report = finite(
        {
            "run": run,
            "convention": {"name": used.name, "words": used.words()},
            "intervals": {
                "level": LEVEL,
                "resamples": measures.RESAMPLES,
                "seed": measures.SEED,
                "clusters": "authors; a photo without an author is a cluster of its own",
            },
            "counts": _counts(run, arms[first]),
            "arms": {name: _arm(arms[name], of) for name, of in measured.items()},
            "leakage": _leakage(run, arms, measured),
            "timings": _timings(arms),
            "notes": _notes(run, arms, measured[first]),
            "figures": [path.name for path in drawn],
        }
    )
    _write(folder / REPORT_JSON, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    _write(folder / REPORT_MD, markdown(report))
    return dict(report)


def finite(value: Any) -> Any:
    """The same with None for every number that JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _counts(run: Mapping[str, Any], arm: Arm) -> dict[str, Any]:
    """Every denominator; rows = dropped + questions, asked = read + missing + unreadable."""
    protocol, labels = PROTOCOLS[run["protocol"]], run["labels"]
    problems = Counter(problem for problem in arm.problems if problem is not None)
    missing = problems.pop(MISSING, 0)
    return {
        "expected_rows": protocol.denominator,
        "released_images": protocol.released,
        "rows": labels["rows"],
        "dropped": labels["dropped"],
        "questions": labels["questions"],
        "asked": labels["asked"],
        "missing_image": missing,
        "unreadable_image": dict(sorted(problems.items())),
        "read": int(arm.read.sum()),
        "authors": len({creator for creator in arm.creators if creator is not None}),
        "without_author": sum(creator is None for creator in arm.creators),
        "placeholders": int(arm.placeholder.sum()),
    }


def _arm(arm: Arm, of: Measured) -> dict[str, Any]:
    everything = np.ones(len(of.error_km), dtype=np.bool_)
    found: dict[str, Any] = {"all": measures.figures(of, everything)}
    found["all"]["accuracy_of_labelled"] = {
        f"{threshold:g}": float(measures.hits(of, threshold).sum()) / max(1, len(arm.files))
        for threshold in THRESHOLDS_KM
    }
    if of.placeholder.any():
        found["without_placeholders"] = measures.figures(of, ~of.placeholder, brief=True)
    found["strata"] = {
        name: {value: _stratum(of, name, value) for value in values}
        for name, values in measures.stratum_values(of).items()
    }
    return found


def _stratum(of: Measured, name: str, value: str) -> dict[str, Any]:
    rows = measures.in_stratum(of, name, value)
    if int(rows.sum()) < measures.LEAST_STRATUM:
        return {"rows": int(rows.sum())}
    return measures.figures(of, rows, brief=True)


def _leakage(
    run: Mapping[str, Any], arms: Mapping[str, Arm], measured: Mapping[str, Measured]
) -> dict[str, Any] | None:
    """What the exclusions took away, and how much of the figures went with it."""
    if not {SERVED, EXCLUDED} <= set(arms):
        return None
    served, excluded = arms[SERVED], arms[EXCLUDED]
    settings = run["settings"]
    cosine = settings["near_duplicate_cosine"]
    alike = None if cosine is None else int((served.scores >= cosine).any(axis=1).sum())
    differences = {}
    for threshold in THRESHOLDS_KM:
        paired = compare(
            measures.hits(measured[SERVED], threshold),
            measures.hits(measured[EXCLUDED], threshold),
            measured[SERVED].clusters,
            seed=measures.SEED,
            resamples=measures.RESAMPLES,
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
        "photos_with_near_duplicate_candidates": alike,
        "served_less_excluded": differences,
    }


def _timings(arms: Mapping[str, Arm]) -> dict[str, Any]:
    """Milliseconds of the search flow, and what evaluating adds to it."""
    first = next(iter(arms.values()))
    flow = first.photo_ms + np.sum([arm.flow_ms for arm in arms.values()], axis=0)
    known = ~np.isnan(flow)
    if not known.any():
        return {}
    return {
        "photo_median_ms": float(np.median(first.photo_ms[known])),
        "flow_median_ms": {
            name: float(np.median(arm.flow_ms[known])) for name, arm in arms.items()
        },
        "overhead": float(first.row_ms[known].sum() / flow[known].sum()),
    }


def _notes(run: Mapping[str, Any], arms: Mapping[str, Arm], first: Measured) -> list[str]:
    protocol = PROTOCOLS[run["protocol"]]
    notes = [*run["labels"]["notes"], f"Licence of the set: {protocol.licence}."]
    if _drawn_planet(run):
        notes.insert(0, PLANET_NOTE)
    asked, labelled = run["labels"]["asked"], run["labels"]["questions"]
    if asked < labelled:
        chosen = ", ".join(f"{name} = {value}" for name, value in run["labels"]["only"].items())
        notes.append(f"Only {asked} of {labelled} questions were asked{chosen and ': ' + chosen}.")
    authors = len(np.unique(first.clusters))
    if authors < FEW_AUTHORS:
        notes.append(f"Intervals rest on {authors} authors: with so few they are too short.")
    if not any(arm.calibrated.any() for arm in arms.values()):
        notes.append(
            "The answers call their regions and masses uncalibrated: coverage and reliability "
            "below describe them, they are promises of nobody."
        )
    notes.append(run["gallery"]["bundle_note"])
    return notes


def _drawn_planet(run: Mapping[str, Any]) -> bool:
    return run["planet"] is not None or run["protocol"] == "world"


def _underneath(run: Mapping[str, Any], served: Arm) -> str:
    """What every figure has to say of where it comes from."""
    said = f"{run['protocol']}, {run['settings']['ranker']}: {int(served.read.sum()):,} photos read"
    return f"{said}; {NOT_THE_EARTH}" if _drawn_planet(run) else said


def _write(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
