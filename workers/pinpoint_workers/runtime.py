"""State of a worker process: its services, opened once, and its name on leases."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import psutil

from pinpoint import logs
from pinpoint.bootstrap import Services, build_services
from pinpoint.errors import UnavailableError
from pinpoint.settings_file import load_settings

_log = logs.get_logger(__name__)


@lru_cache(maxsize=1)
def open_services() -> Services:
    """The services of this process, opened at the first task."""
    return build_services(load_settings(), "worker")


@lru_cache(maxsize=1)
def worker_name() -> str:
    """Name of this process from host, process id, boot and start time; never reused."""
    return _make_worker_name(os.getpid())


def _make_worker_name(pid: int) -> str:
    return f"{socket.gethostname()}/{pid}/{_read_start_time(pid)}"


def _read_start_time(pid: int) -> str:
    """Start time of a process, as text that does not depend on the clock."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        # Not Linux, or no such process; psutil distinguishes the two.
        return f"{psutil.Process(pid).create_time():.2f}"
    # The second field, the command, may contain anything, but ends with the last parenthesis.
    return f"{boot[:8]}-{fields.rpartition(')')[2].split()[19]}"


def is_alive(worker: str) -> bool:
    """Whether the process that holds a lease still runs.

    True for other hosts, whose workers are only known to be lost when the lease expires.
    """
    host, _, rest = worker.partition("/")
    pid, _, _ = rest.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return True
    try:
        return _make_worker_name(int(pid)) == worker
    except psutil.NoSuchProcess:
        return False


def save_stats(sums: Mapping[str, float]) -> None:
    """Store numbers for `/metrics`; a failure to store them does not fail the task."""
    try:
        open_services().maintenance_stats.add(sums)
    except UnavailableError as error:
        _log.warning("statistics not stored", reason=error.reason, detail=error.message)


def start_worker() -> None:
    """Load the weights before the first task, and release leases of killed workers."""
    opened = open_services()
    opened.ensure_index()
    repository = opened.ingest_components().repository
    freed = sum(
        repository.release_worker(worker)
        for worker in repository.active_workers()
        if not is_alive(worker)
    )
    save_stats({"released": freed})
    _log.info(
        "worker ready", worker=worker_name(), freed=freed, bundle=opened.encoder.contract.name
    )


def stop_worker() -> None:
    """Release this worker's leases and close its services."""
    opened = open_services()
    if opened.repository is not None:
        opened.repository.release_worker(worker_name())
    opened.close()
