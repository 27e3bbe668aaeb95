"""Paired comparison of two runs on the same queries: difference, interval and p-value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats
from pinpoint.errors import BadRequestError
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.metrics import summary
from pinpoint.evaluation.metrics.arm_metrics import ArmMetrics
from pinpoint.evaluation.report.report_file import find_convention, replace_non_finite
from pinpoint.evaluation.run.results import Arm, read_results
from pinpoint.evaluation.run.rows import EXCLUDED
from pinpoint.evaluation.run.run_manifest import diff_manifests, read_run_manifest
from pinpoint.metrics.conventions import Convention
from pinpoint.metrics.geolocation import CITY_KM, THRESHOLDS_KM, geoscores
from pinpoint.metrics.intervals import paired_bootstrap

_EXCLUSION_SETTINGS: Final = ("exclude", "near_duplicate_cosine")


def compare_runs(a: Path, b: Path, convention: str | None = None) -> dict[str, Any]:
    """Compare two finished runs, A minus B, in every arm that both have.

    Args:
        a: Folder of run A.
        b: Folder of run B.
        convention: A key of `CONVENTIONS`; by default that of the protocol.

    Returns:
        `differences` (differences of the manifests), `photos` (number readable in both runs),
        `convention`, and for each arm and metric both values, the difference, its 95 % interval
        and p-value.

    Raises:
        BadRequestError: A folder contains no finished run, or the runs have different queries.
    """
    run_a, run_b = read_run_manifest(a), read_run_manifest(b)
    if run_a["labels"]["digest"] != run_b["labels"]["digest"]:
        raise BadRequestError(
            f"{a} and {b} have different queries ({_describe_labels(run_a)}, "
            f"{_describe_labels(run_b)}): only runs with the same labels can be compared"
        )
    used_convention = find_convention(convention or PROTOCOLS[run_a["protocol"]].convention)
    arms_a, arms_b = read_results(a), read_results(b)
    changed_exclusions = [
        name for name in _EXCLUSION_SETTINGS if run_a["settings"][name] != run_b["settings"][name]
    ]
    arms = [
        name for name in arms_a if name in arms_b and not (name == EXCLUDED and changed_exclusions)
    ]
    notes = []
    if EXCLUDED in arms_a and EXCLUDED in arms_b and changed_exclusions:
        notes.append(
            "The arm with exclusions is omitted because the runs have different exclusions."
        )
    num_candidates = min(run["settings"]["search"]["candidates"] for run in (run_a, run_b))
    depths = summary.recall_depths(num_candidates)
    pairs = {
        name: _compute_paired_metrics(arms_a[name], arms_b[name], used_convention, depths)
        for name in arms
    }
    comparison: dict[str, Any] = replace_non_finite(
        {
            "a": str(a),
            "b": str(b),
            "differences": diff_manifests(run_a, run_b),
            "convention": {
                "name": used_convention.name,
                "description": used_convention.description(),
            },
            "photos": {name: len(metrics_a.error_km) for name, (metrics_a, _) in pairs.items()},
            "arms": {
                name: _compare_metrics(metrics_a, metrics_b)
                for name, (metrics_a, metrics_b) in pairs.items()
            },
            "notes": notes,
        }
    )
    return comparison


def _describe_labels(run: Mapping[str, Any]) -> str:
    labels = run["labels"]
    return f"{run['protocol']}, {labels['evaluated']} queries, labels {labels['digest']}"


def _compute_paired_metrics(
    a: Arm, b: Arm, convention: Convention, depths: Sequence[int]
) -> tuple[ArmMetrics, ArmMetrics]:
    """Metrics of both arms, over the photos that are readable in both runs."""
    if list(a.files) != list(b.files):
        raise BadRequestError(
            "the runs have rows of different queries; one of the runs is not finished"
        )
    common_rows = a.readable & b.readable
    metrics_a, metrics_b = (
        summary.compute_metrics(arm, convention, depths, common_rows) for arm in (a, b)
    )
    return metrics_a, metrics_b


def _compare_metrics(a: ArmMetrics, b: ArmMetrics) -> dict[str, Any]:
    pairs: dict[str, tuple[Floats, Floats]] = {
        f"accuracy@{threshold:g}km": (
            summary.hits(a, threshold),
            summary.hits(b, threshold),
        )
        for threshold in THRESHOLDS_KM
    }
    for depth in a.best_km:
        pairs[f"oracle@{depth},{CITY_KM:g}km"] = (
            summary.hits(a, CITY_KM, depth),
            summary.hits(b, CITY_KM, depth),
        )
    rounded = a.convention.rounded
    pairs["geoscore"] = (
        geoscores(a.error_km, rounded=rounded),
        geoscores(b.error_km, rounded=rounded),
    )
    return {
        name: _paired_difference(values_a, values_b, a.clusters)
        for name, (values_a, values_b) in pairs.items()
    }


def _paired_difference(a: Floats, b: Floats, clusters: NDArray[np.int64]) -> dict[str, float]:
    comparison = paired_bootstrap(
        a, b, clusters, seed=summary.BOOTSTRAP_SEED, resamples=summary.RESAMPLES
    )
    return {
        "a": float(a.mean()) if len(a) else float("nan"),
        "b": float(b.mean()) if len(b) else float("nan"),
        "value": comparison.difference.value,
        "low": comparison.difference.low,
        "high": comparison.difference.high,
        "p_value": comparison.p_value,
    }
