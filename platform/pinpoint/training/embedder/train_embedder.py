"""Training of an embedder: heads and location tower on a frozen or trained tower.

    sources ─read→ samples ─split→ train | validation ─cache→ features ─run→ weights ─→ bundle

Every stage can be repeated: the cache and the checkpoints are reused.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pinpoint.errors import BadRequestError, ConflictError
from pinpoint.nets.bundle.bundles import Bundle, require_absent
from pinpoint.nets.bundle.contract import TrainingNote
from pinpoint.nets.embedder.joint_embedding import write_joint_embedding
from pinpoint.ports import Decoder, TrainingDataReader
from pinpoint.progress import StageProgressCallback
from pinpoint.settings import Settings
from pinpoint.training.core import loop
from pinpoint.training.core.configs import EmbedderConfig
from pinpoint.training.core.distributed import SINGLE_PROCESS, DistributedContext
from pinpoint.training.core.runs import REPORT
from pinpoint.training.core.samples import LoadedSamples, Rows, Samples
from pinpoint.training.core.sampling import BatchSampler
from pinpoint.training.core.splits import Split, SplitSettings, split_samples
from pinpoint.training.embedder.feature_source import (
    FeatureSource,
    open_feature_source,
    write_tower_bundle,
)
from pinpoint.training.embedder.features import Features, cache_features, open_features
from pinpoint.training.embedder.load_samples import FEATURES, load_samples
from pinpoint.training.embedder.objective import FeatureTable, Networks
from pinpoint.training.embedder.validation import Validation

_LOCK: Final = ".lock"
_DECODE_THREADS: Final = 2
"""Files decoded concurrently, by as many children."""

"""Called with the stage, its completed items and all its items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """Result of a run."""

    bundle: Path
    report: Mapping[str, Any]


def train_embedder(
    config: EmbedderConfig,
    folder: Path,
    *,
    settings: Settings,
    decoder: Decoder,
    into: Path,
    gallery: TrainingDataReader | None = None,
    processes: DistributedContext = SINGLE_PROCESS,
    on_progress: StageProgressCallback = lambda stage, completed, total: None,
) -> TrainingResult:
    """Train heads and location tower, or resume an interrupted run.

    Args:
        config: Training data and hyperparameters.
        folder: Folder of the run: cached features, checkpoints, log, report.
        settings: Home (for the tower's bundle), media limits, device.
        decoder: Decodes the images; two children are enough.
        into: Path of the new bundle; it must not exist yet.
        gallery: The catalog of a running stack, if the config names sources of it.
        processes: The processes that share each batch. The first one reads images and writes files,
            so all processes need access to the same folder.
        on_progress: Called for the stages `features` and `steps`.

    Raises:
        ConflictError: `into` exists, or the folder holds another run.
        BadRequestError: There is no training data, or a number of the config does not fit the data.
        NotFoundError: The catalog has no such source.
        DatabaseUnavailableError: The config names sources of the catalog, and the stack is down.
        BadBundleError: The tower's bundle cannot be used.
    """
    require_absent(into)
    front = open_feature_source(config, settings)
    with run_lock(folder, processes):
        gathered = load_samples(config, folder, settings.media, gallery, processes)
        split = _split_data(config, gathered)
        samples = gathered.samples
        # Checks that such a batch fits these images, before hours of decoding.
        BatchSampler(samples, split.train, batch=config.schedule.batch, seed=config.schedule.seed)
        if processes.first:
            _fill_cache(front, samples, folder, decoder, on_progress)
        processes.wait()
        features = open_features(folder / FEATURES, samples, tower=front.digest, width=front.width)
        train, validation_rows = (
            np.intersect1d(rows, features.usable) for rows in (split.train, split.validation)
        )
        if not len(validation_rows):
            raise BadRequestError(f"no validation image can be read: {dict(features.dropped)}")
        validation = Validation(samples=samples, features=features, rows=validation_rows)
        identity = _run_identity(config, split, front, train)
        state, took_s = _run(
            config, folder, identity, train, validation, front, processes, on_progress
        )
        average = state.average.eval()
        metrics, tower_metrics = validation.measure(average)
        report = _build_report(
            config, gathered, split, features, validation_rows, metrics, tower_metrics, took_s
        )
        if processes.first:
            # The report comes first, because an existing bundle makes every later run fail.
            write_report(folder / REPORT, {**report, "run": identity})
            tower = write_tower_bundle(
                front, average.tower, folder, name=config.name, license=config.license
            )
            _write_bundle(config, into, tower, state, samples, split, metrics, tower_metrics)
        processes.wait()
    return TrainingResult(bundle=into, report=report)


