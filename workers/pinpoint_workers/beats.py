"""When beat sends a job: every so often, whatever the clock does."""

from __future__ import annotations

from datetime import datetime

from celery.schedules import schedstate, schedule


class Every(schedule):  # type: ignore[misc]
    """An interval that survives a clock that is set back.

    Celery waits until the clock has caught up with the last run, which after a step of an hour
    means an hour without sweeps. A last run that lies in the future says nothing: the job is due.
    """

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether to send now, and in how many seconds to ask again."""
        if self.remaining_estimate(last_run_at) > self.run_every:
            return schedstate(is_due=True, next=self.seconds)
        return super().is_due(last_run_at)
