"""The learner of the embedded stack: started for a run, niced, and out of `up`'s way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from uuid import UUID

import psutil
import pytest

from nets.towers import timm_bundle
from pinpoint.errors import StackError
from pinpoint.settings import Settings
from pinpoint.stack import lifecycle
from pinpoint.stack.learner import start_learner
from pinpoint.stack.supervise import Supervisor
from pinpoint.training.runs import RUNS, all_runs
from pinpoint.world.planets import make_planet
from training.recipe import written


@pytest.mark.timeout(240)
def test_a_run_starts_the_learner_and_ends_in_a_bundle(running_stack, tmp_path):
    home = running_stack.home
    timm_bundle(home / "bundles" / "tiny-timm")
    planet = make_planet(tmp_path / "planet", preset="tiny", seed=5)
    config = written(planet, tmp_path, "jobbed", steps=20)
    assert "learner" not in [one.name for one in running_stack.status.processes]
    words = ["train", "embedder", "--config", str(config), "--job"]
    try:
        said = subprocess.run(
            [sys.executable, "-m", "pinpoint.cli", *words],
            env={**os.environ, "PINPOINT_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert said.returncode == 0, said.stderr
        (run,) = all_runs(home)
        assert f"training run {UUID(run.id)} is queued" in said.stdout
        until = time.monotonic() + 120
        while (run := all_runs(home)[0]).state != "done":
            assert run.state != "failed", run.detail
            assert time.monotonic() < until, run
            time.sleep(0.1)
        assert (home / "bundles" / "jobbed" / "contract.json").is_file()
        found = lifecycle.status(running_stack.settings)
        assert found.state == "up"
        learner = found.processes[-1]
        assert learner.name == "learner"
        assert psutil.Process(learner.pid).nice() >= 10
        assert "learning" in psutil.Process(learner.pid).cmdline()
    finally:
        Supervisor(running_stack.places).stop(["learner"], 40.0)
        for left in (home / RUNS, home / "bundles" / "jobbed", home / "bundles" / "tiny-timm"):
            shutil.rmtree(left, ignore_errors=True)
    found = lifecycle.status(running_stack.settings)
    assert (found.state, "learner" in [one.name for one in found.processes]) == ("up", False)


def test_without_a_stack_there_is_no_learner(home):
    with pytest.raises(StackError, match="say `pinpoint up` first"):
        start_learner(Settings())
