"""Training runs of workers: their states, lost workers, and a real worker that is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
from typer.testing import CliRunner

from nets.towers import timm_bundle
from pinpoint.cli.main import app
from pinpoint.errors import BadRequestError, ConflictError, NotFoundError
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.settings import EncoderSettings, ServiceSettings, Settings
from pinpoint.training.core import runs
from pinpoint.training.core.configs import read_config
from pinpoint.training.embedder.train_embedder import train_embedder
from training.embedder_runs import write_catalog_config, write_config

STEPS = 150


@pytest.fixture
def places(home):
    timm_bundle(home / "bundles" / "tiny-timm")
    return home


@pytest.fixture
def opened(places, tmp_path):
    """The id of a queued run, and a function that executes it."""
    run = runs.open_run(
        places,
        read_config(write_catalog_config(tmp_path, "ours", steps=20)).for_organization("default"),
    )
    asked = UUID(run.id)

    def carry_out(train):
        return runs.execute_run(places, asked, train, max_attempts=3)

    return asked, carry_out


def never(*_):
    raise AssertionError("the run must not be executed")


def test_execute_run_records_failure_and_requeue_retries(places, opened):
    asked, carry_out = opened
    assert runs.find_run(places, asked).state == "queued"

    def bad(*_):
        raise BadRequestError("too few pictures")

    with pytest.raises(BadRequestError):
        carry_out(bad)
    failed = runs.find_run(places, asked)
    assert (failed.state, failed.error_code, failed.error_message) == (
        "failed",
        "bad_request",
        "too few pictures",
    )
    assert carry_out(never) is None, "a late task does not start a failed run"
    assert runs.requeue(places, asked).error_code is None

    def good(config, folder, moved):
        assert config.catalog_sources[0].organization == "default"
        moved("features", 0, 10)
        moved("steps", 20, 40)
        time.sleep(0.05)
        moved("steps", 30, 40)
        now = runs.find_run(places, asked)
        assert (now.state, now.stage, now.completed, now.total) == ("running", "steps", 30, 40)
        assert 0.03 < now.eta_s < 5
        with pytest.raises(ConflictError, match="is running"):
            runs.requeue(places, asked)
        assert carry_out(never) is None, "a second worker does not start the run"
        return folder / "bundle"

    done = carry_out(good)
    assert (done.state, done.bundle) == ("done", str(runs.folder_of(places, asked) / "bundle"))
    assert runs.all_runs(places) == [done]
    with pytest.raises(ConflictError, match="is done"):
        runs.requeue(places, asked)
    with pytest.raises(NotFoundError, match="no training run"):
        runs.find_run(places, uuid4())
    (runs.folder_of(places, asked) / "progress.json").write_text("{")
    damaged = runs.find_run(places, asked)
    assert (damaged.state, damaged.error_code) == ("failed", "unreadable")
    assert runs.requeue(places, asked).state == "queued"


def test_execute_run_after_repeated_worker_loss_fails(places, opened):
    asked, carry_out = opened

    def lost_at(step):
        def train(config, folder, moved):
            moved("steps", 0, 100)
            moved("steps", step, 100)
            raise SystemExit  # like a killed worker, without an error record

        with pytest.raises(SystemExit):
            carry_out(train)
        return runs.find_run(places, asked)

    assert (lost_at(10).state, lost_at(10).attempts) == ("stopped", 1)
    assert lost_at(20).attempts == 0, "it got further"
    assert [lost_at(20).attempts for _ in range(3)] == [1, 2, 3]
    failed = carry_out(never)
    assert (failed.state, failed.error_code) == ("failed", "too_many_attempts")


@contextmanager
def learner(log):
    words = ["worker", "--pool=solo", "-Q", "training", "-n", f"{uuid4().hex}@test"]
    with log.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "pinpoint_workers.app:app", *words],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=out,
            stderr=out,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait(20)


def until(ripe, log):
    end = time.monotonic() + 90
    while not ripe():
        assert time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.01)


@pytest.mark.ci
@pytest.mark.timeout(240)
def test_training_worker_after_kill_resumes_run(
    places, planet, database_url, redis_url, tmp_path, monkeypatch
):
    for name, value in (
        ("PINPOINT_DATABASE_URL", database_url),
        ("PINPOINT_BROKER_URL", redis_url),
        ("PINPOINT_DEVICE", "cpu"),
        ("OMP_NUM_THREADS", "1"),
    ):
        monkeypatch.setenv(name, value)

    def command(*words):
        said = CliRunner().invoke(app, ["train", *words, "--json"], catch_exceptions=False)
        assert said.exit_code == 0, said.output
        return json.loads(said.stdout)

    config = write_config(planet, tmp_path, "learned", steps=STEPS)
    sent = command("embedder", "--config", str(config), "--background")
    asked, log = UUID(sent["id"]), tmp_path / "learner.log"
    folder = runs.folder_of(places, asked)
    with learner(log) as first:
        until((folder / "checkpoint.pt").exists, log)
        assert runs.find_run(places, asked).state == "running"
        first.kill()
        first.wait(20)
    stopped = runs.find_run(places, asked)
    assert (stopped.state, stopped.stage) == ("stopped", "steps")
    assert stopped.completed < STEPS
    with learner(log):  # it finds the run without a task, because the task was acknowledged
        until(lambda: runs.find_run(places, asked).state == "done", log)
    assert command("status")["runs"][0]["bundle"] == str(places / "bundles" / "learned")
    made = read_bundle(places / "bundles" / "learned").contract.heads
    settings = Settings(
        services=ServiceSettings(home=places), encoder=EncoderSettings(device="cpu")
    )
    with ChildDecoder(settings.media, children=1) as decoder:
        alone = train_embedder(
            read_config(config),
            tmp_path / "alone",
            settings=settings,
            decoder=decoder,
            into=tmp_path / "bundle",
        )
    assert made.weights.sha256 == read_bundle(alone.bundle).contract.heads.weights.sha256
    # The worker is lost after the bundle and before the final record.
    runs._write_run(folder, replace(runs.find_run(places, asked), state="running", bundle=None))
    assert runs.execute_run(places, asked, never, max_attempts=3).bundle.endswith("learned")
