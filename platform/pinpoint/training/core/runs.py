"""Training runs of a training worker: one folder for each, below the home.

The files of the folder are authoritative; a task in the broker only signals that a run exists.
Duplicate, late or concurrent tasks are harmless. If a run's worker is lost, the next task resumes
the run from its checkpoint.

config.json     the configuration, with absolute paths
progress.json   state and progress
.worker         locked by the active worker, so that the kernel frees the lock of a dead worker
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal
from uuid import UUID, uuid4

from pydantic import ValidationError

from pinpoint.atomic_files import write_atomic
from pinpoint.errors import (
    BadRequestError,
    ConflictError,
    NotFoundError,
    PinpointError,
    describe_cause,
)
from pinpoint.file_locks import try_lock, try_shared_lock
from pinpoint.nets.bundle.bundles import BUNDLES_FOLDER, read_bundle, require_absent
from pinpoint.progress import StageProgressCallback
from pinpoint.training.core.configs import EmbedderConfig, ManifestSourceConfig

RUNS: Final = "training"
"""Folder of all runs, below the home."""
REPORT: Final = "report.json"
_CONFIG: Final = "config.json"
_PROGRESS: Final = "progress.json"
_LOCK: Final = ".worker"
_LOCK_TIMEOUT_S: Final = 1.0
"""A process that only reads the state holds the lock for less."""
_STAGES: Final = ("features", "steps")

RunState = Literal["queued", "running", "stopped", "done", "failed"]
"""Called with the stage, its completed items and all its items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """State and progress of a run."""

    id: str
    name: str
    """Name of the resulting bundle."""
    state: RunState = "queued"
    """`stopped` means that its worker is gone; it is derived and never written."""
    stage: str | None = None
    """`features` or `steps`."""
    completed: int = 0
    total: int = 0
    eta_s: float | None = None
    """Seconds until the stage ends."""
    attempts: int = 0
    """Starts since the last progress beyond `greatest_progress`."""
    greatest_progress: tuple[int, int] = (-1, 0)
    """Number of the stage, and its completed items, at the greatest progress so far."""
    error_code: str | None = None
    """Stable word, if it failed."""
    error_message: str | None = None
    bundle: str | None = None
    queued_at: str = ""
    updated_at: str = ""


def open_run(home: Path, config: EmbedderConfig) -> Run:
    """Create a run's folder.

    Args:
        home: Home of the stack.
        config: Configuration with organizations; paths may be relative to the working folder.

    Raises:
        ConflictError: A bundle of that name exists already.
    """
    require_absent(home / BUNDLES_FOLDER / config.name)
    tower = Path(config.tower).expanduser()
    resolved = config.model_copy(
        update={
            "tower": str(tower.absolute()) if tower.is_dir() else config.tower,
            "sources": tuple(
                source.model_copy(update={"manifest": source.manifest.absolute()})
                if isinstance(source, ManifestSourceConfig)
                else source
                for source in config.sources
            ),
        }
    )
    run = Run(id=str(uuid4()), name=config.name, queued_at=_utc_now())
    folder = folder_of(home, UUID(run.id))
    folder.mkdir(parents=True, mode=0o700)
    write_atomic(folder / _CONFIG, resolved.model_dump_json(indent=1), durable=True)
    _write_run(folder, run)
    return run


def folder_of(home: Path, run_id: UUID) -> Path:
    """Folder of a run."""
    return home / RUNS / str(run_id)


def all_runs(home: Path) -> list[Run]:
    """Every run of the home, oldest first."""
    runs = [_read_current_state(path.parent) for path in (home / RUNS).glob(f"*/{_PROGRESS}")]
    return sorted(runs, key=lambda run: (run.queued_at, run.id))


def find_run(home: Path, run_id: UUID) -> Run:
    """One run.

    Raises:
        NotFoundError: There is no such run.
    """
    folder = folder_of(home, run_id)
    if not (folder / _PROGRESS).is_file():
        raise NotFoundError(f"no training run {run_id} below {home / RUNS}")
    return _read_current_state(folder)


def requeue(home: Path, run_id: UUID) -> Run:
    """Queue a failed or stopped run; the next task resumes it.

    Raises:
        NotFoundError: There is no such run.
        ConflictError: It is done, or a worker executes it.
    """
    run = find_run(home, run_id)
    if run.state in ("done", "running"):
        raise ConflictError(f"the training run {run_id} is {run.state}")
    queued = replace(
        run, state="queued", attempts=0, error_code=None, error_message=None, updated_at=_utc_now()
    )
    _write_run(folder_of(home, run_id), queued)
    return queued


