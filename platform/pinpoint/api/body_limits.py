"""Enforces limits on a request body while it arrives: size, pauses and rate.

The body rule of a route states its limits; a route that reads a body without a rule accepts a small
JSON document. The time to receive a body does not count against the request's time budget.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope

from pinpoint.api.admission import FairQueue, LaneName, make_overloaded
from pinpoint.api_settings import ApiSettings
from pinpoint.deadline import Deadline
from pinpoint.errors import PinpointError, TooLargeError
from pinpoint.settings import Settings

GRACE_S: Final = 10.0
"""Seconds before the minimum rate applies, so that a slow start does not fail a request."""
_RESERVATION_STEP_BYTES: Final = 1_000_000
"""Bytes that a body of unknown length reserves in each step."""

Dependency = TypeVar("Dependency", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class BodyRule:
    """Body limits of a route.

    Args:
        lane: Admission lane of the route's requests.
        max_bytes: Returns the maximum body size from the settings.
        limit_name: Setting to name in the error message.
        stated_bytes: Returns the limit to name in the error message.
    """

    lane: LaneName
    max_bytes: Callable[[Settings], int]
    limit_name: str
    stated_bytes: Callable[[Settings], int]

    def check(self, size: int, settings: Settings) -> None:
        """Raise `TooLargeError` for a body that exceeds the route's limit."""
        if size > self.max_bytes(settings):
            raise TooLargeError(
                f"the request is larger than {self.stated_bytes(settings)} bytes "
                f"({self.limit_name}); send fewer or smaller files"
            )


JSON_RULE: Final = BodyRule(
    lane="rows",
    max_bytes=lambda settings: settings.api.max_json_bytes,
    limit_name="PINPOINT_API_MAX_JSON_BYTES",
    stated_bytes=lambda settings: settings.api.max_json_bytes,
)


def reads_body(rule: BodyRule) -> Callable[[Dependency], Dependency]:
    """Mark a dependency that reads the body; its routes follow `rule`."""

    def mark(dependency: Dependency) -> Dependency:
        dependency.body_rule = rule  # type: ignore[attr-defined]
        return dependency

    return mark


class BodyRejectedError(HTTPException):
    """A body exceeded a limit while it arrived, or its request was rejected after it.

    It derives from `HTTPException`, the only class that FastAPI passes on while it reads a body.
    """

    def __init__(self, status: int, detail: str, error: PinpointError | None = None) -> None:
        super().__init__(status, detail)
        self.error = error


def parse_body_size(scope: Scope) -> int | None:
    """Body size from the headers; 0 without a body, None if the headers do not state it."""
    size: int | None = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length":
            size = int(value) if value.isdigit() and len(value) < 20 else None
    return size


class LimitedBody:
    """The receiving side of one request.

    Args:
        receive: ASGI receive callable of the server.
        scope: ASGI scope of the request.
        settings: Settings with the limits.
    """

    def __init__(self, receive: Receive, scope: Scope, settings: Settings) -> None:
        self._receive, self._settings = receive, settings
        self._limits: ApiSettings = settings.api
        self.size = parse_body_size(scope)
        self.complete = self.size == 0
        self.client_left = False
        self._received_bytes, self._reserved_bytes = 0, 0
        self._waited_s = 0.0
        self._rule = JSON_RULE
        self._queue: FairQueue | None = None
        self._deadline: Deadline | None = None
        self._on_complete: Callable[[], Awaitable[None]] | None = None

    def limit(
        self,
        rule: BodyRule,
        queue: FairQueue,
        reserved: int,
        deadline: Deadline,
        on_complete: Callable[[], Awaitable[None]],
    ) -> None:
        """Accept the body under a rule; await `on_complete` before returning its last part."""
        self._rule, self._queue, self._reserved_bytes = rule, queue, reserved
        self._deadline, self._on_complete = deadline, on_complete

    @property
    def received(self) -> int:
        """Bytes that have arrived."""
        return self._received_bytes

    @property
    def reserved(self) -> int:
        """Bytes that are reserved for the body."""
        return self._reserved_bytes

    async def receive(self) -> Message:
        """Receive the next part of the body.

        Raises:
            BodyRejectedError: The body exceeds a limit, or the request is rejected.
        """
        if self.complete or self.client_left or self._deadline is None:
            return await self._receive()
        with self._deadline.pause():
            message = await self._receive_message()
        if message["type"] == "http.disconnect":
            self.client_left = True
            return message
        self._check_limits(len(message.get("body", b"")))
        if not message.get("more_body", False):
            self.complete = True
            await self._finish_body()
        return message

    async def _receive_message(self) -> Message:
        start_s = time.monotonic()
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                message = await self._receive()
        except TimeoutError:
            raise BodyRejectedError(
                408, f"no part of the body arrived for {self._limits.body_timeout_s:g} s"
            ) from None
        self._waited_s += time.monotonic() - start_s
        return message

    def _check_limits(self, size: int) -> None:
        self._received_bytes += size
        try:
            self._rule.check(self._received_bytes, self._settings)
        except TooLargeError as error:
            raise BodyRejectedError(413, error.message, error) from error
        if (
            self._queue is not None
            and self.size is None
            and self._received_bytes > self._reserved_bytes
        ):
            if not self._queue.grow(_RESERVATION_STEP_BYTES):
                overloaded = make_overloaded("no memory for another request body")
                raise BodyRejectedError(503, overloaded.message, overloaded)
            self._reserved_bytes += _RESERVATION_STEP_BYTES
        min_bytes = self._limits.min_body_rate * self._waited_s
        if self._waited_s > GRACE_S and self._received_bytes < min_bytes:
            raise BodyRejectedError(
                408,
                f"the body arrived more slowly than {self._limits.min_body_rate} bytes per second",
            )

    async def _finish_body(self) -> None:
        if self._on_complete is None:
            return
        try:
            await self._on_complete()
        except PinpointError as error:
            raise BodyRejectedError(503, error.message, error) from error
