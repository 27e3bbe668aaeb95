"""The builder stands still while callers wait, goes on when they do not, and always ends."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

from pinpoint.stack import index_yield
from pinpoint.stack.index_yield import giving_way

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
            with giving_way(builder, lambda: 10 * index_yield.WAIT_S):
                share = stopped_share(builder, 4.0)
            assert 0.4 < share < 0.95
            assert psutil.Process(builder.pid).status() != psutil.STATUS_STOPPED
        finally:
            builder.kill()


def test_a_builder_that_hurts_nobody_is_left_alone():
    with child(BUSY) as builder:
        try:
            with giving_way(builder, lambda: 0.0):
                assert stopped_share(builder, 1.0) == 0.0
        finally:
            builder.kill()


def test_a_builder_that_ends_meanwhile_is_no_error():
    with child("print('built')") as builder, giving_way(builder, lambda: 1.0):
        assert builder.stdout is not None
        assert builder.stdout.read() == "built\n"
        assert builder.wait() == 0
        time.sleep(3 * index_yield.LOOK_S)
