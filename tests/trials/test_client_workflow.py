"""A complete workflow with the built client: keys, 500 images, jobs, webhooks, a revoked key.

`client_program.py` runs in an environment with the wheel of the client alone. Meanwhile the worker
of the jobs is killed twice; events arrive at a listener of this process. It takes about three
minutes on two cores: 127 s for the program, of which 102 s for the jobs and 15 s for the images.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from stack_fixtures import jpeg, write_photos
from trials.soak.fault_stack import FaultStack, run_fault_stack
from trials.test_client_wheels import CLIENT, install, make_environment, run
from webhooks.receivers import ADDRESS, receive

IMAGES, PHOTOS = 500, 200
KILL_AT = (20, 150)
"""Completed items of both jobs at which the worker is killed."""
LIMIT_S = 1_200.0
PROGRAM = Path(__file__).with_name("client_program.py")


def build_environment(folder: Path) -> Path:
    """Install the built wheel of the client into a new environment; return its Python."""
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder / "wheels", CLIENT)
    (wheel,) = (folder / "wheels").glob("pinpoint_client-*.whl")
    python = make_environment(folder / "venv")
    install(python, wheel)
    return python


def allow_receiver(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """Let the stack send webhooks to the listener of the trial, and to no other address."""
    for name, value in {
        "PINPOINT_WEBHOOK_ALLOWED_HOSTS": ADDRESS,
        "PINPOINT_WEBHOOK_RETRY_INTERVAL_S": "1",
        "PINPOINT_REMOTE_ALLOWED_NETWORKS": f"{ADDRESS}/32",
        "PINPOINT_REMOTE_ALLOWED_PORTS": str(port),
        "PINPOINT_REMOTE_ALLOW_HTTP": "true",
    }.items():
        monkeypatch.setenv(name, value)


def kill_worker(stack: FaultStack, completed: int, program: subprocess.Popen[str]) -> int:
    """Kill the worker of jobs while it holds items, after this many results; return its id."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until and program.poll() is None:
        rows = stack.sql(
            "SELECT count(*) FILTER (WHERE state = 'completed'), array_agg(DISTINCT lease_owner) "
            "FROM job_items"
        )
        ((count, owners),) = rows
        pid = stack.pid("jobs-worker")
        if count >= completed and any(f"/{pid}/" in owner for owner in owners or ()):
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            return pid
        time.sleep(0.02)
    raise AssertionError(f"the worker holds no item after {completed} results")


def list_digests(folder: Path) -> set[str]:
    """Digests of all files below a folder; a file that vanishes meanwhile is left out."""
    digests = set()
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                digests.add(hashlib.sha256(path.read_bytes()).hexdigest())
    return digests


@pytest.mark.timeout(2_400)
def test_client_workflow_loses_nothing_and_leaves_no_query_photo(tmp_path, monkeypatch):
    gallery, queries = tmp_path / "gallery", tmp_path / "queries"
    write_photos(gallery, IMAGES)
    queries.mkdir()
    for number in range(PHOTOS):
        photo = jpeg(10_000 + number, 48.85, 2.35 + number / 1_000)
        (queries / f"{number:03d}.jpg").write_bytes(photo)
    python = build_environment(tmp_path)
    with receive() as receiver:
        allow_receiver(monkeypatch, receiver.port)
        with run_fault_stack(clock=False, disks=False, second=False, lease_s=60.0) as stack:
            started_s = time.monotonic()
            program = subprocess.Popen(
                [
                    str(python),
                    "-I",
                    str(PROGRAM),
                    str(gallery),
                    str(queries),
                    receiver.url(),
                    "walks",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={"PINPOINT_HOME": str(stack.paths.home), "PATH": os.environ["PATH"]},
                cwd="/",
            )
            try:
                killed = [kill_worker(stack, count, program) for count in KILL_AT]
                printed, _ = program.communicate(timeout=LIMIT_S)
            finally:
                program.kill()
            assert program.returncode == 0, printed[-4_000:]
            report = json.loads(printed.splitlines()[-1])
            seconds = time.monotonic() - started_s
            check_report(report, stack)
            check_disk(stack, queries)
    events = [
        Webhook(report["webhook_secret"]).verify(received.body, received.headers)
        for received in receiver.received
    ]
    counts = [job["counts"] for job in report["jobs"].values()]
    sys.stdout.write(
        f"{seconds:.0f} s, steps {report['seconds']}; worker killed {len(set(killed))} times; "
        f"batch {report['batch']}; jobs {counts}; events "
        f"{Counter(event['type'] for event in events)}\n"
    )
    assert len(set(killed)) == len(KILL_AT)
    check_events(events, receiver.received, report)


def check_report(report, stack: FaultStack) -> None:
    """Counts of the program, and the same in the database."""
    assert (report["batch"]["items"], report["batch"]["indexed"]) == (IMAGES, IMAGES)
    # The progress was reported after each of several requests.
    assert report["batch"]["states"] > report["batch"]["requests"] > 1
    assert report["images"] == IMAGES
    ended, canceled = report["jobs"]["ended"], report["jobs"]["canceled"]
    assert (ended["state"], ended["counts"]["completed"]) == ("completed", PHOTOS)
    assert (canceled["state"], canceled["counts"]["total"]) == ("canceled", PHOTOS)
    kept = canceled["counts"]["completed"]
    assert kept >= 10
    assert canceled["counts"]["canceled"] == PHOTOS - kept > 0
    assert report["audited"] == PHOTOS + kept + report["located"]
    assert stack.sql("SELECT count(*) FROM images WHERE state <> 'deleted'") == [(IMAGES,)]
    # Items were claimed again after the kills; the canceled job is deleted with its items.
    assert stack.sql("SELECT count(*) FROM job_items") == [(PHOTOS,)]
    assert stack.sql("SELECT max(attempts) > 1 FROM job_items") == [(True,)]


def check_disk(stack: FaultStack, queries: Path) -> None:
    """No file of the home is a query photo, and each blob belongs to an image."""
    assert stack.sql("SELECT count(*) FROM job_items WHERE uri IS NOT NULL") == [(0,)]
    photos = list_digests(queries)
    assert len(photos) == PHOTOS
    assert list_digests(stack.paths.home) & photos == set()
    stored = stack.sql("SELECT uri FROM images WHERE starts_with(uri, 'blob:')")
    blobs = [path.name for path in stack.paths.blobs_dir.glob("*/*/*") if path.is_file()]
    assert sorted(blobs) == sorted({uri.rsplit("/", 1)[1] for (uri,) in stored})


def check_events(events, received, report) -> None:
    """Each event arrived, verified, with a signature; a repeated delivery has the same id."""
    expected = {
        "webhook.test": None,
        "batch.closed": None,
        "job.completed": report["jobs"]["ended"]["id"],
        "job.canceled": report["jobs"]["canceled"]["id"],
    }
    assert set(report["deliveries"].values()) == {"delivered"}
    assert set(report["deliveries"]) == set(expected)
    ids = {
        request.headers["webhook-id"]: event
        for request, event in zip(received, events, strict=True)
    }
    assert Counter(event["type"] for event in ids.values()) == dict.fromkeys(expected, 1)
    jobs = {event["type"]: event["data"]["job_id"] for event in events if "job_id" in event["data"]}
    assert jobs == {name: job_id for name, job_id in expected.items() if job_id is not None}
