"""Finds and ends the processes of one stack.

A name alone does not identify a process. A process belongs to the stack if its environment contains
the stack's marker, or if it is a server whose working folder is the stack's data directory
(PostgreSQL and Redis overwrite their environment with a title). Other PostgreSQL or Redis servers
are never signaled.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import psutil

from pinpoint.parent_death import prepare_death_signal
from pinpoint.settings import STACK_VARIABLE
from pinpoint.stack.paths import StackPaths

MARKER: Final = STACK_VARIABLE

SERVERS: Final = frozenset({"postgres", "redis-server", "valkey-server", "redis-check-rdb"})


def kill_with_parent(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends.

    Args:
        parent: Process id of the parent.

    Raises:
        SystemExit: The parent has ended already.
    """
    prepare_death_signal(signal.SIGKILL)()
    if os.getppid() != parent:
        raise SystemExit(f"process {parent}, which started this one, has ended")


def find_stack_processes(paths: StackPaths) -> list[psutil.Process]:
    """All live processes of the stack, except the caller and its ancestors."""
    home = str(paths.home.resolve())
    folders = {paths.redis_dir.resolve()}
    # The home of a copy names the database's folder of the original, whose processes are not its.
    if paths.owns_cluster():
        folders.add(paths.pgdata.resolve())
    excluded = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in excluded and _belongs_to_stack(process, home, folders)
    ]


def find_unsupervised(paths: StackPaths, supervisor_pid: int) -> list[psutil.Process]:
    """Live processes of the stack that are neither its supervisor nor descendants of it.

    Args:
        paths: Paths of the stack.
        supervisor_pid: Process id of the supervisor.
    """
    try:
        children = psutil.Process(supervisor_pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    watched = {supervisor_pid, *(process.pid for process in children)}
    unwatched = [process for process in find_stack_processes(paths) if process.pid not in watched]
    # A process started between the two calls is not an orphan: its parent is supervised.
    return [process for process in unwatched if not _has_parent_in(process, watched)]


def _has_parent_in(process: psutil.Process, pids: set[int]) -> bool:
    try:
        return not process.is_running() or any(
            ancestor.pid in pids for ancestor in process.parents()
        )
    except psutil.NoSuchProcess:
        return True


def _belongs_to_stack(process: psutil.Process, home: str, folders: set[Path]) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get(MARKER) == home:
            return True
        return process.name() in SERVERS and Path(process.cwd()) in folders
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        # The process has ended or belongs to another user; processes of the stack are readable.
        return False


def end_processes(processes: Iterable[psutil.Process], grace_s: float) -> list[psutil.Process]:
    """Terminate processes, kill those left after `grace_s` seconds, and return survivors.

    A `psutil.Process` contains its start time, so a reused process id is never signaled.
    """
    targets = list(processes)
    for process in targets:
        _send_signal(
            process, signal.SIGINT if process_name(process) == "postgres" else signal.SIGTERM
        )
    _, remaining = psutil.wait_procs(targets, timeout=grace_s)
    for process in remaining:
        _send_signal(process, signal.SIGKILL)
    _, remaining = psutil.wait_procs(remaining, timeout=5.0)
    return [process for process in remaining if _is_alive(process)]


def stop_child(
    child: subprocess.Popen[bytes],
    grace_s: float,
    *,
    stop: signal.Signals = signal.SIGTERM,
    force: signal.Signals = signal.SIGKILL,
) -> None:
    """End a child process, by the signal `force` after `grace_s` seconds.

    Raises:
        subprocess.TimeoutExpired: It did not end by force within `grace_s` seconds.
    """
    child.send_signal(stop)
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        child.send_signal(force)
        child.wait(grace_s)


def wait_until_ended(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait until processes have ended; return those that have not."""
    until = time.monotonic() + timeout_s
    remaining = [process for process in processes if _is_alive(process)]
    while remaining and time.monotonic() < until:
        time.sleep(0.05)
        remaining = [process for process in remaining if _is_alive(process)]
    return remaining


def process_name(process: psutil.Process) -> str:
    """Name of a process, or an empty string if it has just ended."""
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


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send_signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
