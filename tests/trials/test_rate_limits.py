"""One minute of 16 callers at the rate that their key permits: documented refusals, flat memory."""

from __future__ import annotations

import itertools
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
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
from pinpoint_client.transport import HttpTransport
from trials.soak.fault_stack import FaultStack, run_fault_stack
from trials.soak.script import seeded_photo

GALLERY, CALLERS, PHOTOS = 100, 16, 20
REQUESTS_PER_MINUTE = 240
"""Permitted rate, which one processor serves; the callers send 5 % more, so that some get 429."""
EXCESS = 1.05
WARM_S, LOAD_S = 15.0, 60.0
MOST_TAIL, MOST_GROWTH = 4.0, 1.05

Load = Callable[[str, str, threading.Event], None]
"""Work beside the callers: URL of the API, a key, and the event that ends it."""


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


def measure_callers(stack: FaultStack, key: str, load: Load | None = None) -> Measured:
    """Run the callers for `WARM_S` and then, measured, for `LOAD_S`.

    Args:
        stack: A running stack with a gallery.
        key: Key with the limit `REQUESTS_PER_MINUTE`.
        load: Work beside the callers, in a thread of its own; None for none.
    """
    state = read_state(stack.paths)
    assert state is not None
    measured, stop, is_warm = Measured(), threading.Event(), threading.Event()
    turns = itertools.count()
    start = time.monotonic()
    threads = [
        threading.Thread(
            target=_run_caller, args=(state.api_url, key, measured, turns, start, stop, is_warm)
        )
        for _ in range(CALLERS)
    ]
    if load is not None:
        threads.append(threading.Thread(target=load, args=(state.api_url, key, stop)))
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


def _prepare(stack: FaultStack) -> str:
    """Ingest a gallery; return a key with the limit."""
    owner = Transactions(owner_engine(stack.paths.owner_url()))
    keys = ApiKeyStore(owner)
    keys.create_organization("busy")
    granted, key = keys.create_key("busy", "callers", KeyGrant(scopes=("locate", "read")))
    _, upload_key = keys.create_key("busy", "upload", KeyGrant(scopes=("ingest", "read")))
    limits = KeyLimits(requests_per_minute=REQUESTS_PER_MINUTE)
    KeyLimitStore(owner).write(granted.id, limits)
    owner.close()
    state = read_state(stack.paths)
    assert state is not None
    with ApiClient(HttpTransport(state.api_url, upload_key, None, embedded=True)) as client:
        client.add_source("gallery", "photo", originals="rendition")
        batch = client.open_batch("gallery")["id"]
        for first in range(0, GALLERY, 50):
            client.upload(batch, {f"{n}.jpg": seeded_photo(n, n) for n in range(first, first + 50)})
        client.close_batch(batch)
        until = time.monotonic() + 180.0
        while not (now := client.batch(batch))["is_processed"]:
            assert time.monotonic() < until, now
            time.sleep(0.2)
    return key


@pytest.mark.timeout(600)
def test_sixteen_callers_at_the_permitted_rate_see_documented_refusals_only():
    with run_fault_stack(clock=False, disks=False, second=False, chunk=64, lease_s=60.0) as stack:
        measured = measure_callers(stack, _prepare(stack))
    p50_s, p99_s = measured.report("16 callers")
    assert measured.undocumented == []
    assert 0.8 * REQUESTS_PER_MINUTE <= measured.statuses[200] <= 1.1 * REQUESTS_PER_MINUTE
    assert measured.statuses[429] > 0
    assert p99_s <= MOST_TAIL * p50_s
    first, last = measured.list_memory()
    assert last <= MOST_GROWTH * first
