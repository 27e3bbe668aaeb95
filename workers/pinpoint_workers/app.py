"""The Celery application: `celery -A pinpoint_workers.app:app worker --pool=solo`.

The numbers belong together:

- a **lease** (`PINPOINT_WORKER_LEASE_S`, 300 s) is renewed three times in its length while its
  worker works (`store.holding`), so it may be shorter than a chunk takes, whatever chunk, time of a
  file or weights are set. It ends under a worker that is dead, stopped or cut off from the
  database; 300 s are meant to outlast a restart of PostgreSQL or a failover;
- a chunk that takes **an hour** is taken to hang, and its leases may end;
- the **visibility timeout** is that same hour: Redis hands a chunk that still runs then to a second
  worker, which claims nothing of it while its leases hold; lost work is found by its lease;
- the **sweep** (30 s) looks for ended leases and for dead workers of this machine, so that a killed
  worker's items go on within half a minute;
- **tries** (`PINPOINT_WORKER_MAX_ATTEMPTS`, 5) count workers that were lost before an item had a
  verdict. They only end a circle: a file is decoded in a child process, and one that kills children
  is `failed` after two of them (`media.decoder`) without costing a try. A part of the stack that is
  away costs none either. Whether a lost worker was killed from outside or by its file cannot be
  told; so a chunk's loss counts once for each of its files, from then on they go alone, least tried
  first, and an innocent file fails only if four more workers are killed just while they have it.
  `pinpoint batches retry` sends it again;
- **clocks** may be set: a lease that ends later than two leases from now has ended, beat plans
  again, and a worker's name tells its start by the machine's ticks;
- **late acknowledgement** and prefetch 1: a job leaves the broker when it is done; but for
  training, which takes hours and is on no queue but `learning` (see `learning`).

One process (`--pool=solo`), so that neither CUDA nor the index client is ever forked.
"""

from __future__ import annotations

from typing import Any

from celery import Celery
from celery.signals import (
    setup_logging,
    task_postrun,
    task_prerun,
    worker_ready,
    worker_shutdown,
)

from pinpoint import jobs, logs
from pinpoint.settings import Settings
from pinpoint.stack.broker import QUEUE, REQUEST, celery_config
from pinpoint.stack.places import StackPlaces
from pinpoint_workers import ingest, learning, runtime, upkeep
from pinpoint_workers.beats import Every

app = Celery("pinpoint")


def _make_config() -> dict[str, Any]:
    """Everything Celery wants to know; asked for at first use, not at import."""
    settings = Settings.from_environment()
    paths = StackPlaces(settings.places.home)
    return celery_config(settings.places.broker_url or paths.broker_url) | {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "beat_scheduler": "pinpoint_workers.beats:Steady",
        "beat_schedule": {
            jobs.SWEEP: {
                "task": jobs.SWEEP,
                "schedule": Every(settings.worker.sweep_s),
                "args": [[]],
                # A sweep that could not run in time is useless: the next one does its work.
                "options": {"expires": settings.worker.sweep_s},
            },
            jobs.RECONCILE: {
                "task": jobs.RECONCILE,
                "schedule": Every(settings.worker.reconcile_s),
                "args": [[]],
                "options": {"expires": settings.worker.reconcile_s},
            },
            jobs.PRUNE: {
                "task": jobs.PRUNE,
                "schedule": Every(settings.worker.prune_s),
                "args": [[]],
                "options": {"expires": settings.worker.prune_s},
            },
        },
    }


app.add_defaults(_make_config)

for _name, _task in {**ingest.TASKS, **upkeep.TASKS}.items():
    app.task(name=_name, bind=False)(_task)
for _name, _task in learning.TASKS.items():
    app.task(name=_name, bind=False, acks_late=False)(_task)


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    logs.configure(Settings.from_environment().log)


@task_prerun.connect
def _bind_job_context(task_id: str, task: Any, **_: Any) -> None:
    """Every line of a job says which job, in which worker, and who asked for it."""
    request_id = (task.request.headers or {}).get(REQUEST)
    origin = {REQUEST: str(request_id)} if request_id else {}
    logs.begin(task_id=task_id, job=task.name, worker=runtime.name(), **origin)


@task_postrun.connect
def _clear_job_context(**_: Any) -> None:
    logs.begin()


@worker_ready.connect
def _start_worker(sender: Any, **_: Any) -> None:
    queues = sender.app.amqp.queues.consume_from
    if QUEUE in queues:
        runtime.start()
    if jobs.LEARNING in queues:
        learning.start()


@worker_shutdown.connect
def _stop_worker(**_: Any) -> None:
    runtime.stop()
