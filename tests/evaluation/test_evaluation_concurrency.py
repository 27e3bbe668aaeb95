"""Concurrent queries, or only one arm, change the duration of a run but not its rows."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from pinpoint.errors import BadRequestError
from pinpoint.evaluation.run.concurrency import ordered_map
from pinpoint.evaluation.run.evaluate import vector_width
from pinpoint.evaluation.run.rows import EXCLUDED, read_rows, read_vectors


def test_ordered_map_keeps_order_and_limits_concurrency():
    running, most, lock = 0, 0, threading.Lock()

    def ask(number):
        nonlocal running, most
        with lock:
            running, most = running + 1, max(most, running + 1)
        time.sleep(0.02 if number % 3 == 0 else 0.001)
        with lock:
            running -= 1
        return number * number

    assert list(ordered_map(ask, range(20), 3)) == [number * number for number in range(20)]
    assert 2 <= most <= 3


@pytest.mark.parametrize("concurrency", [1, 3])
def test_ordered_map_failing_item_raises_in_order_and_stops(concurrency):
    started = []

    def ask(number):
        started.append(number)
        if number == 4:
            raise KeyError(number)
        return number

    results = []
    with pytest.raises(KeyError):
        results.extend(ordered_map(ask, range(1_000), concurrency))
    assert results == [0, 1, 2, 3]
    assert max(started) <= 4 + concurrency + 1, "no item is started whose result is not used"


@pytest.mark.parametrize("concurrency", [0, 9])
def test_ordered_map_invalid_concurrency_is_rejected(concurrency):
    with pytest.raises(
        BadRequestError, match=f"concurrency must be from 1 to 8, not {concurrency}"
    ):
        list(ordered_map(str, [1], concurrency))


def test_run_concurrent_rows_equal_sequential_rows(evaluation_harness, finished, tmp_path):
    evaluation_harness.run(tmp_path / "run", concurrency=3)
    rows = [list(read_rows(folder)) for folder in (tmp_path / "run", finished[0])]
    for run_rows in rows:
        for row in run_rows:
            row["timings_ms"] = 0
            row["arms"] = {name: {**arm, "timings_ms": 0} for name, arm in row["arms"].items()}
    assert rows[0] == rows[1]
    width = vector_width(evaluation_harness.components)
    concurrent, sequential = (
        read_vectors(folder, width) for folder in (tmp_path / "run", finished[0])
    )
    np.testing.assert_array_equal(concurrent, sequential)


def test_run_with_exclusions_only_has_one_unchanged_arm(evaluation_harness, finished, tmp_path):
    report = evaluation_harness.report(tmp_path / "run", unfiltered=False)
    arms, both_arms = report["arms"], finished[1]["arms"]
    assert list(arms) == [EXCLUDED]
    assert arms[EXCLUDED]["all"]["accuracy"] == both_arms[EXCLUDED]["all"]["accuracy"]
    assert report["counts"] == finished[1]["counts"]
    assert report["leakage"] is None
    text = (tmp_path / "run" / "report.md").read_text()
    assert "as served" not in text
    assert "with exclusions, of all evaluated" in text
    with pytest.raises(BadRequestError, match="nothing to evaluate"):
        evaluation_harness.run(tmp_path / "none", unfiltered=False, exclude=())
