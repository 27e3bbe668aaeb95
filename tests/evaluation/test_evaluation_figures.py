"""Calibration plots equal a loop over the rows; maps wrap at ±180°."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from evaluation import synthetic_runs
from pinpoint.evaluation.calibration import fit
from pinpoint.evaluation.metrics.arm_metrics import ArmMetrics
from pinpoint.evaluation.metrics.summary import CONFIDENCE_RADII_KM
from pinpoint.evaluation.report.calibration_plots import (
    RECALL_AREA_FILE,
    RELIABILITY_FILE,
    RISK_COVERAGE_FILE,
    draw_calibration_plots,
)
from pinpoint.evaluation.report.maps import MapAnswer, draw_answers
from pinpoint.evaluation.report.plotting import VERMILION
from pinpoint.evaluation.run.rows import EXCLUDED, UNFILTERED
from pinpoint.geo.hdr import contains_positions
from pinpoint.metrics.conventions import CONVENTIONS, distances_km
from pinpoint.metrics.intervals import cluster_codes
from pinpoint.records import Point
from pinpoint.search import posterior

SHARES = ("0.5", "0.9")


@pytest.fixture(scope="module")
def arms(tmp_path_factory):
    """Two arms of synthetic queries with the posteriors of a fitted calibration."""
    folder = tmp_path_factory.mktemp("synthetic") / "run"
    uncovered = synthetic_runs.make_queries(12, seed=12, supported=False)
    synthetic_runs.write_run(folder, synthetic_runs.make_queries(45, seed=11), uncovered)
    fitted = fit.fit_calibration(folder)
    return {
        name: make_metrics(synthetic_runs.make_queries(count, seed), fitted)
        for name, count, seed in ((UNFILTERED, 45, 21), (EXCLUDED, 30, 22))
    }


def make_metrics(queries, fitted):
    beliefs = [posterior.compute_posterior(features, fitted) for features, _, _ in queries]
    ground_truth = np.array([at for _, at, _ in queries])
    answers = np.array([(belief.point.lat, belief.point.lon) for belief in beliefs])
    regions = [dict(zip(SHARES, belief.credible_regions, strict=True)) for belief in beliefs]
    no_placeholders = np.zeros(len(queries), dtype=bool)
    return ArmMetrics(
        convention=CONVENTIONS["pinpoint"],
        clusters=cluster_codes([creator for _, _, creator in queries]),
        error_km=distances_km(ground_truth, answers, CONVENTIONS["pinpoint"]),
        best_km={},
        probability_within_km={
            km: np.array([belief.probability_within_km[km] for belief in beliefs])
            for km in CONFIDENCE_RADII_KM
        },
        radii_km={},
        credible_region_covers={
            share: np.array(
                [
                    float(contains_positions(np.array(a[share].boxes), t[None])[0])
                    for a, t in zip(regions, ground_truth, strict=True)
                ]
            )
            for share in SHARES
        },
        credible_region_km2={
            share: np.array([belief[share].area_km2 for belief in regions]) for share in SHARES
        },
        withheld=np.array([belief.abstention_reason is not None for belief in beliefs]),
        p_not_in_gallery=np.array([belief.p_not_in_gallery for belief in beliefs]),
        calibrated=True,
        labels={},
        predicted={},
        strata=[{"kind": features.kind} for features, _, _ in queries],
        placeholder=no_placeholders,
    )


@pytest.fixture(scope="module")
def plots(arms):
    return draw_calibration_plots(arms)


def legends(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_recall_area_plot_equals_loop(arms, plots):
    for axes, metrics in zip(plots[RECALL_AREA_FILE].axes, arms.values(), strict=True):
        assert axes.get_xlabel() == "area (km²)"
        for place, kind in enumerate(("photo", "street")):
            rows = [n for n, strata in enumerate(metrics.strata) if strata["kind"] == kind]
            points = axes.containers[place].lines[0].get_xydata()
            for (area_km2, share), claimed in zip(points, SHARES, strict=True):
                assert share == pytest.approx(
                    sum(metrics.credible_region_covers[claimed][rows]) / len(rows)
                )
                assert area_km2 == np.median(
                    [metrics.credible_region_km2[claimed][n] for n in rows]
                )
            assert f"{kind}: highest-density regions, median size, n = {len(rows)}" in legends(axes)


def test_reliability_plot_counts_every_answer_and_shows_ece(arms, plots):
    figure = plots[RELIABILITY_FILE]
    above, below = figure.axes[: len(CONFIDENCE_RADII_KM)], figure.axes[len(CONFIDENCE_RADII_KM) :]
    assert [axes.get_title() for axes in above] == [
        f"probability within {km:g} km" for km in CONFIDENCE_RADII_KM
    ]
    for axes, counts in zip(above, below, strict=True):
        assert all("debiased ECE 0." in label for label in legends(axes))
        assert [label.rsplit("n = ")[-1] for label in legends(axes)] == ["45", "30"]
        heights = [patch.get_path().vertices[:, 1] for patch in counts.patches]
        # Every second vertex of an outlined histogram is the top of a bin.
        assert [ys[1:-1:2].sum() for ys in heights] == [45, 30]


def test_risk_coverage_plot_equals_loop(arms, plots):
    (axes,) = plots[RISK_COVERAGE_FILE].axes
    for line, mark, metrics in zip(axes.lines[::2], axes.lines[1::2], arms.values(), strict=True):
        sure = metrics.probability_within_km[25.0]
        for answered, risk in line.get_xydata().tolist():
            first = np.argsort(-sure, kind="stable")[: round(answered * len(sure))]
            off = [not metrics.error_km[n] < 25 for n in first]
            assert risk == pytest.approx(sum(off) / len(off))
        answered_rows = [n for n in range(len(sure)) if not metrics.withheld[n]]
        assert 0 < len(answered_rows) < len(sure)
        wrong = sum(not metrics.error_km[n] < 25 for n in answered_rows)
        at = (len(answered_rows) / len(sure), wrong / len(answered_rows))
        assert mark.get_xydata()[0].tolist() == pytest.approx(at)
    assert "by falling probability within 25 km" in axes.get_xlabel()


def test_map_draws_short_arc_across_antimeridian(tmp_path):
    photo = MapAnswer(
        ground_truth=Point(50.0, -170.0), answer=Point(50.0, 170.0), inside=False, guess=False
    )
    draw_answers(tmp_path / "map.png", [photo], "title", "underneath")
    with Image.open(tmp_path / "map.png") as image:
        assert image.info["Description"].startswith("underneath; light gray: cities, GeoNames")
        pixels = np.asarray(image.convert("RGB")).astype(int)
    color = np.array([int(VERMILION[i : i + 2], 16) for i in (1, 3, 5)])
    upper = pixels[: len(pixels) // 2]
    columns = np.flatnonzero((np.abs(upper - color) < 12).all(axis=-1).any(axis=0))
    share = columns / upper.shape[1]
    assert (share < 0.2).any()
    assert (share > 0.8).any()
    assert not ((share > 0.2) & (share < 0.8)).any()
