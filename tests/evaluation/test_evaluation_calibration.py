"""Calibration on synthetic queries with known probabilities."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from evaluation import synthetic_runs
from pinpoint.errors import BadBundleError, BadRequestError
from pinpoint.evaluation.calibration import fit, posterior_fit
from pinpoint.geo import hdr, kernels, posteriors
from pinpoint.geo.distance import haversine_m
from pinpoint.metrics.calibration import reliability
from pinpoint.nets.bundle.calibrations import read_calibrations, write_calibration
from pinpoint.records import Contract, SearchFilter
from pinpoint.search import posterior
from pinpoint.settings import SearchSettings


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A calibration on 360 queries by 120 creators, and 40 uncovered queries."""
    folder = tmp_path_factory.mktemp("synthetic") / "run"
    covered = synthetic_runs.make_queries(360, seed=11)
    synthetic_runs.write_run(
        folder, covered, synthetic_runs.make_queries(40, seed=12, supported=False)
    )
    return fit.fit_calibration(folder)


@pytest.fixture(scope="module")
def scored_queries(fitted):
    """New queries with their posteriors."""
    return [
        (features, ground_truth, posterior.compute_posterior(features, fitted))
        for features, ground_truth, _ in synthetic_runs.make_queries(210, seed=21)
    ]


def error_km(belief, ground_truth):
    return float(haversine_m(np.array([belief.point.lat, belief.point.lon]), ground_truth)) / 1_000


def test_probabilities_of_calibrated_answers_are_reliable(scored_queries):
    for radius_km, most in ((1.0, 0.05), (25.0, 0.12), (2_500.0, 0.12)):
        stated = [belief.probability_within_km[radius_km] for _, _, belief in scored_queries]
        right = [
            error_km(belief, ground_truth) <= radius_km
            for _, ground_truth, belief in scored_queries
        ]
        assert np.mean(stated) == pytest.approx(np.mean(right), abs=0.08), radius_km
        assert reliability(stated, right).debiased_ece < most, radius_km
    # The raw ranker is overconfident by a factor of three.
    raw = [
        max(posterior_fit._softmax(np.array(features.logits))) for features, _, _ in scored_queries
    ]
    right = [error_km(belief, ground_truth) <= 25 for _, ground_truth, belief in scored_queries]
    stated = [belief.probability_within_km[25.0] for _, _, belief in scored_queries]
    assert reliability(raw, right).ece > 2 * reliability(stated, right).ece


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_regions_have_their_stated_coverage(scored_queries, share):
    inside, in_disc = [], []
    for _, ground_truth, belief in scored_queries:
        area = next(region for region in belief.credible_regions if region.probability == share)
        disc = next(region for region in belief.credible_discs if region.probability == share)
        inside.append(hdr.contains_positions(np.array(area.boxes), ground_truth[None])[0])
        in_disc.append(1_000 * error_km(belief, ground_truth) <= disc.radius_m)
    slack = 3 * math.sqrt(share * (1 - share) * (1 / 120 + 1 / 210))
    assert np.mean(inside) == pytest.approx(share, abs=slack)
    assert np.mean(in_disc) == pytest.approx(share, abs=slack)


def test_uncovered_queries_are_withheld(scored_queries, fitted):
    uncovered = [
        features for features, _, _ in synthetic_runs.make_queries(40, seed=33, supported=False)
    ]
    withheld = np.mean(
        [
            posterior.compute_posterior(features, fitted).abstention_reason == "not_in_gallery"
            for features in uncovered
        ]
    )
    assert withheld > 0.7
    right = np.array(
        [error_km(belief, ground_truth) <= 25 for _, ground_truth, belief in scored_queries]
    )
    abstained = np.array([belief.abstention_reason is not None for _, _, belief in scored_queries])
    # The share of withheld correct answers is bounded; that of wrong ones is higher.
    assert abstained[right].mean() == pytest.approx(0.1, abs=0.06)
    assert abstained[~right].mean() > 2 * abstained[right].mean()
    assert fitted.abstention.false_abstention_rate == pytest.approx(0.1, abs=0.01)


def test_strata_depend_on_kind_and_density_only(fitted):
    assert list(fitted.strata) == ["all", "photo", "street"]
    features = synthetic_runs.make_queries(3, seed=5)[0][0]
    for kind, density, expected in (
        (None, 1.0, ("all",)),
        ("drone", 1.0, ("all",)),
        ("photo", 0.0, ("photo, sparse", "photo", "all")),
        ("street", 1e9, ("street, dense", "street", "all")),
    ):
        changed = replace(features, kind=kind, gallery_density=density)
        assert posteriors.group_names(changed, fitted.density_thresholds) == expected
        assert posterior.compute_posterior(changed, fitted).stratum == next(
            name for name in expected if name in fitted.strata
        )


def likelihood_in_a_loop(theta, queries):
    """The formula of `search.posterior`, kernel by kernel."""
    heat, crowding, total = math.exp(theta[0]), theta[1], 0.0
    narrow, wide = (np.exp(part) / np.exp(part).sum() for part in (theta[2:6], theta[12:]))
    for features, ground_truth, _ in queries:
        elsewhere = 1 / (1 + math.exp(-(theta[6:12] @ posteriors.decision_features(features))))
        raised = []
        for point, logit in zip(features.positions, features.logits, strict=True):
            around = haversine_m(np.array(features.positions), np.array(point)) / 25_000
            many = sum(math.exp(-distance * distance / 2) for distance in around)
            raised.append(math.exp(logit / heat) * many**crowding)
        density = 0.0
        for point, weight in zip(features.positions, raised, strict=True):
            km = float(haversine_m(np.array(point), ground_truth)) / 1_000
            for share, radius_km in zip(narrow, posterior_fit.KERNELS_KM, strict=True):
                mass = (1 - elsewhere) * weight / sum(raised) * share
                density += mass * math.exp(kernels.log_kernel(km, radius_km))
            for share, radius_km in zip(wide, posterior_fit.BACKGROUND_KERNELS_KM, strict=True):
                mass = elsewhere / len(raised) * share
                density += mass * math.exp(kernels.log_kernel(km, radius_km))
        total += math.log(density)
    return total


