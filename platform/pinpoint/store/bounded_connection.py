"""A psycopg connection whose waits end with the request's time budget.

`statement_timeout` is the server's, and a server that is stopped or cut off does not keep it. Here
the client stops waiting; the connection is closed then, for a late reply would be taken for the
next statement's.
"""

from __future__ import annotations

import math
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg.errors import _WaitTimeout

from pinpoint import deadline

LEAST_S: Final = 0.2
"""For the rollback of a request that is out of time: a server that answers does it in less."""
CONNECT_S: Final = 5
_LEAST_CONNECT_S: Final = 2  # libpq's own minimum

T = TypeVar("T")


class NoAnswerInTime(psycopg.OperationalError):
    """The server did not answer within the request's time budget."""


class BoundedConnection(psycopg.Connection[Any]):
    """Without a deadline it waits as any other connection."""

    @classmethod
    def connect(cls, *arguments: Any, **options: Any) -> Self:
        """As psycopg's; a new connection takes hardly longer than the request may.

        Raises:
            NoAnswerInTime: The deadline has passed.
        """
        now = deadline.current()
        left = CONNECT_S if now is None else min(CONNECT_S, now.remaining_s())
        if left <= 0:
            raise NoAnswerInTime("no time left for a new connection")
        options["connect_timeout"] = max(_LEAST_CONNECT_S, math.ceil(left))
        return super().connect(*arguments, **options)

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server.

        Raises:
            NoAnswerInTime: The deadline passed; the connection is closed.
        """
        now = deadline.current()
        if now is None:
            return super().wait(gen, interval, timeout)
        left = max(now.remaining_s(), LEAST_S)
        if timeout is not None and timeout <= left:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, left)
        except _WaitTimeout as error:
            self.close()
            raise NoAnswerInTime("no answer within the request's time budget") from error
