"""Checkpoints of a run: written atomically, and read only by the same run."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import torch
from torch import nn

from pinpoint.errors import ConflictError, describe_cause

CHECKPOINT: Final = "checkpoint.pt"
_READ_ERRORS = (
    OSError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    EOFError,
    pickle.UnpicklingError,
)
"""Exceptions from reading a file that is no checkpoint, or an incomplete one."""


Nets = TypeVar("Nets", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Best:
    """The average with the highest validation score so far."""

    score: float
    step: int
    weights: dict[str, torch.Tensor]


@dataclass(slots=True)
class TrainingState(Generic[Nets]):
    """State of a run after some steps."""

    nets: Nets
    average: Nets
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: Best | None = None
    """Only with a validation score."""


def save(state: TrainingState[Nets], folder: Path, identity: str) -> None:
    """Write a checkpoint atomically; it survives a power failure."""
    best = state.best
    content = {
        "run": identity,
        "step": state.step,
        "nets": state.nets.state_dict(),
        "average": state.average.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "best": best and {"score": best.score, "step": best.step, "weights": best.weights},
    }
    part = folder / f"{CHECKPOINT}.part"
    with part.open("wb") as stream:
        torch.save(content, stream)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, folder / CHECKPOINT)


def resume_checkpoint(
    state: TrainingState[Nets], folder: Path, identity: str
) -> TrainingState[Nets]:
    """Load the last checkpoint of this run, if there is one.

    Raises:
        ConflictError: The folder holds a checkpoint of another run, or one that cannot be read.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return state
    try:
        # Only tensors and plain values are loaded, so a foreign checkpoint cannot execute code.
        content: dict[str, Any] = torch.load(path, weights_only=True)
        if content["run"] != identity:
            raise ConflictError(
                f"{folder} holds a run with another config, other images or another tower "
                f"({content['run']}, not {identity}); choose another folder, or remove {path.name}"
            )
        state.nets.load_state_dict(content["nets"])
        state.average.load_state_dict(content["average"])
        state.optimizer.load_state_dict(content["optimizer"])
        state.step = int(content["step"])
        state.best = None if content["best"] is None else Best(**content["best"])
    except _READ_ERRORS as error:
        raise ConflictError(
            f"the checkpoint {path} cannot be resumed ({describe_cause(error)}); remove it to "
            "start again"
        ) from error
    return state
