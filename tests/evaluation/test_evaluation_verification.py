"""Runs that compare candidates by local features store the inliers of each candidate."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from evaluation.test_evaluation_run import rows_of
from pinpoint.errors import BadRequestError
from pinpoint.evaluation.run.evaluate import evaluate, vector_width
from pinpoint.evaluation.run.results import write_results
from pinpoint.evaluation.run.rows import UNFILTERED


def test_run_with_verification_stores_inliers_of_compared_candidates(evaluation_harness, tmp_path):
    components = replace(
        evaluation_harness.components, verifier=evaluation_harness.harness.verifier
    )
    run = evaluate(
        evaluation_harness.labeled(),
        tmp_path / "run",
        config=evaluation_harness.run_config(verify_candidates=2, exclude=()),
        components=components,
    )
    assert run["settings"]["verify"] == 2
    rows = [row for row in rows_of(tmp_path / "run").values() if not row["problem"]]
    assert rows
    for row in rows:
        arm = row["arms"][UNFILTERED]
        inliers, spread = arm["candidate_inliers"], arm["candidate_spread"]
        assert len(inliers) == len(spread) == len(arm["candidate_lat"])
        assert [count is None for count in inliers] == [share is None for share in spread]
        compared = [count for count in inliers if count is not None]
        assert 2 <= len(compared) < len(inliers)
        assert arm["features"]["max_inliers"] >= 0
        assert "verify" in arm["timings_ms"]
    path = write_results(tmp_path / "run", run, vector_width(components))
    columns = pq.read_table(path or tmp_path / "run" / "results.parquet").column_names
    assert {"candidate_inliers", "candidate_spread"} <= set(columns)


def test_run_with_verification_needs_stored_files(evaluation_harness, tmp_path):
    with pytest.raises(BadRequestError, match="stored files"):
        evaluation_harness.run(tmp_path / "run", verify_candidates=2)
    evaluation_harness.run(tmp_path / "without", max_queries=1)
    row = next(iter(rows_of(tmp_path / "without").values()))
    assert set(row["arms"][UNFILTERED]["candidate_inliers"]) == {None}
