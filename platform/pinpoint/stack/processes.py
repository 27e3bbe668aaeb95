"""Which processes belong to one stack, and how they are ended for certain.

Nothing is known by its name alone: a process is ours if it carries the stack's marker in its
environment, or is a server whose working folder is our data directory (PostgreSQL and Redis
write their title over their environment). Another PostgreSQL or Redis is never touched.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import psutil

from pinpoint.settings import STACK_VARIABLE
from pinpoint.stack.places import StackPlaces

MARKER: Final = STACK_VARIABLE

SERVERS: Final = frozenset({"postgres", "redis-server", "valkey-server", "redis-check-rdb"})
_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(number: signal.Signals) -> Callable[[], None]:
    """A `preexec_fn` by which the kernel sends the child `number` when its parent dies."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)

    return arrange


def end_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends.

    Args:
        parent: Process id of who started it.

    Raises:
        SystemExit: That one is gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(f"process {parent}, which started this one, is gone")


def belonging_to(places: StackPlaces) -> list[psutil.Process]:
    """All live processes of the stack, the caller and its ancestors left out."""
    home = str(places.home.resolve())
    folders = {places.pgdata.resolve(), places.redis_dir.resolve()}
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in spared and _is_ours(process, home, folders)
    ]


def unsupervised(places: StackPlaces, supervisor_pid: int) -> list[psutil.Process]:
    """Live processes of the stack that are neither its supervisor nor below it.

    Args:
        places: Whose.
        supervisor_pid: Of the supervisor that answers.
    """
    try:
        below = psutil.Process(supervisor_pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    watched = {supervisor_pid, *(process.pid for process in below)}
    found = [process for process in belonging_to(places) if process.pid not in watched]
    # One that was started between the two looks is no orphan: its parent is watched.
    return [process for process in found if not _has_parent_in(process, watched)]


def _has_parent_in(process: psutil.Process, pids: set[int]) -> bool:
    try:
        return not process.is_running() or any(one.pid in pids for one in process.parents())
    except psutil.NoSuchProcess:
        return True


def _is_ours(process: psutil.Process, home: str, folders: set[Path]) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(MARKER) == home:
            return True
        return process.name() in SERVERS and Path(process.cwd()) in folders
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        # Gone meanwhile, or another user's: as an ordinary user none of ours is unreadable.
        return False


def end(processes: Iterable[psutil.Process], grace_s: float) -> list[psutil.Process]:
    """Ask processes to end, force those that have not after `grace_s`; returns survivors.

    A `psutil.Process` carries its start time, so a reused id is never signalled.
    """
    asked = list(processes)
    for process in asked:
        _send(process, signal.SIGINT if process_name(process) == "postgres" else signal.SIGTERM)
    _, left = psutil.wait_procs(asked, timeout=grace_s)
    for process in left:
        _send(process, signal.SIGKILL)
    _, left = psutil.wait_procs(left, timeout=5.0)
    return [process for process in left if _alive(process)]


def wait_gone(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until processes have ended by themselves; returns those that have not."""
    until = time.monotonic() + timeout_s
    left = [process for process in processes if _alive(process)]
    while left and time.monotonic() < until:
        time.sleep(0.05)
        left = [process for process in left if _alive(process)]
    return left


def process_name(process: psutil.Process) -> str:
    """The name of a process, or an empty text if it has just ended."""
    try:
        return str(process.name())
    except psutil.NoSuchProcess:
        return ""


def parent_pid(process: psutil.Process) -> int | None:
    """Process id of the parent, or None if the process has just ended."""
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return None


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
