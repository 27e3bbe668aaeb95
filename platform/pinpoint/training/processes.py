"""Training in several processes, started by `torchrun`: one batch shared out, one set of weights.

Every process computes the vectors of its part of the batch, which is nearly all of the work, and
the loss of the whole batch over everybody's vectors: a contrastive loss does not fall apart into
parts. Weights stay equal because gradients are. Letters: B rows of a batch, D width of a vector.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from pinpoint.training.samples import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Which of how many this one is."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes what is kept."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()

    def agreed(self, value: float) -> float:
        """What the first process found, for all: a run ends everywhere at the same step."""
        if self.count == 1:
            return value
        said = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(said, 0)
        return float(said)

    def part(self, rows: Rows) -> Rows:
        """This process's rows of `[B]`; some twice where B is no multiple, so that parts are equal.

        Rows are dealt out in turn, as kinds take turns in a batch: every part has all kinds.
        """
        each = -(-len(rows) // self.count)
        return np.resize(rows, each * self.count)[self.rank :: self.count]

    def gathered(self, own: torch.Tensor, rows: int) -> torch.Tensor:
        """Everybody's vectors `[B, D]` in the order of the batch; gradients reach one's own.

        Args:
            own: Vectors of `part`.
            rows: B.
        """
        if self.count == 1:
            return own
        parts = [torch.empty_like(own) for _ in range(self.count)]
        dist.all_gather(parts, own.detach().contiguous())
        parts[self.rank] = own
        return torch.stack(parts, dim=1).reshape(-1, own.shape[1])[:rows]

    def share_gradients(self, whole: nn.Module, *, parted: tuple[str, ...]) -> None:
        """After `backward`: every process gets the gradients of the whole batch.

        Args:
            whole: All networks.
            parted: Prefixes of parameters that saw this process's part only, whose gradients are
                summed. The others saw everything everywhere; theirs are averaged, so that rounding
                cannot drive processes apart.
        """
        if self.count == 1:
            return
        named = [(name, each) for name, each in whole.named_parameters() if each.requires_grad]
        used = torch.tensor([each.grad is not None for _, each in named], dtype=torch.int32)
        dist.all_reduce(used, dist.ReduceOp.MAX)
        for (name, each), somewhere in zip(named, used.tolist(), strict=True):
            if not somewhere:
                continue  # None everywhere, and None it stays: an adapter without rows.
            if each.grad is None:
                each.grad = torch.zeros_like(each)
            dist.all_reduce(each.grad)
            if not name.startswith(parted):
                each.grad /= self.count


ALONE: Final = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """All processes of this run: those that `torchrun` started, or this one alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    # Gloo and not NCCL: weights are trained on the CPU so far.
    dist.init_process_group("gloo")
    try:
        yield Processes(rank=dist.get_rank(), count=count)
    finally:
        dist.destroy_process_group()
