"""Locate jobs on a real stack: the worker is killed twice, another job is canceled."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import pytest

from pinpoint.cli.api_client import ApiClient
from pinpoint.records import KeyGrant
from pinpoint.stack.state import read_state
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint_client import connect
from stack_fixtures import jpeg, write_photos
from trials.soak.fault_stack import FaultStack, run_fault_stack

GALLERY, PHOTOS, KILLS = 40, 200, 2
LIMIT_S = 900.0


@pytest.mark.timeout(1_500)
def test_killed_jobs_worker_loses_and_repeats_no_photo(tmp_path):
    write_photos(tmp_path / "gallery", GALLERY)
    folder = tmp_path / "queries"
    folder.mkdir()
    for number in range(PHOTOS):
        photo = jpeg(1_000 + number, 48.85, 2.35 + number / 10_000)
        (folder / f"{number:03d}.jpg").write_bytes(photo)
    with run_fault_stack(clock=False, disks=False, second=False, lease_s=60.0) as stack:
        owner = Transactions(owner_engine(stack.paths.owner_url()))
        keys = ApiKeyStore(owner)
        keys.create_organization("jobs")
        _, key = keys.create_key(
            "jobs", "all", KeyGrant(scopes=("locate", "read", "ingest", "admin"))
        )
        owner.close()
        url = read_api_url(stack)
        with ApiClient.open(server=url, key=key) as client:
            client.add_source("gallery", "photo")
            client.ingest_folder(tmp_path / "gallery", source="gallery", wait=True)
            started_at = time.monotonic()
            job = client.locate_as_job(folder)
            other = client.locate_as_job(folder)
            kills = [kill_at(stack, client, job, PHOTOS // 5)]
            until_completed(client, other, 10)
            canceled = client.cancel_job(other["id"])
            assert canceled["counts"]["total"] == PHOTOS
            kills += [kill_at(stack, client, job, PHOTOS // 2)]
            ended = client.wait_for_job(job["id"], check_counts)
            canceled = client.wait_for_job(other["id"], check_counts)
        with connect(url, key) as typed_client:
            results = list(typed_client.jobs.results(job["id"]))
            kept = list(typed_client.jobs.results(other["id"]))
        attempts = stack.sql(
            "SELECT attempts, count(*) FROM job_items WHERE job_id = %s GROUP BY 1 ORDER BY 1",
            job["id"],
        )
        sys.stdout.write(
            f"{len(kills)} kills, {time.monotonic() - started_at:.0f} s, {ended['counts']}, "
            f"canceled {canceled['counts']}, attempts {attempts}\n"
        )
        assert len(set(kills)) == KILLS
        assert (ended["state"], ended["counts"]["completed"]) == ("completed", PHOTOS)
        files = [str(line.file) for line in results]
        assert files == sorted(files)
        assert len({line.custom_id for line in results}) == PHOTOS
        assert canceled["state"] == "canceled"
        assert canceled["counts"]["canceled"] > 0
        assert len(kept) == canceled["counts"]["completed"] >= 10
        # Each answer has one row of the audit log, also where a photo was located twice.
        answers = PHOTOS + len(kept)
        audited = stack.sql("SELECT count(*) FROM audit_log WHERE operation = 'locate'")
        assert audited == [(answers,)]
        assert stack.sql("SELECT count(*) FROM job_items WHERE uri IS NOT NULL") == [(0,)]
        stored = stack.sql("SELECT uri FROM images WHERE starts_with(uri, 'blob:')")
        blobs = [path.name for path in stack.paths.blobs_dir.glob("*/*/*") if path.is_file()]
        assert sorted(blobs) == sorted({uri.rsplit("/", 1)[1] for (uri,) in stored})


def read_api_url(stack: FaultStack) -> str:
    state = read_state(stack.paths)
    assert state is not None
    return state.api_url


def check_counts(job: dict[str, Any]) -> None:
    counts = job["counts"]
    ended = counts["completed"] + counts["failed"] + counts["canceled"]
    assert counts["total"] == ended + counts["open"] == PHOTOS


def until_completed(client: ApiClient, job: dict[str, Any], count: int) -> None:
    end = time.monotonic() + LIMIT_S
    while True:
        now = client.job(job["id"])
        check_counts(now)
        if now["counts"]["completed"] >= count:
            return
        assert time.monotonic() < end, now
        time.sleep(0.1)


def kill_at(stack: FaultStack, client: ApiClient, job: dict[str, Any], count: int) -> int:
    """Kill the worker of jobs while it works, after this many results; returns its process id."""
    until_completed(client, job, count)
    end = time.monotonic() + 120.0
    while time.monotonic() < end:
        pid = stack.pid("jobs-worker")
        held = stack.sql("SELECT DISTINCT lease_owner FROM job_items WHERE lease_owner <> ''")
        if pid is not None and any(owner.split("/")[1] == str(pid) for (owner,) in held):
            os.kill(pid, signal.SIGKILL)
            return pid
        time.sleep(0.02)
    raise AssertionError("the worker holds no lease")
