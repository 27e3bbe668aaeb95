"""Two hundred seeded faults of every kind: the final state equals that of a quiet run."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from trials.soak.campaign import Campaign
from trials.soak.fault_stack import run_fault_stack
from trials.soak.faults import FAULTS, NEED_SMALL_DISKS

SEED = 2026
RUNS, FAULTS_PER_RUN, RUNS_PER_WORLD = 10, 20, 5
SHORT_RUN = 10


@pytest.fixture(scope="module")
def campaign() -> Iterator[Campaign]:
    with run_fault_stack() as stack, tempfile.TemporaryDirectory(prefix="pinpoint-test-") as folder:
        if not stack.faked_clock:
            sys.stdout.write("no C compiler: clock steps are done to leases, in SQL\n")
        if not stack.small_disks:
            sys.stdout.write("mounting is not allowed: no full disks\n")
        made = Campaign(stack, Path(folder))
        yield made
        sys.stdout.write(made.table() + "\n")


def _check(campaign: Campaign, world: int, seed: int, count: int) -> None:
    run = campaign.run(world, seed, count)
    assert run.differences == []
    assert run.drift == 0
    assert run.unstated == []


@pytest.mark.ci
@pytest.mark.timeout(600)
def test_state_after_ten_faults_equals_quiet_run(campaign):
    _check(campaign, SEED, SEED - 1, SHORT_RUN)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(RUNS))
def test_state_after_twenty_faults_equals_quiet_run(campaign, number):
    _check(campaign, SEED + number // RUNS_PER_WORLD, SEED + number, FAULTS_PER_RUN)


def test_campaign_covers_every_fault_kind(campaign):
    done = {kind for run in campaign.runs for kind, _ in run.recoveries}
    kinds = set(FAULTS) - (set() if campaign.small_disks else set(NEED_SMALL_DISKS))
    if len(campaign.runs) < 2:
        pytest.skip("only the short trial ran")
    assert done == kinds
