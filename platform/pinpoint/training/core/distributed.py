"""Training in several processes, started by `torchrun`: a shared batch and equal weights.

Each process computes the vectors of its part of the batch, which is nearly all of the work, and
the loss of the full batch over all vectors: a contrastive loss cannot be split into parts. Weights
stay equal because gradients are equal. `DistributedDataParallel` does not fit: it averages all
gradients, but those of the image networks must be summed, and only the other ones averaged.
Letters: B rows of a batch, D width of a vector.
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

from pinpoint.training.core.samples import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class DistributedContext:
    """Rank of this process, and the number of processes."""

    rank: int = 0
    count: int = 1

    @property
    def is_rank0(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until all processes reach this point."""
        if self.count > 1:
            dist.barrier()

    def broadcast(self, value: float) -> float:
        """The value of the first process, for all: a run ends at the same step in each process."""
        if self.count == 1:
            return value
        message = torch.tensor([value], dtype=torch.float64)
        dist.broadcast(message, 0)
        return float(message)

    def shard(self, rows: Rows) -> Rows:
        """This process's rows of `[B]`; some rows occur twice if B is no multiple of the count.

        Rows are assigned in turn, like the kinds in a batch, so every part contains all kinds.
        """
        part_size = -(-len(rows) // self.count)
        return np.resize(rows, part_size * self.count)[self.rank :: self.count]

    def all_gather(self, part: torch.Tensor, rows: int) -> torch.Tensor:
        """All processes' vectors `[B, D]` in batch order; gradients reach only this process's part.

        Args:
            part: Vectors of this process's `shard`.
            rows: B.
        """
        if self.count == 1:
            return part
        parts = [torch.empty_like(part) for _ in range(self.count)]
        dist.all_gather(parts, part.detach().contiguous())
        parts[self.rank] = part
        return torch.stack(parts, dim=1).reshape(-1, part.shape[1])[:rows]

    def share_gradients(self, nets: nn.Module, *, partitioned: tuple[str, ...]) -> None:
        """Give every process the gradients of the full batch, after `backward`.

        Args:
            nets: All networks.
            partitioned: Prefixes of parameters that received only this process's part. Their
                gradients are summed. The other parameters received the full batch in every process;
                their gradients are averaged, so that rounding cannot make the processes diverge.
        """
        if self.count == 1:
            return
        named = [
            (name, parameter)
            for name, parameter in nets.named_parameters()
            if parameter.requires_grad
        ]
        used = torch.tensor(
            [parameter.grad is not None for _, parameter in named], dtype=torch.int32
        )
        dist.all_reduce(used, dist.ReduceOp.MAX)
        for (name, parameter), used_anywhere in zip(named, used.tolist(), strict=True):
            if not used_anywhere:
                continue  # None in every process: an adapter without rows.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)
            if not name.startswith(partitioned):
                parameter.grad /= self.count


SINGLE_PROCESS: Final = DistributedContext()


@contextmanager
def init_distributed() -> Iterator[DistributedContext]:
    """All processes that `torchrun` started for this run, or only this one."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield SINGLE_PROCESS
        return
    # Gloo instead of NCCL, because training runs on the CPU.
    dist.init_process_group("gloo")
    try:
        yield DistributedContext(rank=dist.get_rank(), count=count)
    finally:
        dist.destroy_process_group()
