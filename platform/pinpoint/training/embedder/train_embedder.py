"""Training of an embedder: heads and location encoder on a frozen or trained tower.

    sources ─read→ samples ─split→ train | validation ─cache→ features ─run→ weights ─→ bundle

Every stage can be repeated: the cache and the checkpoints are reused.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pinpoint.atomic_files import remove_partial_files, write_atomic
from pinpoint.errors import BadRequestError, ConflictError
from pinpoint.file_locks import try_lock
from pinpoint.nets.bundle.bundles import require_absent
from pinpoint.nets.bundle.contract import TrainingNote
from pinpoint.nets.embedder.joint_embedding import JointNetworks, write_joint_embedding
from pinpoint.ports import Decoder, TrainingDataReader
from pinpoint.progress import StageProgressCallback
from pinpoint.settings import Settings
from pinpoint.training.core import loop
from pinpoint.training.core.checkpoints import TrainingState, resume_checkpoint
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
from pinpoint.training.embedder.features import (
    FeatureEncoder,
    Features,
    cache_features,
    open_features,
)
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


def train_embedder(  # noqa: PLR0913 - see long_functions.toml
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
    """Train heads and location encoder, or resume an interrupted run.

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
    source = open_feature_source(config, settings)
    with run_lock(folder, processes):
        loaded = load_samples(config, folder, settings.media, gallery, processes)
        split = _split_data(config, loaded)
        # Checks that such a batch fits these images, before hours of decoding.
        _make_sampler(config, loaded.samples, split.train)
        if processes.is_rank0:
            _fill_cache(source, loaded.samples, folder, decoder, on_progress)
        processes.barrier()
        run = _open_run(config, folder, source, loaded, split, processes)
        state, training_s = _train_networks(run, on_progress)
        metrics, tower_metrics = run.validation.measure(state.averaged_nets.eval())
        report = _build_report(run, metrics, tower_metrics, training_s)
        if processes.is_rank0:
            # The report comes first, because an existing bundle makes every later run fail.
            write_report(folder / REPORT, {**report, "run": run.identity})
            _write_bundle(run, into, state, metrics, tower_metrics)
        processes.barrier()
    return TrainingResult(bundle=into, report=report)


@dataclass(frozen=True, slots=True, kw_only=True)
class _EmbedderRun:
    """A run after its images were read and cached."""

    config: EmbedderConfig
    folder: Path
    source: FeatureSource
    loaded: LoadedSamples
    split: Split
    features: Features
    train_rows: Rows
    """Training images with features."""
    validation: Validation
    """Validation images with features."""
    processes: DistributedContext

    @property
    def samples(self) -> Samples:
        """The table of images."""
        return self.loaded.samples

    @property
    def identity(self) -> str:
        """Hash of config, images, split and tower; a checkpoint resumes only the same run."""
        weights = self.source.bundle.contract.weights if self.source.bundle else None
        parts = (
            self.config.digest(),
            self.split.fingerprint,
            self.source.digest,
            weights.sha256 if weights else "",
        )
        hashed = hashlib.sha256("\n".join(parts).encode())
        hashed.update(self.train_rows.tobytes())
        return hashed.hexdigest()[:16]


def _open_run(
    config: EmbedderConfig,
    folder: Path,
    source: FeatureSource,
    loaded: LoadedSamples,
    split: Split,
    processes: DistributedContext,
) -> _EmbedderRun:
    """Open the cached features of a run.

    Raises:
        BadRequestError: No validation image can be read.
    """
    samples = loaded.samples
    features = open_features(folder / FEATURES, samples, tower=source.digest, width=source.width)
    train_rows, validation_rows = (
        np.intersect1d(rows, features.usable) for rows in (split.train, split.validation)
    )
    if not len(validation_rows):
        raise BadRequestError(f"no validation image can be read: {dict(features.rejection_counts)}")
    return _EmbedderRun(
        config=config,
        folder=folder,
        source=source,
        loaded=loaded,
        split=split,
        features=features,
        train_rows=train_rows,
        validation=Validation(samples=samples, features=features, rows=validation_rows),
        processes=processes,
    )


def _make_sampler(config: EmbedderConfig, samples: Samples, rows: Rows) -> BatchSampler:
    schedule = config.schedule
    return BatchSampler(samples, rows, batch_size=schedule.batch_size, seed=schedule.seed)


