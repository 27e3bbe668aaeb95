"""The Celery application: `celery -A pinpoint_workers.app:app worker --pool=solo`.

The numbers belong together:

- a **lease** (`PINPOINT_WORKER_LEASE_TTL_S`, 300 s) is renewed three times within its length while
  its worker runs (`store.ingest.heartbeat`). It may be shorter than the time of a chunk. It expires
  if the worker is dead, stopped or disconnected from the database; 300 s should outlast a restart
  of PostgreSQL or a failover;
- a chunk that takes **an hour** is considered hung, and its leases may expire;
- the **visibility timeout** is the same hour: Redis then delivers an unfinished chunk to a second
  worker, which claims no leased item; lost work is recovered by its lease;
- the **recovery** (30 s) finds expired leases and dead workers of this machine, so that the items
  of a killed worker continue within half a minute;
- **attempts** (`PINPOINT_WORKER_MAX_ATTEMPTS`, 5) count workers that were lost before an item had a
  final status. They only stop endless retries. A file is decoded in a child process, and a file
  that kills children is `failed` after two of them (`media.decoding.decoder`) without costing an
  attempt. An unreachable service costs no attempt either. It is unknown whether a lost worker was
  killed from outside or by its file. The loss of a chunk therefore counts once for each of its
  files. Then these files are processed one by one, fewest attempts first. A harmless file fails
  only if four more workers are killed while they process it. `pinpoint batches retry` sends it
  again;
- **clock changes** are tolerated: a lease that ends later than two lease lengths from now counts as
  expired, beat reschedules, and a worker's name contains its start in ticks of the machine;
- **late acknowledgement** and prefetch 1: a task leaves the broker when it is finished. Training is
  the exception: it takes hours and uses only the queue `training` (see
  `pinpoint_workers.training`).

One process (`--pool=solo`), so that CUDA and the index client are never forked.
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

from pinpoint import logs, tasks
from pinpoint.settings_file import load_settings
from pinpoint.stack.broker.celery_config import make_celery_config
from pinpoint.stack.broker.task_sender import REQUEST_ID_KEY
from pinpoint.stack.paths import StackPaths
from pinpoint_workers import ingest, jobs, maintenance, runtime, training, webhooks
from pinpoint_workers.beat_schedule import ClockTolerantScheduler, IntervalSchedule

app = Celery("pinpoint")


def _make_config() -> dict[str, Any]:
    """Celery configuration, read at first use and not at import."""
    settings = load_settings()
    paths = StackPaths(settings.services.home)
    return make_celery_config(settings.services.broker_url or paths.broker_url) | {
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "beat_scheduler": (
            f"{ClockTolerantScheduler.__module__}:{ClockTolerantScheduler.__qualname__}"
        ),
        "beat_schedule": {
            tasks.RECOVER: {
                "task": tasks.RECOVER,
                "schedule": IntervalSchedule(settings.worker.recovery_interval_s),
                "args": [[]],
                # A late recovery is useless: the next one does its work.
                "options": {"expires": settings.worker.recovery_interval_s},
            },
            tasks.RECONCILE: {
                "task": tasks.RECONCILE,
                "schedule": IntervalSchedule(settings.worker.reconcile_interval_s),
                "args": [[]],
                "options": {"expires": settings.worker.reconcile_interval_s},
            },
            tasks.PRUNE: {
                "task": tasks.PRUNE,
                "schedule": IntervalSchedule(settings.worker.prune_interval_s),
                "args": [[]],
                "options": {"expires": settings.worker.prune_interval_s},
            },
            tasks.DELIVER_WEBHOOKS: {
                "task": tasks.DELIVER_WEBHOOKS,
                "schedule": IntervalSchedule(settings.webhook.retry_interval_s),
                "args": [[]],
                "options": {"expires": settings.webhook.retry_interval_s},
            },
        },
    }


app.add_defaults(_make_config)

for _name, _task in {**ingest.TASKS, **maintenance.TASKS, **webhooks.TASKS, **jobs.TASKS}.items():
    app.task(name=_name, bind=False)(_task)
for _name, _task in training.TASKS.items():
    app.task(name=_name, bind=False, acks_late=False)(_task)


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    logs.configure(load_settings().log)


@task_prerun.connect
def _bind_job_context(task_id: str, task: Any, **_: Any) -> None:
    """Add task, worker and request id to every log line of a task."""
    request_id = (task.request.headers or {}).get(REQUEST_ID_KEY)
    origin = {REQUEST_ID_KEY: str(request_id)} if request_id else {}
    logs.reset_context(task_id=task_id, task=task.name, worker=runtime.worker_name(), **origin)


@task_postrun.connect
def _clear_job_context(**_: Any) -> None:
    logs.reset_context()


@worker_ready.connect
def _start_worker(sender: Any, **_: Any) -> None:
    queues = sender.app.amqp.queues.consume_from
    if not queues.keys().isdisjoint(tasks.GALLERY_QUEUES):
        runtime.start_worker()
    if tasks.TRAINING_QUEUE in queues:
        training.resume_runs()
    if tasks.JOBS_QUEUE in queues:
        jobs.start_worker()


@worker_shutdown.connect
def _stop_worker(sender: Any, **_: Any) -> None:
    if tasks.JOBS_QUEUE in sender.app.amqp.queues.consume_from:
        jobs.stop_worker()
    runtime.stop_worker()
