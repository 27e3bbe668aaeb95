"""Retry policy for calls to a server that may be temporarily unavailable."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from pinpoint.errors import (
    AbnormalUsageError,
    QuotaExceededError,
    StackError,
    UnavailableError,
)

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses between attempts, half a minute in total; a restart of API or proxy takes seconds."""
MAX_PAUSE_S: Final = 30.0
"""Maximum pause, even if the server requests a longer one."""

MAX_QUOTA_PAUSE_S: Final = 60.0
"""Maximum wait for a limit: that of requests per minute is free again within it. A call that would
have to wait longer fails at once."""

T = TypeVar("T")


class RetryPolicy:
    """Repeats calls that failed because the server was unavailable or overloaded.

    It is only for idempotent calls: after a lost response, the server may or may not have executed
    the request.
    """

    def __init__(self) -> None:
        self.repeated = 0
        """Number of retries so far."""

    def call(self, request: Callable[[], T]) -> T:
        """Call a function, repeat it on failure and return its result.

        Args:
            request: The function.

        Raises:
            UnavailableError: The last attempt failed as well.
            StackError: The same for the embedded stack.
            QuotaExceededError: A limit of the key is used up, and not free again soon.
        """
        for pause_s in PAUSES_S:
            try:
                return request()
            except QuotaExceededError as error:
                if not _is_free_soon(error):
                    raise
                time.sleep(max(pause_s, error.retry_after_s or 0.0))
            except (UnavailableError, StackError) as error:
                retry_after_s = getattr(error, "retry_after_s", None) or 0.0
                time.sleep(min(max(pause_s, retry_after_s), MAX_PAUSE_S))
            self.repeated += 1
        return request()


def _is_free_soon(error: QuotaExceededError) -> bool:
    """Whether a limit is free again within `MAX_QUOTA_PAUSE_S`."""
    is_limit = not isinstance(error, AbnormalUsageError)
    return is_limit and (error.retry_after_s or 0.0) <= MAX_QUOTA_PAUSE_S
