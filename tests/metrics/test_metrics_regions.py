"""Region coverage and recall versus area against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.metrics.calibration import (
    disc_area_km2,
    recall_versus_area,
    region_coverage,
)

km = st.one_of(st.sampled_from([0.0, 1.0, 25.0]), st.floats(0, 20_000))
disc = st.one_of(st.tuples(km, km), st.tuples(km, st.just(math.nan)), st.just((math.nan, math.nan)))
regions = st.lists(st.tuples(st.floats(0, 1e6), st.booleans()), max_size=5)


@given(st.lists(disc, max_size=20))
def test_region_coverage_equals_loop(pairs):
    inside, radii = 0, []
    for away, radius in pairs:
        if math.isnan(radius):
            continue
        radii.append(radius)
        inside += away <= radius
    coverage = region_coverage([p[0] for p in pairs], [p[1] for p in pairs])
    assert (coverage.stated, coverage.rows) == (len(radii), len(pairs))
    share = inside / len(radii) if radii else math.nan
    assert coverage.share == pytest.approx(share, nan_ok=True)
    middle = float(np.median(radii)) if radii else math.nan
    assert coverage.median_radius_km == pytest.approx(middle, nan_ok=True)


def test_region_coverage_includes_boundary_and_ignores_abstentions():
    coverage = region_coverage([1.0, 1.1, math.nan, 5.0], [1.0, 1.0, math.nan, math.nan])
    assert (coverage.share, coverage.stated, coverage.rows) == (0.5, 2, 4)


def test_region_coverage_of_90_percent_regions_is_90_percent():
    rng = np.random.default_rng(0)
    away = rng.rayleigh(10.0, 20_000)
    radius = 10.0 * math.sqrt(2 * math.log(10))
    assert region_coverage(away, np.full(20_000, radius)).share == pytest.approx(0.9, abs=0.01)


def test_region_coverage_region_without_answer_is_rejected():
    with pytest.raises(ValueError, match="row 1 states a region of 3 km without an answer"):
        region_coverage([1.0, math.nan], [1.0, 3.0])
    with pytest.raises(ValueError, match="radii_km: 1 rows, expected 2"):
        region_coverage([1.0, 2.0], [1.0])


def test_disc_area_equals_spherical_cap():
    whole = 4 * math.pi * (EARTH_RADIUS_M / 1000) ** 2
    half_way = math.pi * EARTH_RADIUS_M / 1000
    assert disc_area_km2([0.0, half_way / 2, half_way, 2 * half_way]).tolist() == pytest.approx(
        [0.0, whole / 2, whole, whole]
    )
    assert disc_area_km2(0.001) == pytest.approx(math.pi * 1e-6, rel=1e-9)
    # Sum of rings, for a disc too large to be flat.
    rings = np.linspace(0, 3_000, 100_001)
    middles = (rings[1:] + rings[:-1]) / 2
    around = 2 * math.pi * EARTH_RADIUS_M / 1000 * np.sin(middles * 1000 / EARTH_RADIUS_M)
    assert disc_area_km2(3_000.0) == pytest.approx(float(around.sum() * 0.03), rel=1e-8)
    assert math.isnan(disc_area_km2(math.nan))


def needed_in_a_loop(case):
    searched = 0.0
    for area, inside in case:
        searched += area
        if inside:
            return searched
    return math.inf


@given(st.lists(regions, max_size=8), st.lists(st.floats(0, 5e6), max_size=6))
def test_recall_versus_area_equals_loop(cases, budgets):
    needed = [needed_in_a_loop(case) for case in cases]
    # Budgets that equal an area exactly are included.
    budgets = [*budgets, *(area for area in needed if math.isfinite(area))]
    curve = recall_versus_area(needed, budgets)
    for budget, share in zip(budgets, curve, strict=True):
        met = sum(area <= budget for area in needed)
        assert share == pytest.approx(met / len(cases) if cases else math.nan, nan_ok=True)


def test_recall_versus_area_missed_photo_stays_in_denominator():
    assert recall_versus_area([10.0, math.inf], [5.0, 10.0, 1e9]).tolist() == [0, 0.5, 0.5]
    assert np.isnan(recall_versus_area([], [1.0])).all()


def test_recall_versus_area_nan_is_rejected():
    with pytest.raises(ValueError, match="infinite for never, not NaN"):
        recall_versus_area([math.nan], [1.0])
