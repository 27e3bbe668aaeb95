"""The coverage model: prior shift, background weights, mixture and cross-fitting against loops."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from evaluation import synthetic_runs
from pinpoint.errors import BadRequestError
from pinpoint.evaluation.calibration import coverage_fit, fit
from pinpoint.evaluation.calibration.calibration_set import read_calibration_set
from pinpoint.evaluation.calibration.cross_fit import cross_fit, score_queries, summarize
from pinpoint.evaluation.run.run_manifest import read_run_manifest
from pinpoint.geo import kernels, posteriors
from pinpoint.geo.distance import haversine_m
from pinpoint.nets.bundle.calibrations import read_calibrations, write_calibration
from pinpoint.records import CoverageModel, SearchFilter
from pinpoint.search import pipeline, posterior, query_features
from search import in_memory


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A run with 300 covered and 150 uncovered queries."""
    return synthetic_runs.write_run(
        tmp_path_factory.mktemp("coverage") / "run",
        synthetic_runs.make_queries(300, seed=21),
        synthetic_runs.make_queries(150, seed=22, supported=False),
    )


@pytest.fixture(scope="module")
def fitted(run_folder):
    return fit.fit_calibration(run_folder, outside_share=0.25)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.9])
def test_shifted_prior_equals_rule_of_bayes(share):
    rng = np.random.default_rng(5)
    coefficients, features = rng.normal(size=4), rng.normal(size=(50, 4))
    features[:, 0] = 1.0
    shifted = coverage_fit.shift_prior(coefficients, share)
    for row in features:
        equal = 1 / (1 + math.exp(-float(coefficients @ row)))
        # Likelihoods are proportional to the posteriors for classes of equal weight.
        expected = equal * share / (equal * share + (1 - equal) * (1 - share))
        assert 1 / (1 + math.exp(-float(shifted @ row))) == pytest.approx(expected, rel=1e-9)


def test_background_weights_maximize_likelihood():
    rng = np.random.default_rng(7)
    densities = rng.gamma(1.0, 1.0, (400, 3)) * np.array([3.0, 1.0, 0.2])
    weights = coverage_fit.fit_weights(densities)

    def objective(candidate):
        return float(np.log(densities @ candidate).sum() + np.log(candidate).sum())

    grid = [
        np.array([a, b, 1 - a - b])
        for a in np.linspace(0.005, 0.99, 100)
        for b in np.linspace(0.005, 0.99, 100)
        if a + b < 0.995
    ]
    assert weights.sum() == pytest.approx(1.0)
    assert objective(weights) >= max(map(objective, grid)) - 0.05


def test_share_weights_give_uncovered_queries_the_share():
    in_gallery = np.array([True] * 7 + [False] * 3)
    weights = coverage_fit.share_weights(in_gallery, 0.25)
    assert weights.mean() == pytest.approx(1.0)
    assert weights[~in_gallery].sum() / weights.sum() == pytest.approx(0.25)
    assert (coverage_fit.share_weights(in_gallery, 0.0)[~in_gallery] == 0).all()
    assert (coverage_fit.share_weights(np.array([True, True]), 0.25) == 1).all()


def test_mixture_equals_loop_over_kernels(fitted):
    features = synthetic_runs.make_queries(1, seed=9)[0][0]
    _, stratum = posteriors.select_fit(features, fitted.strata, fitted.density_thresholds)
    coverage = fitted.coverage
    p_not = 1 / (
        1 + math.exp(-float(np.dot(coverage.coefficients, posteriors.decision_features(features))))
    )
    mass, p_outside = posteriors.masses(features, stratum)
    mixture = posteriors.mixture(
        features, stratum, fitted.kernels_km, fitted.background_kernels_km, coverage
    )
    for point in ((10.0, 20.0), features.positions[0], (-40.0, 100.0)):
        density = 0.0
        for weight, position in zip(mass, features.positions, strict=True):
            km = float(haversine_m(np.array(position), np.array(point))) / 1_000
            for part, radius_km in zip(stratum.kernel_weights, fitted.kernels_km, strict=True):
                density += (1 - p_not) * weight * part * math.exp(kernels.log_kernel(km, radius_km))
            for inside, outside, radius_km in zip(
                stratum.background_kernel_weights,
                coverage.background_kernel_weights,
                fitted.background_kernels_km,
                strict=True,
            ):
                part = (1 - p_not) * p_outside * inside + p_not * outside
                kernel = math.exp(kernels.log_kernel(km, radius_km))
                density += part * kernel / len(features.positions)
        actual = math.exp(float(kernels.log_density(mixture, np.array(point)[None])[0]))
        # The lightest thousandth of the mass is dropped.
        assert actual == pytest.approx(density, rel=0.02, abs=1e-12)
    stated = posterior.compute_posterior(features, fitted)
    assert stated.p_not_in_gallery == pytest.approx(p_not)
    assert stated.p_outside_candidates == pytest.approx(p_not + (1 - p_not) * p_outside)


