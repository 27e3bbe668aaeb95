"""A worker is killed repeatedly during one batch: nothing is lost, little is done twice."""

from __future__ import annotations

import os
import random
import signal
import sys
import time

import pytest

from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint.store.vectors.rpc.client import RemoteIndex
from registration import register_folder
from trials.soak.fault_stack import FaultStack, run_fault_stack
from trials.soak.script import seeded_photo, write

IMAGES, KILLS, SEED = 2_000, 20, 5
MOST_ENCODED = 1.2
LIMIT_S = 900.0


@pytest.mark.timeout(1_200)
def test_batch_with_twenty_worker_kills_is_complete(tmp_path):
    folder = tmp_path / "photos"
    write(folder, {f"{n:04d}.jpg": seeded_photo(n, n) for n in range(IMAGES)})
    with run_fault_stack(clock=False, disks=False, second=False, chunk=64, lease_s=60.0) as stack:
        owner = Transactions(owner_engine(stack.paths.owner_url()))
        organization = ApiKeyStore(owner).create_organization("killed")
        batch = register_folder(
            folder,
            source="photos",
            kind="photo",
            organization_id=organization.id,
            database=CatalogDatabase(owner, stack.settings.worker.task_batch_size),
            settings=stack.settings,
        )
        owner.close()
        # No worker knows the tasks: the sweep finds their items.
        kills = _kill_while_working(stack)
        _until(stack, IMAGES)
        verdicts = stack.sql("SELECT status, count(*) FROM batch_items GROUP BY 1")
        tries = stack.sql("SELECT attempts, count(*) FROM batch_items GROUP BY 1 ORDER BY 1")
        started = sum(
            line["images"] for line in stack.logged("worker") if line["event"] == "encoding"
        )
        points = RemoteIndex(stack.paths.index_socket).scroll(None, 10_000, organization.id)
        sys.stdout.write(
            f"{kills} kills, {started / IMAGES:.3f} encodings an image, verdicts {verdicts}, "
            f"tries {tries}, {len(points)} points\n"
        )
        assert kills == KILLS
        assert verdicts == [("indexed", IMAGES)]
        assert len(points) == len({one[0] for one in points}) == IMAGES
        assert started >= IMAGES
        assert started <= MOST_ENCODED * IMAGES
        assert stack.sql("SELECT count(*) FROM batches WHERE id = %s", batch.id) == [(1,)]


def _done(stack: FaultStack) -> int:
    rows = stack.sql("SELECT count(*) FROM batch_items WHERE status = 'indexed'")
    return int(rows[0][0])


def _kill_while_working(stack: FaultStack) -> int:
    """Kill the worker as soon as it holds a lease, at moments spread over the whole batch."""
    dice, killed = random.Random(SEED), 0
    for number in range(KILLS):
        _until(stack, number * IMAGES // (KILLS + 1))
        time.sleep(dice.uniform(0.0, 0.5))
        pid = None
        until = time.monotonic() + 120.0
        while pid is None and time.monotonic() < until:
            pid = stack.pid("worker")
            held = stack.sql("SELECT DISTINCT lease_owner FROM batch_items")
            if not any(one and one.split("/")[1] == str(pid) for (one,) in held):
                pid = None
                time.sleep(0.02)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def _until(stack: FaultStack, count: int) -> None:
    until = time.monotonic() + LIMIT_S
    while _done(stack) < count:
        assert time.monotonic() < until, f"{_done(stack)} of {count} after {LIMIT_S:g} s"
        time.sleep(0.1)
