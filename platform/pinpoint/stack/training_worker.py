"""Starts the training worker of the stack when there is a run for it."""

from __future__ import annotations

from pinpoint.settings import Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor.programs import TRAINING_WORKER
from pinpoint.stack.supervisor.running import missing_stack
from pinpoint.stack.supervisor.supervisord import Supervisor


def start_training_worker(settings: Settings) -> bool:
    """Start the training worker of the embedded stack; it runs until the stack is stopped.

    Returns:
        False if an external broker is configured, whose workers take the queue `training`.

    Raises:
        StackError: The stack is down, or does not start the worker.
    """
    supervisor = Supervisor(StackPaths(settings.services.home))
    if supervisor.answers():
        supervisor.start(TRAINING_WORKER)
        return True
    if settings.services.broker_url:
        return False
    raise missing_stack(settings.services.home)
