"""Training runs that a worker carries out: a folder for each, below the home.

The files of the folder are the truth; the job in the broker only rings the bell. A job that comes
twice, late, or to two workers changes nothing, and a run whose worker was lost goes on from its
checkpoint with the next job, whoever rings.

config.json     what was asked, with absolute paths
progress.json   how far it is
.worker         locked by whoever works on it, so that a dead worker's lock is gone
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal
from uuid import UUID, uuid4

from pydantic import ValidationError

from pinpoint.errors import BadRequest, Conflict, NotFound, PinpointError
from pinpoint.nets.bundles import BUNDLES_FOLDER, check_new, read_bundle
from pinpoint.training.configs import EmbedderConfig, SourceConfig

RUNS: Final = "training"
"""Folder of all runs, in the home."""
REPORT: Final = "report.json"
_CONFIG: Final = "config.json"
_PROGRESS: Final = "progress.json"
_LOCK: Final = ".worker"
_PATIENCE_S: Final = 1.0
"""Somebody who only looks holds the lock for less."""
_STAGES: Final = ("features", "steps")

State = Literal["queued", "running", "stopped", "done", "failed"]
Moved = Callable[[str, int, int], None]
"""Told the stage, what is done of it, and of how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How a run stands."""

    id: str
    name: str
    """Of the bundle that comes out."""
    state: State = "queued"
    """`stopped`: its worker is gone; it is never written, but found out."""
    stage: str | None = None
    """`features` or `steps`."""
    done: int = 0
    total: int = 0
    eta_s: float | None = None
    """Until the stage ends."""
    tries: int = 0
    """Starts since it last got further than ever before."""
    furthest: tuple[int, int] = (-1, 0)
    """Number of the stage, and what was done of it."""
    reason: str | None = None
    """Stable word, where it failed."""
    detail: str | None = None
    bundle: str | None = None
    queued_at: str = ""
    changed_at: str = ""


def open_run(home: Path, config: EmbedderConfig) -> Run:
    """Make a run's folder.

    Args:
        home: Of the stack.
        config: With organisations; paths may be relative to the caller's folder.

    Raises:
        Conflict: A bundle of that name exists already.
    """
    check_new(home / BUNDLES_FOLDER / config.name)
    tower = Path(config.tower).expanduser()
    placed = config.model_copy(
        update={
            "tower": str(tower.absolute()) if tower.is_dir() else config.tower,
            "sources": tuple(
                one.model_copy(update={"manifest": one.manifest.absolute()})
                if isinstance(one, SourceConfig)
                else one
                for one in config.sources
            ),
        }
    )
    run = Run(id=str(uuid4()), name=config.name, queued_at=_now())
    folder = folder_of(home, UUID(run.id))
    folder.mkdir(parents=True, mode=0o700)
    _replace(folder / _CONFIG, placed.model_dump_json(indent=1))
    _write(folder, run)
    return run


def folder_of(home: Path, run_id: UUID) -> Path:
    """Where a run lies."""
    return home / RUNS / str(run_id)


def all_runs(home: Path) -> list[Run]:
    """Every run of the home, oldest first."""
    found = [_seen(path.parent) for path in (home / RUNS).glob(f"*/{_PROGRESS}")]
    return sorted(found, key=lambda run: (run.queued_at, run.id))


def find_run(home: Path, run_id: UUID) -> Run:
    """One run.

    Raises:
        NotFound: There is none of that id.
    """
    folder = folder_of(home, run_id)
    if not (folder / _PROGRESS).is_file():
        raise NotFound(f"no training run {run_id} below {home / RUNS}")
    return _seen(folder)


def queue_again(home: Path, run_id: UUID) -> Run:
    """Let a run that failed or was stopped go on with the next job.

    Raises:
        NotFound: There is none of that id.
        Conflict: It is done, or a worker is at it.
    """
    run = find_run(home, run_id)
    if run.state in ("done", "running"):
        raise Conflict(f"the training run {run_id} is {run.state}")
    again = replace(run, state="queued", tries=0, reason=None, detail=None, changed_at=_now())
    _write(folder_of(home, run_id), again)
    return again


def carry_out(
    home: Path,
    run_id: UUID,
    train: Callable[[EmbedderConfig, Path, Moved], Path],
    *,
    most_tries: int,
) -> Run | None:
    """Do a run, or go on with it; what goes wrong with it is written down.

    Args:
        home: Of the stack.
        run_id: Which.
        train: Trains by a config in a folder and returns the bundle.
        most_tries: So many workers may be lost without the run getting further.

    Returns:
        How it ended; None where nothing was to do: another worker is at it, or it has ended.

    Raises:
        NotFound: There is no such run.
        PinpointError: What `train` raised, after it was written down.
    """
    find_run(home, run_id)
    folder = folder_of(home, run_id)
    with _at_work(folder) as alone:
        run = _read(folder)
        if not alone or run.state in ("done", "failed"):
            return None
        if run.tries >= most_tries:
            detail = f"{run.tries} workers were lost over it without it getting further"
            return _failed(folder, run, "too_many_attempts", detail)
        run = _write(folder, replace(run, state="running", tries=run.tries + 1))
        book = _Book(folder, run)
        try:
            config = _asked(folder)
            bundle = _made_before(home / BUNDLES_FOLDER / config.name, folder)
            bundle = bundle or train(config, folder, book.moved)
        except Exception as error:
            known = isinstance(error, PinpointError)
            reason = error.reason if isinstance(error, PinpointError) else "unforeseen"
            _failed(folder, book.run, reason, str(error) if known else repr(error))
            raise
        ended = replace(book.run, state="done", eta_s=None, bundle=str(bundle))
        return _write(folder, ended)


class _Book:
    """Writes down how far a run is."""

    def __init__(self, folder: Path, run: Run) -> None:
        self.run, self._folder = run, folder
        self._begun: tuple[str | None, float, int] = (None, 0.0, 0)

    def moved(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._begun[0]:
            self._begun = (stage, now, done)
        _, since, first = self._begun
        eta_s = (total - done) * (now - since) / (done - first) if done > first else None
        here = (_STAGES.index(stage), done)
        further = here > self.run.furthest
        self.run = _write(
            self._folder,
            replace(
                self.run,
                stage=stage,
                done=done,
                total=total,
                eta_s=None if eta_s is None else round(eta_s, 1),
                # A run that brings its workers down at one place must not do so for ever.
                tries=0 if further and self.run.furthest != (-1, 0) else self.run.tries,
                furthest=here if further else self.run.furthest,
            ),
        )


@contextmanager
def _at_work(folder: Path) -> Iterator[bool]:
    """Whether nobody else works on the run; the kernel gives the lock back when we die."""
    until = time.monotonic() + _PATIENCE_S
    with (folder / _LOCK).open("a") as lock:
        while not (got := _take(lock.fileno(), fcntl.LOCK_EX)) and time.monotonic() < until:
            time.sleep(0.02)
        yield got


def _take(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _seen(folder: Path) -> Run:
    """A run as it is: one that says it runs may have lost its worker."""
    run = _read(folder)
    if run.state == "running":
        with (folder / _LOCK).open("a") as lock:
            if _take(lock.fileno(), fcntl.LOCK_SH):
                run = _read(folder)  # it may have ended just before
                return replace(run, state="stopped") if run.state == "running" else run
    return run


def _made_before(bundle: Path, folder: Path) -> Path | None:
    """The bundle, if a worker was lost after writing it and before saying so."""
    report = folder / REPORT
    if not bundle.exists() or not report.is_file():
        return None
    said = json.loads(report.read_text(encoding="utf-8"))["split"]["fingerprint"]
    heads = read_bundle(bundle).contract.heads
    note = heads.training if heads else None
    return bundle if note is not None and note.data == said else None


def _asked(folder: Path) -> EmbedderConfig:
    try:
        return EmbedderConfig.model_validate_json((folder / _CONFIG).read_bytes())
    except (OSError, ValidationError) as error:
        raise BadRequest(f"{folder / _CONFIG} cannot be used: {error}") from error


def _read(folder: Path) -> Run:
    path = folder / _PROGRESS
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        said["furthest"] = tuple(said["furthest"])
        return Run(**{field.name: said[field.name] for field in fields(Run)})
    except (OSError, ValueError, KeyError, TypeError) as error:
        # One damaged file must not hide all other runs; a run that goes on writes it anew.
        detail = f"{path} cannot be read ({error})"
        return Run(id=folder.name, name="?", state="failed", reason="unreadable", detail=detail)


def _failed(folder: Path, run: Run, reason: str, detail: str) -> Run:
    return _write(folder, replace(run, state="failed", reason=reason, detail=detail, eta_s=None))


def _write(folder: Path, run: Run) -> Run:
    said = replace(run, changed_at=_now())
    _replace(folder / _PROGRESS, json.dumps(asdict(said), indent=1) + "\n")
    return said


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
