"""Middleware that authenticates, limits and schedules a request before its body is read.

It authenticates and authorizes the caller, checks the announced body size and reserves memory. Then
it receives the body under limits, waits for a work slot and runs the request within a time budget.
A request without an answer after its budget gets 503; its thread keeps the slot until it ends. The
middleware is pure ASGI, because FastAPI parses JSON before it calls any dependency.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import anyio
import structlog
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinpoint import deadline, logs, position_access
from pinpoint.api import admission, auth, problems, rate_limits
from pinpoint.api.auth import make_position_access
from pinpoint.api.body_limits import LimitedBody
from pinpoint.api.query_names import check_query_names
from pinpoint.api.rules import RouteRule, find_rule
from pinpoint.errors import PinpointError

if TYPE_CHECKING:
    from pinpoint.bootstrap import Services
    from pinpoint.records import Caller
    from pinpoint.settings import Settings

AUTHENTICATORS: Final = 8
"""Maximum number of concurrent authentications, which use a thread pool of their own."""
_GRACE_S: Final = 0.5
_SLOW_READER_S: Final = 30.0

_log = logs.get_logger(__name__)


class Protection:
    """Middleware around the application; see the module docstring.

    Args:
        app: The application.
        rules: Scope, body limits and lane of each route.
    """

    def __init__(self, app: ASGIApp, rules: Sequence[RouteRule]) -> None:
        self._app, self._rules = app, rules
        self._lanes: tuple[Settings, dict[admission.LaneName, admission.Lane]] | None = None
        self._authenticators: anyio.CapacityLimiter | None = None
        self._lookup_threads: anyio.CapacityLimiter | None = None
        self._late_tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other protocols than HTTP pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        services: Services = scope["app"].state.services
        body = LimitedBody(receive, scope, services.settings)
        sender = _Sender(send, body, scope, services.settings.api.restricted_interval_s)
        rule = find_rule(self._rules, scope)
        try:
            if rule is None:
                await self._app(scope, body.receive, sender.send)
            else:
                await self._serve_request(rule, scope, body, sender, services)
        except (PinpointError, RequestValidationError) as error:
            if sender.started:
                raise
            answer = problems.make_problem(Request(scope), error)
            await answer(scope, body.receive, sender.send)
        finally:
            if body.client_left:
                scope["state"]["client_left"] = True

    async def _serve_request(
        self, rule: RouteRule, scope: Scope, body: LimitedBody, sender: _Sender, services: Services
    ) -> None:
        settings = services.settings
        limit = deadline.Deadline(settings.api.request_budget_s)
        with deadline.apply_deadline(limit):
            request = Request(scope)
            caller = await self._admit_caller(rule, request, services, body.size)
            check_query_names(scope["query_string"], rule.query_names)
            access = None if caller is None else make_position_access(caller)
            lane, key = self._get_lanes(settings)[rule.lane], _fairness_key(caller)
            usage = _LaneUsage(lane, key, limit)
            try:
                if rule.body is None or body.complete:
                    await usage.start_work()
                else:
                    rule.body.check(body.size or 0, settings)
                    reserved = await usage.acquire_body(body.size or 0)

                    async def start_work() -> None:
                        if body.size is None:
                            await anyio.to_thread.run_sync(
                                rate_limits.count_received_bytes,
                                *(request, caller, services, body.received),
                                limiter=self._lookup_threads,
                            )
                        await usage.start_work()

                    body.limit(rule.body, lane.bodies, reserved, limit, start_work)
                sender.end_work = usage.end_work
            except BaseException:
                usage.close(body.reserved)
                raise
            # The task owns the slot from here on and releases it when its thread ends. It inherits
            # deadline and access with its context.
            with position_access.apply_access(access):
                task = asyncio.create_task(self._run(scope, body.receive, sender.send))
            task.add_done_callback(lambda _: usage.close(body.reserved))
            await self._await_answer(task, limit, scope, sender)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    def _get_lanes(self, settings: Settings) -> dict[admission.LaneName, admission.Lane]:
        """Return the lanes; they are recreated only if the application's settings change."""
        if self._lanes is None or self._lanes[0] is not settings:
            self._lanes = (settings, admission.make_lanes(settings.api))
        return self._lanes[1]

    async def _admit_caller(
        self, rule: RouteRule, request: Request, services: Services, body_size: int | None
    ) -> Caller | None:
        """Authenticate and authorize the caller and check its limits, in a separate thread.

        Raises:
            QuotaExceededError: A limit of the caller's key is used up.
            UnauthenticatedError: No usable credentials.
            ForbiddenError: The caller lacks the scope.
            UnavailableError: Overloaded, or the database does not answer.
        """
        if self._authenticators is None:
            self._authenticators = anyio.CapacityLimiter(AUTHENTICATORS)
            self._lookup_threads = anyio.CapacityLimiter(AUTHENTICATORS)
        try:
            # Only the wait for a thread; the request deadline limits the authentication itself.
            async with asyncio.timeout(services.settings.api.request_budget_s / 2):
                await self._authenticators.acquire_on_behalf_of(request)
        except TimeoutError:
            raise admission.make_overloaded("authentication could not start in time") from None
        try:
            caller = await anyio.to_thread.run_sync(
                _authorize_and_count,
                *(request, services, rule, body_size),
                limiter=self._lookup_threads,
            )
        finally:
            self._authenticators.release_on_behalf_of(request)
        if caller is not None:
            structlog.contextvars.bind_contextvars(organization=caller.organization)
        return caller

    async def _await_answer(
        self, task: asyncio.Task[None], limit: deadline.Deadline, scope: Scope, sender: _Sender
    ) -> None:
        """Wait for the answer within the time budget; otherwise answer 503 or disconnect."""
        try:
            while not task.done():
                wait_s = limit.remaining_s() + _GRACE_S
                if sender.started:
                    wait_s += _SLOW_READER_S
                await asyncio.wait({task}, timeout=max(wait_s, 0.05))
                if task.done() or limit.paused or limit.remaining_s() + _GRACE_S > 0:
                    continue
                if not sender.started:
                    self._detach_task(task)
                    await sender.answer_late(scope)
                    return
                if limit.remaining_s() + _GRACE_S + _SLOW_READER_S <= 0:
                    _log.info("answer was not read; connection cut")
                    task.cancel()
        except asyncio.CancelledError:
            task.cancel()
            raise
        task.result()

    def _detach_task(self, task: asyncio.Task[None]) -> None:
        """Let a late task finish in the background and log its outcome."""

        def log_end(ended: asyncio.Task[None]) -> None:
            self._late_tasks.discard(ended)
            error = None if ended.cancelled() else ended.exception()
            _log.warning("late request ended", error=None if error is None else repr(error))

        self._late_tasks.add(task)
        task.add_done_callback(log_end)


