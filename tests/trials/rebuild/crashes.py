"""Kills in a rebuild at seeded moments, and the build that serves after each."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from pinpoint.errors import IndexUnavailableError
from pinpoint.store.vectors.rpc.client import RemoteIndex
from trials.soak.fault_stack import FaultStack

MOMENTS: Final = (
    ("builder", "streaming"),
    ("builder", "optimizing"),
    ("owner", "streaming"),
    ("owner", "optimizing"),
    ("owner", "replaying"),
)
"""The killed process and the state of the rebuild."""
_WAIT_S: Final = 900.0
_BACK_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Crash:
    """What one kill did."""

    victim: str
    state: str
    """Of the rebuild, when the kill came."""
    points: int
    before: str
    pointer: str
    """The build that the pointer file named at the kill."""
    after: str
    killed: float
    back: float
    """When the index answered again, on the monotonic clock."""

    def __str__(self) -> str:
        """The line as it is printed."""
        served = "the old build" if self.after == self.before else "the new build"
        return (
            f"{self.victim:8} {self.state:11} {self.points:8d} {served:14} "
            f"{self.back - self.killed:6.1f}"
        )


HEAD = f"{'killed':8} {'while':11} {'streamed':>8} {'then served':14} {'back s':>6}"


def crash(
    stack: FaultStack,
    index: RemoteIndex,
    victim: str,
    state: str,
    streamed: int,
    optimizing_s: float,
) -> Crash:
    """Start a rebuild, kill a process in it, wait until the index answers.

    Args:
        stack: The stack.
        index: The owner's client.
        victim: `builder` or `owner`.
        state: In which state of the rebuild.
        streamed: Points of a whole rebuild.
        optimizing_s: How long a whole rebuild optimizes.
    """
    before = str(index.info().build)
    dice = random.Random(f"{victim} {state}")
    index.rebuild()
    _wait_for(index, state, dice.uniform(0.1, 0.9) * streamed)
    if state == "optimizing":
        time.sleep(dice.uniform(0.0, 0.7) * optimizing_s)
    owner = psutil.Process(stack.pid("index"))
    children = owner.children()
    builders = [one for one in children if "pinpoint.stack.index.build" in one.cmdline()]
    now = index.progress()
    if victim == "builder":
        (builder,) = builders
        pointer, killed = _pointer(stack), time.monotonic()
        builder.kill()
        _until(lambda: index.progress().state == "failed")
    else:
        # Still, so that the pointer read is the one that the kill leaves.
        owner.suspend()
        pointer, killed = _pointer(stack), time.monotonic()
        os.kill(owner.pid, signal.SIGKILL)
        _until(lambda: serves(index) and stack.pid("index") != owner.pid)
    back = time.monotonic()
    ended = builders if victim == "builder" else children
    psutil.wait_procs(ended, timeout=10.0)
    assert not any(one.is_running() for one in ended), "a builder or an engine outlived its owner"
    after = str(index.info().build)
    done = Crash(victim, now.state, now.points, before, pointer, after, killed, back)
    assert done.after == done.pointer, f"not what the pointer file names: {done}"
    assert state == "replaying" or done.after == done.before, f"not the old index: {done}"
    builds = sorted(path.name for path in _folder(stack).joinpath("builds").iterdir())
    assert builds == [after], f"left behind: {builds}"
    return done


def _wait_for(index: RemoteIndex, state: str, streamed: float) -> None:
    until = time.monotonic() + _WAIT_S
    while True:
        now = index.progress()
        assert now.state not in ("done", "failed"), f"{state} was missed: {now}"
        if now.state == state and (state != "streaming" or now.points >= streamed):
            return
        assert time.monotonic() < until, f"{state} does not come: {now}"
        time.sleep(0.002)


def serves(index: RemoteIndex) -> bool:
    """Whether the owner answers and has its index open."""
    try:
        return index.info().ready
    except IndexUnavailableError:
        return False


def _until(done, limit_s: float = _BACK_S) -> None:
    until = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < until, "the index does not come back"
        time.sleep(0.02)


def _folder(stack: FaultStack) -> Path:
    return stack.paths.index_dir


def _pointer(stack: FaultStack) -> str:
    return (_folder(stack) / "current").read_text().strip()