@contextmanager
def run_lock(folder: Path, processes: DistributedContext = SINGLE_PROCESS) -> Iterator[None]:
    """Lock the run's folder for these processes.

    Raises:
        ConflictError: Another process uses the folder for training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not processes.first:
        yield
        return
    with (folder / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConflictError(f"another process trains in {folder}") from error
        yield


def _run_identity(config: EmbedderConfig, split: Split, front: FeatureSource, train: Rows) -> str:
    """Hash of config, images, split and tower; a checkpoint resumes only the same run."""
    weights = front.bundle.contract.weights if front.bundle else None
    parts = (
        config.digest(),
        split.fingerprint,
        front.digest,
        weights.sha256 if weights else "",
    )
    hashed = hashlib.sha256("\n".join(parts).encode())
    hashed.update(train.tobytes())
    return hashed.hexdigest()[:16]


def _write_bundle(
    config: EmbedderConfig,
    into: Path,
    tower: Bundle,
    state: loop.TrainingState[Networks],
    samples: Samples,
    split: Split,
    metrics: Mapping[str, float],
    tower_metrics: Mapping[str, float],
) -> None:
    """Write the averaged weights; the location tower is included only if a loss trained it."""
    has_location = config.losses.place > 0
    scale, _ = state.average.of_places()
    tower_named = {f"bare tower {name}": share for name, share in tower_metrics.items()}
    write_joint_embedding(
        into,
        name=config.name,
        tower=tower,
        heads=state.average.heads.eval(),
        location=state.average.location.eval() if has_location else None,
        license=config.license,
        note=config.note,
        temperature=float(scale) if has_location else None,
        training=TrainingNote(
            data=split.fingerprint,
            split=_describe_split(config, samples),
            steps=state.best.step if state.best else state.step,
            metrics={**metrics, **tower_named},
        ),
    )


def _split_data(config: EmbedderConfig, gathered: LoadedSamples) -> Split:
    return split_samples(
        gathered.samples,
        SplitSettings(
            seed=config.schedule.seed,
            share=config.split.share,
            buffer_m=config.split.buffer_m,
            resolution=config.split.resolution,
        ),
    )


def _fill_cache(
    front: FeatureSource,
    samples: Samples,
    folder: Path,
    decoder: Decoder,
    on_progress: StageProgressCallback,
) -> None:
    cache_features(
        folder / FEATURES,
        samples,
        decoder=decoder,
        encode=front.encode,
        tower=front.digest,
        width=front.width,
        threads=_DECODE_THREADS,
        on_progress=lambda completed, total: on_progress("features", completed, total),
    )


def _run(
    config: EmbedderConfig,
    folder: Path,
    identity: str,
    rows: Rows,
    validation: Validation,
    front: FeatureSource,
    processes: DistributedContext,
    on_progress: StageProgressCallback,
) -> tuple[loop.TrainingState[Networks], float]:
    """The trained state, and the seconds that this part of the run took."""
    samples, features = validation.samples, validation.features
    sampler = BatchSampler(samples, rows, batch=config.schedule.batch, seed=config.schedule.seed)
    table = FeatureTable.of(samples, features, rows, config)
    state = loop.init_state(
        config,
        sampler.kinds,
        front.features,
        cells=len(table.cells.counts),
        make_tower=front.make_tower,
    )
    state = loop.resume_checkpoint(state, folder, identity)
    # All processes must read the checkpoint before the first one writes another.
    processes.wait()
    started_at = time.perf_counter()
    state = loop.train(
        state,
        table=table,
        sampler=sampler,
        config=config,
        folder=folder,
        identity=identity,
        processes=processes,
        score=validation.score if config.schedule.patience else None,
        on_progress=lambda completed, total, loss: on_progress("steps", completed, total),
    )
    return state, time.perf_counter() - started_at


def _describe_split(config: EmbedderConfig, samples: Samples) -> str:
    """The text about the split that the bundle stores."""
    split, losses, batch = config.split, config.losses, config.schedule.batch
    known_creators = float((samples.creators != "").mean())
    return (
        f"{split.share:g} of the pictures for validation, in H3 cells of resolution"
        f" {split.resolution}, disjoint by sequence and by author (known for {known_creators:.0%}),"
        f" {split.buffer_m:g} m apart;"
        f" batches of {batch} even over kinds and, within a kind, over its cells of resolution"
        f" {config.cells}; {losses.extra_places} more places as negatives, even over all cells"
    )


def _build_report(
    config: EmbedderConfig,
    gathered: LoadedSamples,
    split: Split,
    features: Features,
    validation: Rows,
    metrics: Mapping[str, float],
    tower_metrics: Mapping[str, float],
    took_s: float,
) -> dict[str, Any]:
    return {
        "config": config.model_dump(mode="json"),
        "validation_pictures": len(validation),
        "rows": gathered.rows,
        "dropped": dict(Counter(gathered.dropped) + Counter(features.dropped)),
        "catalog_read_at": gathered.read_at,
        "split": {**split.counts, "fingerprint": split.fingerprint},
        "validation": dict(metrics),
        "bare_tower": dict(tower_metrics),
        "seconds_of_steps": round(took_s, 1),
        "threads": torch.get_num_threads(),
    }


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report atomically."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
