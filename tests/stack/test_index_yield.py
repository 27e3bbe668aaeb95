"""The builder stands still while callers wait, goes on when they do not, and always ends."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

from pinpoint.stack.index import throttle
from pinpoint.stack.index.throttle import pause_while_busy, wait_until_idle, yield_if_busy

BUSY = "while True: pass"


def child(program):
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def stopped_share(process, seconds):
    """How much of some seconds a process is seen stopped."""
    seen, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        seen.append(psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        time.sleep(0.01)
    return sum(seen) / len(seen)


def test_a_builder_is_held_back_while_callers_wait_but_not_for_ever():
    with child(BUSY) as builder:
        try:
            with pause_while_busy(builder, lambda: 10 * throttle.MAX_QUERY_WAIT_S):
                share = stopped_share(builder, 6.0)
            assert 0.4 < share < 0.995
            assert psutil.Process(builder.pid).status() != psutil.STATUS_STOPPED
        finally:
            builder.kill()


def test_a_builder_that_hurts_nobody_is_left_alone():
    with child(BUSY) as builder:
        try:
            with pause_while_busy(builder, lambda: 0.0):
                assert stopped_share(builder, 1.0) == 0.0
        finally:
            builder.kill()


def test_a_builder_that_ends_meanwhile_is_no_error():
    with child("print('built')") as builder, pause_while_busy(builder, lambda: 1.0):
        assert builder.stdout is not None
        assert builder.stdout.read() == "built\n"
        assert builder.wait() == 0
        time.sleep(3 * throttle.MIN_RUN_S)


def test_the_owner_waits_for_a_calm_moment_but_not_for_ever(monkeypatch):
    monkeypatch.setattr(throttle, "MAX_IDLE_WAIT_S", 60.0)
    monkeypatch.setattr(throttle, "MIN_RUN_S", 0.01)
    waits = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    wait_until_idle(lambda: waits.pop(0))
    assert waits == [1.0], "three looks in a row"
    monkeypatch.setattr(throttle, "MAX_IDLE_WAIT_S", 0.5)
    begun = time.monotonic()
    wait_until_idle(lambda: 1.0)
    assert 0.5 <= time.monotonic() - begun < 30


def test_small_pieces_of_work_let_others_pass(monkeypatch):
    slept = []
    monkeypatch.setattr(throttle.time, "sleep", slept.append)
    for waited_s in (0.0, 10 * throttle.MAX_QUERY_WAIT_S):
        yield_if_busy(lambda waited_s=waited_s: waited_s)
    assert slept == [throttle.BUILD_PAUSE_S]
