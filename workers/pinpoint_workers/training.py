"""Training tasks: they take hours, so they have a separate queue and are acknowledged early.

The state of a run is in its folder (`pinpoint.training.core.runs`), never in the broker. Redis
would deliver an unacknowledged task to a second worker after an hour, and RabbitMQ would close the
channel after half an hour. A starting training worker therefore resends the tasks of all unfinished
runs. Stop a training worker by TERM, which waits for its run, or by KILL; QUIT makes the run fail
first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID

from pinpoint import logs, tasks
from pinpoint.nets.bundle.bundles import BUNDLES_FOLDER
from pinpoint.progress import StageProgressCallback
from pinpoint.training.core.configs import EmbedderConfig
from pinpoint.training.core.runs import all_runs, execute_run
from pinpoint_workers.retries import retryable_task
from pinpoint_workers.runtime import open_services

_log = logs.get_logger(__name__)


@retryable_task
def train_embedder(ids: list[UUID]) -> None:
    """Start or resume training runs."""
    worker = open_services()
    home, max_attempts = worker.settings.services.home, worker.settings.worker.max_attempts
    for run_id in ids:
        run = execute_run(home, run_id, _train_bundle, max_attempts=max_attempts)
        _log.info(
            "training ended", run=str(run_id), state=run.state if run else "taken by another worker"
        )


def _train_bundle(config: EmbedderConfig, folder: Path, on_progress: StageProgressCallback) -> Path:
    # Imported here, so that other workers never load torch's optimizers.
    from pinpoint.training.embedder import train_embedder

    worker = open_services()
    _log.info("training", run=folder.name, bundle=config.name)
    result = train_embedder.train_embedder(
        config,
        folder,
        settings=worker.settings,
        decoder=worker.decoder,
        into=worker.settings.services.home / BUNDLES_FOLDER / config.name,
        gallery=worker.training_rows,
        on_progress=on_progress,
    )
    return result.bundle


def resume_runs() -> None:
    """Send the tasks of all unfinished runs, because their workers may have been lost."""
    worker = open_services()
    for run in all_runs(worker.settings.services.home):
        if run.state in ("queued", "stopped"):
            worker.tasks.send(tasks.TRAIN_EMBEDDER, [UUID(run.id)])


TASKS: Final[dict[str, Callable[[list[str]], None]]] = {tasks.TRAIN_EMBEDDER: train_embedder}
