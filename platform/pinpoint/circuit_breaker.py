"""Circuit breaker: after consecutive failures, calls to a dependency are rejected for a while.

While it is closed, calls pass. After `failures` consecutive failures it opens: calls fail at once
for `pause_s`. Then one trial call at a time passes; its success closes the breaker, its failure
opens it again. While a trial call hangs, no second one passes: it ends by its own timeout.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pinpoint.errors import UnavailableError

FAILURES: Final = 5
PAUSE_S: Final = 2.0


class CircuitBreaker:
    """Counts consecutive failures of calls to one dependency. Thread-safe.

    Args:
        refusal: Makes the error of a rejected call.
        failed: Whether an error means that the dependency did not answer.
        failures: Number of consecutive failures that open the breaker.
        pause_s: How long it stays open, seconds.
    """

    def __init__(
        self,
        refusal: Callable[[], UnavailableError],
        failed: Callable[[BaseException], bool],
        *,
        failures: int = FAILURES,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._make_refusal, self._is_failure = refusal, failed
        self._max_failures, self._pause_s = failures, pause_s
        self._lock = threading.Lock()
        self._num_consecutive = 0
        self._open_until = 0.0
        self._trial_runs = False

    @property
    def is_open(self) -> bool:
        """Whether calls are rejected, except for a trial call."""
        return self._num_consecutive >= self._max_failures

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Make a call inside; an error that is not a failure shows that the dependency answers.

        Raises:
            UnavailableError: The call was rejected; nothing was called.
        """
        trial = self._admit_call()
        try:
            yield
        except BaseException as error:
            self._record_outcome(trial, failed=self._is_failure(error))
            raise
        self._record_outcome(trial, failed=False)

    def _admit_call(self) -> bool:
        """Return whether this is the trial call; raise if the call is rejected."""
        with self._lock:
            if self._num_consecutive < self._max_failures:
                return False
            if self._trial_runs or time.monotonic() < self._open_until:
                raise self._make_refusal()
            self._trial_runs = True
            return True

    def _record_outcome(self, trial: bool, *, failed: bool) -> None:
        with self._lock:
            if trial:
                self._trial_runs = False
            if not failed:
                self._num_consecutive = 0
                return
            self._num_consecutive += 1
            if self._num_consecutive >= self._max_failures:
                self._open_until = time.monotonic() + self._pause_s
