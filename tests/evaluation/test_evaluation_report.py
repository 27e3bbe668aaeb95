"""Every metric of the report is compared with a simple loop over the rows."""

from __future__ import annotations

import json
import math
import shutil
import statistics

import numpy as np
import pytest
from geographiclib.geodesic import Geodesic
from PIL import Image

from pinpoint.errors import BadRequestError
from pinpoint.evaluation.metrics import summary
from pinpoint.evaluation.report import calibration_plots, figures
from pinpoint.evaluation.report.report_file import PLANET_NOTE, make_report, replace_non_finite
from pinpoint.evaluation.run.evaluate import vector_width
from pinpoint.evaluation.run.results import write_results
from pinpoint.evaluation.run.rows import EXCLUDED, UNFILTERED, read_rows
from pinpoint.evaluation.run.run_manifest import read_run_manifest

THRESHOLDS = ("1", "25", "200", "750", "2500")


def km(a, b):
    return Geodesic.WGS84.Inverse(*a, *b)["s12"] / 1_000


def off(row, arm):
    answer = row["arms"][arm]
    if answer["lat"] is None:
        return math.nan
    return km((row["lat"], row["lon"]), (answer["lat"], answer["lon"]))


@pytest.fixture(scope="module")
def rows(finished):
    return [row for row in read_rows(finished[0]) if row["problem"] is None]


def test_report_contains_every_denominator(finished):
    counts = finished[1]["counts"]
    assert counts == {
        "expected_rows": None,
        "released_images": None,
        "rows": 22,
        "dropped": {},
        "queries": 22,
        "evaluated": 22,
        "missing_image": 1,
        "unreadable_image": {"empty_file": 1, "undecodable": 1},
        "readable": 19,
        "creators": 8,
        "without_creator": 0,
        "placeholders": 4,
    }
    assert counts["evaluated"] == counts["readable"] + counts["missing_image"] + 2


@pytest.mark.parametrize("arm", [UNFILTERED, EXCLUDED])
def test_report_accuracy_and_errors_equal_loop(finished, rows, arm):
    metrics = finished[1]["arms"][arm]["all"]
    error_km = [off(row, arm) for row in rows]
    assert (metrics["rows"], metrics["answered"]) == (19, 19)
    for threshold in THRESHOLDS:
        right = sum(error < float(threshold) for error in error_km)
        accuracy = metrics["accuracy"][threshold]
        assert accuracy["value"] == pytest.approx(right / 19)
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
        assert metrics["accuracy_of_labeled"][threshold] == pytest.approx(right / 22)
    assert metrics["median_error_km"] == pytest.approx(statistics.median(error_km))
    assert metrics["mean_error_km"] == pytest.approx(statistics.fmean(error_km))
    scores = [round(5_000 * math.exp(-error / 1492.7)) for error in error_km]
    assert metrics["geoscore"]["value"] == pytest.approx(statistics.fmean(scores))


@pytest.mark.parametrize("arm", [UNFILTERED, EXCLUDED])
def test_report_oracle_regions_and_masses_equal_loop(finished, rows, arm):
    metrics = finished[1]["arms"][arm]["all"]
    assert list(metrics["oracle"]) == ["1", "12"]
    for depth in (1, 12):
        hit = 0
        for row in rows:
            answer = row["arms"][arm]
            positions = list(zip(answer["candidate_lat"], answer["candidate_lon"], strict=True))[
                :depth
            ]
            hit += any(km((row["lat"], row["lon"]), position) < 25 for position in positions)
        assert metrics["oracle"][str(depth)]["25"]["value"] == pytest.approx(hit / 19)
    for share in ("0.5", "0.9"):
        inside = [off(row, arm) * 1_000 <= row["arms"][arm]["radii_m"][share] for row in rows]
        region = metrics["credible_discs"][share]
        assert region["coverage"] == pytest.approx(statistics.fmean(inside))
        assert (region["stated"], region["calibrated"]) == (19, False)
    stated = metrics["confidence"]["25"]
    confidence, right = [], []
    for row in rows:
        answer = row["arms"][arm]
        at = (answer["lat"], answer["lon"])
        near = zip(
            answer["candidate_lat"],
            answer["candidate_lon"],
            answer["candidate_weight"],
            strict=True,
        )
        confidence.append(sum(mass for lat, lon, mass in near if km(at, (lat, lon)) <= 25))
        right.append(off(row, arm) < 25)
    pairs = [
        (a > b) + 0.5 * (a == b)
        for a, yes in zip(confidence, right, strict=True)
        for b, also in zip(confidence, right, strict=True)
        if yes and not also
    ]
    assert stated["auroc_correct"] == pytest.approx(statistics.fmean(pairs), abs=0.02)
    assert stated["auroc_in_gallery"] == pytest.approx(stated["auroc_correct"])


def test_report_has_metrics_without_placeholders(finished):
    for arm in finished[1]["arms"].values():
        assert arm["without_placeholders"]["rows"] == 15
        assert arm["without_placeholders"]["accuracy"]["25"]["value"] == 1.0
        assert arm["all"]["accuracy"]["25"]["value"] == pytest.approx(15 / 19)


def test_report_small_strata_have_counts_only(finished):
    strata = finished[1]["arms"][UNFILTERED]["strata"]
    assert strata["covered"]["false"] == {"rows": 4}
    assert strata["covered"]["true"]["rows"] == 15
    assert strata["covered"]["true"]["accuracy"]["1"]["value"] == 1.0


