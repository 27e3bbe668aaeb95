"""The training loop; an interrupted run gives the same result as an uninterrupted one.

All random draws are functions of seed and step. Therefore a checkpoint holds the weights, the
optimizer's moments, the moving average and the step, and no state of random generators.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch
from torch import nn

from pinpoint.errors import BadRequestError
from pinpoint.training.core.checkpoints import (
    CHECKPOINT,
    Best,
    Nets,
    TrainingState,
    resume_checkpoint,
    save,
)
from pinpoint.training.core.configs import EmbedderConfig, ScheduleConfig
from pinpoint.training.core.distributed import SINGLE_PROCESS, DistributedContext
from pinpoint.training.core.sampling import BatchSampler
from pinpoint.training.embedder.feature_source import TrainedTower
from pinpoint.training.embedder.objective import (
    PARTITIONED,
    FeatureTable,
    Networks,
    embedder_batch_loss,
)

__all__ = [
    "CHECKPOINT",
    "LOG",
    "Best",
    "TrainingState",
    "init_state",
    "train_loop",
    "resume_checkpoint",
    "train",
    "save",
    "resume_or_init",
]

LOG: Final = "steps.csv"
_LOG_STEPS: Final = 50
_PROXY_RATE_FACTOR: Final = 10.0
"""Factor of the learning rate of cell proxies; few images train each proxy."""
StepProgress = Callable[[int, int, float], None]
"""Called with the completed steps, all steps, and the last loss."""


def init_state(
    config: EmbedderConfig,
    kinds: tuple[str, ...],
    features: int,
    *,
    cells: int = 0,
    make_tower: Callable[[], TrainedTower] | None = None,
) -> TrainingState[Networks]:
    """Networks, average and optimizer of step 0; the same seed gives the same state.

    Args:
        config: Configuration of the run.
        kinds: Kinds of the training images.
        features: Input width of the heads.
        cells: Number of occupied cells, for the cell loss.
        make_tower: Creates the tower, if it is trained too.
    """
    torch.manual_seed(config.schedule.seed)
    nets, average = (
        Networks(config, kinds, features, cells=cells, tower=make_tower() if make_tower else None)
        for _ in range(2)
    )
    tower_factor = config.train_tower.rate / config.schedule.rate if config.train_tower else 1.0
    rate_factors = {"tower.": tower_factor, "cells.directions": _PROXY_RATE_FACTOR}
    return resume_or_init(nets, average, config.schedule, rate_factors)


def resume_or_init(
    nets: Nets,
    average: Nets,
    schedule: ScheduleConfig,
    rate_factors: Mapping[str, float] | None = None,
) -> TrainingState[Nets]:
    """Networks of step 0 with their average and optimizer.

    Args:
        nets: The networks to train.
        average: Networks of the same shape; they get a copy of the weights.
        schedule: Learning rate and weight decay.
        rate_factors: Factor of the learning rate by prefix of the parameter name.
    """
    average.load_state_dict(nets.state_dict())
    # A tower and its normalization layers are created in evaluation mode.
    return TrainingState(
        nets=nets.train(),
        average=average.requires_grad_(False),
        optimizer=_make_optimizer(nets, schedule, rate_factors or {}),
    )


def train(
    state: TrainingState[Networks],
    *,
    table: FeatureTable,
    sampler: BatchSampler,
    config: EmbedderConfig,
    folder: Path,
    identity: str,
    processes: DistributedContext = SINGLE_PROCESS,
    score: Callable[[Networks], float] | None = None,
    on_progress: StepProgress = lambda completed, total, loss: None,
) -> TrainingState[Networks]:
    """Run `train_loop` with an embedder's losses on the batches of a table."""

    def loss(step: int) -> torch.Tensor:
        return embedder_batch_loss(state.nets, table, sampler.batch(step), step, config, processes)

    return train_loop(
        state,
        loss=loss,
        schedule=config.schedule,
        folder=folder,
        identity=identity,
        processes=processes,
        partitioned=PARTITIONED,
        score=score,
        on_progress=on_progress,
    )


