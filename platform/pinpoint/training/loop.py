"""The loop: batches in, averaged weights out; broken off anywhere, it ends as if it had not been.

Everything drawn is a function of seed and step, so a checkpoint holds weights, the optimiser's
moments, the moving average and the step, and nothing of random generators.
"""

from __future__ import annotations

import csv
import math
import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from pinpoint.errors import BadRequest, Conflict
from pinpoint.training.configs import EmbedderConfig, ScheduleConfig
from pinpoint.training.fronts import TrainedTower
from pinpoint.training.objective import PARTED, Networks, Table, batch_loss
from pinpoint.training.processes import ALONE, Processes
from pinpoint.training.sampling import BatchSampler

CHECKPOINT: Final = "checkpoint.pt"
LOG: Final = "steps.csv"
_LOG_STEPS: Final = 50
_PROXIES_RATE: Final = 10.0
"""Proxies of cells go so many times faster: each is met by few pictures, and none is kept."""
_UNREADABLE = (
    OSError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    EOFError,
    pickle.UnpicklingError,
)
"""What reading a file that is no checkpoint, or half of one, can raise."""

Progress = Callable[[int, int, float], None]
"""Told steps done, steps in all, and the last loss."""


@dataclass(frozen=True, slots=True)
class Best:
    """The average that was best on validation so far."""

    score: float
    step: int
    weights: dict[str, torch.Tensor]


@dataclass(slots=True)
class State:
    """What a run is at after some steps."""

    nets: Networks
    average: Networks
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: Best | None = None
    """Where validation is looked at."""


def begin(
    config: EmbedderConfig,
    kinds: tuple[str, ...],
    features: int,
    *,
    cells: int = 0,
    make_tower: Callable[[], TrainedTower] | None = None,
) -> State:
    """Networks, average and optimiser of step 0, the same for the same seed.

    Args:
        config: What is trained.
        kinds: Of the training pictures.
        features: Width of what the heads take.
        cells: Occupied ones, for the loss of cells.
        make_tower: Gives a tower that is trained along.
    """
    torch.manual_seed(config.schedule.seed)
    nets, average = (
        Networks(config, kinds, features, cells=cells, tower=make_tower() if make_tower else None)
        for _ in range(2)
    )
    average.load_state_dict(nets.state_dict())
    # A tower comes ready for inference, its norms with it.
    return State(
        nets=nets.train(), average=average.requires_grad_(False), optimizer=_optimizer(nets, config)
    )


def run(
    state: State,
    *,
    table: Table,
    sampler: BatchSampler,
    config: EmbedderConfig,
    folder: Path,
    identity: str,
    processes: Processes = ALONE,
    score: Callable[[Networks], float] | None = None,
    on_progress: Progress = lambda done, total, loss: None,
) -> State:
    """Go from the state's step to the last one, leaving checkpoints and a log in `folder`.

    Args:
        state: Where to begin.
        table: What is trained on.
        sampler: Its batches.
        config: How.
        folder: Of the run.
        identity: Names config, data and tower; a checkpoint of another one is not gone on with.
        processes: Who shares each batch; the first one writes.
        score: Of an average on validation; with it the run ends early, with the best average.
        on_progress: Told now and then.

    Raises:
        BadRequest: The loss or its gradient is no longer a number; the last checkpoint stays.
    """
    schedule, loss = config.schedule, math.nan
    on_progress(state.step, schedule.steps, loss)
    while state.step < schedule.steps and not _over(state, schedule):
        rate = _rate(state.step, schedule)
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group["times"]
        rows = sampler.batch(state.step)
        found = batch_loss(state.nets, table, rows, state.step, config, processes)
        # To None, not to zero: an adapter without rows in this batch is then left as it is.
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(found)
        processes.share_gradients(state.nets, parted=PARTED)
        norm = nn.utils.clip_grad_norm_(state.nets.parameters(), schedule.clip)
        if not bool(torch.isfinite(norm)) or not bool(torch.isfinite(found)):
            raise BadRequest(
                f"training diverged at step {state.step}: the loss is {float(found.detach()):g},"
                f" its gradient {float(norm):g}; lower schedule.rate (now {schedule.rate:g})"
            )
        state.optimizer.step()
        _follow(state.average, state.nets, schedule.average, state.step)
        state.step += 1
        ended = state.step == schedule.steps
        if processes.first and (ended or state.step % _LOG_STEPS == 0):
            loss = float(found.detach())
            _note(folder / LOG, state.step, rate, loss)
            on_progress(state.step, schedule.steps, loss)
        if ended or state.step % schedule.checkpoint_steps == 0:
            if score is not None:
                _look(state, processes.agreed(score(state.average.eval())))
            if processes.first:
                save(state, folder, identity)
    if state.best is not None:
        state.average.load_state_dict(state.best.weights)
    return state


