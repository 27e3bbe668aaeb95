"""Schedules of beat: fixed intervals that tolerate clock changes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from celery.beat import PersistentScheduler
from celery.schedules import schedstate, schedule


class IntervalSchedule(schedule):  # type: ignore[misc]
    """Interval schedule that tolerates a last run in the future.

    Celery waits until the clock reaches the last run again: after a step back of an hour there is
    no recovery for an hour. This schedule ignores such a last run: the task is due.
    """

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether the task is due, and the seconds until the next check."""
        if self.remaining_estimate(last_run_at) > self.run_every:
            return schedstate(is_due=True, next=self.seconds)
        return super().is_due(last_run_at)


class ClockTolerantScheduler(PersistentScheduler):  # type: ignore[misc]
    """Celery's scheduler, which reschedules after the clock was set back.

    Celery orders the next runs by the clock and checks no task before the first of them is due.
    """

    _last_tick_at: datetime | None = None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send due tasks; return the seconds until the next check."""
        now = self.app.now()
        if self._last_tick_at is not None and now < self._last_tick_at:
            self._heap = None
        self._last_tick_at = now
        return float(super().tick(*args, **kwargs))
