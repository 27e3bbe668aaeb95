"""Processes of a stack for given settings, and their shared environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pinpoint.settings import Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.servers.postgres import STOP_S, PostgresServer
from pinpoint.stack.servers.redis import RedisServer
from pinpoint.stack.supervisor.changes import settings_as_variables
from pinpoint.stack.supervisor.processes import MARKER
from pinpoint.stack.supervisor.supervisord import Program
from pinpoint.tasks import GALLERY_QUEUES, JOBS_QUEUE, TRAINING_QUEUE

TRAINING_WORKER: Final = "training-worker"
"""Training worker: the only program that `up` does not start; it starts with the first run."""

JOBS_WORKER: Final = "jobs-worker"
"""Worker of locate jobs."""

_CELERY = ("-m", "celery", "-A", "pinpoint_workers.app:app")


def list_external_services(settings: Settings) -> list[str]:
    """Names of the services for which the settings have a URL."""
    services = settings.services
    urls = {
        "database": services.database_url,
        "broker": services.broker_url,
        "index": services.qdrant_url,
    }
    return [name for name, url in urls.items() if url]


def list_programs(settings: Settings, paths: StackPaths) -> list[Program]:
    """All processes of the stack, in start order."""
    # -P: files in the working folder must not shadow packages.
    python = (sys.executable, "-P")
    external_services = list_external_services(settings)
    result: list[Program] = []
    if "database" not in external_services:
        server = PostgresServer(paths)
        # INT is PostgreSQL's fast shutdown; TERM would wait until all clients disconnect.
        result.append(
            Program("postgres", tuple(server.command), server.user, 1, "INT", stop_wait_s=STOP_S)
        )
    if "broker" not in external_services:
        result.append(Program("redis", tuple(RedisServer(paths).command)))
    if "index" not in external_services:
        result.append(Program("index", (*python, "-m", "pinpoint.stack.index.owner"), start_s=3))
    result.append(Program("api", (*python, "-m", "pinpoint.api"), start_s=5))
    worker = _make_worker_command(GALLERY_QUEUES, "worker@pinpoint")
    result.append(Program("worker", (*python, *worker), start_s=5))
    locator = _make_worker_command((JOBS_QUEUE,), "jobs@pinpoint")
    # Low priority, so that thousands of photos do not delay queries. It loads no weights before its
    # first job.
    niced_locator = ("nice", "-n", "10", *python, *locator)
    result.append(Program(JOBS_WORKER, niced_locator, start_s=5))
    # Its schedule is a dbm file, which a crash can damage; restarting the program is cheap.
    beat = ("beat", "-s", str(paths.beat_schedule), "--pidfile=")
    result.append(Program("beat", (*python, *_CELERY, *beat), start_s=5))
    trainer = _make_worker_command((TRAINING_QUEUE,), "training@pinpoint")
    # Low priority, so that hours of training do not slow down ingest and queries. After KILL a run
    # resumes from its checkpoint; TERM would wait for its end, and the solo pool ignores QUIT.
    niced = ("nice", "-n", "10", *python, *trainer)
    result.append(Program(TRAINING_WORKER, niced, start_s=5, stop_signal="KILL"))
    return result


def _make_worker_command(queues: Sequence[str], name: str) -> tuple[str, ...]:
    """Arguments of Python for a worker; workers do not exchange messages with each other."""
    options = ("--pool=solo", "--concurrency=1", "--without-gossip", "--without-mingle")
    return (*_CELERY, "worker", *options, "-Q", ",".join(queues), "-n", name)


def build_environment(settings: Settings, paths: StackPaths, api_port: int) -> dict[str, str]:
    """The caller's environment with exactly these settings, and the stack's marker."""
    values = {name: value for name, value in os.environ.items() if not name.startswith("PINPOINT_")}
    values.update(settings_as_variables(settings))
    bundle = Path(settings.encoder.bundle)
    if bundle.is_dir():  # may be relative to the caller's folder
        values["PINPOINT_BUNDLE"] = str(bundle.absolute())
    values["PINPOINT_API_PORT"] = str(api_port)
    values["PYTHONUNBUFFERED"] = "1"
    # torch's idle threads spin by default and starve the other processes of a small machine
    # (measured on two busy cores: a MobileNet query 266 ms spinning, 32 ms waiting).
    values.setdefault("OMP_WAIT_POLICY", "passive")
    # glibc gives blocks over 32 MB back to the kernel and faults every page in again; a batch's
    # activations are larger (measured: a MobileNet batch encodes 1.7 times as fast without that).
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"):
        values.setdefault(name, str(256 * 2**20))
    values[MARKER] = str(paths.home.resolve())
    return values
