"""A run's answers if they had been chosen for accuracy within a radius.

`PINPOINT_SEARCH_OPTIMIZE_FOR_RADIUS_KM` chooses them so in serving. It does not change the
posterior, and a row has all features of the posterior, so no query is repeated.
"""

from __future__ import annotations

import json

import numpy as np

from pinpoint.evaluation.run.rows import EXCLUDED, read_decision_features, read_rows
from pinpoint.geo import posteriors
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.records import Calibration, QueryFeatures
from pinpoint.search.posterior import select_most_probable_point
from trials.rerank.bench_run import RERANKED, BenchRun


def answers_within(bench: BenchRun, name: str, km: float) -> np.ndarray:
    """Positions `[N, 2]` of an evaluation's answers in query order, NaN without an answer."""
    folder = bench.run(name)
    ranker = json.loads((folder / "run.json").read_text(encoding="utf-8"))["settings"]["ranker"]
    fitted = read_bundle(bench.bundle(RERANKED)).calibrations[ranker]
    rows = sorted(read_rows(folder), key=lambda row: int(row["number"]))
    features = [row["arms"][EXCLUDED]["features"] for row in rows]
    return np.array(
        [
            (np.nan, np.nan) if one is None else _place(read_decision_features(one), fitted, km)
            for one in features
        ]
    )


def _place(of: QueryFeatures, fitted: Calibration, km: float) -> np.ndarray:
    _, fit = posteriors.select_fit(of, fitted.strata, fitted.density_thresholds)
    belief = posteriors.mixture(
        of, fit, fitted.kernels_km, fitted.background_kernels_km, fitted.coverage
    )
    return select_most_probable_point(of, belief, km)