def test_log_likelihood_equals_loop_and_gradient_equals_differences():
    queries = synthetic_runs.make_queries(6, seed=2)
    queries[0] = (
        replace(
            queries[0][0],
            positions=queries[0][0].positions[:3],
            logits=(0.1, 0.7, -2.0),
        ),
        *queries[0][1:],
    )
    table = posterior_fit.design_matrix(
        [features for features, _, _ in queries], np.array([t for _, t, _ in queries])
    )
    theta = np.random.default_rng(0).normal(0, 0.5, 15)
    fast, slope = posterior_fit.log_likelihood(theta, table, table.features)
    assert fast == pytest.approx(likelihood_in_a_loop(theta, queries), rel=1e-9)
    for place, step in enumerate(1e-5 * np.eye(15)):
        rise = likelihood_in_a_loop(theta + step, queries) - likelihood_in_a_loop(
            theta - step, queries
        )
        assert slope[place] == pytest.approx(rise / 2e-5, rel=1e-4, abs=1e-6), place


def test_calibrate_uses_calibration_split_only(tmp_path):
    folder = synthetic_runs.write_run(tmp_path / "run", synthetic_runs.make_queries(60, seed=3))
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    for line in lines[:20]:
        line["strata"]["role"] = "test"
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    calibration = fit.fit_calibration(folder)
    assert (calibration.data["queries_in_gallery"], calibration.num_creators) == ("40", 14)
    assert calibration.abstention.signal == "outside_candidates"
    assert list(calibration.strata) == ["all"]


def test_calibrate_unusable_run_is_rejected(tmp_path):
    few = synthetic_runs.write_run(tmp_path / "few", synthetic_runs.make_queries(9, seed=3))
    with pytest.raises(BadRequestError, match="3 creators"):
        fit.fit_calibration(few)
    short = synthetic_runs.write_run(
        tmp_path / "short", synthetic_runs.make_queries(9, seed=3), labels={"evaluated": 10}
    )
    with pytest.raises(BadRequestError, match="9 of 10 rows"):
        fit.fit_calibration(short)
    settings = {"ranker": "top1", "source_kinds": [], "exclude": [], "search": {}}
    top1 = synthetic_runs.write_run(
        tmp_path / "top1", synthetic_runs.make_queries(9, seed=3), settings=settings
    )
    with pytest.raises(BadRequestError, match="top1"):
        fit.fit_calibration(top1)
    with pytest.raises(BadRequestError, match="no run"):
        fit.fit_calibration(tmp_path / "nothing")
    rows = (
        synthetic_runs.write_run(tmp_path / "earlier", synthetic_runs.make_queries(9, seed=3))
        / "rows.jsonl"
    )
    rows.write_text(rows.read_text().replace('"neighborhood_similarity"', '"something"'))
    with pytest.raises(BadRequestError, match="an earlier version"):
        fit.fit_calibration(rows.parent)


def test_calibration_applies_to_matching_settings_only(fitted):
    contract = Contract(
        name="supposed", digest=synthetic_runs.CONTRACT, tower="t", dims={}, rendition_px=64,
        calibrated=True, note="", calibrations={"vote": fitted},
    )  # fmt: skip
    same = SearchSettings().model_dump()

    def why(ranker="vote", limits=None, **changes):
        calibration, note = posterior.select_calibration(
            contract, ranker, limits or SearchFilter(), same | changes
        )
        return note if calibration is None else None

    assert why() is None
    assert why(cited=9, optimize_for_radius_km=25.0) is None
    assert "no calibration for the ranker top1" in why(ranker="top1")
    assert "candidates" in why(candidates=12)
    assert "other source kinds" in why(limits=SearchFilter(source_kinds=("street",)))
    assert "space or time" in why(limits=SearchFilter(polygons=(None,)))


def test_calibration_file_round_trips_and_invalid_files_are_rejected(fitted, tmp_path):
    path = write_calibration(tmp_path, fitted)
    assert path.name == "calibration-vote.json"
    assert read_calibrations(tmp_path) == {"vote": fitted}
    text = path.read_text()

    def refused(changed, match):
        path.write_text(changed)
        with pytest.raises(BadBundleError, match=match):
            read_calibrations(tmp_path)

    refused(text.replace('"temperature": ', '"temperature": 1', 1), "digest differs")
    refused(text[:-40], "not a calibration")
    refused(text.replace('"format": 3', '"format": 2'), "format 2")
    (tmp_path / "calibration-top1.json").write_text(text)
    refused(text, "but its name says another")
    for changed, words in (
        (
            {"abstention": replace(fitted.abstention, not_in_gallery_coefficients=(0.0,) * 4)},
            "coverage model",
        ),
        (
            {
                "strata": {
                    "all": replace(fitted.strata["all"], outside_candidates_coefficients=(0.0,) * 4)
                }
            },
            "no coefficient",
        ),
    ):
        with pytest.raises(BadBundleError, match=words):
            write_calibration(tmp_path, replace(fitted, **changed))
    with pytest.raises(BadBundleError, match="sum to 1"):
        write_calibration(
            tmp_path,
            replace(
                fitted, strata={"all": replace(fitted.strata["all"], kernel_weights=(1, 1, 1, 1))}
            ),
        )
