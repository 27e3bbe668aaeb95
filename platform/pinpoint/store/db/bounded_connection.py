"""A psycopg connection that limits its waits to the time budget of the request.

`statement_timeout` is enforced by the server, and a server that is stopped or cut off does not
enforce it. Here the client stops waiting. It then closes the connection, because a late response
would be read as that of the next statement.
"""

from __future__ import annotations

import math
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg.errors import _WaitTimeout

from pinpoint import deadline

MIN_WAIT_S: Final = 0.2
"""Minimum wait, for the rollback of a request without time left; a working server needs less."""
CONNECT_S: Final = 5
_MIN_CONNECT_S: Final = 2  # libpq's own minimum

T = TypeVar("T")


class NoAnswerInTime(psycopg.OperationalError):
    """The server did not answer within the request's time budget."""


class BoundedConnection(psycopg.Connection[Any]):
    """A psycopg connection; without a deadline it waits like any other connection."""

    @classmethod
    def connect(cls, *arguments: Any, **options: Any) -> Self:
        """Connect as psycopg does; the wait is limited by the deadline of the request.

        Raises:
            NoAnswerInTime: The deadline has passed.
        """
        request_deadline = deadline.current_deadline()
        remaining_s = (
            CONNECT_S
            if request_deadline is None
            else min(CONNECT_S, request_deadline.remaining_s())
        )
        if remaining_s <= 0:
            raise NoAnswerInTime("no time left for a new connection")
        options["connect_timeout"] = max(_MIN_CONNECT_S, math.ceil(remaining_s))
        return super().connect(*arguments, **options)

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server, at most until the deadline of the request.

        Raises:
            NoAnswerInTime: The deadline passed; the connection is closed.
        """
        request_deadline = deadline.current_deadline()
        if request_deadline is None:
            return super().wait(gen, interval, timeout)
        remaining_s = max(request_deadline.remaining_s(), MIN_WAIT_S)
        if timeout is not None and timeout <= remaining_s:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, remaining_s)
        except _WaitTimeout as error:
            self.close()
            raise NoAnswerInTime("no answer within the request's time budget") from error
