"""The reranker on the synthetic planet: a whole run, its tables, and bounds on its figures.

Hours on two cores: `PINPOINT_TEST_RERANK` names a folder whose run is resumed and kept. Without it
the test makes a new run on the planet `small` in minutes and deletes it; its figures are printed
and not checked. `PINPOINT_TEST_RERANK_PRESET` names another planet.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from conftest import dismiss, home_folder, watch_over
from pinpoint.stack.supervisor import lifecycle
from trials.rerank.ablations import BOTH, NONE
from trials.rerank.bench_run import KINDS, PRESETS, BenchRun
from trials.rerank.figures import CITY_KM, EVERYTHING, read_ablation
from trials.rerank.steps import STEPS, run_steps
from trials.rerank.tables import (
    AIMS,
    SETTINGS,
    WITHIN,
    abstention_by_ranker,
    calibration_by_ranker,
    gaps,
)

KEPT = os.environ.get("PINPOINT_TEST_RERANK")
PRESET = os.environ.get("PINPOINT_TEST_RERANK_PRESET", "bench" if KEPT else "small")
SEED = 7
CLOSED = {"photo": 0.15, "street": 0.25}
"""Minimum share of the gap closed at 25 km, for answers chosen for that radius."""
MIN_CREATORS = 500
HOURS = 3_600

pytestmark = pytest.mark.timeout(24 * HOURS)
enough = pytest.mark.skipif(PRESET != "bench", reason=f"`{PRESET}` has too few queries")


@pytest.fixture(scope="module")
def bench():
    assert PRESET in PRESETS
    if KEPT:
        yield _run_steps(Path(KEPT).absolute())
        return
    with home_folder() as home:
        watcher = watch_over(home / "stack")
        made = BenchRun(home=home, preset=PRESET, seed=SEED, concurrency=2)
        try:
            yield _run_steps(home)
        finally:
            lifecycle.stop_stack(made.settings)
            dismiss(watcher)
            lifecycle.erase_stack(made.settings)


def _run_steps(home):
    made = BenchRun(home=home, preset=PRESET, seed=SEED, concurrency=2)
    run_steps(made, tuple(STEPS))
    sys.stdout.write("\n" + made.tables.read_text(encoding="utf-8"))
    return made


def test_tables_are_complete(bench):
    text = bench.tables.read_text(encoding="utf-8")
    assert "Synthetic planet, not the Earth" in text
    assert f"preset `{PRESET}`, seed {SEED}" in text
    by_case = gaps(bench)
    assert {setting for setting, *_ in by_case} == set(SETTINGS)
    for one in by_case.values():
        assert one.top1.value <= one.oracle.value
        assert max(one.vote.value, one.rerank.value) > 0 or PRESET == "tiny"
    shown = read_ablation(bench)
    for search in ("both", "photo", "street"):
        assert (shown.off_km[search, BOTH] != shown.off_km[search, NONE]).any()


@enough
@pytest.mark.parametrize("kind", KINDS)
def test_reranker_closes_open_gap_without_closed_loss(bench, kind):
    by_case = gaps(bench)
    assert by_case["open", kind, CITY_KM, WITHIN].closed.value >= CLOSED[kind]
    for aim in AIMS:
        one = by_case["open", kind, CITY_KM, aim]
        assert one.closed.low > 0
        assert one.ahead.low > 0, "clear of the vote"
        assert by_case["closed", kind, CITY_KM, aim].gained.value >= -0.01


@enough
@pytest.mark.parametrize("candidates", KINDS)
def test_reranker_gains_from_evidence_of_both_kinds(bench, candidates):
    gained = read_ablation(bench).minus((candidates, BOTH), (candidates, NONE), "photo")
    assert gained.value >= 0.01
    assert gained.low > 0


@enough
def test_calibration_is_accurate(bench):
    by_stratum = calibration_by_ranker(bench)["rerank"]
    everything = by_stratum[EVERYTHING]
    assert everything.debiased_ece <= 0.03
    assert 0.87 <= everything.held["0.9"].value <= 0.93
    for stratum, one in by_stratum.items():
        if one.num_creators >= MIN_CREATORS:
            assert 0.85 <= one.held["0.9"].value <= 0.95, stratum


@enough
def test_abstention_detects_uncovered_regions(bench):
    figures = abstention_by_ranker(bench)["rerank"][EVERYTHING]
    assert figures.auroc >= 0.9
    assert figures.withheld["not in gallery"][0] >= 0.8
    assert figures.withheld["in gallery, informative"][0] <= 0.1
