"""Two runs are compared photo by photo; incompatible runs are rejected."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace

import pytest

from pinpoint.errors import BadRequestError
from pinpoint.evaluation.metrics.compare import compare_runs
from pinpoint.evaluation.run.rows import EXCLUDED, UNFILTERED, read_rows
from pinpoint.evaluation.run.run_manifest import read_run_manifest
from pinpoint.records import SearchFilter


@pytest.fixture(scope="module")
def narrow(evaluation_harness, tmp_path_factory):
    """The same queries with street views only."""
    out = tmp_path_factory.mktemp("narrow") / "run"
    return out, evaluation_harness.report(out, search_filter=SearchFilter(source_kinds=("street",)))


def test_compare_differences_equal_those_of_the_rows(finished, narrow):
    comparison = compare_runs(finished[0], narrow[0])
    assert comparison["photos"] == {UNFILTERED: 19, EXCLUDED: 19}
    assert [line for line in comparison["differences"] if "source_kinds" in line] == [
        "settings.source_kinds was [], is ['street']"
    ]
    for arm in (UNFILTERED, EXCLUDED):
        a, b = (report["arms"][arm]["all"] for _, report in (finished, narrow))
        for threshold in ("1", "25", "2500"):
            metric = comparison["arms"][arm][f"accuracy@{threshold}km"]
            assert metric["a"] == pytest.approx(a["accuracy"][threshold]["value"])
            assert metric["b"] == pytest.approx(b["accuracy"][threshold]["value"])
            assert metric["value"] == pytest.approx(metric["a"] - metric["b"])
            assert metric["low"] <= metric["value"] <= metric["high"]
            assert 0 < metric["p_value"] <= 1
        score = comparison["arms"][arm]["geoscore"]
        assert score["value"] == pytest.approx(a["geoscore"]["value"] - b["geoscore"]["value"])
    turned = compare_runs(narrow[0], finished[0])["arms"][UNFILTERED]["geoscore"]
    assert turned["value"] == pytest.approx(-comparison["arms"][UNFILTERED]["geoscore"]["value"])


def test_compare_run_with_itself_has_no_difference(finished):
    comparison = compare_runs(finished[0], finished[0])
    assert comparison["differences"] == []
    for figures in comparison["arms"].values():
        assert {
            (metric["value"], metric["low"], metric["high"], metric["p_value"])
            for metric in figures.values()
        } == {(0.0, 0.0, 0.0, 1.0)}


def test_compare_uses_photos_readable_in_both_runs(evaluation_harness, finished, tmp_path):
    shutil.copytree(evaluation_harness.images, tmp_path / "images")
    for gone in ("unseen-3.jpg", "copy.jpg"):
        (tmp_path / "images" / gone).unlink()
    evaluation_harness.run_with_results(tmp_path / "run", images=tmp_path / "images")
    problems = Counter(row["problem"] for row in read_rows(tmp_path / "run"))
    assert (problems["missing_file"], problems.total()) == (3, 22)
    comparison = compare_runs(finished[0], tmp_path / "run")
    assert comparison["photos"] == {UNFILTERED: 17, EXCLUDED: 17}
    assert comparison["arms"][UNFILTERED]["geoscore"]["value"] == 0.0


def test_compare_runs_with_other_labels_is_rejected(evaluation_harness, finished, tmp_path):
    labeled = evaluation_harness.labeled()
    first = replace(labeled.queries[0], creator="somebody else")
    other = replace(labeled, queries=(first, *labeled.queries[1:]))
    evaluation_harness.run_with_results(tmp_path / "run", labeled=other)
    with pytest.raises(BadRequestError, match=r"have different queries .*only runs with the same"):
        compare_runs(finished[0], tmp_path / "run")


def test_compare_omits_arm_with_different_exclusions(evaluation_harness, finished, tmp_path):
    evaluation_harness.run_with_results(tmp_path / "run", exclude=("self",))
    comparison = compare_runs(finished[0], tmp_path / "run")
    assert list(comparison["arms"]) == [UNFILTERED]
    assert "have different exclusions" in comparison["notes"][0]


def test_compare_folder_without_run_is_rejected(finished, tmp_path):
    with pytest.raises(BadRequestError, match="contains no run"):
        compare_runs(finished[0], tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(read_run_manifest(finished[0])))
    with pytest.raises(BadRequestError, match="contains no results"):
        compare_runs(finished[0], tmp_path)
