"""When beat sends a job: every so often, whatever the clock does."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from celery.beat import PersistentScheduler
from celery.schedules import schedstate, schedule


class Every(schedule):  # type: ignore[misc]
    """An interval whose last run may lie in the future.

    Celery waits until the clock has caught up with the last run, which after a step back of an
    hour means an hour without sweeps. Such a last run says nothing: the job is due.
    """

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether to send now, and in how many seconds to ask again."""
        if self.remaining_estimate(last_run_at) > self.run_every:
            return schedstate(is_due=True, next=self.seconds)
        return super().is_due(last_run_at)


class Steady(PersistentScheduler):  # type: ignore[misc]
    """Celery's scheduler, which plans again when the clock was set back.

    It keeps the next runs by the clock and looks at no job before the first of them has come.
    """

    _last_tick_at: datetime | None = None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due; seconds until there is something to do."""
        now = self.app.now()
        if self._last_tick_at is not None and now < self._last_tick_at:
            self._heap = None
        self._last_tick_at = now
        return float(super().tick(*args, **kwargs))
