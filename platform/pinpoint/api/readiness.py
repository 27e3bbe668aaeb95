"""Concurrent readiness checks of all components, with a time limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import anyio

from pinpoint import deadline
from pinpoint.errors import PinpointError

MAX_WAIT_S: Final = 1.8
"""Maximum duration of all checks together, seconds."""
_THREADS: Final = 8

Check = Callable[[], object]


class Readiness:
    """Runs checks in separate threads; at most one check per component runs at a time."""

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[str | None]] = {}
        self._threads: anyio.CapacityLimiter | None = None

    async def check_all(self, checks: Mapping[str, Check]) -> dict[str, str | None]:
        """Run all checks; return an error message for each component, or None if it answers."""
        tasks = {name: self._start_check(name, check) for name, check in checks.items()}
        await asyncio.wait(tasks.values(), timeout=MAX_WAIT_S)
        late = f"no answer within {MAX_WAIT_S:g} s"
        return {name: task.result() if task.done() else late for name, task in tasks.items()}

    def _start_check(self, name: str, check: Check) -> asyncio.Task[str | None]:
        running = self._running.get(name)
        if running is None or running.done():
            running = asyncio.create_task(self._run_check(check))
            self._running[name] = running
        return running

    async def _run_check(self, check: Check) -> str | None:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(_THREADS)
        with deadline.apply_deadline(deadline.Deadline(MAX_WAIT_S)):
            return await anyio.to_thread.run_sync(_failure_message, check, limiter=self._threads)


def _failure_message(check: Check) -> str | None:
    try:
        check()
    except PinpointError as error:
        return error.message
    return None