@contextmanager
def run_lock(folder: Path, processes: DistributedContext = SINGLE_PROCESS) -> Iterator[None]:
    """Lock the run's folder for these processes.

    Raises:
        ConflictError: Another process uses the folder for training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not processes.is_rank0:
        yield
        return
    with try_lock(folder / _LOCK) as is_locked:
        if not is_locked:
            raise ConflictError(f"another process trains in {folder}")
        remove_partial_files(folder)
        yield


def _write_bundle(
    run: _EmbedderRun,
    into: Path,
    state: TrainingState[Networks],
    metrics: Mapping[str, float],
    tower_metrics: Mapping[str, float],
) -> None:
    """Write the averaged weights; the location encoder is included only if a loss trained it."""
    config, nets = run.config, state.averaged_nets
    tower = write_tower_bundle(
        run.source, nets.tower, run.folder, name=config.name, license=config.license
    )
    has_location = config.losses.image_gps > 0
    logit_scale, _ = nets.image_gps_temperature()
    tower_named = {f"bare tower {name}": share for name, share in tower_metrics.items()}
    write_joint_embedding(
        into,
        name=config.name,
        tower=tower,
        networks=JointNetworks(
            heads=nets.heads.eval(),
            location=nets.location.eval() if has_location else None,
            logit_scale=float(logit_scale) if has_location else None,
            training=TrainingNote(
                data_fingerprint=run.split.fingerprint,
                split=_describe_split(config, run.samples),
                steps=state.best.step if state.best else state.step,
                metrics={**metrics, **tower_named},
            ),
            raw_channel=config.networks.raw_channel,
        ),
        license=config.license,
        note=config.note,
    )


def _split_data(config: EmbedderConfig, loaded: LoadedSamples) -> Split:
    return split_samples(
        loaded.samples,
        SplitSettings(
            seed=config.schedule.seed,
            val_fraction=config.split.val_fraction,
            buffer_m=config.split.buffer_m,
            h3_resolution=config.split.h3_resolution,
        ),
    )


def _fill_cache(
    source: FeatureSource,
    samples: Samples,
    folder: Path,
    decoder: Decoder,
    on_progress: StageProgressCallback,
) -> None:
    cache_features(
        folder / FEATURES,
        samples,
        decoder=decoder,
        encoder=FeatureEncoder(encode=source.encode, digest=source.digest, width=source.width),
        threads=_DECODE_THREADS,
        on_progress=lambda completed, total: on_progress("features", completed, total),
    )


def _train_networks(
    run: _EmbedderRun, on_progress: StageProgressCallback
) -> tuple[TrainingState[Networks], float]:
    """The trained state, and the seconds that this part of the run took."""
    config, source = run.config, run.source
    sampler = _make_sampler(config, run.samples, run.train_rows)
    table = FeatureTable.of(run.samples, run.features, run.train_rows, config)
    state = loop.init_state(
        config,
        sampler.kinds,
        source.feature_dim,
        geocells=len(table.cells.counts),
        make_tower=source.make_tower,
    )
    state = resume_checkpoint(state, run.folder, run.identity)
    # All processes must read the checkpoint before the first one writes another.
    run.processes.barrier()
    started_at = time.perf_counter()
    state = loop.train(
        state,
        table=table,
        sampler=sampler,
        config=config,
        context=loop.LoopContext(
            folder=run.folder,
            identity=run.identity,
            processes=run.processes,
            on_progress=lambda completed, total, loss: on_progress("steps", completed, total),
        ),
        score=run.validation.score if config.schedule.patience else None,
    )
    return state, time.perf_counter() - started_at


def _describe_split(config: EmbedderConfig, samples: Samples) -> str:
    """The text about the split that the bundle stores."""
    split, losses, batch_size = config.split, config.losses, config.schedule.batch_size
    known_creators = float((samples.creators != "").mean())
    return (
        f"{split.val_fraction:g} of the images for validation, in H3 cells of resolution"
        f" {split.h3_resolution}, disjoint by sequence and by creator"
        f" (known for {known_creators:.0%}), {split.buffer_m:g} m apart;"
        f" batches of {batch_size}, balanced over kinds and, within a kind, over its cells of"
        f" resolution {config.geocell_resolution}; {losses.num_sampled_negatives} sampled negative"
        " positions, balanced over all cells"
    )


def _build_report(
    run: _EmbedderRun,
    metrics: Mapping[str, float],
    tower_metrics: Mapping[str, float],
    training_s: float,
) -> dict[str, Any]:
    rejected = Counter(run.loaded.rejected) + Counter(run.features.rejection_counts)
    return {
        "config": run.config.model_dump(mode="json"),
        "num_validation_images": len(run.validation.rows),
        "rows": run.loaded.rows,
        "rejected": dict(rejected),
        "catalog_read_at": run.loaded.read_at,
        "split": {**run.split.counts, "fingerprint": run.split.fingerprint},
        "validation": dict(metrics),
        "bare_tower": dict(tower_metrics),
        "training_s": round(training_s, 1),
        "threads": torch.get_num_threads(),
    }


def write_report(path: Path, report: Mapping[str, Any]) -> None:
    """Write a report atomically and durably: hours of training end with it."""
    write_atomic(path, json.dumps(report, indent=1) + "\n", durable=True)
