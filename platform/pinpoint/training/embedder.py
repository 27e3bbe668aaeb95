"""Training an embedder: heads and location tower behind a tower, frozen or trained along.

    sources ─read→ samples ─split→ train | validation ─cache→ features ─run→ weights ─→ bundle

Every stage can be run again: the cache and the checkpoints are gone on with.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pinpoint.errors import BadRequest, Conflict
from pinpoint.nets.bundles import Bundle, check_new
from pinpoint.nets.contract import TrainingNote
from pinpoint.nets.spaces import write_space
from pinpoint.ports import Decoder, Gallery
from pinpoint.settings import Settings
from pinpoint.training import loop
from pinpoint.training.configs import EmbedderConfig
from pinpoint.training.features import Features, cache_features, open_features
from pinpoint.training.fronts import Front, keep_tower, open_front
from pinpoint.training.gathering import FEATURES, gather
from pinpoint.training.objective import Networks, Table
from pinpoint.training.processes import ALONE, Processes
from pinpoint.training.runs import REPORT
from pinpoint.training.samples import Gathered, Rows, Samples
from pinpoint.training.sampling import BatchSampler
from pinpoint.training.splits import Split, SplitSettings, split_samples
from pinpoint.training.validation import Validation

_LOCK: Final = ".lock"
_AHEAD: Final = 2
"""Files decoded at once, by as many children."""

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a run left."""

    bundle: Path
    report: Mapping[str, Any]


def train_embedder(
    config: EmbedderConfig,
    folder: Path,
    *,
    settings: Settings,
    decoder: Decoder,
    into: Path,
    gallery: Gallery | None = None,
    processes: Processes = ALONE,
    on_progress: Progress = lambda what, done, total: None,
) -> Trained:
    """Train heads and location tower, or go on with a run that was broken off.

    Args:
        config: What to train on, and how.
        folder: Of the run: cached features, checkpoints, log, report.
        settings: Home (for the tower's bundle), media limits, device.
        decoder: Reads the pictures; two children are enough.
        into: Where the bundle goes; it must not exist yet.
        gallery: The catalogue of a running stack, where the config names sources of it.
        processes: Who shares each batch; the first one reads pictures and writes, so all of them
            have to see the same folder.
        on_progress: Told `features` and `steps`.

    Raises:
        Conflict: `into` exists, or the folder holds another run.
        BadRequest: Nothing to train on, or a number of the config does not fit the data.
        NotFound: The catalogue has no such source.
        DatabaseUnavailable: The config names sources of the catalogue, and the stack is down.
        BadBundle: The tower's bundle cannot be used.
    """
    check_new(into)
    front = open_front(config, settings)
    with claimed(folder, processes):
        gathered = gather(config, folder, settings.media, gallery, processes)
        split = _divided(config, gathered)
        samples = gathered.samples
        # Before hours of decoding: does such a batch fit these pictures?
        BatchSampler(samples, split.train, batch=config.schedule.batch, seed=config.schedule.seed)
        if processes.first:
            _cache(front, samples, folder, decoder, on_progress)
        processes.wait()
        features = open_features(folder / FEATURES, samples, tower=front.digest, width=front.width)
        train, validation = (
            np.intersect1d(rows, features.usable) for rows in (split.train, split.validation)
        )
        if not len(validation):
            raise BadRequest(f"no validation picture can be read: {dict(features.dropped)}")
        tried = Validation(samples=samples, features=features, rows=validation)
        identity = _identity(config, split, front, train)
        state, took_s = _run(config, folder, identity, train, tried, front, processes, on_progress)
        best = state.average.eval()
        measured, bare = tried.measured(best)
        report = _report(config, gathered, split, features, validation, measured, bare, took_s)
        if processes.first:
            # First, since a bundle that is there ends every later run.
            write_report(folder / REPORT, {**report, "run": identity})
            tower = keep_tower(front, best.tower, folder, name=config.name, licence=config.licence)
            _bundle(config, into, tower, state, samples, split, measured, bare)
        processes.wait()
    return Trained(bundle=into, report=report)


