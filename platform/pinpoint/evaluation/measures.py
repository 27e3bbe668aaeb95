"""Figures over some rows of an arm: of all of them, of a stratum, of those without placeholders.

Letters: N rows, K candidates. The rows are photos that could be read. Those without an answer stay
in the denominators and are wrong; only errors in kilometres are over answered rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.evaluation import promises
from pinpoint.evaluation.areas import areas_of, mended_label, released_label
from pinpoint.evaluation.results import Arm
from pinpoint.metrics.calibration import disc_area_km2, recall_versus_area, region_coverage
from pinpoint.metrics.conventions import Convention, distances_km
from pinpoint.metrics.geolocation import THRESHOLDS_KM, area_accuracy, errors, geoscores, within
from pinpoint.metrics.intervals import bootstrap, cluster_codes, design_effect
from pinpoint.metrics.retrieval import oracle_km

DEPTHS: Final = (1, 12, 48)
"""The best candidate, the candidates of the paper, those of the product."""
CROSSED: Final = (("kind", "setting"), ("kind", "role"))
"""Strata that are shown together where a set has both: a synthetic planet is quoted by them."""
CONFIDENT_KM: Final = (1.0, 25.0, 200.0)
AREAS_KM2: Final = (1.0, 1e2, 1e4, 1e6, 1e8)
LEAST_STRATUM: Final = 10
"""Strata with fewer rows get no figures, only their count."""
RESAMPLES: Final = 2_000
SEED: Final = 20261121

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An arm with what every figure needs, computed once; `[N]` over its readable photos."""

    convention: Convention
    clusters: NDArray[np.int64]
    error_km: Floats
    best_km: Mapping[int, Floats]
    """Error of the best of the first candidates, by depth."""
    mass_within: Mapping[float, Floats] | None
    """Share of the mass within some kilometres of the answer; None where no ranker states any."""
    radii_km: Mapping[str, Floats]
    area_holds: Mapping[str, Floats]
    """Whether the stated densest area holds the truth, by its share; NaN where none is stated."""
    area_km2: Mapping[str, Floats]
    withheld: Flags
    """Answers that are called guesses."""
    unsupported: Floats
    """Stated probability that the gallery has nothing near; NaN where none is stated."""
    calibrated: bool
    labels: Mapping[str, Sequence[str | None]]
    """Area labels of each level that has any."""
    named: Mapping[str, Sequence[str | None]]
    """Areas of the answers."""
    strata: Sequence[Mapping[str, str]]
    placeholder: Flags


def depths_of(candidates: int) -> tuple[int, ...]:
    """How deep lists of so many candidates are looked into."""
    return tuple(sorted({min(depth, candidates) for depth in DEPTHS}))


def measure(
    arm: Arm, convention: Convention, depths: Sequence[int], chosen: Flags | None = None
) -> Measured:
    """Distances and names of an arm's readable photos, in the order of the labels.

    Args:
        arm: The answers.
        convention: How distances are taken.
        depths: How deep to look into the candidates.
        chosen: `[N]` over the arm's questions: only these, all of them readable.
    """
    rows = np.flatnonzero(arm.read if chosen is None else chosen).tolist()
    truth, answers = arm.truth[rows], arm.answers[rows]
    candidates = arm.candidates[rows]
    away = distances_km(truth[:, None, :], candidates, convention)
    width = candidates.shape[1]
    areas = [arm.areas[row] for row in rows]
    levels = [level for level in (areas[0] if areas else ()) if any(one[level] for one in areas)]
    named = areas_of(answers) if levels else []
    return Measured(
        convention=convention,
        clusters=cluster_codes([arm.creators[row] for row in rows]),
        error_km=distances_km(truth, answers, convention),
        best_km={depth: oracle_km(away, min(depth, width)) for depth in depths},
        mass_within=(
            {km: arm.within[f"{km:g}"][rows] for km in CONFIDENT_KM}
            if arm.within
            else _mass_within(answers, candidates, arm.masses[rows])
        ),
        area_holds={share: held[rows] for share, held in arm.area_holds.items()},
        area_km2={share: size[rows] for share, size in arm.area_km2.items()},
        withheld=np.array([arm.abstained[row] is not None for row in rows], dtype=np.bool_),
        unsupported=arm.unsupported[rows],
        radii_km={share: radii[rows] / 1000.0 for share, radii in arm.radii_m.items()},
        calibrated=bool(arm.calibrated[rows].any()),
        labels={level: [one[level] for one in areas] for level in levels},
        named={level: [one[level] for one in named] for level in levels},
        strata=[_strata(arm, row) for row in rows],
        placeholder=arm.placeholder[rows],
    )


def figures(of: Measured, rows: Flags, *, brief: bool = False) -> dict[str, Any]:
    """Every figure over some rows.

    Args:
        of: The arm.
        rows: `[N]`, which of its readable photos.
        brief: Only what a stratum's line shows.
    """
    error_km, clusters = of.error_km[rows], of.clusters[rows]
    off = errors(error_km)
    found: dict[str, Any] = {
        "rows": off.rows,
        "answered": off.answered,
        "authors": len(np.unique(clusters)),
        "accuracy": _by_threshold(error_km, of.convention, clusters),
        "median_error_km": off.median_km,
        "oracle": {
            str(depth): _by_threshold(best_km[rows], of.convention, clusters)
            for depth, best_km in of.best_km.items()
            if not brief or depth == max(of.best_km)
        },
        "geoscore": _interval(geoscores(error_km, rounded=of.convention.rounded), clusters),
    }
    if of.area_holds:
        found["densest"] = {share: densest(of, share, rows) for share in of.area_holds}
    if brief:
        return found
    answered = ~np.isnan(error_km)
    return found | {
        "mean_error_km": off.mean_km,
        "median_error_interval_km": _interval(error_km[answered], clusters[answered], "median"),
        "areas": {level: _area(of, level, rows) for level in of.labels},
        "regions": {share: _region(of, share, rows) for share in of.radii_km},
        "abstention": promises.abstention(of, rows) if of.area_holds else None,
        "recall_versus_area": _recall_versus_area(error_km),
        "confidence": None
        if of.mass_within is None
        else promises.confidence(of, of.mass_within, rows),
    }


