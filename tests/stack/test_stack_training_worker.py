"""The training worker of the embedded stack: started for a run, with low CPU priority."""

from __future__ import annotations

import shutil
import time

import psutil
import pytest
from typer.testing import CliRunner

from pinpoint.cli.main import app
from pinpoint.errors import StackError
from pinpoint.settings import Settings
from pinpoint.stack.supervisor import lifecycle
from pinpoint.stack.supervisor.supervisord import Supervisor
from pinpoint.stack.training_worker import start_training_worker
from pinpoint.training.core.runs import RUNS, all_runs
from training.embedder_runs import write_catalog_config


@pytest.mark.timeout(240)
def test_background_run_starts_the_training_worker_and_records_its_failure(
    running_stack, tmp_path, monkeypatch
):
    config = write_catalog_config(
        tmp_path, "jobbed", steps=20, changes=(("tiny-timm", "no-such-tower"),)
    )
    assert "training-worker" not in [process.name for process in running_stack.status.processes]
    monkeypatch.setenv("PINPOINT_HOME", str(running_stack.home))

    def command(*words):
        result = CliRunner().invoke(app, ["train", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    try:
        assert "is queued; see: pinpoint train status" in command(
            "embedder", "--config", str(config), "--background"
        )
        until = time.monotonic() + 120
        while (run := all_runs(running_stack.home)[0]).state != "failed":
            assert time.monotonic() < until, run
            time.sleep(0.1)
        assert "bad_bundle: no bundle 'no-such-tower'" in command("status", run.id)
        status = lifecycle.stack_status(running_stack.settings)
        assert status.state == "up"
        learner = status.processes[-1]
        assert learner.name == "training-worker"
        assert psutil.Process(learner.pid).nice() >= 10
        assert command("resume", run.id).startswith(f"training run {run.id} is queued")
    finally:
        Supervisor(running_stack.paths).stop(["training-worker"], 40.0)
        shutil.rmtree(running_stack.home / RUNS, ignore_errors=True)
    status = lifecycle.stack_status(running_stack.settings)
    assert (status.state, "training-worker" in [process.name for process in status.processes]) == (
        "up",
        False,
    )


def test_start_training_worker_without_stack_raises(home):
    with pytest.raises(StackError, match=r"no stack is running .*`pinpoint up`"):
        start_training_worker(Settings())
