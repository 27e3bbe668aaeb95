"""A worker killed again and again during one batch: nothing lost, little done twice."""

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
from trials.soak.ground import Ground, running
from trials.soak.world import picture, write

IMAGES, KILLS, SEED = 2_000, 20, 5
MOST_ENCODED = 1.2
LIMIT_S = 900.0


@pytest.mark.timeout(1_200)
def test_batch_with_twenty_worker_kills_is_complete(tmp_path):
    folder = tmp_path / "photos"
    write(folder, {f"{n:04d}.jpg": picture(n, n) for n in range(IMAGES)})
    with running(clock=False, disks=False, second=False, chunk=64, lease_s=60.0) as ground:
        owner = Transactions(owner_engine(ground.paths.owner_url()))
        organization = ApiKeyStore(owner).create_organization("killed")
        batch = register_folder(
            folder,
            source="photos",
            kind="photo",
            organization_id=organization.id,
            database=CatalogDatabase(owner, ground.settings.worker.task_batch_size),
            settings=ground.settings,
        )
        owner.close()
        # Jobs were stored for nobody: the sweep finds their items.
        kills = _kill_while_working(ground)
        _until(ground, IMAGES)
        verdicts = ground.sql("SELECT status, count(*) FROM batch_items GROUP BY 1")
        tries = ground.sql("SELECT attempts, count(*) FROM batch_items GROUP BY 1 ORDER BY 1")
        started = sum(
            line["images"] for line in ground.logged("worker") if line["event"] == "encoding"
        )
        points = RemoteIndex(ground.paths.index_socket).scroll(None, 10_000, organization.id)
        sys.stdout.write(
            f"{kills} kills, {started / IMAGES:.3f} encodings an image, verdicts {verdicts}, "
            f"tries {tries}, {len(points)} points\n"
        )
        assert kills == KILLS
        assert verdicts == [("indexed", IMAGES)]
        assert len(points) == len({one[0] for one in points}) == IMAGES
        assert started >= IMAGES
        assert started <= MOST_ENCODED * IMAGES
        assert ground.sql("SELECT count(*) FROM batches WHERE id = %s", batch.id) == [(1,)]


def _done(ground: Ground) -> int:
    rows = ground.sql("SELECT count(*) FROM batch_items WHERE status = 'indexed'")
    return int(rows[0][0])


def _kill_while_working(ground: Ground) -> int:
    """Kill the worker as soon as it holds a lease, at moments spread over the whole batch."""
    dice, killed = random.Random(SEED), 0
    for number in range(KILLS):
        _until(ground, number * IMAGES // (KILLS + 1))
        time.sleep(dice.uniform(0.0, 0.5))
        pid = None
        until = time.monotonic() + 120.0
        while pid is None and time.monotonic() < until:
            pid = ground.pid("worker")
            held = ground.sql("SELECT DISTINCT lease_owner FROM batch_items")
            if not any(one and one.split("/")[1] == str(pid) for (one,) in held):
                pid = None
                time.sleep(0.02)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def _until(ground: Ground, count: int) -> None:
    until = time.monotonic() + LIMIT_S
    while _done(ground) < count:
        assert time.monotonic() < until, f"{_done(ground)} of {count} after {LIMIT_S:g} s"
        time.sleep(0.1)