def execute_run(
    home: Path,
    run_id: UUID,
    train: Callable[[EmbedderConfig, Path, StageProgressCallback], Path],
    *,
    max_attempts: int,
) -> Run | None:
    """Execute a run, or resume it; failures are recorded.

    Args:
        home: Home of the stack.
        run_id: Id of the run.
        train: Trains a config in a folder and returns the bundle.
        max_attempts: Maximum number of workers lost without progress.

    Returns:
        The ended run; None if another worker executes it, or if it had ended already.

    Raises:
        NotFoundError: There is no such run.
        PinpointError: The error of `train`, after it was recorded.
    """
    find_run(home, run_id)
    folder = folder_of(home, run_id)
    with try_lock(folder / _LOCK, timeout_s=_LOCK_TIMEOUT_S) as is_locked:
        run = _read_run(folder)
        if not is_locked or run.state in ("done", "failed"):
            return None
        if run.attempts >= max_attempts:
            error_message = f"{run.attempts} workers were lost without progress of the run"
            return _record_failure(folder, run, "too_many_attempts", error_message)
        run = _write_run(folder, replace(run, state="running", attempts=run.attempts + 1))
        recorder = _ProgressRecorder(folder, run)
        try:
            config = _read_config(folder)
            bundle = _find_written_bundle(home / BUNDLES_FOLDER / config.name, folder)
            bundle = bundle or train(config, folder, recorder.record)
        except Exception as error:
            is_expected = isinstance(error, PinpointError)
            error_code = error.reason if isinstance(error, PinpointError) else "unforeseen"
            error_message = str(error) if is_expected else repr(error)
            _record_failure(folder, recorder.run, error_code, error_message)
            raise
        ended = replace(recorder.run, state="done", eta_s=None, bundle=str(bundle))
        return _write_run(folder, ended)


class _ProgressRecorder:
    """Writes the progress of a run to its folder."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.run, self._folder = run, folder
        self._stage_start: tuple[str | None, float, int] = (None, 0.0, 0)

    def record(self, stage: str, completed: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage_start[0]:
            self._stage_start = (stage, now, completed)
        _, started_at, first = self._stage_start
        remaining, elapsed_s = total - completed, now - started_at
        eta_s = remaining * elapsed_s / (completed - first) if completed > first else None
        position = (_STAGES.index(stage), completed)
        has_advanced = position > self.run.greatest_progress
        self.run = _write_run(
            self._folder,
            replace(
                self.run,
                stage=stage,
                completed=completed,
                total=total,
                eta_s=None if eta_s is None else round(eta_s, 1),
                # A run that always crashes its workers at one position must not run forever.
                attempts=0
                if has_advanced and self.run.greatest_progress != (-1, 0)
                else self.run.attempts,
                greatest_progress=position if has_advanced else self.run.greatest_progress,
            ),
        )


def _read_current_state(folder: Path) -> Run:
    """A run with its current state: a `running` one may have lost its worker."""
    run = _read_run(folder)
    if run.state == "running":
        with try_shared_lock(folder / _LOCK) as is_locked:
            if is_locked:
                run = _read_run(folder)  # It may have ended in the meantime.
                return replace(run, state="stopped") if run.state == "running" else run
    return run


def _find_written_bundle(bundle: Path, folder: Path) -> Path | None:
    """The bundle, if a worker was lost after writing it and before recording the end."""
    report = folder / REPORT
    if not bundle.exists() or not report.is_file():
        return None
    fingerprint = json.loads(report.read_text(encoding="utf-8"))["split"]["fingerprint"]
    heads = read_bundle(bundle).contract.heads
    note = heads.training if heads else None
    return bundle if note is not None and note.data_fingerprint == fingerprint else None


def _read_config(folder: Path) -> EmbedderConfig:
    try:
        return EmbedderConfig.model_validate_json((folder / _CONFIG).read_bytes())
    except (OSError, ValidationError) as error:
        raise BadRequestError(
            f"{folder / _CONFIG} cannot be used: {describe_cause(error)}"
        ) from error


def _read_run(folder: Path) -> Run:
    path = folder / _PROGRESS
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        values["greatest_progress"] = tuple(values["greatest_progress"])
        return Run(**{field.name: values[field.name] for field in fields(Run)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        # One damaged file must not hide all other runs; a resumed run rewrites it.
        error_message = f"{path} cannot be read ({describe_cause(error)})"
        return Run(
            id=folder.name,
            name="?",
            state="failed",
            error_code="unreadable",
            error_message=error_message,
        )


def _record_failure(folder: Path, run: Run, error_code: str, error_message: str) -> Run:
    failed = replace(
        run, state="failed", error_code=error_code, error_message=error_message, eta_s=None
    )
    return _write_run(folder, failed)


def _write_run(folder: Path, run: Run) -> Run:
    changed = replace(run, updated_at=_utc_now())
    # Written after every batch of steps; a resumed run writes it again, so a sync is not worth it.
    write_atomic(folder / _PROGRESS, json.dumps(asdict(changed), indent=1) + "\n", durable=False)
    return changed


def _utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
