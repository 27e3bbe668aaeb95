"""Batch sampling: balance, one image per sequence, the same batch for a seed and a step."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pinpoint.errors import BadRequestError
from pinpoint.geo.distance import pairwise_m
from pinpoint.training.core.samples import texts
from pinpoint.training.core.sampling import BatchSampler, NearPairs
from pinpoint.training.core.splits import SplitSettings, split_samples
from training.synthetic_samples import scattered_samples

TESTS = Path(__file__).resolve().parents[1]
ELSEWHERE = """
import json, numpy as np
from pinpoint.training.core.sampling import BatchSampler
from training.synthetic_samples import scattered_samples
samples = scattered_samples(2_000, cities=40, seed=3)
batches = BatchSampler(samples, np.arange(0, 2_000, 2), batch_size=64, seed=9)
print(json.dumps([batches.batch(step).tolist() for step in range(500, 530)]))
"""


def every(samples):
    return np.arange(len(samples))


def check_batch(samples, rows, batch):
    """Check the guarantees of one batch row by row."""
    assert len(rows) == batch
    named = [samples.sequences[row] for row in rows if samples.sequences[row]]
    assert len(named) == len(set(named))
    assert len(set(rows.tolist())) == batch
    kinds = [samples.kinds[row] for row in rows]
    assert kinds == ["photo", "street"] * (batch // 2)


def test_batch_sampler_alternates_kinds_without_repeated_sequences(samples):
    split = split_samples(samples, SplitSettings(val_fraction=0.2))
    batches = BatchSampler(samples, split.train, batch_size=24, seed=1)
    assert batches.kinds == ("photo", "street")
    for step in range(200):
        rows = batches.batch(step)
        check_batch(samples, rows, 24)
        assert np.isin(rows, split.train).all()


def test_batch_sampler_with_few_sequences_fills_batches():
    samples = scattered_samples(600, cities=4, drives=34)
    drives = len(set(samples.sequences.tolist()) - {""})
    batches = BatchSampler(samples, every(samples), batch_size=2 * drives, seed=1)
    seen = Counter()
    for step in range(300):
        rows = batches.batch(step)
        check_batch(samples, rows, 2 * drives)
        seen.update(rows.tolist())
    # Every sequence is in every batch here, so single images leave few rows for others.
    assert len(seen) > 590


def test_batch_sampler_visits_every_cell_once_per_pass():
    samples = scattered_samples(1_200, cities=30)
    free = replace(samples, sequences=texts([""] * 1_200))
    batches = BatchSampler(free, every(free), batch_size=2, seed=4)
    for number, kind in enumerate(batches.kinds):
        rows_of_kind = np.flatnonzero(free.kinds == kind)
        cells = batches.cells[kind]
        assert cells == len(set(free.cells[rows_of_kind].tolist()))
        steps = 12 * cells
        rows = [int(batches.batch(step)[number]) for step in range(steps)]
        passes = [rows[k : k + cells] for k in range(0, steps, cells)]
        orders = []
        for rows_of_pass in passes:
            order = [int(free.cells[row]) for row in rows_of_pass]
            assert len(set(order)) == cells
            orders.append(tuple(order))
        assert len(set(orders)) == 12
        shown = Counter(rows)
        for cell in set(free.cells[rows_of_kind].tolist()):
            times = [shown[row] for row in rows_of_kind.tolist() if free.cells[row] == cell]
            assert sum(times) == 12
            assert max(times) - min(times) <= 1


def test_batch_sampler_with_sequences_keeps_cells_balanced():
    samples = scattered_samples(5_000, cities=100)
    batches = BatchSampler(samples, every(samples), batch_size=64, seed=4)
    rows = np.concatenate([batches.batch(step) for step in range(600)])
    for kind in batches.kinds:
        rows_of_kind = rows[samples.kinds[rows] == kind]
        visits = Counter(samples.cells[rows_of_kind].tolist())
        assert len(visits) == batches.cells[kind]
        mean = len(rows_of_kind) / len(visits)
        assert 0.8 * mean < min(visits.values())
        assert max(visits.values()) < 1.2 * mean
    # Without balance the fullest cell would be drawn in proportion to its size.
    full = Counter(samples.cells.tolist())
    assert max(full.values()) > 4 * np.median(list(full.values()))


def test_batch_sampler_cell_cycles_through_sequences():
    samples = scattered_samples(400, cities=1, drives=10, resolution=1)
    batches = BatchSampler(samples, every(samples), batch_size=2, seed=1)
    assert batches.cells["street"] == 1
    drives = [str(samples.sequences[batches.batch(step)[1]]) for step in range(10)]
    assert len(set(drives)) == 10


def test_batch_sampler_step_is_reproducible_in_other_process():
    samples = scattered_samples(2_000, cities=40, seed=3)
    rows = np.arange(0, 2_000, 2)
    one = BatchSampler(samples, rows, batch_size=64, seed=9)
    straight = [one.batch(step).tolist() for step in range(530)]
    for step in np.random.default_rng(1).permutation(530)[:120].tolist():
        if step % 2:
            assert (
                BatchSampler(samples, rows, batch_size=64, seed=9).batch(step).tolist()
                == straight[step]
            )
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert json.loads(done.stdout) == straight[500:530]
    other = BatchSampler(samples, rows, batch_size=64, seed=10)
    assert other.batch(0).tolist() != straight[0]
    far = one.batch(10**9)
    check_batch(samples, far, 64)
    assert one.batch(3).tolist() == straight[3]


def test_batch_sampler_with_shared_sequence_shows_it_once():
    samples = scattered_samples(800, cities=10, drives=120)
    shared = samples.sequences.copy()
    shared[np.flatnonzero(samples.kinds == "photo")[:100]] = "d3"
    shared[np.flatnonzero(samples.kinds == "street")[:40]] = "d3"
    mixed = replace(samples, sequences=shared)
    batches = BatchSampler(mixed, every(mixed), batch_size=100, seed=2)
    for step in range(100):
        check_batch(mixed, batches.batch(step), 100)


def test_batch_sampler_with_shared_sequences_fills_both_kinds():
    samples = scattered_samples(800, cities=2, drives=90)
    photos = np.flatnonzero(samples.kinds == "photo")[:145]
    shared = samples.sequences.copy()
    shared[photos[:100]] = [f"d{k % 30}" for k in range(100)]
    mixed = replace(samples, sequences=shared)
    rows = np.concatenate([photos, np.flatnonzero(samples.kinds == "street")])
    batches = BatchSampler(mixed, rows, batch_size=88, seed=2)
    for step in range(100):
        check_batch(mixed, batches.batch(step), 88)


def test_batch_sampler_with_unfillable_batch_is_refused():
    samples = scattered_samples(300, cities=10, drives=20)
    with pytest.raises(
        BadRequestError, match=r"2 kinds \(photo, street\); use a positive multiple"
    ):
        BatchSampler(samples, every(samples), batch_size=7, seed=0)
    drives = len(set(samples.sequences.tolist()) - {""})
    with pytest.raises(BadRequestError, match=f"only {drives} sequences .* is {2 * drives}"):
        BatchSampler(samples, every(samples), batch_size=2 * drives + 2, seed=0)
    BatchSampler(samples, every(samples), batch_size=2 * drives, seed=0).batch(0)
    with pytest.raises(BadRequestError, match="0 images of 0 kinds"):
        BatchSampler(samples, every(samples)[:0], batch_size=2, seed=0)
    with pytest.raises(BadRequestError, match="seed"):
        BatchSampler(samples, every(samples), batch_size=2, seed=-1)
    with pytest.raises(ValueError, match="from 0"):
        BatchSampler(samples, every(samples), batch_size=2, seed=0).batch(-1)


@pytest.mark.parametrize("radius_m", [700.0, 3_000.0, 30_000.0])
def test_near_pairs_partners_agree_with_loop(radius_m):
    samples = scattered_samples(500, cities=12, seed=5)
    rows = np.flatnonzero(np.arange(500) % 3 > 0)
    pairs = NearPairs(samples, rows, radius_m=radius_m, seed=1, most=5)
    far = pairwise_m(samples.positions)
    found = 0
    for row in range(500):
        near = [
            other
            for other in rows.tolist()
            if samples.kinds[other] != samples.kinds[row] and far[row, other] <= radius_m
        ]
        near.sort(key=lambda other: far[row, other])
        wanted = near[:5] if row in rows else []
        assert pairs.partners(row).tolist() == wanted
        assert pairs.counts[row] == len(wanted)
        found += len(wanted)
    assert found > 0


def test_near_pairs_draw_is_uniform_and_reproducible():
    samples = scattered_samples(400, cities=8, seed=6)
    rows = every(samples)
    pairs = NearPairs(samples, rows, radius_m=1_500.0, seed=3, most=4)
    times = Counter()
    for step in range(1_000):
        drawn = pairs.draw(step, rows)
        times.update(zip(rows.tolist(), drawn.tolist(), strict=True))
    assert (pairs.draw(17, rows) == pairs.draw(17, rows)).all()
    assert (pairs.draw(17, rows) != pairs.draw(18, rows)).any()
    again = NearPairs(samples, rows, radius_m=1_500.0, seed=3, most=4)
    assert (again.draw(17, rows) == pairs.draw(17, rows)).all()
    assert {len(pairs.partners(row)) for row in rows.tolist()} == {0, 1, 2, 3, 4}
    for row in rows.tolist():
        partners = pairs.partners(row).tolist()
        if not partners:
            assert times[row, -1] == 1_000
        for partner in partners:
            share = times[row, partner] / 1_000
            assert abs(share - 1 / len(partners)) < 0.1


def test_near_pairs_of_one_kind_are_empty(samples):
    streets = np.flatnonzero(samples.kinds == "street")
    pairs = NearPairs(samples, streets, radius_m=1_000.0, seed=0)
    assert not pairs.counts.any()
    assert (pairs.draw(0, streets) == -1).all()
    alone = BatchSampler(samples, streets, batch_size=5, seed=0)
    assert set(samples.kinds[alone.batch(0)].tolist()) == {"street"}
    for wrong in ({"radius_m": 0.0}, {"radius_m": 1.0, "most": 0}):
        with pytest.raises(BadRequestError, match="partners need"):
            NearPairs(samples, streets, seed=0, **wrong)
