"""Training of a reranker on the index's own bundle.

    labels ─read→ queries ─split→ train | validation ─search→ examples ─run→ weights ─→ bundle

Every stage can be repeated: examples and checkpoints are reused.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pinpoint.errors import BadRequestError
from pinpoint.evaluation.labels.labels import LabeledQuery, read_labels
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.nets.bundle.bundles import Bundle, require_absent
from pinpoint.nets.bundle.contract import TrainingNote
from pinpoint.nets.reranker.bundle_reranker import write_reranked
from pinpoint.nets.reranker.network import RerankerNetwork
from pinpoint.progress import StageProgressCallback
from pinpoint.training.core import loop
from pinpoint.training.core.checkpoints import TrainingState, resume_checkpoint
from pinpoint.training.core.runs import REPORT
from pinpoint.training.core.samples import Rows, Samples
from pinpoint.training.core.splits import Split, SplitSettings, split_samples
from pinpoint.training.embedder.train_embedder import (
    TrainingResult,
    run_lock,
    write_report,
)
from pinpoint.training.reranker.config import QueriesConfig, RerankerConfig
from pinpoint.training.reranker.examples import (
    IN_GALLERY_RADIUS_M,
    ExampleGallery,
    Examples,
    TrainingQuery,
    cache_examples,
    split_table,
)
from pinpoint.training.reranker.leakage_check import short_evidence_shares
from pinpoint.training.reranker.objective import reranker_batch_loss
from pinpoint.training.reranker.validation import compute_reranker_metrics, evaluate_reranker

EXAMPLES_FOLDER: Final = "examples"
_LEAKAGE_SAMPLE: Final = 2_000
"""Approximate number of training queries that are checked for short evidence."""


def train_reranker(
    config: RerankerConfig,
    folder: Path,
    *,
    gallery: ExampleGallery,
    bundle: Bundle,
    into: Path,
    on_progress: StageProgressCallback = lambda stage, completed, total: None,
) -> TrainingResult:
    """Train a reranker, or resume an interrupted run.

    Args:
        config: Training data and hyperparameters.
        folder: Folder of the run: examples, checkpoints, log, report.
        gallery: The gallery that the queries are run against, by the real search flow.
        bundle: The bundle of the vectors in the index.
        into: Path of the new bundle with the reranker; it must not exist yet.
        on_progress: Called for the stages `examples` and `steps`.

    Raises:
        ConflictError: `into` exists, or the folder holds another run.
        BadRequestError: There is no training data, or the bundle is the descriptor.
        BadManifestError: Labels cannot be read.
        UnavailableError: A component of the stack does not respond.
    """
    require_absent(into)
    if bundle.weights is None:
        raise BadRequestError(
            f"{bundle.contract.name} is built in and cannot hold a reranker; use a bundle with a "
            "tower (`pinpoint bundles activate`)"
        )
    with run_lock(folder):
        training_queries = [
            training_query
            for number, queries in enumerate(config.queries)
            for training_query in _read_queries(number, queries)
        ]
        table = split_table(training_queries, config.split.h3_resolution)
        split = split_samples(table, SplitSettings(seed=config.schedule.seed, **dict(config.split)))
        examples = cache_examples(
            folder / EXAMPLES_FOLDER,
            training_queries,
            table,
            gallery,
            lambda completed, total: on_progress("examples", completed, total),
        )
        train, validation = _usable_rows(split, examples)
        radius_m = min(IN_GALLERY_RADIUS_M, config.split.buffer_m / 2.0)
        examples = examples.hide_near(table.positions[split.validation], radius_m)
        examples = replace(examples, slots=gallery.candidate_slots(config.gallery.candidates))
        identity = _run_identity(config, split, gallery, train)
        state, training_s = _run(config, folder, identity, examples, train, validation, on_progress)
        metrics = compute_reranker_metrics(
            evaluate_reranker(state.averaged_nets.eval(), examples, validation, config)
        )
        report = _build_report(config, split, examples, train, validation, metrics, training_s)
        # The report comes first, because an existing bundle makes every later run fail.
        write_report(folder / REPORT, {**report, "run": identity})
        _write_bundle(config, into, bundle, state, table, split, metrics)
    return TrainingResult(bundle=into, report=report)


def _usable_rows(split: Split, examples: Examples) -> tuple[Rows, Rows]:
    """Training and validation queries with readable photos.

    Raises:
        BadRequestError: One of the two is empty.
    """
    rejected = np.array(sorted(examples.rejected), dtype=np.int64)
    train, validation = (np.setdiff1d(rows, rejected) for rows in (split.train, split.validation))
    if not len(train) or not len(validation):
        raise BadRequestError(
            "no photo for training, or none for validation, can be read: "
            f"{dict(_count_reasons(examples))}"
        )
    return train, validation


def _write_bundle(
    config: RerankerConfig,
    into: Path,
    bundle: Bundle,
    state: TrainingState[RerankerNetwork],
    table: Samples,
    split: Split,
    metrics: Mapping[str, float],
) -> None:
    """Write the averaged weights together with the contents of the bundle."""
    write_reranked(
        into,
        name=config.name,
        bundle=bundle,
        network=state.averaged_nets,
        evidence_radius_m=config.gallery.evidence_radius_m,
        evidence_per_kind=config.gallery.evidence_per_kind,
        license=config.license,
        training=TrainingNote(
            data_fingerprint=split.fingerprint,
            split=_describe_split(config, table),
            steps=state.best.step if state.best else state.step,
            metrics=dict(metrics),
        ),
    )


def _read_queries(query_set: int, queries: QueriesConfig) -> list[TrainingQuery]:
    """The queries of one configured set.

    Raises:
        BadRequestError: Unknown protocol, no folder of images, or no row with the given values.
        BadManifestError: The labels cannot be read.
    """
    if queries.protocol not in PROTOCOLS:
        raise BadRequestError(
            f"unknown protocol {queries.protocol!r}; use one of {', '.join(PROTOCOLS)}"
        )
    if not queries.images.is_dir():
        raise BadRequestError(f"the folder of images {queries.images} does not exist")
    labeled = read_labels(PROTOCOLS[queries.protocol], queries.labels)
    chosen = [
        query
        for query in labeled.queries
        if all(_label_value(query, name) == value for name, value in queries.filter.items())
    ]
    if not chosen:
        criteria = (
            ", ".join(f"{name}={value}" for name, value in queries.filter.items()) or "a position"
        )
        raise BadRequestError(f"no row of {queries.labels} has {criteria}")
    return [
        TrainingQuery(
            query=replace(query, query_kind=query.query_kind or queries.kind),
            images=queries.images,
            query_set=query_set,
        )
        for query in chosen
    ]


def _label_value(query: LabeledQuery, name: str) -> str | None:
    return query.query_kind if name == "kind" else query.strata.get(name)


def _run_identity(
    config: RerankerConfig, split: Split, gallery: ExampleGallery, train: Rows
) -> str:
    """Hash of config, queries, split and gallery; a checkpoint resumes only the same run."""
    description = json.dumps(gallery.describe(), sort_keys=True)
    hashed = hashlib.sha256("\n".join((config.digest(), split.fingerprint, description)).encode())
    hashed.update(train.tobytes())
    return hashed.hexdigest()[:16]


def init_reranker_state(config: RerankerConfig, dim: int) -> TrainingState[RerankerNetwork]:
    """Network, average and optimizer of step 0; the same seed gives the same state."""
    torch.manual_seed(config.schedule.seed)
    return loop.init_training_state(RerankerNetwork(config.network.spec(dim)), config.schedule)


def _run(
    config: RerankerConfig,
    folder: Path,
    identity: str,
    examples: Examples,
    train: Rows,
    validation: Rows,
    on_progress: StageProgressCallback,
) -> tuple[TrainingState[RerankerNetwork], float]:
    """The trained state, and the seconds that this part of the run took."""
    state = resume_checkpoint(
        init_reranker_state(config, examples.rows["query"].shape[1]), folder, identity
    )
    started_at = time.perf_counter()
    state = loop.train_loop(
        state,
        loss=lambda step: reranker_batch_loss(state.nets, examples, train, step, config),
        schedule=config.schedule,
        context=loop.LoopContext(
            folder=folder,
            identity=identity,
            on_progress=lambda completed, total, loss: on_progress("steps", completed, total),
        ),
        # The loop keeps the weights with the highest score.
        score=(lambda net: -evaluate_reranker(net, examples, validation, config).loss)
        if config.schedule.patience
        else None,
    )
    return state, time.perf_counter() - started_at


def _count_reasons(examples: Examples) -> Counter[str]:
    return Counter(examples.rejected.values())


def _describe_split(config: RerankerConfig, table: Samples) -> str:
    """The text about the split that the bundle stores."""
    split, gallery = config.split, config.gallery
    known_creators = float((table.creators != "").mean())
    return (
        f"{split.val_fraction:g} of the queries for validation, in H3 cells of resolution"
        f" {split.h3_resolution}, disjoint by sequence and by creator"
        f" (known for {known_creators:.0%}), {split.buffer_m:g} m apart; each query excludes its"
        " own row, its creator, its sequence and near-duplicates, and other localities lose as"
        f" much; {gallery.candidates} candidates, {gallery.evidence_per_kind} evidence photos of"
        f" each kind within {gallery.evidence_radius_m:g} m"
    )


def _build_report(
    config: RerankerConfig,
    split: Split,
    examples: Examples,
    train: Rows,
    validation: Rows,
    metrics: Mapping[str, float],
    training_s: float,
) -> dict[str, Any]:
    sampled = train[:: max(1, len(train) // _LEAKAGE_SAMPLE)]
    return {
        "config": config.model_dump(mode="json"),
        "queries": {"train": len(train), "validation": len(validation)},
        "rejected": dict(_count_reasons(examples)),
        "split": {**split.counts, "fingerprint": split.fingerprint},
        "num_gallery_photos": len(examples.photos.ids),
        "validation": dict(metrics),
        "short_evidence": short_evidence_shares(examples.rows[sampled]),
        "training_s": round(training_s, 1),
        "threads": torch.get_num_threads(),
    }
