"""On the running stack: one upload followed through the logs, and `status` as people see it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from pinpoint import jobs
from pinpoint.cli import status
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.job_sender import CeleryQueue
from stack_fixtures import jpeg, plain_jpeg, unique


@pytest.fixture(scope="module")
def api(running_stack):
    with httpx.Client(
        base_url=running_stack.api_url, headers=running_stack.as_operator, timeout=60
    ) as client:
        yield client


def pinpoint(running_stack, *arguments):
    """The command as it is typed."""
    environment = {name: value for name, value in os.environ.items() if "PINPOINT" not in name}
    environment |= {"PINPOINT_HOME": str(running_stack.home), "COLUMNS": "200"}
    return subprocess.run(
        [Path(sys.executable).with_name("pinpoint"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def lines(running_stack, program):
    """A program's log, its JSON lines read."""
    log = running_stack.paths.logs_dir / f"{program}.log"
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def wait_for(done, what, seconds=60):
    until = time.monotonic() + seconds
    while not (found := done()):
        assert time.monotonic() < until, f"waited too long for {what}"
        time.sleep(0.1)
    return found


def uploaded(api, request_id):
    """A batch of three files, one of them refused, sent in one request under this id."""
    source = api.post("/v1/sources", json={"name": unique("logs"), "kind": "photo"}).json()
    batch = api.post("/v1/batches", json={"source": source["name"]}).json()
    seed = time.time_ns() % 1_000_000
    files = [("files", (f"{n}.jpg", jpeg(seed + n, 20 + n, 5), "image/jpeg")) for n in range(2)]
    files.append(("files", ("nowhere.jpg", plain_jpeg(seed), "image/jpeg")))
    path = f"/v1/batches/{batch['id']}"
    sent = api.post(f"{path}/images", files=files, headers={"X-Request-ID": request_id})
    assert sent.status_code == 202, sent.text
    assert sent.headers["x-request-id"] == request_id
    api.post(f"{path}/close")
    return wait_for(
        lambda: (now := api.get(path).json())["is_processed"] and now, "the batch to be complete"
    )


def test_one_upload_is_followed_from_its_request_to_the_workers_lines(api, running_stack):
    request_id = unique("request")
    batch = uploaded(api, request_id)
    (asked,) = [
        line
        for line in lines(running_stack, "api")
        if line.get("request_id") == request_id and line["event"] == "request"
    ]
    assert (asked["status"], asked["batch_id"]) == (202, batch["id"])
    (worked,) = wait_for(
        lambda: [
            line
            for line in lines(running_stack, "worker")
            if line.get("request_id") == request_id and line["event"] == "ingested"
        ],
        "the worker's line",
    )
    assert worked["batch_id"] == batch["id"]
    assert worked["job"] == jobs.INGEST_ITEMS
    assert worked["task_id"]
    assert worked["worker"].count("/") == 2
    counts = {name: worked[name] for name in ("claimed", "encoded", "rejected")}
    assert counts == {"claimed": 3, "encoded": 2, "rejected": 1}
    assert all(worked[f"{stage}_ms"] > 0 for stage in ("read", "store", "embed", "index"))
    # Every other line of that task says so, too, and no line of another does.
    of_task = [line for line in lines(running_stack, "worker") if line.get("task_id")]
    for line in of_task:
        if line["task_id"] == worked["task_id"]:
            assert line["request_id"] == request_id
        elif line["job"] in (jobs.RECOVER, jobs.RECONCILE):
            assert "request_id" not in line, "beat asks for these, nobody's request"


def test_the_figures_reach_metrics_with_the_operators_key(api, running_stack):
    def counted():
        key = {"Authorization": f"Bearer {running_stack.operator_key}"}
        said = api.get("/metrics", headers=key).text
        return dict(line.rsplit(" ", 1) for line in said.splitlines() if line[0] != "#")

    uploaded(api, unique("request"))
    # The worker leaves its sums after the verdicts, and the API asks every five seconds.
    found = wait_for(
        lambda: float((now := counted())["pinpoint_ingest_encoded_total"]) >= 2 and now, "the sums"
    )
    assert found['pinpoint_ingest_items{state="received"}'] == "0.0"
    assert float(found['pinpoint_ingest_stage_seconds_count{stage="embed"}']) >= 1
    refused = 'pinpoint_ingest_items_rejected_total{reason="no_position",verdict="rejected"}'
    assert float(found[refused]) >= 1
    assert found['pinpoint_component_up{component="index"}'] == "1.0"


def test_status_shows_how_the_work_stands(api, running_stack):
    uploaded(api, unique("request"))
    queue = CeleryQueue(running_stack.paths.broker_url)
    queue.send(jobs.RECOVER)
    queue.send(jobs.RECONCILE)
    queue.close()

    def reconciled():
        totals = status.collect_status(running_stack.settings).totals
        return totals is not None and totals.drift is not None and totals.recovery is not None

    wait_for(reconciled, "recovery and reconcile")
    done = pinpoint(running_stack, "status", "--json")
    assert done.returncode == 0, done.stderr
    work = json.loads(done.stdout)["work"]
    assert work["silent"] == {}
    measures = json.loads(done.stdout)["decoder_sandbox"]["measures"]
    assert {"seccomp", "landlock", "no_new_privs"} <= {one["name"] for one in measures}
    assert work["queue_length"] >= 0
    assert work["totals"]["drift"]["missing"] == 0
    assert {one["error_code"] for one in work["totals"]["rejected_items"]} >= {"no_position"}
    done = pinpoint(running_stack, "status")
    assert "decoder sandbox: limits" in done.stdout, done.stdout
    for word in ("worker", "queue length", "files open", "last recovery", "drift 0", "no_position"):
        assert word in done.stdout, done.stdout


def test_asking_is_quick_and_names_what_does_not_answer(running_stack):
    begun = time.monotonic()
    found = status.collect_status(running_stack.settings)
    assert found.silent == {}
    assert time.monotonic() - begun < 1.5, "imports included"
    redis = next(one.pid for one in running_stack.status.processes if one.name == "redis")
    os.kill(redis, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        found = status.collect_status(running_stack.settings)
        taken_s = time.monotonic() - begun
    finally:
        os.kill(redis, signal.SIGCONT)
    assert set(found.silent) == {"broker"}
    assert found.totals is not None
    assert taken_s < 1.0


def test_asking_where_nothing_runs_says_so_at_once(tmp_path):
    begun = time.monotonic()
    found = status.collect_status(Settings(services=ServiceSettings(home=tmp_path / "nothing")))
    assert time.monotonic() - begun < 1.0
    assert set(found.silent) == {"database", "broker", "index"}
    assert (found.totals, found.queue_length) == (None, None)
    status.show_status(found)
    assert dataclasses.is_dataclass(found)
