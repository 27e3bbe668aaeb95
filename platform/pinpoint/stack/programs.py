"""Which processes a stack has under given settings, and the environment they share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from pinpoint.jobs import LEARNING
from pinpoint.settings import Settings
from pinpoint.stack.changes import settings_as_variables
from pinpoint.stack.places import StackPlaces
from pinpoint.stack.postgres import STOP_S, PostgresServer
from pinpoint.stack.processes import MARKER
from pinpoint.stack.redis import RedisServer
from pinpoint.stack.supervise import Program

LEARNER: Final = "learner"
"""The only program that `up` does not start: whoever sends it work does."""

_CELERY = ("-m", "celery", "-A", "pinpoint_workers.app:app")


def external(settings: Settings) -> list[str]:
    """Services that the settings place elsewhere."""
    places = settings.places
    given = {
        "database": places.database_url,
        "broker": places.broker_url,
        "index": places.qdrant_url,
    }
    return [name for name, url in given.items() if url]


def programs(settings: Settings, places: StackPlaces) -> list[Program]:
    """All processes of the stack, in the order in which they are started."""
    # -P: the working folder must not be able to shadow a package.
    python = (sys.executable, "-P")
    elsewhere = external(settings)
    found: list[Program] = []
    if "database" not in elsewhere:
        server = PostgresServer(places)
        # INT is PostgreSQL's fast shutdown; TERM would wait for every client to leave.
        found.append(
            Program("postgres", tuple(server.command), server.user, 1, "INT", stop_wait_s=STOP_S)
        )
    if "broker" not in elsewhere:
        found.append(Program("redis", tuple(RedisServer(places).command)))
    if "index" not in elsewhere:
        found.append(Program("index", (*python, "-m", "pinpoint.stack.index_owner"), start_s=3))
    found.append(Program("api", (*python, "-m", "pinpoint.api"), start_s=5))
    worker = ("worker", "--pool=solo", "--concurrency=1", "-Q", "celery", "-n", "worker@pinpoint")
    found.append(Program("worker", (*python, *_CELERY, *worker), start_s=5))
    # Its schedule is a dbm file, which a crash can damage; the program is cheap to start over.
    beat = ("beat", "-s", str(places.beat_schedule), "--pidfile=")
    found.append(Program("beat", (*python, *_CELERY, *beat), start_s=5))
    learner = ("worker", "--pool=solo", "--concurrency=1", "-Q", LEARNING, "-n", "learner@pinpoint")
    # Niced, so that hours of training leave the machine to ingest and answers. Killed, a run goes
    # on from its checkpoint; TERM would wait for its end, and QUIT is nothing for the solo pool.
    niced = ("nice", "-n", "10", *python, *_CELERY, *learner)
    found.append(Program(LEARNER, niced, start_s=5, stop_signal="KILL"))
    return found


def environment(settings: Settings, places: StackPlaces, api_port: int) -> dict[str, str]:
    """The caller's environment with exactly these settings in it, and the stack's marker."""
    values = {name: value for name, value in os.environ.items() if not name.startswith("PINPOINT_")}
    values.update(settings_as_variables(settings))
    bundle = Path(settings.encoder.bundle)
    if bundle.is_dir():  # relative to the caller's folder, where the processes are not
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
    values[MARKER] = str(places.home.resolve())
    return values