def test_report_contains_effect_of_exclusions(finished):
    leakage = finished[1]["leakage"]
    assert leakage["photos_with_rows_excluded"] == 2
    assert leakage["photos_with_near_duplicate_candidates"] == 2
    arms = finished[1]["arms"]
    for threshold in THRESHOLDS:
        gap = leakage["unfiltered_minus_excluded"][threshold]
        served, excluded = (
            arms[arm]["all"]["accuracy"][threshold]["value"] for arm in (UNFILTERED, EXCLUDED)
        )
        assert gap["value"] == pytest.approx(served - excluded)
        assert 0 < gap["p_value"] <= 1


def test_report_names_convention_and_missing_calibration(finished):
    folder, report = finished
    words = "pinpoint: WGS84 geodesic; d < threshold; GeoScore rounded per photo"
    text = (folder / "report.md").read_text()
    assert report["convention"] == {"name": "pinpoint", "description": words}
    assert text.count(words) >= 2
    assert "uncalibrated" in text
    assert "| – image missing | 1 |" in text
    assert "| – image unreadable: undecodable | 1 |" in text
    assert "| readable | 19 |" in text
    assert json.loads((folder / "report.json").read_text()) == report
    assert PLANET_NOTE not in report["notes"]
    assert any("8 creators" in note for note in report["notes"])
    assert 1.0 <= report["timings"]["overhead"] < 1.5


def test_report_can_be_remade_with_another_convention(finished, evaluation_harness, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    look = figures.make_photo_loader(
        evaluation_harness.images, evaluation_harness.components.decoder, 10_000_000
    )
    again = make_report(tmp_path / "run", look, "osv5m")
    assert again["convention"]["name"] == "osv5m"
    before = finished[1]["arms"][UNFILTERED]["all"]["median_error_km"]
    assert again["arms"][UNFILTERED]["all"]["median_error_km"] != before
    assert again["arms"][UNFILTERED]["all"]["median_error_km"] == pytest.approx(before, rel=0.01)
    assert make_report(tmp_path / "run", look)["arms"] == finished[1]["arms"]
    with pytest.raises(BadRequestError, match="no convention 'flat'; there are geoestimation"):
        make_report(tmp_path / "run", look, "flat")


def test_report_of_synthetic_planet_is_marked(finished, evaluation_harness, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    planet = {"generator": "g1", "preset": "tiny", "seed": 5, "digest": "abc"}
    run = read_run_manifest(tmp_path / "run") | {"planet": planet}
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    report = make_report(tmp_path / "run", lambda file: None)
    assert report["notes"][0] == PLANET_NOTE
    assert "g1, tiny, seed 5, digest abc" in (tmp_path / "run" / "report.md").read_text()
    for folder, named in ((finished[0], False), (tmp_path / "run", True)):
        for name in report["figures"]:
            with Image.open(folder / name) as image:
                assert "19 photos read" in image.info["Description"]
                assert ("not the Earth" in image.info["Description"]) == named


def test_report_figures_are_written(finished):
    folder, report = finished
    stated = [calibration_plots.RELIABILITY_FILE, calibration_plots.RISK_COVERAGE_FILE]
    expected = [figures.ERROR_CDF_FILE, figures.ERROR_MAP_FILE, *stated, figures.WORST_CASES_FILE]
    assert report["figures"] == expected
    for name in expected:
        with Image.open(folder / name) as image:
            pixels = np.asarray(image.convert("L"))
        assert image.format == "PNG"
        assert min(pixels.shape) > 300
        assert pixels.std() > 5


def test_report_of_top1_has_no_confidence(evaluation_harness, tmp_path):
    report = evaluation_harness.report(tmp_path / "run", ranker="top1", exclude=())
    arm = report["arms"][UNFILTERED]["all"]
    assert arm["confidence"] is None
    assert report["leakage"] is None
    assert list(report["arms"]) == [UNFILTERED]
    assert report["figures"] == [
        figures.ERROR_CDF_FILE,
        figures.ERROR_MAP_FILE,
        figures.WORST_CASES_FILE,
    ]
    assert arm["accuracy"]["25"]["value"] == arm["oracle"]["1"]["25"]["value"]
    text = (tmp_path / "run" / "report.md").read_text()
    assert "No confidence is stated" in text


def test_report_without_answers_has_no_figures(evaluation_harness, tmp_path):
    labeled = evaluation_harness.labeled()
    unreadable = [q for q in labeled.queries if q.file in ("missing.jpg", "broken.jpg")]
    from dataclasses import replace

    few = replace(labeled, queries=tuple(unreadable), rows=2)
    out = tmp_path / "run"
    run = evaluation_harness.run(out, labeled=few)
    write_results(out, run, vector_width(evaluation_harness.components))
    report = make_report(out, lambda file: None)
    assert report["counts"]["readable"] == 0
    assert report["arms"][UNFILTERED]["all"]["accuracy"]["25"]["value"] is None
    assert report["arms"][UNFILTERED]["all"]["accuracy_of_labeled"]["25"] == 0.0
    assert report["figures"] == []
    assert (out / "report.md").read_text().count("nan") == 0


def test_recall_depths_depend_on_number_of_candidates():
    assert summary.recall_depths(48) == (1, 12, 48)
    assert summary.recall_depths(100) == (1, 12, 48)
    assert summary.recall_depths(30) == (1, 12, 30)
    assert summary.recall_depths(1) == (1,)


def test_finite_replaces_non_finite_numbers_by_none():
    assert replace_non_finite({"a": [1.0, math.nan, math.inf], "b": "nan"}) == {
        "a": [1.0, None, None],
        "b": "nan",
    }
