"""16 callers at the rate that their key permits, alone and next to a job of 2,000 photos.

Two measured minutes on one stack. Refusals are documented ones, memory is flat, and the p99 of a
query next to the job is at most four times its p50 without the job. The second minute counts only
if the job is open from its start to its end.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import psutil
import pytest

from pinpoint.cli.api_client import ApiClient
from pinpoint.records import KeyGrant
from pinpoint.records.key_limits import KeyLimits
from pinpoint.stack.state import read_state
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint.store.db.key_limits import KeyLimitStore
from pinpoint_client import Client, connect
from pinpoint_client.answers import Job
from pinpoint_client.transport import HttpTransport
from trials.soak.fault_stack import FaultStack, run_fault_stack
from trials.soak.script import seeded_photo

GALLERY, CALLERS, PHOTOS = 100, 16, 20
REQUESTS_PER_MINUTE = 240
"""Permitted rate, which one processor serves; the callers send 5 % more, so that some get 429."""
EXCESS = 1.05
WARM_S, LOAD_S = 15.0, 60.0
MOST_TAIL, MOST_GROWTH = 4.0, 1.05
JOB_PHOTOS, PHOTOS_PER_UPLOAD = 2_000, 50
JOB_LIMIT_S = 1_200.0


@dataclass
class Measured:
    """Answers of the measured minute."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    undocumented: list[str] = field(default_factory=list)
    rss: list[tuple[float, int]] = field(default_factory=list)

    def report(self, name: str) -> tuple[float, float]:
        """Print the figures; return p50 and p99 in seconds."""
        cuts = statistics.quantiles(self.seconds, n=100)
        first, last = self.list_memory()
        sys.stdout.write(
            f"{name}: {dict(self.statuses)}, p50 {1e3 * cuts[49]:.1f} ms, p95 "
            f"{1e3 * cuts[94]:.1f} ms, p99 {1e3 * cuts[98]:.1f} ms, p99/p50 "
            f"{cuts[98] / cuts[49]:.1f}; API {first:.1f} MiB in the first third, {last:.1f} MiB "
            f"in the last ({100 * (last / first - 1):+.1f} %)\n"
        )
        return cuts[49], cuts[98]

    def list_memory(self) -> tuple[float, float]:
        """Median resident MiB of the API in the first and the last third."""
        start, third = self.rss[0][0], LOAD_S / 3
        first = [rss for at, rss in self.rss if at - start < third]
        last = [rss for at, rss in self.rss if at - start > 2 * third]
        return statistics.median(first) / 2**20, statistics.median(last) / 2**20


def measure_callers(stack: FaultStack, key: str) -> Measured:
    """Run the callers for `WARM_S` and then, measured, for `LOAD_S`.

    Args:
        stack: A running stack with a gallery.
        key: Key with the limit `REQUESTS_PER_MINUTE`.
    """
    url = read_api_url(stack)
    measured, stop, is_warm = Measured(), threading.Event(), threading.Event()
    turns = itertools.count()
    start = time.monotonic()
    threads = [
        threading.Thread(target=_run_caller, args=(url, key, measured, turns, start, stop, is_warm))
        for _ in range(CALLERS)
    ]
    for thread in threads:
        thread.start()
    time.sleep(WARM_S)
    is_warm.set()
    pid = stack.pid("api")
    assert pid is not None
    process, until = psutil.Process(pid), time.monotonic() + LOAD_S
    while time.monotonic() < until:
        measured.rss.append((time.monotonic(), process.memory_info().rss))
        time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    return measured


def _run_caller(url, key, measured, turns, start, stop, is_warm) -> None:
    """Send queries in turn with the other callers, each at its time."""
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as http:
        while not stop.is_set():
            turn = next(turns)
            due = start + turn * 60.0 / (REQUESTS_PER_MINUTE * EXCESS)
            if stop.wait(max(0.0, due - time.monotonic())):
                return
            photo = seeded_photo(turn % PHOTOS, turn % PHOTOS)
            began = time.monotonic()
            answer = http.post("/v1/locate", files={"photo": ("q.jpg", photo, "image/jpeg")})
            took_s = time.monotonic() - began
            if not is_warm.is_set():
                continue
            measured.statuses[answer.status_code] += 1
            if answer.status_code == 200:
                measured.seconds.append(took_s)
            elif answer.status_code not in (429, 503) or "Retry-After" not in answer.headers:
                measured.undocumented.append(f"{answer.status_code}: {answer.text[:200]}")
            if answer.status_code != 503 and '"requests";r=' not in answer.headers.get(
                "RateLimit", ""
            ):
                measured.undocumented.append(f"{answer.status_code} without RateLimit")