def hits(of: Measured, threshold_km: float, depth: int | None = None) -> Floats:
    """1 where the answer (or the best of some candidates) is right, else 0: `[N]`."""
    error_km = of.error_km if depth is None else of.best_km[depth]
    return within(error_km, threshold_km, of.convention).astype(np.float64)


def densest(of: Measured, share: str, rows: Flags) -> dict[str, Any]:
    """How often the densest area of a share holds the truth, and how large it is."""
    held, size = of.area_holds[share][rows], of.area_km2[share][rows]
    stated = ~np.isnan(held)
    return {
        "stated_share": float(share),
        "coverage": _interval(held[stated], of.clusters[rows][stated]),
        "median_km2": float(np.median(size[stated])) if stated.any() else float("nan"),
        "stated": int(stated.sum()),
    }


def stratum_values(of: Measured) -> dict[str, list[str]]:
    """The values of every stratum that has more than one."""
    single = sorted({name for own in of.strata for name in own})
    crossed = [", ".join(names) for names in CROSSED if set(names) <= set(single)]
    values = {
        name: sorted({_value(own, name) for own in of.strata}) for name in (*single, *crossed)
    }
    return {name: found for name, found in values.items() if len(found) > 1}


def in_stratum(of: Measured, name: str, value: str) -> Flags:
    """Which rows have this value: `[N]`."""
    return np.array([_value(own, name) == value for own in of.strata], dtype=np.bool_)


def _strata(arm: Arm, row: int) -> Mapping[str, str]:
    """A question's strata, with that of the calibration among them."""
    believed = arm.believed[row]
    return arm.strata[row] if believed is None else {**arm.strata[row], "calibration": believed}


def _value(own: Mapping[str, str], name: str) -> str:
    """A row's value of a stratum; of crossed ones `kind, setting` all, in their order."""
    return ", ".join(own.get(one, "unknown") for one in name.split(", "))


def _by_threshold(
    error_km: Floats, convention: Convention, clusters: NDArray[np.int64]
) -> dict[str, Any]:
    return {
        f"{threshold_km:g}": _interval(
            within(error_km, threshold_km, convention).astype(np.float64), clusters
        )
        for threshold_km in THRESHOLDS_KM
    }


def _interval(
    values: Floats, clusters: NDArray[np.int64], statistic: Any = "mean"
) -> dict[str, float]:
    found = bootstrap(values, clusters, seed=SEED, statistic=statistic, resamples=RESAMPLES)
    shown = {"value": found.value, "low": found.low, "high": found.high}
    if statistic == "mean":
        shown["design_effect"] = design_effect(values, clusters)
    return shown


def _area(of: Measured, level: str, rows: Flags) -> dict[str, Any]:
    """Both denominators: labels as the release has them, and mended ones of labelled rows only."""
    labels = [label for label, wanted in zip(of.labels[level], rows, strict=True) if wanted]
    named = [name for name, wanted in zip(of.named[level], rows, strict=True) if wanted]
    released = area_accuracy([released_label(level, label) for label in labels], named)
    mended = area_accuracy([mended_label(label) for label in labels], named)
    return {
        "as_released": released.as_released,
        "labelled_only": mended.labelled_only,
        "rows": released.rows,
        "labelled": mended.labelled,
    }


def _region(of: Measured, share: str, rows: Flags) -> dict[str, Any]:
    found = region_coverage(of.error_km[rows], of.radii_km[share][rows])
    return {
        "stated_share": float(share),
        "coverage": found.share,
        "median_radius_km": found.median_radius_km,
        "stated": found.stated,
        "calibrated": of.calibrated,
    }


def _recall_versus_area(error_km: Floats) -> dict[str, float]:
    """Share of photos found by searching discs around the answer, by the area of the disc."""
    needed = np.where(np.isnan(error_km), np.inf, disc_area_km2(error_km))
    shares = recall_versus_area(needed, np.array(AREAS_KM2))
    return {f"{area:g}": share for area, share in zip(AREAS_KM2, shares.tolist(), strict=True)}


def _mass_within(
    answers: Floats, candidates: Floats, masses: Floats
) -> Mapping[float, Floats] | None:
    """Share of the candidates' mass within some kilometres of the answer: `[N]` each.

    None where every answer has all of its mass on one candidate: such a ranker states nothing.
    """
    known = ~np.isnan(answers[:, 0])
    if not known.any() or bool((np.nanmax(masses[known], axis=1) >= 1.0).all()):
        return None
    away = distances_km(answers[known][:, None, :], candidates[known], "haversine-6371")
    found = {threshold_km: np.full(len(known), np.nan) for threshold_km in CONFIDENT_KM}
    for threshold_km, share in found.items():
        near = np.where(away <= threshold_km, masses[known], 0.0).sum(axis=1)
        share[known] = np.minimum(near, 1.0)  # sums of masses may pass 1 by rounding
    return found
