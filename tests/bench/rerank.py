"""The reranker's forward pass at K = 48 and m = 8 of each kind, against its matrix products alone.

The floor is the unavoidable work: the same matrix products of prepared tensors, one after another.
The network is that of the recipe; its weights do not matter here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.stack import Say
from pinpoint.nets.reranker.features import RerankBatch
from pinpoint.nets.reranker.network import RerankerNetwork
from pinpoint.records import SOURCE_KINDS
from pinpoint.training.reranker.config import read_reranker_config

RECIPE = Path(__file__).parents[2] / "docs" / "configs" / "world-tiny-reranked.toml"
CANDIDATES, PER_KIND, DIM = 48, 8, 256
BATCHES = (1, 8, 64)
_CALLS = {1: 60, 8: 20, 64: 6}

Shapes = tuple[torch.Size, torch.Size]


def measure(say: Say) -> dict[str, object]:
    """Medians of both by turns, for each batch, on the CPU and on a GPU where there is one.

    Returns:
        By device and batch `forward_ms` and `floor_ms` of the whole batch, their `ratio`, and
        `cpu_ms_each`: processor time of the forward pass for each query of the batch.
    """
    torch.manual_seed(0)
    spec = read_reranker_config(RECIPE).network.spec(DIM)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    figures: dict[str, object] = {
        "parameters": sum(parameter.numel() for parameter in RerankerNetwork(spec).parameters()),
        "threads": torch.get_num_threads(),
    }
    for device in devices:
        net = RerankerNetwork(spec).eval().to(device)
        for batch in BATCHES:
            say(f"rerank: batch of {batch} on {device}")
            figures[f"{device} {batch}"] = _measure_batch(net, batch, device)
    return figures


@torch.no_grad()
def _measure_batch(net: RerankerNetwork, batch: int, device: str) -> dict[str, float]:
    queries = random_queries(batch).to(torch.device(device))
    with _Products() as seen:
        net(queries)
    products = [tuple(torch.randn(shape, device=device) for shape in pair) for pair in seen.pairs]

    def floor() -> None:
        for left, right in products:
            torch.matmul(left, right)

    took: dict[str, list[float]] = {"forward": [], "floor": [], "cpu": []}
    for number in range(_CALLS[batch] + 3):
        sides: list[tuple[str, Callable[[], Any]]] = [
            ("forward", lambda: net(queries)),
            ("floor", floor),
        ]
        for name, work in sides if number % 2 else reversed(sides):
            began, cpu = perf_counter(), process_time()
            work()
            if device == "cuda":
                torch.cuda.synchronize()
            took[name].append(perf_counter() - began)
            if name == "forward":
                took["cpu"].append(process_time() - cpu)
    medians_ms = {name: 1e3 * median(seconds[3:]) for name, seconds in took.items()}
    return {
        "forward_ms": medians_ms["forward"],
        "floor_ms": medians_ms["floor"],
        "ratio": medians_ms["forward"] / medians_ms["floor"],
        "cpu_ms_each": medians_ms["cpu"] / batch,
        "products": float(len(products)),
    }


def random_queries(batch: int) -> RerankBatch:
    """Queries without padding: every slot has a candidate with all of its evidence."""
    sets = (batch, CANDIDATES, PER_KIND * len(SOURCE_KINDS))
    place = torch.randn(*sets[:2], 2).double() * torch.tensor([20.0, 60.0])
    return RerankBatch(
        query=torch.randn(batch, DIM),
        query_kind=torch.zeros(batch, dtype=torch.int64),
        image=torch.randn(*sets[:2], DIM),
        gps=torch.randn(*sets[:2], DIM),
        position=place,
        kind=torch.randint(0, len(SOURCE_KINDS), sets[:2]),
        in_channel=torch.ones(*sets[:2], 2, dtype=torch.bool),
        present=torch.ones(sets[:2], dtype=torch.bool),
        evidence=torch.randn(*sets, DIM),
        evidence_kind=torch.randint(0, len(SOURCE_KINDS), sets),
        evidence_distance_m=torch.rand(sets) * 5_000.0,
        bearing_deg=torch.rand(sets) * 360.0,
        age_years=torch.rand(sets),
        evidence_present=torch.ones(sets, dtype=torch.bool),
    )


class _Products(TorchDispatchMode):
    """Records the shapes of all matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.pairs: list[Shapes] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        name = func.overloadpacket.__name__
        if name in ("mm", "bmm"):
            self.pairs.append((args[0].shape, args[1].shape))
        elif name in ("addmm", "baddbmm"):
            self.pairs.append((args[1].shape, args[2].shape))
        elif name.startswith("_scaled_dot_product"):
            query, key, value = (tensor.flatten(0, 1) for tensor in args[:3])
            turned = torch.Size((key.shape[0], key.shape[2], key.shape[1]))
            weights = torch.Size((*query.shape[:2], key.shape[1]))
            self.pairs += [(query.shape, turned), (weights, value.shape)]
        return func(*args, **(kwargs or {}))
