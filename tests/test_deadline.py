"""A request has one time budget, and a dependency that fails is left alone."""

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
    seen = []
    with deadline.limit_time(5.0):
        context = contextvars.copy_context()
    thread = threading.Thread(
        target=context.run, args=(lambda: seen.append(deadline.current_deadline()),)
    )
    thread.start()
    thread.join()
    assert seen[0] is not None


def breaker(**options) -> CircuitBreaker:
    return CircuitBreaker(
        lambda: IndexUnavailableError("left alone"),
        lambda error: isinstance(error, TimeoutError),
        **options,
    )


def fail(one: CircuitBreaker, error: Exception | None = None) -> None:
    with pytest.raises(Exception), one.attempt():  # noqa: B017, PT011
        raise error or TimeoutError


def test_breaker_opens_after_consecutive_failures_only():
    one = breaker(failures=3, pause_s=60.0)
    for _ in range(2):
        fail(one)
    with one.attempt():
        pass
    for _ in range(2):
        fail(one)
    fail(one, ValueError())  # the dependency answered
    for _ in range(2):
        fail(one)
    assert not one.is_open
    fail(one)
    assert one.is_open
    called = []
    with pytest.raises(IndexUnavailableError, match="left alone"), one.attempt():
        called.append(1)
    assert called == []


def test_breaker_half_open_allows_one_call_and_closes_after_success():
    one = breaker(failures=1, pause_s=0.05)
    fail(one)
    time.sleep(0.06)
    with one.attempt(), pytest.raises(IndexUnavailableError), one.attempt():
        pass
    assert not one.is_open
    with one.attempt(), one.attempt():
        pass


def test_breaker_half_open_with_failure_opens_again():
    one = breaker(failures=1, pause_s=0.05)
    fail(one)
    time.sleep(0.06)
    fail(one)
    with pytest.raises(IndexUnavailableError), one.attempt():
        pass
    time.sleep(0.06)
    with one.attempt():
        pass
    assert not one.is_open
