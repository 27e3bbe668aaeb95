"""The answer of a query as server-sent events (WHATWG HTML, 9.2), with its stages while they run.

Events are `stage` {name, elapsed_s} at the start of each stage, and at last `answer` or `problem`.
When the stages of a search start depends on the gallery, also on images that a restricted caller
may not see. Such a caller gets the stages of its photo (`decode`, `encode`), then one stage
`search`, all without times. The last event is sent at a multiple of the interval for restricted
answers.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Final

import anyio
from anyio import to_thread
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pinpoint import deadline
from pinpoint.api import problems
from pinpoint.errors import PinpointError
from pinpoint.search.stopwatch import ReportStage

HEARTBEAT_S: Final = 5.0
"""Longest pause between two events; then a comment is sent, so that no proxy takes the stream for
dead."""
PHOTO_STAGES: Final = frozenset({"decode", "encode"})
"""Stages whose duration depends on the photo only."""
_GRACE_S: Final = 0.5


class EventStream(Response):
    """Runs a query in a thread and sends its stages and its answer.

    Args:
        answer_query: Answers the query as JSON; calls its argument at the start of each stage.
        restricted_interval_s: For a restricted caller, the interval of its answers, seconds; None
            for all others.
    """

    media_type = "text/event-stream"

    def __init__(
        self, answer_query: Callable[[ReportStage], str], restricted_interval_s: float | None
    ) -> None:
        self._answer_query = answer_query
        self._restricted_interval_s = restricted_interval_s
        self._events: asyncio.Queue[bytes] = asyncio.Queue()
        self._began_at = time.monotonic()
        self._stages: set[str] = set()
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers({"X-Accel-Buffering": "no"})  # nginx would hold the events back.
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; the work slot is held until the thread of the query ends."""
        scope["state"]["is_working"] = True
        loop = asyncio.get_running_loop()

        def report_stage(name: str) -> None:
            loop.call_soon_threadsafe(self._add_stage, name)

        query = asyncio.create_task(to_thread.run_sync(self._answer_query, report_stage))
        query.add_done_callback(lambda _: self._events.put_nowait(b""))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            is_late = await self._send_stages(send)
            if not is_late:
                scope["state"]["is_working"] = False
            event = _make_last_event(scope, None if is_late else query)
            await self._hide_duration()
            await send({"type": "http.response.body", "body": event, "more_body": False})
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.wait({query})
        if not isinstance(query.exception(), PinpointError | None):
            query.result()  # Raises, so that the error is logged like that of any other request.

    def _add_stage(self, name: str) -> None:
        stage: dict[str, str | float] = {"name": name}
        if self._restricted_interval_s is None:
            stage["elapsed_s"] = round(time.monotonic() - self._began_at, 3)
        else:
            stage["name"] = name if name in PHOTO_STAGES else "search"
            if stage["name"] in self._stages:
                return
            self._stages.add(str(stage["name"]))
        self._events.put_nowait(format_sse_event(event="stage", data_str=json.dumps(stage)))

    async def _send_stages(self, send: Send) -> bool:
        """Send stages until the query ends; returns whether it did not end in time."""
        budget = deadline.current_deadline()
        while budget is None or budget.remaining_s() + _GRACE_S > 0:
            wait_s = HEARTBEAT_S
            if budget is not None:
                wait_s = min(wait_s, budget.remaining_s() + _GRACE_S)
            try:
                async with asyncio.timeout(wait_s):
                    event = await self._events.get()
            except TimeoutError:
                event = KEEPALIVE_COMMENT
            if not event:
                return False
            await send({"type": "http.response.body", "body": event, "more_body": True})
        return True

    async def _hide_duration(self) -> None:
        if self._restricted_interval_s:
            elapsed_s = time.monotonic() - self._began_at
            step_s = self._restricted_interval_s
            await asyncio.sleep(step_s - elapsed_s % step_s)


def _make_last_event(scope: Scope, query: asyncio.Task[str] | None) -> bytes:
    """The event `answer` of a query, or `problem` if it failed or, None, did not end in time."""
    request = Request(scope)
    if query is None:
        return _make_problem_event(problems.make_late_problem(request))
    error = query.exception()
    if error is None:
        return format_sse_event(event="answer", data_str=query.result())
    if isinstance(error, PinpointError):
        return _make_problem_event(problems.problem_from_error(request, error))
    return _make_problem_event(problems.make_internal_problem(request))


def _make_problem_event(problem: Response) -> bytes:
    return format_sse_event(event="problem", data_str=bytes(problem.body).decode())