def _look(state: State, found: float) -> None:
    """Keep a copy of the average if validation likes it better than any before."""
    if state.best is None or found > state.best.score:
        copy = {key: value.clone() for key, value in state.average.state_dict().items()}
        state.best = Best(found, state.step, copy)


def _over(state: State, schedule: ScheduleConfig) -> bool:
    """Whether validation has not improved for as long as is waited."""
    if state.best is None or not schedule.patience:
        return False
    return state.step - state.best.step >= schedule.patience * schedule.checkpoint_steps


def save(state: State, folder: Path, identity: str) -> None:
    """Write a checkpoint; it appears whole or not at all, and outlives a loss of power."""
    best = state.best
    said = {
        "run": identity,
        "step": state.step,
        "nets": state.nets.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "best": best and {"score": best.score, "step": best.step, "weights": best.weights},
    }
    part = folder / f"{CHECKPOINT}.part"
    with part.open("wb") as stream:
        torch.save(said, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, folder / CHECKPOINT)


def resume(state: State, folder: Path, identity: str) -> State:
    """Take up the last checkpoint of this run, if there is one.

    Raises:
        Conflict: The folder holds a checkpoint of another run, or one that cannot be read.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return state
    try:
        # Tensors and plain values only: a checkpoint from elsewhere runs no code.
        said: dict[str, Any] = torch.load(path, weights_only=True)
        if said["run"] != identity:
            raise Conflict(
                f"{folder} holds a run of another config, other pictures or another tower "
                f"({said['run']}, not {identity}); choose another folder, or remove {path.name}"
            )
        state.nets.load_state_dict(said["nets"])
        state.average.load_state_dict(said["average"])
        state.optimizer.load_state_dict(said["optimizer"])
        state.step = int(said["step"])
        state.best = None if said["best"] is None else Best(**said["best"])
    except _UNREADABLE as error:
        raise Conflict(
            f"the checkpoint {path} cannot be gone on with ({error}); remove it to begin anew"
        ) from error
    return state


def _optimizer(nets: Networks, config: EmbedderConfig) -> torch.optim.Optimizer:
    """AdamW; norms, biases, temperatures and proxies of cells do not decay."""
    decay, rate = config.schedule.weight_decay, config.schedule.rate
    of_tower = (config.train_tower.rate if config.train_tower else rate) / rate
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, each in nets.named_parameters():
        if each.requires_grad:
            proxies = name == "cells.directions"
            times = of_tower if name.startswith("tower.") else _PROXIES_RATE if proxies else 1.0
            key = (times, decay if each.ndim >= 2 and not proxies else 0.0)
            groups.setdefault(key, []).append(each)
    return torch.optim.AdamW(
        [
            {"params": own, "times": times, "weight_decay": share}
            for (times, share), own in groups.items()
        ],
        lr=rate,
        # One pass over each parameter instead of a dozen: 20 ms of a step of 280 on two cores.
        fused=True,
    )


def _rate(step: int, schedule: ScheduleConfig) -> float:
    """Linear to the full rate, then half a cosine to 0."""
    warm = min(1.0, (step + 1) / (schedule.warm_steps + 1))
    return schedule.rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / schedule.steps))


@torch.no_grad()
def _follow(average: Networks, nets: Networks, decay: float, step: int) -> None:
    """Moving average; early on a shorter one, or it would still hold the first weights."""
    kept = min(decay, (1.0 + step) / (10.0 + step))
    its = nets.state_dict()
    for name, mine in average.state_dict().items():
        # Running means of norms, too; but a count is no mean.
        if mine.is_floating_point():
            mine.lerp_(its[name], 1.0 - kept)
        else:
            mine.copy_(its[name])


def _note(path: Path, step: int, rate: float, loss: float) -> None:
    """A line of the log; a run that goes on writes some steps again, the last line counts."""
    new = not path.exists()
    with path.open("a", newline="") as stream:
        out = csv.writer(stream)
        if new:
            out.writerow(("step", "rate", "loss"))
        out.writerow((step, f"{rate:.6g}", f"{loss:.6f}"))