class _LaneUsage:
    """Resources of a lane that one request holds."""

    def __init__(self, lane: admission.Lane, key: str, limit: deadline.Deadline) -> None:
        self._lane, self._key, self._limit = lane, key, limit
        self._has_body, self._has_slot, self._is_closed = False, False, False

    async def acquire_body(self, size: int) -> int:
        """Wait for free memory; return the reserved bytes."""
        reserved = await self._lane.bodies.acquire(self._key, size, self._max_wait_s())
        self._has_body = True
        return reserved

    async def start_work(self) -> None:
        """Wait for a work slot."""
        await self._lane.work.acquire(self._key, 0, self._max_wait_s())
        self._has_slot = True

    def end_work(self) -> None:
        """Release the work slot, because the answer is ready and only has to be sent."""
        if self._has_slot:
            self._has_slot = False
            self._lane.work.release(self._key, 0)

    def close(self, reserved: int) -> None:
        """Release all resources."""
        self.end_work()
        if self._has_body:
            self._has_body = False
            self._lane.bodies.release(self._key, reserved)

    def _max_wait_s(self) -> float:
        # At most half of the budget, so that the other half remains for the work.
        return max(0.0, min(self._limit.remaining_s(), self._limit.seconds / 2))


class _Sender:
    """The sending side of one request."""

    def __init__(self, send: Send, body: LimitedBody, scope: Scope, step_s: float) -> None:
        self._send, self._body = send, body
        self._state, self._step_s = scope.setdefault("state", {}), step_s
        self._began_at = time.monotonic()
        self.started = False
        self._answered_late = False
        self.end_work: Callable[[], None] | None = None

    async def send(self, message: Message) -> None:
        """Forward a message of the application, unless the request was already answered."""
        if self._answered_late:
            return
        # An event stream starts before its work ends (`event_stream`).
        if self.end_work is not None and not self._state.get("is_working"):
            self.end_work()
        if message["type"] == "http.response.start":
            self.started = True
            if self._state.get("is_restricted"):
                await self._hide_duration()
            if not self._body.complete:
                # The rest of the body is not read, so the connection cannot be reused.
                MutableHeaders(scope=message)["Connection"] = "close"
        await self._send(message)

    async def _hide_duration(self) -> None:
        """Wait for the next step of time: the duration of an answer must not reveal its place."""
        if self._step_s > 0:
            elapsed_s = time.monotonic() - self._began_at
            await asyncio.sleep(self._step_s - elapsed_s % self._step_s)

    async def answer_late(self, scope: Scope) -> None:
        """Answer 503 while the application is still working."""
        answer = problems.make_late_problem(Request(scope))
        send, self._answered_late = self._send, True
        await answer(scope, self._body.receive, send)


def _authorize_and_count(
    request: Request, services: Services, rule: RouteRule, body_size: int | None
) -> Caller | None:
    """Authorize the caller, then count the request; in one thread, to spare a second wait."""
    caller = auth.authorize(request, services, rule.access)
    request.state.caller = caller
    if caller is not None:
        request.state.organization = caller.organization
        rate_limits.check_request(request, caller, services, rule, body_size)
    return caller


def _fairness_key(caller: Caller | None) -> str:
    """Return the key for fair scheduling: the API key, or the operator's organization."""
    if caller is None:
        return "operator"
    return str(caller.key_id or f"operator of {caller.organization}")
