"""Repetition of calls that failed because the server was unavailable, and the drivers of flows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pinpoint_client.calls.call import Call, Flow, Pause
from pinpoint_client.errors import (
    AbnormalUsageError,
    PinpointError,
    RateLimitedError,
    StackError,
    UnavailableError,
)

UPLOAD_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses of an upload, half a minute in total; a restart of API or proxy takes seconds."""
CALL_PAUSES_S: Final = (0.5, 1.0, 2.0)
"""Pauses of a single call: someone waits for its answer."""
MAX_PAUSE_S: Final = 120.0
"""Maximum pause; if the server requests a longer one, the error is raised."""
_TRANSIENT_STATUSES: Final = (None, 429, 502, 503, 504)

T = TypeVar("T")


@dataclass(slots=True)
class RetryPolicy:
    """Repeats calls that failed because the server was unavailable or overloaded.

    It is only for calls that may be repeated: after a lost answer, the server may or may not have
    executed the request.

    Args:
        pauses_s: Minimum pause before each repetition, seconds; empty for no repetition.
    """

    pauses_s: tuple[float, ...] = UPLOAD_PAUSES_S
    repeated: int = field(default=0, init=False)
    """Number of repetitions so far."""

    def repeat(self, flow: Callable[[], Flow[T]]) -> Flow[T]:
        """Run a flow, and run it again after a failure.

        Args:
            flow: Makes the flow.

        Raises:
            UnavailableError: The last attempt failed as well.
            StackError: The same for the stack of this machine.
        """
        for pause_s in self.pauses_s:
            try:
                return (yield from flow())
            except (UnavailableError, StackError) as error:
                if not is_transient(error):
                    raise
                yield Pause(max(pause_s, error.retry_after_s or 0.0))
                self.repeated += 1
        return (yield from flow())


def is_transient(error: PinpointError) -> bool:
    """Whether the same call may succeed after a pause of at most `MAX_PAUSE_S`.

    The limit of open jobs is none of time: the caller has to wait for a job, or cancel one.
    """
    policies = error.policies if isinstance(error, RateLimitedError) else ()
    return (
        error.status in _TRANSIENT_STATUSES
        and not isinstance(error, AbnormalUsageError)
        and "jobs" not in policies
        and (error.retry_after_s or 0.0) <= MAX_PAUSE_S
    )


def send_call(call: Call[T]) -> Flow[T]:
    """Flow of a single call."""
    answer: T = yield call
    return answer


def send_repeatedly(call: Call[T], pauses_s: tuple[float, ...]) -> Flow[T]:
    """Flow of a call that is repeated if that is safe."""
    pauses_s = pauses_s if call.is_repeatable else ()
    return RetryPolicy(pauses_s).repeat(lambda: send_call(call))


def run_flow(flow: Flow[T], send: Callable[[Call[Any]], Any]) -> T:
    """Run a flow: send its calls and wait for its pauses.

    Args:
        flow: The flow.
        send: Sends a call and returns its answer; its errors are raised in the flow.
    """
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            step = flow.send(answer) if error is None else flow.throw(error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        answer = error = None
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            continue
        try:
            answer = send(step)
        except PinpointError as raised:
            error = raised


async def run_flow_async(flow: Flow[T], send: Callable[[Call[Any]], Awaitable[Any]]) -> T:
    """Run a flow as `run_flow` does, without blocking the event loop."""
    answer: Any = None
    error: BaseException | None = None
    while True:
        try:
            step = flow.send(answer) if error is None else flow.throw(error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        answer = error = None
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            continue
        try:
            answer = await send(step)
        except PinpointError as raised:
            error = raised
