"""Verified candidates come first only where leave-one-out queries show a gain."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from pinpoint.evaluation.calibration.reordering import measure_reordering
from pinpoint.evaluation.run.evaluate import EvaluationComponents
from pinpoint.evaluation.run.leave_one_out import LeaveOneOutConfig, run_leave_one_out
from pinpoint.evaluation.run.rows import EXCLUDED, read_rows
from pinpoint.matching_handle import MatchingHandle
from pinpoint.nets.matching.threshold_files import read_threshold, write_threshold
from pinpoint.records import VerificationCalibration, VerificationThreshold
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths

THRESHOLD = VerificationThreshold(min_inliers=12, min_spread=0.1)
HERE, FAR = (48.0, 2.0), (48.1, 2.0)


def row(number, candidates):
    """A query at HERE; each candidate has a position, a weight, inliers and spread."""
    columns = list(zip(*candidates, strict=True)) or [(), (), (), ()]
    arm = {
        "candidate_lat": [position[0] for position in columns[0]],
        "candidate_lon": [position[1] for position in columns[0]],
        "candidate_weight": list(columns[1]),
        "candidate_inliers": list(columns[2]),
        "candidate_spread": list(columns[3]),
    }
    return {"lat": HERE[0], "lon": HERE[1], "creator": f"c{number}", "arms": {EXCLUDED: arm}}


RESCUED = [(FAR, 0.7, 3, 0.0), (HERE, 0.2, 30, 0.4), (FAR, 0.1, None, None)]
UNVERIFIED = [(HERE, 0.7, 11, 0.4), (FAR, 0.3, 40, 0.05)]
SPOILED = [(HERE, 0.6, 5, 0.2), (FAR, 0.4, 15, 0.3)]


def test_measure_reordering_counts_first_candidates():
    rows = [row(n, RESCUED) for n in range(12)] + [row(n, UNVERIFIED) for n in range(20, 40)]
    gain = measure_reordering([*rows, row(50, []), {**row(51, RESCUED), "arms": {}}], THRESHOLD)
    assert (gain.num_queries, gain.without, gain.reordered) == (32, 20 / 32, 1.0)
    assert gain.gain_low > 0
    assert gain.is_gain


@pytest.mark.parametrize(
    "candidates", [[UNVERIFIED] * 30, [RESCUED] + [UNVERIFIED] * 30, [SPOILED] * 30]
)
def test_measure_reordering_without_a_clear_gain_changes_nothing(candidates):
    gain = measure_reordering([row(n, entry) for n, entry in enumerate(candidates)], THRESHOLD)
    assert not gain.is_gain


def test_measure_reordering_without_compared_candidates_is_none():
    unknown = [(HERE, 0.7, None, None), (FAR, 0.3, None, None)]
    assert measure_reordering([row(1, unknown)], THRESHOLD) is None


def test_set_reordering_needs_a_calibrated_threshold(tmp_path):
    matching = MatchingHandle(Settings(services=ServiceSettings(home=tmp_path)))
    organization_id = uuid4()
    assert matching.set_reordering(organization_id, reorders=True) is False
    calibration = VerificationCalibration(
        organization_id=organization_id,
        threshold=replace(
            THRESHOLD, calibrated=True, false_match_rate=0.001, matcher_digest=matching.digest
        ),
        measured_rate=0.0,
        rate_interval=(0.0, 0.001),
        num_pairs=3_000,
        num_images=100,
        num_groups=20,
        num_unavailable=0,
        num_without_texture=0,
        min_distance_m=200.0,
        seed=0,
        repeated_structures=(),
        code_version="1",
    )
    folder = StackPaths(tmp_path).verification_dir
    write_threshold(folder, calibration)
    for reorders in (True, False):
        assert matching.set_reordering(organization_id, reorders=reorders) is True
        stored = read_threshold(folder, organization_id, matching.digest)
        assert stored == replace(calibration.threshold, reorders_candidates=reorders)
        assert matching.find_threshold(organization_id).reorders_candidates is reorders


def test_leave_one_out_run_with_verification_stores_inliers(evaluation_harness, tmp_path):
    components: EvaluationComponents = replace(
        evaluation_harness.components, verifier=evaluation_harness.harness.verifier
    )
    run_leave_one_out(
        tmp_path,
        options=LeaveOneOutConfig(max_queries=4, max_uncovered=0),
        config=evaluation_harness.run_config(verify_candidates=2),
        components=components,
    )
    rows = [stored for stored in read_rows(tmp_path) if stored["arms"]]
    assert rows
    for stored in rows:
        compared = [n for n in stored["arms"][EXCLUDED]["candidate_inliers"] if n is not None]
        assert len(compared) >= 2
