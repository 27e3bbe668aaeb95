"""The builder is paused while queries wait, and always finishes."""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

import psutil

from pinpoint.stack.index import throttle
from pinpoint.stack.index.throttle import pause_while_busy, wait_until_idle, yield_if_busy

BUSY = "while True: pass"


def child(program):
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def stopped_share(process, seconds):
    """Share of a period during which a process is stopped, 0 to 1."""
    states, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        states.append(psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        time.sleep(0.01)
    return sum(states) / len(states)


def test_pause_while_busy_with_waiting_queries_stops_the_builder_part_of_the_time():
    with child(BUSY) as builder:
        try:
            with pause_while_busy(builder, lambda: 10 * throttle.MAX_QUERY_WAIT_S):
                share = stopped_share(builder, 6.0)
            assert 0.4 < share < 0.995
            assert psutil.Process(builder.pid).status() != psutil.STATUS_STOPPED
        finally:
            builder.kill()


def test_pause_while_busy_without_waiting_queries_does_not_stop_the_builder():
    with child(BUSY) as builder:
        try:
            with pause_while_busy(builder, lambda: 0.0):
                assert stopped_share(builder, 1.0) == 0.0
        finally:
            builder.kill()


def test_pause_while_busy_with_exited_builder_raises_nothing():
    with child("print('built')") as builder, pause_while_busy(builder, lambda: 1.0):
        assert builder.stdout is not None
        assert builder.stdout.read() == "built\n"
        assert builder.wait() == 0
        time.sleep(3 * throttle.MIN_RUN_S)


def test_wait_until_idle_needs_three_idle_checks_or_the_timeout(monkeypatch):
    monkeypatch.setattr(throttle, "MAX_IDLE_WAIT_S", 60.0)
    monkeypatch.setattr(throttle, "MIN_RUN_S", 0.01)
    waits = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    wait_until_idle(lambda: waits.pop(0))
    assert waits == [1.0], "three looks in a row"
    monkeypatch.setattr(throttle, "MAX_IDLE_WAIT_S", 0.5)
    begun = time.monotonic()
    wait_until_idle(lambda: 1.0)
    assert 0.5 <= time.monotonic() - begun < 30


def test_yield_if_busy_sleeps_only_with_waiting_queries(monkeypatch):
    slept = []
    monkeypatch.setattr("pinpoint.stack.index.throttle.time.sleep", slept.append)
    for waited_s in (0.0, 10 * throttle.MAX_QUERY_WAIT_S):
        yield_if_busy(partial(float, waited_s))
    assert slept == [throttle.BUILD_PAUSE_S]