@contextmanager
def claimed(folder: Path, processes: Processes = ALONE) -> Iterator[None]:
    """The run's folder, for these processes alone.

    Raises:
        Conflict: Another process trains there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not processes.first:
        yield
        return
    with (folder / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(f"another process trains in {folder}") from error
        yield


def _identity(config: EmbedderConfig, split: Split, front: Front, train: Rows) -> str:
    """Names config, pictures, split and tower: what a checkpoint may be gone on with for."""
    weights = front.bundle.contract.weights if front.bundle else None
    parts = (
        config.digest(),
        split.fingerprint,
        front.digest,
        weights.sha256 if weights else "",
    )
    seen = hashlib.sha256("\n".join(parts).encode())
    seen.update(train.tobytes())
    return seen.hexdigest()[:16]


def _bundle(
    config: EmbedderConfig,
    into: Path,
    tower: Bundle,
    state: loop.State[Networks],
    samples: Samples,
    split: Split,
    measured: Mapping[str, float],
    bare: Mapping[str, float],
) -> None:
    """The averaged weights; a location tower only if a loss trained it."""
    placed = config.losses.place > 0
    scale, _ = state.average.of_places()
    write_space(
        into,
        name=config.name,
        tower=tower,
        heads=state.average.heads.eval(),
        location=state.average.location.eval() if placed else None,
        licence=config.licence,
        note=config.note,
        temperature=float(scale) if placed else None,
        training=TrainingNote(
            data=split.fingerprint,
            split=_words(config, samples),
            steps=state.best.step if state.best else state.step,
            metrics={**measured, **{f"bare tower {name}": share for name, share in bare.items()}},
        ),
    )


def _divided(config: EmbedderConfig, gathered: Gathered) -> Split:
    return split_samples(
        gathered.samples,
        SplitSettings(
            seed=config.schedule.seed,
            share=config.split.share,
            buffer_m=config.split.buffer_m,
            resolution=config.split.resolution,
        ),
    )


def _cache(
    front: Front,
    samples: Samples,
    folder: Path,
    decoder: Decoder,
    on_progress: Progress,
) -> None:
    cache_features(
        folder / FEATURES,
        samples,
        decoder=decoder,
        encode=front.encode,
        tower=front.digest,
        width=front.width,
        threads=_AHEAD,
        on_progress=lambda done, total: on_progress("features", done, total),
    )


def _run(
    config: EmbedderConfig,
    folder: Path,
    identity: str,
    rows: Rows,
    tried: Validation,
    front: Front,
    processes: Processes,
    on_progress: Progress,
) -> tuple[loop.State[Networks], float]:
    """The trained state, and the seconds this part of the run took."""
    samples, features = tried.samples, tried.features
    sampler = BatchSampler(samples, rows, batch=config.schedule.batch, seed=config.schedule.seed)
    table = Table.of(samples, features, rows, config)
    state = loop.begin(
        config,
        sampler.kinds,
        front.features,
        cells=len(table.cells.counts),
        make_tower=front.make_tower,
    )
    state = loop.resume(state, folder, identity)
    # Before the first one writes another checkpoint.
    processes.wait()
    begun = time.perf_counter()
    state = loop.run(
        state,
        table=table,
        sampler=sampler,
        config=config,
        folder=folder,
        identity=identity,
        processes=processes,
        score=tried.score if config.schedule.patience else None,
        on_progress=lambda done, total, loss: on_progress("steps", done, total),
    )
    return state, time.perf_counter() - begun


def _words(config: EmbedderConfig, samples: Samples) -> str:
    own, losses, batch = config.split, config.losses, config.schedule.batch
    known = float((samples.creators != "").mean())
    return (
        f"{own.share:g} of the pictures for validation, in H3 cells of resolution {own.resolution},"
        f" disjoint by sequence and by author (known for {known:.0%}), {own.buffer_m:g} m apart;"
        f" batches of {batch} even over kinds and, within a kind, over its cells of resolution"
        f" {config.cells}; {losses.extra_places} more places as negatives, even over all cells"
    )


def _report(
    config: EmbedderConfig,
    gathered: Gathered,
    split: Split,
    features: Features,
    validation: Rows,
    measured: Mapping[str, float],
    bare: Mapping[str, float],
    took_s: float,
) -> dict[str, Any]:
    return {
        "config": config.model_dump(mode="json"),
        "validation_pictures": len(validation),
        "rows": gathered.rows,
        "dropped": dict(Counter(gathered.dropped) + Counter(features.dropped)),
        "catalogue_read_at": gathered.read_at,
        "split": {**split.counts, "fingerprint": split.fingerprint},
        "validation": dict(measured),
        "bare_tower": dict(bare),
        "seconds_of_steps": round(took_s, 1),
        "threads": torch.get_num_threads(),
    }


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report; it appears whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