def test_higher_share_states_lower_probabilities(run_folder, fitted):
    queries = synthetic_runs.make_queries(60, seed=31)
    means = []
    for calibration in (fit.fit_calibration(run_folder), fitted):
        stated = [posterior.compute_posterior(features, calibration) for features, _, _ in queries]
        means.append(np.mean([one.probability_within_km[25.0] for one in stated]))
    assert means[1] < means[0]


def test_stated_probability_equals_share_of_right_answers_in_the_mix(fitted, tmp_path):
    test = synthetic_runs.write_run(
        tmp_path / "test",
        synthetic_runs.make_queries(450, seed=41),
        synthetic_runs.make_queries(150, seed=42, supported=False),
    )
    run = read_run_manifest(test)
    scored = score_queries(read_calibration_set(test, run, "excluded"), fitted)
    summary = summarize(scored, 0.25)
    assert 0.84 <= summary["covered"]["coverage"]["0.9"] <= 0.97
    assert summary["covered"]["debiased_ece"] <= 0.1
    assert summary["mix"]["mean_probability_within_25_km"] == pytest.approx(
        summary["mix"]["accuracy_25_km"], abs=0.05
    )
    assert (
        summary["uncovered"]["mean_probability_within_25_km"]
        < 0.6 * summary["covered"]["mean_probability_within_25_km"]
    )
    uncovered = ~scored.in_gallery
    assert scored.p_not_in_gallery[uncovered].mean() > scored.p_not_in_gallery[~uncovered].mean()
    points = summary["trade_off"]
    assert [p["withheld_uncovered"] for p in points] == sorted(
        p["withheld_uncovered"] for p in points
    )
    for point in points:
        withheld = scored.abstention_score > point["threshold"]
        assert point["withheld_uncovered"] == withheld[uncovered].sum() / uncovered.sum()
        right = scored.correct & ~uncovered
        assert point["withheld_correct"] == withheld[right].sum() / right.sum()


def test_cross_fitting_checks_every_query_with_the_other_creators(run_folder):
    run = read_run_manifest(run_folder)
    queries = read_calibration_set(run_folder, run, "excluded")
    scored = cross_fit(queries, run, max_false_abstention=0.1, outside_share=0.25)
    assert sorted(scored.creators) == sorted(queries.creators)
    assert int(scored.in_gallery.sum()) == 300
    assert 0.8 <= scored.region_holds["0.9"][scored.in_gallery].mean() <= 1.0


def test_share_needs_uncovered_queries_and_a_range(run_folder, tmp_path):
    covered_only = synthetic_runs.write_run(
        tmp_path / "covered", synthetic_runs.make_queries(90, seed=3)
    )
    assert fit.fit_calibration(covered_only, outside_share=0.25).coverage is None
    assert fit.fit_calibration(run_folder).coverage is None, "labeled photos: as without a share"
    for share in (-0.1, 1.0):
        with pytest.raises(BadRequestError, match="outside the gallery"):
            fit.fit_calibration(run_folder, outside_share=share)


def test_coverage_survives_the_calibration_file(fitted, tmp_path):
    path = write_calibration(tmp_path, fitted)
    (read,) = read_calibrations(tmp_path).values()
    assert read.coverage == fitted.coverage
    assert json.loads(path.read_text())["calibration"]["coverage"]["outside_share"] == 0.25
    assert isinstance(read.coverage, CoverageModel)


def test_neighborhood_coherence_equals_loop():
    points = in_memory.gallery(places=3, views=4)
    vector = in_memory.PixelEncoder().encode_query(in_memory.view_pixels(1, 77))
    ranked = pipeline.locate_encoded(
        vector,
        SearchFilter(),
        in_memory.search_context(in_memory.NumpyIndex(points), in_memory.DictDatabase(points)),
    ).ranked
    heaviest = max(ranked, key=lambda entry: entry.weight)
    photos = {}
    for entry in ranked:
        if in_memory.haversine_to(entry.candidate.point, heaviest.candidate.point) <= 25_000:
            photos |= {
                photo.id: photo.vector / np.linalg.norm(photo.vector) for photo in entry.evidence
            }
    vectors = list(photos.values())
    pairs = [float(a @ b) for i, a in enumerate(vectors) for b in vectors[i + 1 :]]
    expected = np.mean([float(a @ vector) for a in vectors]) - np.mean(pairs)
    assert len(vectors) >= 4
    assert query_features.neighborhood_coherence(ranked) == pytest.approx(expected, abs=2e-6)
    alone = [replace(entry, evidence=(), similarities=()) for entry in ranked]
    assert query_features.neighborhood_coherence(alone) == 0.0
