"""The program of the stack that trains: started by whoever has a run for it."""

from __future__ import annotations

from pinpoint.settings import Settings
from pinpoint.stack.missing import missing_stack
from pinpoint.stack.places import StackPlaces
from pinpoint.stack.programs import LEARNER
from pinpoint.stack.supervise import Supervisor


def start_learner(settings: Settings) -> bool:
    """Let the embedded stack take jobs of the queue `learning`, until it goes down.

    Returns:
        False where workers elsewhere do, which the settings name a broker for.

    Raises:
        StackError: The stack is down, or does not start it.
    """
    supervisor = Supervisor(StackPlaces(settings.places.home))
    if supervisor.answers():
        supervisor.start(LEARNER)
        return True
    if settings.places.broker_url:
        return False
    raise missing_stack(settings.places.home)
