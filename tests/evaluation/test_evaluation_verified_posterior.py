"""Inliers in the calibration: the fit against loops, monotone probabilities, and the effect."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from evaluation import synthetic_runs
from pinpoint.errors import BadBundleError
from pinpoint.evaluation.calibration import fit
from pinpoint.evaluation.calibration.calibration_set import read_calibration_set
from pinpoint.evaluation.calibration.cross_fit import score_queries
from pinpoint.evaluation.calibration.verification_fit import fit_log_odds
from pinpoint.evaluation.run.run_manifest import read_run_manifest
from pinpoint.geo import posteriors
from pinpoint.geo.distance import haversine_m
from pinpoint.nets.bundle.calibrations import read_calibrations, write_calibration
from pinpoint.records import (
    Contract,
    GeometricMatch,
    ImageMatch,
    Ranking,
    SearchFilter,
    Verification,
)
from pinpoint.search import pipeline, posterior, query_features
from search import in_memory

SHARE = 0.25


@pytest.fixture(scope="module")
def calibration_queries():
    """300 covered and 150 uncovered queries, without compared candidates."""
    return (
        synthetic_runs.make_queries(300, seed=21),
        synthetic_runs.make_queries(150, seed=22, supported=False),
    )


@pytest.fixture(scope="module")
def plain(calibration_queries, tmp_path_factory):
    """A calibration without compared candidates."""
    run = synthetic_runs.write_run(tmp_path_factory.mktemp("plain") / "run", *calibration_queries)
    return fit.fit_calibration(run, outside_share=SHARE)


@pytest.fixture(scope="module")
def fitted(calibration_queries, tmp_path_factory):
    """A calibration on the same queries with compared candidates."""
    compared = [
        synthetic_runs.add_inliers(queries, seed)
        for seed, queries in enumerate(calibration_queries)
    ]
    run = synthetic_runs.write_run(tmp_path_factory.mktemp("compared") / "run", *compared)
    return fit.fit_calibration(run, outside_share=SHARE)


@pytest.fixture(scope="module")
def new_queries():
    """Other queries with compared candidates."""
    return synthetic_runs.add_inliers(
        synthetic_runs.make_queries(240, seed=41), seed=5
    ), synthetic_runs.add_inliers(synthetic_runs.make_queries(80, seed=42, supported=False), seed=6)


def strip(features):
    return replace(features, verified=None, max_inliers=None)


def test_log_odds_equal_projected_descent_in_loops():
    rng = np.random.default_rng(3)
    inliers = rng.integers(0, 60, 40)
    design = np.stack([np.ones(40), np.log1p(inliers), inliers >= 12], axis=1).astype(float)
    offset, weights = rng.normal(size=40), rng.uniform(0.5, 1.5, 40)
    weights /= weights.mean()
    correct = rng.uniform(size=40) < 1 / (1 + np.exp(1.0 - 0.05 * inliers))
    mean = [0.0, *design[:, 1:].mean(axis=0).tolist()]

    theta = [0.0, 0.0, 0.0]
    for _ in range(3_000):
        gradient = [2.0 * value for value in theta]
        for row in range(40):
            regressors = [design[row, column] - mean[column] for column in range(3)]
            odds = offset[row] + sum(a * b for a, b in zip(theta, regressors, strict=True))
            residual = 1 / (1 + math.exp(-odds)) - correct[row]
            for column in range(3):
                gradient[column] += weights[row] * residual * regressors[column]
        theta = [value - 0.02 * slope for value, slope in zip(theta, gradient, strict=True)]
        theta = [theta[0], max(0.0, theta[1]), max(0.0, theta[2])]

    def mean_probability(intercept, a, b):
        return sum(
            weight
            / (1 + math.exp(-(odds + intercept + a * math.log(1 + count) + b * (count >= 12))))
            for weight, odds, count in zip(weights, offset, inliers.tolist(), strict=True)
        )

    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        if mean_probability(middle, *theta[1:]) > mean_probability(0.0, 0.0, 0.0):
            high = middle
        else:
            low = middle
    theta[0] = low
    assert fit_log_odds(design, offset, correct, weights) == pytest.approx(theta, abs=2e-3)
    # Without information, nothing changes.
    equal = design.copy()
    equal[:, 1:] = [math.log1p(5), 0.0]
    assert fit_log_odds(equal, offset, correct, weights) == (0.0, 0.0, 0.0)
    # Inliers of wrong answers do not turn the sign.
    assert min(fit_log_odds(design, offset, ~correct, weights)[1:]) == 0.0


def test_queries_without_compared_candidates_have_the_answers_of_before(fitted, plain, new_queries):
    assert plain.verification is None
    assert replace(fitted, verification=None, note="") == replace(plain, note="")
    for features, _, _ in new_queries[0][:8]:
        alone = posterior.compute_posterior(strip(features), fitted)
        assert alone == posterior.compute_posterior(features, plain)


def test_more_inliers_never_lower_a_probability(fitted, new_queries):
    for features, _, _ in (*new_queries[0][:12], *new_queries[1][:6]):
        stated = [
            posterior.compute_posterior(
                replace(features, max_inliers=inliers, verified=inliers >= 12), fitted
            )
            for inliers in (0, 4, 8, 11, 12, 20, 60, 300, 3_000)
        ]
        assert len({(one.point.lat, one.point.lon) for one in stated}) == 1
        for less, more in pairwise(stated):
            for km, probability in less.probability_within_km.items():
                assert more.probability_within_km[km] >= probability
            assert more.p_not_in_gallery <= less.p_not_in_gallery
            assert more.p_outside_candidates <= less.p_outside_candidates + 1e-12
            assert not (more.abstention_reason and not less.abstention_reason)
        first, last = stated[0].probability_within_km, stated[-1].probability_within_km
        assert all(last[km] > first[km] for km in (1.0, 25.0))


def test_posterior_equals_rule_of_bayes_over_localities(fitted, new_queries):
    features = next(entry for entry, _, _ in new_queries[0] if entry.verified)
    stratum, base = posteriors.select_fit(features, fitted.strata, fitted.density_thresholds)
    correction = fitted.verification.strata[stratum]
    a, b, c = correction.log_odds_within_km["25"]
    factor = math.exp(a + b * math.log(1 + features.max_inliers) + c)
    coefficients = fitted.coverage.coefficients
    p_not = 1 / (1 + math.exp(-float(np.dot(coefficients, posteriors.decision_features(features)))))
    mass, _ = posteriors.masses(features, base)
    heaviest = features.positions[int(np.argmax(features.logits))]
    total, near = p_not + (1 - p_not) * (1 - mass.sum()), 0.0
    for weight, position in zip(mass, features.positions, strict=True):
        is_near = haversine_m(np.array(position), np.array(heaviest)) <= 25_000
        total += (1 - p_not) * weight * (factor if is_near else 1.0)
        near += (1 - p_not) * weight * (factor if is_near else 1.0)
    stated = posterior.compute_posterior(features, fitted)
    assert stated.p_not_in_gallery == pytest.approx(p_not / total)
    assert stated.p_outside_candidates == pytest.approx(1 - near / total)
    mixture = posterior.build_mixture(features, base, fitted, correction)
    plain_mixture = posterior.build_mixture(features, base, fitted)
    point = np.array([stated.point.lat, stated.point.lon])
    assert mixture.weights.sum() == pytest.approx(1.0)
    within, before = (
        one.weights[haversine_m(one.centers, point) <= 25_000].sum()
        for one in (mixture, plain_mixture)
    )
    assert within > before


def test_verified_answers_are_more_certain_and_withheld_less(fitted, new_queries):
    covered, uncovered = new_queries
    groups = {True: [], False: []}
    for features, ground_truth, _ in covered:
        stated = posterior.compute_posterior(features, fitted)
        before = posterior.compute_posterior(strip(features), fitted)
        point = np.array([stated.point.lat, stated.point.lon])
        groups[features.verified].append(
            (
                stated.probability_within_km[1.0],
                before.probability_within_km[1.0],
                stated.probability_within_km[25.0],
                before.probability_within_km[25.0],
                float(haversine_m(point, ground_truth)) <= 25_000,
                stated.abstention_reason is not None,
                before.abstention_reason is not None,
                stated.credible_discs[-1].radius_m <= before.credible_discs[-1].radius_m,
            )
        )
    verified, other = (np.mean(groups[name], axis=0) for name in (True, False))
    assert verified[0] > verified[1]
    assert verified[2] > verified[3] + 0.05
    assert verified[5] <= verified[6]
    assert verified[5] < 0.05 < other[5]
    assert verified[7] > 0.5, "smaller discs"
    assert other[0] < other[1]
    assert other[2] < other[3]
    # Of the answers in the gallery: a quarter of the mix is not, so stated ones are a little lower.
    assert verified[2] == pytest.approx(verified[4], abs=0.1)
    means = [
        np.mean([posterior.compute_posterior(one, fitted).probability_within_km[25.0] for one in q])
        for q in (
            [features for features, _, _ in uncovered],
            [strip(features) for features, _, _ in uncovered],
        )
    ]
    assert means[0] < means[1], "uncovered photos rarely have inliers"


def test_regions_of_compared_queries_have_their_coverage(fitted, new_queries, tmp_path):
    run_folder = synthetic_runs.write_run(tmp_path / "run", *new_queries)
    run = read_run_manifest(run_folder)
    queries = read_calibration_set(run_folder, run, "excluded")
    scored = score_queries(queries, fitted)
    holds = scored.region_holds["0.9"][scored.in_gallery]
    assert 0.84 <= holds.mean() <= 0.97
    rule = fitted.verification.abstention
    assert ((scored.abstention_score > rule.threshold) == scored.abstained).all()


def test_few_compared_creators_change_nothing(calibration_queries, tmp_path):
    covered, uncovered = calibration_queries
    few = [*synthetic_runs.add_inliers(covered[:12], seed=1), *covered[12:]]
    run = synthetic_runs.write_run(tmp_path / "run", few, uncovered)
    calibration = fit.fit_calibration(run, outside_share=SHARE)
    assert calibration.verification is None
    assert "Verification" not in calibration.note


def test_file_keeps_the_model_and_refuses_falling_probabilities(fitted, tmp_path):
    write_calibration(tmp_path, fitted)
    (read,) = read_calibrations(tmp_path).values()
    assert read.verification == fitted.verification
    model = fitted.verification
    within = {**model.strata["all"].log_odds_within_km, "25": (0.0, -0.1, 0.0)}
    falling = replace(
        model, strata={"all": replace(model.strata["all"], log_odds_within_km=within)}
    )
    with pytest.raises(BadBundleError, match="more inliers"):
        write_calibration(tmp_path, replace(fitted, verification=falling))
    unknown = replace(model, strata={"elsewhere": model.strata["all"]})
    with pytest.raises(BadBundleError, match="stratum"):
        write_calibration(tmp_path, replace(fitted, verification=unknown))


def image_match(inliers, *, verified=False):
    """A comparison; None inliers for an image that cannot be read."""
    points = np.zeros((inliers or 0, 2), dtype=np.float32)
    geometry = GeometricMatch(
        inliers=len(points), spread=0.5, model=None, query_points=points, image_points=points
    )
    return ImageMatch(
        verification=Verification(
            inliers=len(points),
            spread=0.5,
            verified=verified,
            false_match_rate=None,
            status="image_unavailable" if inliers is None else "not_matched",
        ),
        match=None if inliers is None else geometry,
    )


@pytest.fixture(scope="module")
def ranking():
    """Candidates near the heaviest one, and at least one far from it."""
    points = in_memory.gallery(places=3, views=4)
    context = in_memory.search_context(in_memory.NumpyIndex(points), in_memory.DictDatabase(points))
    vector = in_memory.PixelEncoder().encode_query(in_memory.view_pixels(1, 77))
    ranked = pipeline.locate_encoded(vector, SearchFilter(), context).ranked
    return Ranking(ranked=tuple(ranked), ranker="vote")


def test_features_take_inliers_of_the_locality_of_the_heaviest_candidate(ranking):
    heaviest = query_features.find_heaviest(ranking.ranked)
    near, far = [], []
    for entry in ranking.ranked:
        distance_m = in_memory.haversine_to(entry.candidate.point, heaviest.candidate.point)
        (near if distance_m <= 25_000 else far).append(entry.candidate.id)
    assert len(near) >= 2
    assert far

    def stated(matches):
        features = query_features.compute_query_features(ranking.ranked, kind=None, matches=matches)
        return features.verified, features.max_inliers

    assert stated({}) == (None, None)
    assert stated({near[0]: image_match(5), near[1]: image_match(8)}) == (False, 8)
    # A verified candidate elsewhere is no evidence for the answer.
    elsewhere = image_match(90, verified=True)
    assert stated({near[0]: image_match(5), far[0]: elsewhere}) == (False, 5)
    assert stated({far[0]: elsewhere}) == (None, None)
    # The image that could not be read may be the match.
    assert stated({near[0]: image_match(None), near[1]: image_match(8)}) == (None, None)
    good = image_match(40, verified=True)
    assert stated({near[0]: image_match(None), near[1]: good}) == (True, 40)


def test_more_compared_candidates_than_in_the_fit_change_nothing(fitted, ranking):
    contract = Contract(
        name="supposed", digest=synthetic_runs.CONTRACT, tower="t", dims={}, rendition_px=64,
        calibrated=True, note="", calibrations={"vote": fitted},
    )  # fmt: skip
    heaviest = query_features.find_heaviest(ranking.ranked).candidate.id
    matches = {heaviest: image_match(60, verified=True)}

    def probability(verify_candidates, matches):
        settings = synthetic_runs.SEARCH.model_copy(update={"verify_candidates": verify_candidates})
        result = posterior.calibrate_result(
            ranking, contract, SearchFilter(), settings, matches=matches
        )
        return result.posterior.probability_within_km[25.0]

    without = probability(0, {})
    assert probability(8, matches) > without
    assert probability(4, matches) == probability(8, matches)
    assert probability(9, matches) == without
