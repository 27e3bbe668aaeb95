"""Hostile files through the running stack: each gets one verdict, and no process restarts.

The test prints its figures; `-s` shows them.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import httpx
import psutil
import pytest
from sqlalchemy import text

from media.mutants import mutants
from pinpoint.media.checks import REASONS
from pinpoint.records import IndexFilter
from pinpoint.settings import MediaSettings
from pinpoint.stack.supervisor import lifecycle
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint.store.vectors.rpc.client import RemoteIndex
from shared_data import shared_data
from stack_fixtures import unique

SEED, COUNT = 3, 500
VERDICTS = ("indexed", "updated", "duplicate", "rejected", "failed")
REQUEST_FILES, REQUEST_BYTES = 200, 60_000_000
REAL_BYTES = 200_000
"""Real photos up to this size are mutated too."""


class MemoryWatch:
    """Peak memory of the worker and of every decoding child it starts, bytes."""

    def __init__(self, worker_pid: int) -> None:
        self.worker = psutil.Process(worker_pid)
        self.resting: list[int] = []
        self.children: dict[int, int] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        while not self._end.wait(0.05):
            for child in self.worker.children():
                self.children[child.pid] = max(
                    self.children.get(child.pid, 0), peak_memory(child.pid)
                )

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._end.set()
            self._thread.join()

    def note_resting_memory(self) -> None:
        """Record the resident memory of the worker between two batches."""
        self.resting.append(self.worker.memory_info().rss)


def peak_memory(pid: int) -> int:
    """Highest resident size according to the kernel, bytes; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


@pytest.fixture(scope="module")
def api(running_stack):
    with httpx.Client(
        base_url=running_stack.api_url, headers=running_stack.as_operator, timeout=120
    ) as client:
        yield client


def split_requests(files: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Portions of files within the limits of one request."""
    portion: dict[str, bytes] = {}
    for name, data in files.items():
        if len(portion) == REQUEST_FILES or sum(map(len, portion.values())) > REQUEST_BYTES:
            yield portion
            portion = {}
        portion[name] = data
    yield portion


def ingest(api, files: dict[str, bytes], metadata_override: dict[str, float] | None = None):
    """Upload everything into a new source; returns its id, the finished batch and its items."""
    source = api.post("/v1/sources", json={"name": unique("hostile"), "kind": "photo"}).json()
    batch = api.post("/v1/batches", json={"source": source["name"]}).json()
    for portion in split_requests(files):
        parts = [("files", (name, data, "image/jpeg")) for name, data in portion.items()]
        metadata_overrides = (
            {"metadata_overrides": json.dumps(dict.fromkeys(portion, metadata_override))}
            if metadata_override
            else None
        )
        sent = api.post(f"/v1/batches/{batch['id']}/images", files=parts, data=metadata_overrides)
        assert sent.status_code == 202, sent.text
    assert api.post(f"/v1/batches/{batch['id']}/close").status_code == 200
    until = time.monotonic() + 100
    while not (batch := api.get(f"/v1/batches/{batch['id']}").json())["is_processed"]:
        assert time.monotonic() < until, batch
        time.sleep(0.2)
    return source["id"], batch, list(all_items(api, batch["id"]))


def all_items(api, batch_id: str):
    link = f"/v1/batches/{batch_id}/items?limit=1000"
    while link is not None:
        page = api.get(link).json()
        yield from page["items"]
        link = page["next"]


def check_verdicts(running_stack, files, source_id, batch, items) -> Counter[str]:
    """Check that no file is lost or counted twice; returns the counts of states and error codes."""
    assert batch["items"] == len(files) == sum(batch[verdict] for verdict in VERDICTS)
    assert sorted(item["file"] for item in items) == sorted(files)
    states = Counter(item["status"] for item in items)
    assert states == Counter({name: batch[name] for name in VERDICTS if batch[name]})
    for item in items:
        refused = item["status"] in ("rejected", "failed")
        assert not refused or (item["error_code"] in REASONS and item["error_message"]), item
    rows, points = rows_and_points(running_stack, source_id)
    # A panorama is one item and four rows.
    assert rows == points >= batch["indexed"]
    return states + Counter(item["error_code"] for item in items if item["error_code"])


def rows_and_points(running_stack, source_id: str) -> tuple[int, int]:
    transactions = Transactions(owner_engine(running_stack.paths.owner_url()))
    with transactions.begin() as unit:
        rows, organization = unit.connection.execute(
            text(
                "SELECT count(i.id), max(s.organization_id::text)::uuid FROM sources s "
                "LEFT JOIN images i ON i.source_id = s.id AND i.state = 'indexed' WHERE s.id = :id"
            ),
            {"id": source_id},
        ).one()
    transactions.close()
    index = RemoteIndex(running_stack.paths.index_socket)
    where = IndexFilter(organization_id=organization, source_ids=(UUID(source_id),))
    return rows, index.count(where)


def odd_files() -> dict[str, bytes]:
    """Every file of the folder, including those that are no pictures."""
    root = shared_data() / "odd"
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def real_photos() -> list[tuple[str, bytes]]:
    """Small real photos to mutate."""
    root = shared_data() / "photos"
    paths = [
        path
        for suffix in ("jpg", "heic", "tiff", "png", "avif", "webp")
        for path in sorted(root.rglob(f"*.{suffix}"))[:8]
        if 1_000 < path.stat().st_size < REAL_BYTES
    ]
    return [(path.name, path.read_bytes()) for path in paths]


@pytest.mark.ci
@pytest.mark.timeout(240)
def test_stack_odd_and_mutated_files_fail_alone(running_stack, api):
    before = lifecycle.stack_status(running_stack.settings)
    (worker_pid,) = (process.pid for process in before.processes if process.name == "worker")
    watch, odd, started = MemoryWatch(worker_pid), odd_files(), time.monotonic()
    mutated = dict(mutants(SEED, COUNT, real_photos()))
    mutation_s = time.monotonic() - started
    assert len(mutated) == COUNT
    with watch.watching():
        ingest(api, dict(list(odd.items())[:64]), {"lat": 1.0, "lon": 1.0})  # warm-up
        watch.note_resting_memory()
        # A given position makes the decoder read all pixels, not only the header.
        verdicts = [
            check_verdicts(running_stack, odd, *ingest(api, odd, {"lat": 10.0, "lon": 20.0}))
        ]
        watch.note_resting_memory()
        verdicts.append(check_verdicts(running_stack, mutated, *ingest(api, mutated)))
        watch.note_resting_memory()
    after = lifecycle.stack_status(running_stack.settings)
    assert after.state == "up"
    assert [(process.name, process.pid, process.restarts) for process in after.processes] == [
        (process.name, process.pid, process.restarts) for process in before.processes
    ]
    peak, limit = max(watch.children.values()), MediaSettings().memory_mb * 1_000_000
    print(  # noqa: T201
        f"\nodd {len(odd)}: {dict(verdicts[0])}\nmutants {len(mutated)}: {dict(verdicts[1])}"
    )
    print(  # noqa: T201
        f"made in {mutation_s:.0f} s, all in {time.monotonic() - started:.0f} s; "
        f"{len(watch.children)} children, highest {peak / 1e6:.0f} MB of {limit / 1e6:.0f} MB; "
        f"worker {[round(rss / 1e6) for rss in watch.resting]} MB"
    )
    assert 0 < peak < limit
    # A leak per file would show: 1,300 files were read since the first measurement.
    assert watch.resting[-1] < watch.resting[0] + 150_000_000
    assert not {"decoder_crashed", "out_of_memory", "timeout"} & set(verdicts[0])
