"""The loop: batches in, averaged weights out; broken off anywhere, it ends as if it had not been.

Everything drawn is a function of seed and step, so a checkpoint holds weights, the optimiser's
moments, the moving average and the step, and nothing of random generators.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch
from torch import nn

from pinpoint.errors import BadRequest
from pinpoint.training.checkpoints import CHECKPOINT, Best, Nets, State, resume, save
from pinpoint.training.configs import EmbedderConfig, ScheduleConfig
from pinpoint.training.fronts import TrainedTower
from pinpoint.training.objective import PARTED, Networks, Table, batch_loss
from pinpoint.training.processes import ALONE, Processes
from pinpoint.training.sampling import BatchSampler

__all__ = ["CHECKPOINT", "LOG", "Best", "State", "begin", "go", "resume", "run", "save", "started"]

LOG: Final = "steps.csv"
_LOG_STEPS: Final = 50
_PROXIES_RATE: Final = 10.0
"""Proxies of cells go so many times faster: each is met by few pictures, and none is kept."""
Progress = Callable[[int, int, float], None]
"""Told steps done, steps in all, and the last loss."""


def begin(
    config: EmbedderConfig,
    kinds: tuple[str, ...],
    features: int,
    *,
    cells: int = 0,
    make_tower: Callable[[], TrainedTower] | None = None,
) -> State[Networks]:
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
    of_tower = config.train_tower.rate / config.schedule.rate if config.train_tower else 1.0
    faster = {"tower.": of_tower, "cells.directions": _PROXIES_RATE}
    return started(nets, average, config.schedule, faster)


def started(
    nets: Nets, average: Nets, schedule: ScheduleConfig, faster: Mapping[str, float] | None = None
) -> State[Nets]:
    """Networks of step 0 with their average and optimiser.

    Args:
        nets: What is trained.
        average: Another one of the same shape; it takes over the weights.
        schedule: How fast.
        faster: Parameters whose names begin so go so many times faster.
    """
    average.load_state_dict(nets.state_dict())
    # A tower comes ready for inference, its norms with it.
    return State(
        nets=nets.train(),
        average=average.requires_grad_(False),
        optimizer=_optimizer(nets, schedule, faster or {}),
    )


def run(
    state: State[Networks],
    *,
    table: Table,
    sampler: BatchSampler,
    config: EmbedderConfig,
    folder: Path,
    identity: str,
    processes: Processes = ALONE,
    score: Callable[[Networks], float] | None = None,
    on_progress: Progress = lambda done, total, loss: None,
) -> State[Networks]:
    """`go` with an embedder's losses on the batches of a table."""

    def loss(step: int) -> torch.Tensor:
        return batch_loss(state.nets, table, sampler.batch(step), step, config, processes)

    return go(
        state,
        loss=loss,
        schedule=config.schedule,
        folder=folder,
        identity=identity,
        processes=processes,
        parted=PARTED,
        score=score,
        on_progress=on_progress,
    )


def go(
    state: State[Nets],
    *,
    loss: Callable[[int], torch.Tensor],
    schedule: ScheduleConfig,
    folder: Path,
    identity: str,
    processes: Processes = ALONE,
    parted: tuple[str, ...] = (),
    score: Callable[[Nets], float] | None = None,
    on_progress: Progress = lambda done, total, loss: None,
) -> State[Nets]:
    """Go from the state's step to the last one, leaving checkpoints and a log in `folder`.

    Args:
        state: Where to begin.
        loss: What the state's networks lose at a step: a function of step and weights alone.
        schedule: How long, how fast.
        folder: Of the run.
        identity: Names config, data and tower; a checkpoint of another one is not gone on with.
        processes: Who shares each batch; the first one writes.
        parted: Networks that see only their process's part of a batch.
        score: Of an average on validation; with it the run ends early, with the best average.
        on_progress: Told now and then.

    Raises:
        BadRequest: The loss or its gradient is no longer a number; the last checkpoint stays.
    """
    on_progress(state.step, schedule.steps, math.nan)
    while state.step < schedule.steps and not _over(state, schedule):
        rate = _rate(state.step, schedule)
        for group in state.optimizer.param_groups:
            group["lr"] = rate * group["times"]
        found = loss(state.step)
        # To None, not to zero: an adapter without rows in this batch is then left as it is.
        state.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(found)
        processes.share_gradients(state.nets, parted=parted)
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
            lost = float(found.detach())
            _note(folder / LOG, state.step, rate, lost)
            on_progress(state.step, schedule.steps, lost)
        if ended or state.step % schedule.checkpoint_steps == 0:
            if score is not None:
                _look(state, processes.agreed(score(state.average.eval())))
            if processes.first:
                save(state, folder, identity)
    if state.best is not None:
        state.average.load_state_dict(state.best.weights)
    return state


def _look(state: State[Nets], found: float) -> None:
    """Keep a copy of the average if validation likes it better than any before."""
    if state.best is None or found > state.best.score:
        copy = {key: value.clone() for key, value in state.average.state_dict().items()}
        state.best = Best(found, state.step, copy)


def _over(state: State[Nets], schedule: ScheduleConfig) -> bool:
    """Whether validation has not improved for as long as is waited."""
    if state.best is None or not schedule.patience:
        return False
    return state.step - state.best.step >= schedule.patience * schedule.checkpoint_steps


def _optimizer(
    nets: nn.Module, schedule: ScheduleConfig, faster: Mapping[str, float]
) -> torch.optim.Optimizer:
    """AdamW; norms, biases, temperatures and proxies of cells do not decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, each in nets.named_parameters():
        if each.requires_grad:
            times = next((of for own, of in faster.items() if name.startswith(own)), 1.0)
            decays = each.ndim >= 2 and name != "cells.directions"
            key = (times, schedule.weight_decay if decays else 0.0)
            groups.setdefault(key, []).append(each)
    return torch.optim.AdamW(
        [
            {"params": own, "times": times, "weight_decay": share}
            for (times, share), own in groups.items()
        ],
        lr=schedule.rate,
        # One pass over each parameter instead of a dozen, which took 20 ms of a step of 280.
        fused=True,
    )


def _rate(step: int, schedule: ScheduleConfig) -> float:
    """Linear to the full rate, then half a cosine to 0."""
    warm = min(1.0, (step + 1) / (schedule.warm_steps + 1))
    return schedule.rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / schedule.steps))


@torch.no_grad()
def _follow(average: nn.Module, nets: nn.Module, decay: float, step: int) -> None:
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
