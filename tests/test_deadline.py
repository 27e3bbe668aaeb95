"""Time budget of a request, and the circuit breaker of a dependency."""

from __future__ import annotations

import contextvars
import threading
import time

import pytest

from pinpoint import deadline
from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.errors import IndexUnavailableError, UnavailableError


def test_bounded_s_without_deadline_returns_the_limit_of_the_call():
    assert deadline.limit_timeout_s(30.0) == 30.0
    assert deadline.current_deadline() is None


def test_bounded_s_after_the_deadline_raises():
    with deadline.limit_time(0.1):
        assert 0 < deadline.limit_timeout_s(30.0) <= 0.1
        assert deadline.limit_timeout_s(0.01) == 0.01
        time.sleep(0.12)
        with pytest.raises(UnavailableError) as refused:
            deadline.limit_timeout_s(30.0)
    assert refused.value.reason == "time_budget_used"
    assert deadline.current_deadline() is None


def test_inner_deadline_is_never_later_than_the_outer():
    with deadline.limit_time(0.5), deadline.limit_time(60.0):
        assert deadline.limit_timeout_s(60.0) <= 0.5


def test_pause_extends_the_deadline():
    with deadline.limit_time(0.2) as limit:
        with deadline.pause_clock():
            assert limit.paused
            time.sleep(0.3)
        assert not limit.paused
        assert 0.1 < limit.remaining_s() <= 0.2


def test_deadline_is_inherited_by_threads_with_the_context():
    deadlines = []
    with deadline.limit_time(5.0):
        context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(lambda: deadlines.append(deadline.current_deadline()),)
    )
    thread.start()
    thread.join()
    assert deadlines[0] is not None


def breaker(**options) -> CircuitBreaker:
    return CircuitBreaker(
        lambda: IndexUnavailableError("left alone"),
        lambda error: isinstance(error, TimeoutError),
        **options,
    )


def fail(circuit_breaker: CircuitBreaker, error: Exception | None = None) -> None:
    with pytest.raises(Exception), circuit_breaker.attempt():  # noqa: B017, PT011
        raise error or TimeoutError


def test_breaker_opens_after_consecutive_failures_only():
    circuit_breaker = breaker(failures=3, pause_s=60.0)
    for _ in range(2):
        fail(circuit_breaker)
    with circuit_breaker.attempt():
        pass
    for _ in range(2):
        fail(circuit_breaker)
    fail(circuit_breaker, ValueError())  # the dependency answered
    for _ in range(2):
        fail(circuit_breaker)
    assert not circuit_breaker.is_open
    fail(circuit_breaker)
    assert circuit_breaker.is_open
    called = []
    with pytest.raises(IndexUnavailableError, match="left alone"), circuit_breaker.attempt():
        called.append(1)
    assert called == []


def test_breaker_half_open_allows_one_call_and_closes_after_success():
    circuit_breaker = breaker(failures=1, pause_s=0.05)
    fail(circuit_breaker)
    time.sleep(0.06)
    with circuit_breaker.attempt(), pytest.raises(IndexUnavailableError), circuit_breaker.attempt():
        pass
    assert not circuit_breaker.is_open
    with circuit_breaker.attempt(), circuit_breaker.attempt():
        pass


def test_breaker_half_open_with_failure_opens_again():
    circuit_breaker = breaker(failures=1, pause_s=0.05)
    fail(circuit_breaker)
    time.sleep(0.06)
    fail(circuit_breaker)
    with pytest.raises(IndexUnavailableError), circuit_breaker.attempt():
        pass
    time.sleep(0.06)
    with circuit_breaker.attempt():
        pass
    assert not circuit_breaker.is_open