def train_loop(
    state: TrainingState[Nets],
    *,
    loss: Callable[[int], torch.Tensor],
    schedule: ScheduleConfig,
    folder: Path,
    identity: str,
    processes: DistributedContext = SINGLE_PROCESS,
    partitioned: tuple[str, ...] = (),
    score: Callable[[Nets], float] | None = None,
    on_progress: StepProgress = lambda completed, total, loss: None,
) -> TrainingState[Nets]:
    """Train from the state's step to the last one; write checkpoints and a log to `folder`.

    Args:
        state: The state to start from.
        loss: Loss of the state's networks at a step; a function of step and weights only.
        schedule: Number of steps and learning rate.
        folder: Folder of the run.
        identity: Hash of config, data and tower; a checkpoint with another one is not resumed.
        processes: The processes that share each batch; the first one writes files.
        partitioned: Prefixes of networks that receive only their process's part of a batch.
        score: Validation score of an average. With it, the run stops early and returns the best
            average.
        on_progress: Called at intervals.

    Raises:
        BadRequestError: The loss or its gradient is not finite; the last checkpoint remains.
    """
    on_progress(state.step, schedule.steps, math.nan)
    while state.step < schedule.steps and not _out_of_patience(state, schedule):
        rate = _learning_rate(state.step, schedule)
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group["times"]
        step_loss = loss(state.step)
        # None instead of zero leaves an adapter without rows in this batch unchanged.
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(step_loss)
        processes.share_gradients(state.nets, partitioned=partitioned)
        norm = nn.utils.clip_grad_norm_(state.nets.parameters(), schedule.clip)
        if not bool(torch.isfinite(norm)) or not bool(torch.isfinite(step_loss)):
            raise BadRequestError(
                f"training diverged at step {state.step}: the loss is"
                f" {float(step_loss.detach()):g}, its gradient {float(norm):g};"
                f" lower schedule.rate (now {schedule.rate:g})"
            )
        state.optimizer.step()
        _update_average(state.average, state.nets, schedule.average, state.step)
        state.step += 1
        is_last = state.step == schedule.steps
        if processes.first and (is_last or state.step % _LOG_STEPS == 0):
            loss_value = float(step_loss.detach())
            _log_step(folder / LOG, state.step, rate, loss_value)
            on_progress(state.step, schedule.steps, loss_value)
        if is_last or state.step % schedule.checkpoint_steps == 0:
            if score is not None:
                _keep_if_best(state, processes.broadcast(score(state.average.eval())))
            if processes.first:
                save(state, folder, identity)
    if state.best is not None:
        state.average.load_state_dict(state.best.weights)
    return state


def _keep_if_best(state: TrainingState[Nets], score: float) -> None:
    """Keep a copy of the average if its validation score is the highest so far."""
    if state.best is None or score > state.best.score:
        copy = {key: value.clone() for key, value in state.average.state_dict().items()}
        state.best = Best(score, state.step, copy)


def _out_of_patience(state: TrainingState[Nets], schedule: ScheduleConfig) -> bool:
    """Whether the validation score has not improved for `patience` checkpoints."""
    if state.best is None or not schedule.patience:
        return False
    return state.step - state.best.step >= schedule.patience * schedule.checkpoint_steps


def _make_optimizer(
    nets: nn.Module, schedule: ScheduleConfig, rate_factors: Mapping[str, float]
) -> torch.optim.Optimizer:
    """AdamW without weight decay of norms, biases, temperatures and cell proxies."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in nets.named_parameters():
        if parameter.requires_grad:
            rate_factor = next(
                (factor for prefix, factor in rate_factors.items() if name.startswith(prefix)), 1.0
            )
            decays = parameter.ndim >= 2 and name != "cells.directions"
            key = (rate_factor, schedule.weight_decay if decays else 0.0)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "times": rate_factor, "weight_decay": weight_decay}
            for (rate_factor, weight_decay), parameters in groups.items()
        ],
        lr=schedule.rate,
        # One pass over each parameter instead of a dozen, which took 20 ms of a step of 280 ms.
        fused=True,
    )


def _learning_rate(step: int, schedule: ScheduleConfig) -> float:
    """Linear warm-up to the full rate, times half a cosine to 0."""
    warm = min(1.0, (step + 1) / (schedule.warm_steps + 1))
    return schedule.rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / schedule.steps))


@torch.no_grad()
def _update_average(average: nn.Module, nets: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average; its decay is smaller at first, to forget the initial weights."""
    step_decay = min(decay, (1.0 + step) / (10.0 + step))
    weights = nets.state_dict()
    for name, mean in average.state_dict().items():
        # Running means of normalization layers are averaged too; counters are copied.
        if mean.is_floating_point():
            mean.lerp_(weights[name], 1.0 - step_decay)
        else:
            mean.copy_(weights[name])


def _log_step(path: Path, step: int, rate: float, loss: float) -> None:
    """Append a line to the log; a resumed run repeats some steps, and their last line is valid."""
    is_new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.writer(stream)
        if is_new:
            writer.writerow(("step", "rate", "loss"))
        writer.writerow((step, f"{rate:.6g}", f"{loss:.6f}"))
