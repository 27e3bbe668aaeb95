"""Limits on a real Redis and database: exact counts of two processes, windows, outages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from pinpoint.errors import NotFoundError, QuotaExceededError
from pinpoint.limit_settings import LimitSettings
from pinpoint.records import KeyGrant
from pinpoint.records.key_limits import KeyLimits
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.db.key_limits import KeyLimitStore
from pinpoint.store.limits.counters import IN_PROCESS_URL, CounterWindow, LimitCounters
from pinpoint.store.limits.limiter import KeyLimiter

TAKE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pinpoint.store.limits.counters import LimitCounters
counters = LimitCounters(sys.argv[1])
def take(cost):
    return cost * counters.take("shared", limit=1000, window_s=600, cost=cost)
with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(take, [1, 2, 3, 4] * 100)))
"""


class Overrides:
    """Limits of keys in memory."""

    def __init__(self, **limits):
        self.limits = KeyLimits(**limits)

    def read(self, key_id):
        return self.limits


def _limiter(url, **limits):
    return KeyLimiter(LimitCounters(url), Overrides(**limits), LimitSettings())


def test_two_processes_together_never_exceed_a_limit_and_reach_it(redis_url):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TAKE, redis_url],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(2)
    ]
    counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert sum(counts) == 1_000
    assert LimitCounters(redis_url).read("shared", window_s=600).used == 1_000


@pytest.mark.parametrize("kind", ["redis", "memory"])
def test_refused_cost_counts_nothing_and_the_boundary_fits(redis_url, kind):
    counters = LimitCounters(redis_url if kind == "redis" else IN_PROCESS_URL)
    name = uuid4().hex
    assert counters.take(name, limit=10, window_s=60, cost=8)
    assert not counters.take(name, limit=10, window_s=60, cost=3)
    assert counters.take(name, limit=10, window_s=60, cost=2)
    assert not counters.take(name, limit=10, window_s=60)
    assert counters.read(name, window_s=60).used == 10


def test_large_amounts_of_bytes_are_counted_exactly(redis_url):
    counters, limit = LimitCounters(redis_url), 10**15
    assert counters.take("bytes", limit=limit, window_s=60, cost=limit - 1)
    assert counters.take("bytes", limit=limit, window_s=60, cost=1)
    assert not counters.take("bytes", limit=limit, window_s=60, cost=1)


def test_limit_slides_and_the_stated_wait_is_sufficient(redis_url):
    counters = LimitCounters(redis_url)
    accepted = []
    start = time.monotonic()
    while time.monotonic() - start < 4.2:
        if counters.take("slide", limit=20, window_s=1):
            accepted.append(time.monotonic() - start)
        else:
            wait_s = counters.read("slide", window_s=1).compute_wait_s(20, 1)
            assert 0 < wait_s <= 2
            time.sleep(wait_s + 0.01)
            assert counters.take("slide", limit=20, window_s=1)
            accepted.append(time.monotonic() - start)
    # Sliding: about the limit per window in the long run, never the double of it at a boundary.
    assert 60 <= len(accepted) <= 20 * 5.2
    for moment in accepted:
        assert sum(moment <= other < moment + 1 for other in accepted) <= 32


def test_counter_does_not_depend_on_the_clock_of_the_process(redis_url, monkeypatch):
    counters = LimitCounters(redis_url)
    assert counters.take("clock", limit=1, window_s=600)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert not counters.take("clock", limit=1, window_s=600)
    assert counters.read("clock", window_s=600).used == 1


@pytest.mark.parametrize(
    ("window", "cost", "wait_s"),
    [
        (
            CounterWindow(length_s=60, previous=0, previous_left_s=0, current=0, current_left_s=0),
            1,
            0,
        ),
        (
            CounterWindow(length_s=60, previous=0, previous_left_s=0, current=0, current_left_s=0),
            11,
            60,
        ),
        # 10 in the current window: the first is free 6 s after its end.
        (
            CounterWindow(
                length_s=60, previous=0, previous_left_s=0, current=10, current_left_s=20
            ),
            1,
            20,
        ),
        (
            CounterWindow(
                length_s=60, previous=10, previous_left_s=30, current=5, current_left_s=30
            ),
            1,
            0,
        ),
    ],
)
def test_wait_until_a_cost_fits(window, cost, wait_s):
    assert window.compute_wait_s(10, cost) == pytest.approx(wait_s, abs=0.01)


def test_overrides_replace_defaults_by_the_role_of_the_api(database_url, api_database_url):
    owner = Transactions(owner_engine(database_url))
    as_api = Transactions(api_engine(api_database_url, own_login=True))
    keys = ApiKeyStore(owner)
    keys.create_organization("acme")
    key, _ = keys.create_key("acme", "k", KeyGrant(scopes=("read",)))
    settings = LimitSettings(requests_per_minute=5, photos_per_day=7)
    limiter = KeyLimiter(LimitCounters(IN_PROCESS_URL), KeyLimitStore(as_api), settings)
    assert limiter.find_limits(key.id).requests_per_minute == 5
    limiter.set_overrides(key.id, KeyLimits(requests_per_minute=0, concurrent_jobs=2))
    limits = limiter.find_limits(key.id)
    assert (limits.requests_per_minute, limits.photos_per_day) == (0, 7)
    assert all(limiter.take(key.id, "requests") is None for _ in range(20))
    limiter.require_free_job(key.id, 1)
    limiter.require_free_job(None, 99)
    with pytest.raises(QuotaExceededError, match="2 open jobs") as refused:
        limiter.require_free_job(key.id, 2)
    assert refused.value.policies == ("jobs",)
    limiter.set_overrides(key.id, KeyLimits())
    assert limiter.read_overrides(key.id) == KeyLimits()
    with pytest.raises(NotFoundError):
        limiter.read_overrides(uuid4())
    keys.revoke_key(str(key.organization_id), key.id)
    with pytest.raises(NotFoundError):
        limiter.set_overrides(key.id, KeyLimits(photos_per_day=1))
    assert len(KeyLimitStore(as_api).read_hash_key()) == 32
    owner.close()
    as_api.close()


def test_usage_of_other_keys_and_policies_is_apart(redis_url):
    limiter = _limiter(redis_url, requests_per_minute=3, photos_per_day=3)
    first, second = uuid4(), uuid4()
    for _ in range(3):
        limiter.take(first, "requests")
    with pytest.raises(QuotaExceededError) as refused:
        limiter.take(first, "requests")
    assert 1 <= refused.value.retry_after_s <= 121
    assert limiter.take(second, "requests").remaining == 2
    assert limiter.take(first, "photos", 3).remaining == 0
    with pytest.raises(QuotaExceededError):
        limiter.require_remaining(first, "photos")


def test_requests_are_served_without_limits_while_redis_hangs(redis_url):
    limiter = _limiter(redis_url, requests_per_minute=1_000)
    key_id = uuid4()
    limiter.take(key_id, "requests")
    # The storage is the library's; its client knows the server's process.
    pid = limiter._counters._storage.storage.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        start = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: limiter.take(key_id, "requests"), range(40))) == {None}
        # At most a few waits of 0.2 s: then the circuit breaker is open.
        assert time.monotonic() - start < 2.0
    finally:
        os.kill(pid, signal.SIGCONT)
    assert limiter.num_failures == 40
    until = time.monotonic() + 10
    while limiter.take(key_id, "requests") is None:
        assert time.monotonic() < until
        time.sleep(0.2)
