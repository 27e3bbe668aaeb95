"""What a run is at, on disk: written whole or not at all, and read again only by the same run."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import torch
from torch import nn

from pinpoint.errors import Conflict

CHECKPOINT: Final = "checkpoint.pt"
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


Nets = TypeVar("Nets", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Best:
    """The average that was best on validation so far."""

    score: float
    step: int
    weights: dict[str, torch.Tensor]


@dataclass(slots=True)
class State(Generic[Nets]):
    """What a run is at after some steps."""

    nets: Nets
    average: Nets
    optimizer: torch.optim.Optimizer
    step: int = 0
    best: Best | None = None
    """Where validation is looked at."""


def save(state: State[Nets], folder: Path, identity: str) -> None:
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


def resume(state: State[Nets], folder: Path, identity: str) -> State[Nets]:
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
