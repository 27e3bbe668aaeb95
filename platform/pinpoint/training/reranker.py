"""Training a reranker of the index's own bundle.

    labels ─read→ questions ─split→ train | validation ─ask→ examples ─run→ weights ─→ bundle

Every stage can be run again: examples and checkpoints are gone on with.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from pinpoint.errors import BadRequest
from pinpoint.evaluation.labels import Question, read_labels
from pinpoint.evaluation.protocols import PROTOCOLS
from pinpoint.nets.bundles import Bundle, check_new
from pinpoint.nets.contract import TrainingNote
from pinpoint.nets.reranker import Reranker
from pinpoint.nets.rerankers import write_reranked
from pinpoint.training import loop
from pinpoint.training.embedder import Trained, claimed, write_report
from pinpoint.training.examples import (
    SUPPORT_M,
    Examples,
    Gallery,
    Learner,
    cache_examples,
    table_of,
)
from pinpoint.training.reranker_config import QuestionsConfig, RerankerConfig
from pinpoint.training.reranker_objective import batch_loss
from pinpoint.training.reranker_validation import measured, tried
from pinpoint.training.runs import REPORT
from pinpoint.training.samples import Rows, Samples
from pinpoint.training.short_evidence import short_evidence
from pinpoint.training.splits import Split, SplitSettings, split_samples

EXAMPLES: Final = "examples"
_LOOKED_AT: Final = 2_000
"""So many questions tell whether their evidence is short."""

Progress = Callable[[str, int, int], None]
"""Told what is done, how much of it, and of how much."""


def train_reranker(
    config: RerankerConfig,
    folder: Path,
    *,
    gallery: Gallery,
    bundle: Bundle,
    into: Path,
    on_progress: Progress = lambda what, done, total: None,
) -> Trained:
    """Train a reranker, or go on with a run that was broken off.

    Args:
        config: What to train on, and how.
        folder: Of the run: examples, checkpoints, log, report.
        gallery: What the questions are asked of, by the real search flow.
        bundle: Whose vectors the index holds.
        into: Where the bundle with the reranker goes; it must not exist yet.
        on_progress: Told `examples` and `steps`.

    Raises:
        Conflict: `into` exists, or the folder holds another run.
        BadRequest: Nothing to train on, or the bundle is the descriptor.
        BadManifest: Labels cannot be read.
        Unavailable: A part of the stack does not answer.
    """
    check_new(into)
    if bundle.weights is None:
        raise BadRequest(
            f"{bundle.contract.name} is built in and cannot hold a reranker; use a bundle with a "
            "tower (`pinpoint bundles use`)"
        )
    with claimed(folder):
        learners = [
            each for part, one in enumerate(config.questions) for each in _learners(part, one)
        ]
        table = table_of(learners, config.split.resolution)
        split = split_samples(table, SplitSettings(seed=config.schedule.seed, **dict(config.split)))
        examples = cache_examples(
            folder / EXAMPLES,
            learners,
            table,
            gallery,
            lambda done, total: on_progress("examples", done, total),
        )
        train, validation = _usable(split, examples)
        radius_m = min(SUPPORT_M, config.split.buffer_m / 2.0)
        examples = examples.hiding(table.positions[split.validation], radius_m)
        examples = replace(examples, seats=gallery.seats(config.gallery.candidates))
        identity = _identity(config, split, gallery, train)
        state, took_s = _run(config, folder, identity, examples, train, validation, on_progress)
        said = measured(tried(state.average.eval(), examples, validation, config))
        report = _report(config, split, examples, train, validation, said, took_s)
        # First, since a bundle that is there ends every later run.
        write_report(folder / REPORT, {**report, "run": identity})
        _bundle(config, into, bundle, state, table, split, said)
    return Trained(bundle=into, report=report)


def _usable(split: Split, examples: Examples) -> tuple[Rows, Rows]:
    """The questions of both sides whose pictures could be read.

    Raises:
        BadRequest: There are none of one side.
    """
    refused = np.array(sorted(examples.refused), dtype=np.int64)
    train, validation = (np.setdiff1d(own, refused) for own in (split.train, split.validation))
    if not len(train) or not len(validation):
        raise BadRequest(f"no picture can be read of one side: {dict(_reasons(examples))}")
    return train, validation


def _bundle(
    config: RerankerConfig,
    into: Path,
    bundle: Bundle,
    state: loop.State[Reranker],
    table: Samples,
    split: Split,
    said: Mapping[str, float],
) -> None:
    """The averaged weights, beside all that the bundle holds already."""
    write_reranked(
        into,
        name=config.name,
        bundle=bundle,
        network=state.average,
        evidence_radius_m=config.gallery.evidence_radius_m,
        evidence_per_kind=config.gallery.evidence_per_kind,
        licence=config.licence,
        training=TrainingNote(
            data=split.fingerprint,
            split=_words(config, table),
            steps=state.best.step if state.best else state.step,
            metrics=dict(said),
        ),
    )


def _learners(part: int, asked: QuestionsConfig) -> list[Learner]:
    """The questions of one set.

    Raises:
        BadRequest: No such protocol, no folder of images, or no row is left.
        BadManifest: The labels cannot be read.
    """
    if asked.protocol not in PROTOCOLS:
        raise BadRequest(f"no protocol {asked.protocol!r}; there are {', '.join(PROTOCOLS)}")
    if not asked.images.is_dir():
        raise BadRequest(f"{asked.images} is no folder of images")
    labelled = read_labels(PROTOCOLS[asked.protocol], asked.labels)
    chosen = [
        each
        for each in labelled.questions
        if all(_value(each, name) == wanted for name, wanted in asked.only.items())
    ]
    if not chosen:
        words = ", ".join(f"{name}={value}" for name, value in asked.only.items()) or "a position"
        raise BadRequest(f"no row of {asked.labels} has {words}")
    return [
        Learner(
            question=replace(each, kind=each.kind or asked.kind), images=asked.images, part=part
        )
        for each in chosen
    ]


def _value(question: Question, name: str) -> str | None:
    return question.kind if name == "kind" else question.strata.get(name)


def _identity(config: RerankerConfig, split: Split, gallery: Gallery, train: Rows) -> str:
    """Names config, questions, split and gallery: what a checkpoint may be gone on with for."""
    said = json.dumps(gallery.said(), sort_keys=True)
    seen = hashlib.sha256("\n".join((config.digest(), split.fingerprint, said)).encode())
    seen.update(train.tobytes())
    return seen.hexdigest()[:16]


def begin(config: RerankerConfig, dim: int) -> loop.State[Reranker]:
    """Network, average and optimiser of step 0, the same for the same seed."""
    torch.manual_seed(config.schedule.seed)
    nets, average = (Reranker(config.network.spec(dim)) for _ in range(2))
    return loop.started(nets, average, config.schedule)


def _run(
    config: RerankerConfig,
    folder: Path,
    identity: str,
    examples: Examples,
    train: Rows,
    validation: Rows,
    on_progress: Progress,
) -> tuple[loop.State[Reranker], float]:
    """The trained state, and the seconds this part of the run took."""
    state = loop.resume(begin(config, examples.rows["query"].shape[1]), folder, identity)
    begun = time.perf_counter()
    state = loop.go(
        state,
        loss=lambda step: batch_loss(state.nets, examples, train, step, config),
        schedule=config.schedule,
        folder=folder,
        identity=identity,
        # The loop keeps what scores highest.
        score=(lambda net: -tried(net, examples, validation, config).loss)
        if config.schedule.patience
        else None,
        on_progress=lambda done, total, loss: on_progress("steps", done, total),
    )
    return state, time.perf_counter() - begun


def _reasons(examples: Examples) -> Counter[str]:
    return Counter(examples.refused.values())


def _words(config: RerankerConfig, table: Samples) -> str:
    own, gallery = config.split, config.gallery
    known = float((table.creators != "").mean())
    return (
        f"{own.share:g} of the questions for validation, in H3 cells of resolution"
        f" {own.resolution}, disjoint by sequence and by author (known for {known:.0%}),"
        f" {own.buffer_m:g} m apart; no question is helped by its own row, its author, its"
        " sequence or a near-duplicate, and other towns have lost as much;"
        f" {gallery.candidates} candidates, {gallery.evidence_per_kind} evidence photos of each "
        f"kind within {gallery.evidence_radius_m:g} m"
    )


def _report(
    config: RerankerConfig,
    split: Split,
    examples: Examples,
    train: Rows,
    validation: Rows,
    said: Mapping[str, float],
    took_s: float,
) -> dict[str, Any]:
    return {
        "config": config.model_dump(mode="json"),
        "questions": {"train": len(train), "validation": len(validation)},
        "dropped": dict(_reasons(examples)),
        "split": {**split.counts, "fingerprint": split.fingerprint},
        "photos": len(examples.photos.ids),
        "validation": dict(said),
        "short_evidence": short_evidence(examples.rows[train[:: max(1, len(train) // _LOOKED_AT)]]),
        "seconds_of_steps": round(took_s, 1),
        "threads": torch.get_num_threads(),
    }
