"""Training an embedder behind a frozen tower.

    manifests ─read→ samples ─split→ train | validation ─cache→ features ─run→ weights ─→ bundle

Every stage can be run again: the cache and the checkpoints are gone on with.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pinpoint.errors import BadRequest, Conflict
from pinpoint.nets.bundles import Bundle, find_bundle
from pinpoint.nets.contract import TrainingNote, digest
from pinpoint.nets.runtime import choose_device, tower_features
from pinpoint.nets.spaces import write_space
from pinpoint.ports import Decoder
from pinpoint.settings import Settings
from pinpoint.training import loop
from pinpoint.training.configs import EmbedderConfig
from pinpoint.training.features import Features, cache_features
from pinpoint.training.objective import Table
from pinpoint.training.samples import Gathered, Samples, Source, read_samples
from pinpoint.training.sampling import BatchSampler
from pinpoint.training.splits import Split, SplitSettings, split_samples
from pinpoint.training.validation import recalls, space_vectors, tower_vectors

REPORT: Final = "report.json"
FEATURES: Final = "features"
_AHEAD: Final = 2
"""Files decoded at once, by as many children."""

Say = Callable[[str], None]
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
    on_progress: Progress = lambda what, done, total: None,
) -> Trained:
    """Train heads and location tower, or go on with a run that was broken off.

    Args:
        config: What to train on, and how.
        folder: Of the run: cached features, checkpoints, log, report.
        settings: Home (for the tower's bundle), media limits, device.
        decoder: Reads the pictures; two children are enough.
        into: Where the bundle goes; it must not exist yet.
        on_progress: Told `features` and `steps`.

    Raises:
        Conflict: `into` exists, or the folder holds another run.
        BadRequest: Nothing to train on, or a number of the config does not fit the data.
        BadBundle: The tower's bundle cannot be used.
    """
    if into.exists():
        raise Conflict(f"{into} exists already; a bundle is written once")
    folder.mkdir(parents=True, exist_ok=True)
    tower = _bare(find_bundle(config.tower, settings.places.home))
    gathered, split = _divided(config, settings)
    features = _features(tower, gathered.samples, folder, settings, decoder, on_progress)
    train, validation = (
        np.intersect1d(rows, features.usable) for rows in (split.train, split.validation)
    )
    state, took_s = _run(config, folder, gathered.samples, features, train, on_progress)
    heads = state.average.heads.eval()
    samples = gathered.samples
    measured = recalls(space_vectors(heads, samples, features, validation), samples, validation)
    bare = recalls(tower_vectors(features, validation), samples, validation)
    write_space(
        into,
        name=config.name,
        tower=tower,
        heads=heads,
        location=state.average.location.eval(),
        licence=config.licence,
        note=config.note,
        temperature=float(state.average.of_places.log_scale.exp()),
        training=TrainingNote(
            data=split.fingerprint,
            split=_words(config, split),
            steps=state.step,
            metrics=dict(measured),
        ),
    )
    report = _report(config, gathered, split, features, measured, bare, took_s)
    _write(folder / REPORT, report)
    return Trained(bundle=into, report=report)


def _bare(tower: Bundle) -> Bundle:
    if tower.weights is None or tower.contract.heads is not None:
        raise BadRequest(
            f"{tower.contract.name} is no bare tower with weights; bring one in with `pinpoint "
            "bundles import` or `pull`"
        )
    return tower


def _divided(config: EmbedderConfig, settings: Settings) -> tuple[Gathered, Split]:
    sources = [Source(manifest=one.manifest, kind=one.kind) for one in config.sources]
    gathered = read_samples(sources, settings.media, resolution=config.cells)
    split = split_samples(
        gathered.samples,
        SplitSettings(
            seed=config.schedule.seed,
            share=config.split.share,
            buffer_m=config.split.buffer_m,
            resolution=config.split.resolution,
        ),
    )
    return gathered, split


def _features(
    tower: Bundle,
    samples: Samples,
    folder: Path,
    settings: Settings,
    decoder: Decoder,
    on_progress: Progress,
) -> Features:
    device, batch = choose_device(settings.encoder.device), settings.encoder.encode_batch
    return cache_features(
        folder / FEATURES,
        samples,
        decoder=decoder,
        encode=tower_features(tower, device, batch),
        tower=digest(tower.contract, settings.media.rendition_px),
        width=tower.contract.dims["image"],
        threads=_AHEAD,
        on_progress=lambda done, total: on_progress("features", done, total),
    )


def _run(
    config: EmbedderConfig,
    folder: Path,
    samples: Samples,
    features: Features,
    rows: np.ndarray[Any, np.dtype[np.int64]],
    on_progress: Progress,
) -> tuple[loop.State, float]:
    """The trained state, and the seconds this part of the run took."""
    sampler = BatchSampler(samples, rows, batch=config.schedule.batch, seed=config.schedule.seed)
    state = loop.begin(config, sampler.kinds, features.values.shape[1])
    state = loop.resume(state, folder, config)
    begun = time.perf_counter()
    state = loop.run(
        state,
        table=Table.of(samples, features, rows),
        sampler=sampler,
        config=config,
        folder=folder,
        on_progress=lambda done, total, loss: on_progress("steps", done, total),
    )
    return state, time.perf_counter() - begun


def _words(config: EmbedderConfig, split: Split) -> str:
    own = config.split
    return (
        f"H3 cells of resolution {own.resolution}, {own.share:g} of them for validation, disjoint"
        f" by author and sequence, {own.buffer_m:g} m apart; batches even over kinds and over cells"
        f" of resolution {config.cells}, so places have an even prior over occupied cells"
    )


def _report(
    config: EmbedderConfig,
    gathered: Gathered,
    split: Split,
    features: Features,
    measured: Mapping[str, float],
    bare: Mapping[str, float],
    took_s: float,
) -> dict[str, Any]:
    return {
        "config": config.model_dump(mode="json"),
        "run": config.digest(),
        "rows": gathered.rows,
        "dropped": {**gathered.dropped, **features.dropped},
        "split": {**split.counts, "fingerprint": split.fingerprint},
        "validation": dict(measured),
        "bare_tower": dict(bare),
        "seconds_of_steps": round(took_s, 1),
        "threads": torch.get_num_threads(),
    }


def _write(path: Path, report: Mapping[str, Any]) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)
