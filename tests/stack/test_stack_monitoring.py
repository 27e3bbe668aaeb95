"""Logs, metrics and `status` of a running stack after an upload."""

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

from pinpoint import tasks
from pinpoint.cli import status
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.broker.task_sender import CeleryQueue
from stack_fixtures import jpeg, plain_jpeg, unique


@pytest.fixture(scope="module")
def api(running_stack):
    with httpx.Client(
        base_url=running_stack.api_url, headers=running_stack.as_operator, timeout=60
    ) as client:
        yield client


def pinpoint(running_stack, *arguments):
    """Run the `pinpoint` command."""
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
    """JSON lines of the log of a program."""
    log = running_stack.paths.logs_dir / f"{program}.log"
    for line in log.read_text(encoding="utf-8").splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def wait_for(condition, what, seconds=60):
    until = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < until, f"waited too long for {what}"
        time.sleep(0.1)
    return value


def uploaded(api, request_id):
    """Upload three files, one without position, in one request with this id."""
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


def test_request_id_of_upload_is_in_api_and_worker_logs(api, running_stack):
    request_id = unique("request")
    batch = uploaded(api, request_id)
    (request_line,) = [
        line
        for line in lines(running_stack, "api")
        if line.get("request_id") == request_id and line["event"] == "request"
    ]
    assert (request_line["status"], request_line["batch_id"]) == (202, batch["id"])
    (worker_line,) = wait_for(
        lambda: [
            line
            for line in lines(running_stack, "worker")
            if line.get("request_id") == request_id and line["event"] == "ingested"
        ],
        "the worker's line",
    )
    assert worker_line["batch_id"] == batch["id"]
    assert worker_line["task"] == tasks.INGEST_ITEMS
    assert worker_line["task_id"]
    assert worker_line["worker"].count("/") == 2
    counts = {name: worker_line[name] for name in ("claimed", "encoded", "rejected")}
    assert counts == {"claimed": 3, "encoded": 2, "rejected": 1}
    assert all(worker_line[f"{stage}_ms"] > 0 for stage in ("read", "store", "embed", "index"))
    # All log lines of the task have the request id, and no other line has it.
    of_task = [line for line in lines(running_stack, "worker") if line.get("task_id")]
    for line in of_task:
        if line["task_id"] == worker_line["task_id"]:
            assert line["request_id"] == request_id
        elif line["task"] in (tasks.RECOVER, tasks.RECONCILE):
            assert "request_id" not in line, "beat sends these tasks, not a request"


def test_metrics_after_upload_include_worker_totals(api, running_stack):
    def counted():
        key = {"Authorization": f"Bearer {running_stack.operator_key}"}
        exposition = api.get("/metrics", headers=key).text
        return dict(line.rsplit(" ", 1) for line in exposition.splitlines() if line[0] != "#")

    uploaded(api, unique("request"))
    # The worker writes its totals after the item states; the API reads them every 5 s.
    values = wait_for(
        lambda: float((now := counted())["pinpoint_ingest_encoded_total"]) >= 2 and now, "the sums"
    )
    assert values['pinpoint_ingest_items{state="received"}'] == "0.0"
    assert float(values['pinpoint_ingest_stage_seconds_count{stage="embed"}']) >= 1
    refused = 'pinpoint_ingest_items_rejected_total{error_code="no_position",status="rejected"}'
    assert float(values[refused]) >= 1
    assert values['pinpoint_component_up{component="index"}'] == "1.0"


def test_status_after_upload_shows_work_totals(api, running_stack):
    uploaded(api, unique("request"))
    queue = CeleryQueue(running_stack.paths.broker_url)
    queue.send(tasks.RECOVER)
    queue.send(tasks.RECONCILE)
    queue.close()

    def reconciled():
        totals = status.collect_status(running_stack.settings).totals
        return totals is not None and totals.drift is not None and totals.recovery is not None

    wait_for(reconciled, "recovery and reconcile")
    completed = pinpoint(running_stack, "status", "--json")
    assert completed.returncode == 0, completed.stderr
    work = json.loads(completed.stdout)["work"]
    assert work["silent"] == {}
    measures = json.loads(completed.stdout)["decoder_sandbox"]["measures"]
    assert {"seccomp", "landlock", "no_new_privs"} <= {entry["name"] for entry in measures}
    assert work["queue_length"] >= 0
    assert work["totals"]["drift"]["missing"] == 0
    assert {entry["error_code"] for entry in work["totals"]["rejected_items"]} >= {"no_position"}
    completed = pinpoint(running_stack, "status")
    assert "decoder sandbox: limits" in completed.stdout, completed.stdout
    for word in ("worker", "queue length", "files open", "last recovery", "drift 0", "no_position"):
        assert word in completed.stdout, completed.stdout


def test_collect_status_with_hanging_broker_names_it_within_1_s(running_stack):
    begun = time.monotonic()
    collected = status.collect_status(running_stack.settings)
    assert collected.silent == {}
    assert time.monotonic() - begun < 1.5, "imports included"
    redis = next(
        process.pid for process in running_stack.status.processes if process.name == "redis"
    )
    os.kill(redis, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        collected = status.collect_status(running_stack.settings)
        taken_s = time.monotonic() - begun
    finally:
        os.kill(redis, signal.SIGCONT)
    assert set(collected.silent) == {"broker"}
    assert collected.totals is not None
    assert taken_s < 1.0


def test_collect_status_without_stack_returns_within_1_s(tmp_path):
    begun = time.monotonic()
    collected = status.collect_status(Settings(services=ServiceSettings(home=tmp_path / "nothing")))
    assert time.monotonic() - begun < 1.0
    assert set(collected.silent) == {"database", "broker", "index"}
    assert (collected.totals, collected.queue_length) == (None, None)
    status.show_status(collected)
    assert dataclasses.is_dataclass(collected)
