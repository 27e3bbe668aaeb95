"""Calls to a server that may be away for a moment: which are made again, how often, how soon."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from pinpoint.errors import StackError, Unavailable

PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Half a minute in all: a restart of the API or of a proxy takes a few seconds."""
LONGEST_S: Final = 30.0
"""A server that wants to be left alone for longer is asked again after this."""

T = TypeVar("T")


class Patience:
    """Makes calls again that failed because the server was away or put them off.

    Only for calls that may be made twice: an answer that was lost says nothing of whether the
    server has done what it was asked.
    """

    def __init__(self) -> None:
        self.repeated = 0
        """Calls made again so far."""

    def call(self, request: Callable[[], T]) -> T:
        """What a call returns, after as many tries as it takes.

        Args:
            ask: The call.

        Raises:
            Unavailable: The last try failed too.
            StackError: The same, of the embedded stack.
        """
        for pause_s in PAUSES_S:
            try:
                return request()
            except (Unavailable, StackError) as error:
                retry_after_s = getattr(error, "retry_after_s", None) or 0.0
                time.sleep(min(max(pause_s, retry_after_s), LONGEST_S))
                self.repeated += 1
        return request()