def read_api_url(stack: FaultStack) -> str:
    state = read_state(stack.paths)
    assert state is not None
    return state.api_url


def _prepare(stack: FaultStack) -> tuple[str, str]:
    """Ingest a gallery; return a key with the limit, and a key for the job."""
    owner = Transactions(owner_engine(stack.paths.owner_url()))
    keys = ApiKeyStore(owner)
    keys.create_organization("busy")
    granted, key = keys.create_key("busy", "callers", KeyGrant(scopes=("locate", "read")))
    _, job_key = keys.create_key("busy", "job", KeyGrant(scopes=("ingest", "locate", "read")))
    limits = KeyLimits(requests_per_minute=REQUESTS_PER_MINUTE)
    KeyLimitStore(owner).write(granted.id, limits)
    owner.close()
    with ApiClient(HttpTransport(read_api_url(stack), job_key, None, embedded=True)) as client:
        client.add_source("gallery", "photo", originals="rendition")
        batch = client.open_batch("gallery")["id"]
        for first in range(0, GALLERY, 50):
            client.upload(batch, {f"{n}.jpg": seeded_photo(n, n) for n in range(first, first + 50)})
        client.close_batch(batch)
        until = time.monotonic() + 180.0
        while not (now := client.batch(batch))["is_processed"]:
            assert time.monotonic() < until, now
            time.sleep(0.2)
    return key, job_key


def upload_job(client: Client) -> Job:
    """Upload the photos of the job; it does not start."""
    job = client.jobs.create(start=False)
    for first in range(0, JOB_PHOTOS, PHOTOS_PER_UPLOAD):
        numbers = range(first, first + PHOTOS_PER_UPLOAD)
        job = client.jobs.upload(
            job.id, {f"{n:04d}.jpg": seeded_photo(10_000 + n, n) for n in numbers}
        )
    assert job.counts.total == JOB_PHOTOS
    return job


@pytest.mark.timeout(2_400)
def test_sixteen_callers_next_to_a_job_see_documented_refusals_and_a_bounded_tail():
    with run_fault_stack(clock=False, disks=False, second=False, chunk=64, lease_s=60.0) as stack:
        key, job_key = _prepare(stack)
        alone = measure_callers(stack, key)
        with connect(read_api_url(stack), job_key) as client:
            job = client.jobs.start(upload_job(client).id)
            next_to_job = measure_callers(stack, key)
            during = client.jobs.get(job.id)
            ended = client.jobs.wait(job.id, timeout_s=JOB_LIMIT_S)
            results = {line.custom_id for line in client.jobs.results(job.id)}
        (queries,) = stack.sql("SELECT count(*) FROM audit_log WHERE operation = 'locate'")
        stored = stack.sql("SELECT count(*) FROM job_items WHERE uri IS NOT NULL")
    p50_s, _ = alone.report("16 callers")
    _, tail_s = next_to_job.report("16 callers next to the job")
    sys.stdout.write(
        f"p99 next to the job / p50 without it: {tail_s / p50_s:.1f}; {during.counts.completed} of "
        f"{JOB_PHOTOS} photos located by the end of the minute; job {ended.state}, "
        f"{ended.counts}; {queries[0]} audit rows\n"
    )
    for measured in (alone, next_to_job):
        assert measured.undocumented == []
        assert 0.8 * REQUESTS_PER_MINUTE <= measured.statuses[200] <= 1.1 * REQUESTS_PER_MINUTE
        assert measured.statuses[429] > 0
        first, last = measured.list_memory()
        assert last <= MOST_GROWTH * first
    assert tail_s <= MOST_TAIL * p50_s
    # The job was running the whole minute, and it lost nothing.
    assert during.counts.open > 0
    assert (ended.state, ended.counts.completed) == ("completed", JOB_PHOTOS)
    assert len(results) == JOB_PHOTOS
    assert stored == [(0,)]
