"""Locate without encoding, against its parts called directly, in one run and taking turns."""

from __future__ import annotations

import gc
import shutil
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from bench import gallery as seeded
from bench.bare import Bare
from bench.stack import Bench, rebuild
from pinpoint.records import IndexFilter, IndexSpec, Limits
from pinpoint.search.pipeline import locate_encoded
from pinpoint.settings import SearchSettings
from pinpoint.store import vectors_plan
from pinpoint.store.database import Transactions, api_engine
from pinpoint.store.handles import CatalogueDatabase
from pinpoint.store.vectors_remote import RemoteIndex

DATABASE = "locate"
INDEX = "locate"
WARM_UP = 30
TARGET_RATIO = 1.5
TARGET_P50_MS = 60.0


@dataclass(frozen=True)
class Prepared:
    """Both sides, ready to be asked."""

    gallery: seeded.Gallery
    owner_url: str
    transactions: Transactions
    index: RemoteIndex
    bare: Bare


def prepare(bench: Bench, images: int, dense: int, say) -> Prepared:
    """Fill PostgreSQL, build the index with the owner's own builder, copy it for the bare side."""
    begun = perf_counter()
    owner_url, api_url = bench.database(DATABASE)
    made = seeded.make(images, dense)
    say(f"gallery: {len(made.ids)} rows, positions from {made.positions_from}")
    seeded.fill(made, owner_url)
    say(f"postgresql: filled after {perf_counter() - begun:.0f} s")
    index = bench.index(INDEX, "bench.gallery:open_points", DATABASE)
    contract = seeded.CONTRACT
    rebuild(index, IndexSpec(contract=contract.digest, dims=contract.dims), say)
    info = index.info()
    took_s = perf_counter() - begun
    say(f"index: {info.points} points, {info.indexed_vectors} in the graph, after {took_s:.0f} s")
    folder = bench.index_folder(INDEX) / "builds" / str(info.build)
    copy = bench.places.home / "bare"
    shutil.copytree(folder, copy)
    return Prepared(
        gallery=made,
        owner_url=owner_url,
        transactions=Transactions(api_engine(api_url, own_login=True)),
        index=index,
        bare=Bare(copy / "shard", owner_url, contract.digest),
    )


def measure(ready: Prepared, questions: int, organization: int = 0) -> dict[str, object]:
    """Ask both sides the same questions in turn; who begins changes every time."""
    owner = (*seeded.ORGANIZATIONS, seeded.DENSE)[organization]
    own = ready.index.count(IndexFilter(organization_id=owner))
    exact = vectors_plan.choose(own) == "exact"
    vectors = ready.gallery.queries(WARM_UP + questions, organization)
    sides: dict[str, list[dict[str, float]]] = {"pinpoint": [], "bare": []}
    same = evidence = 0
    gc.collect()
    for number, vector in enumerate(vectors):
        best = {}
        for side in ("pinpoint", "bare") if number % 2 else ("bare", "pinpoint"):
            begun = perf_counter()
            if side == "bare":
                answer = ready.bare.locate(vector, owner, exact)
                best[side], stages = answer.best, answer.took_ms
                evidence += answer.evidence
            else:
                said = ask(ready, vector, owner)
                best[side] = said.ranked[0].candidate.id
                stages = {k: v for k, v in said.timings_ms.items() if k != "total"}
            total = (perf_counter() - begun) * 1e3
            if number >= WARM_UP:
                rest = total - sum(stages.values())
                sides[side].append({**stages, "between": rest, "total": total})
        same += best["bare"] == best["pinpoint"]
    return {
        "rows": len(ready.gallery.ids),
        "search": "exact" if exact else "graph",
        "questions": questions,
        "evidence_rows": round(evidence / len(vectors), 1),
        "same_best": round(same / len(vectors), 3),
        **{side: summary(taken) for side, taken in sides.items()},
        "ratio_p50": round(_p(sides["pinpoint"], 50) / _p(sides["bare"], 50), 3),
        "ratio_p95": round(_p(sides["pinpoint"], 95) / _p(sides["bare"], 95), 3),
    }


def ask(ready: Prepared, vector: np.ndarray, owner, **settings):
    """One question through the real flow: owner's socket, API's role, views."""
    return locate_encoded(
        vector,
        limits=Limits(),
        organization_id=owner,
        contract=seeded.CONTRACT,
        index=ready.index,
        database=CatalogueDatabase(ready.transactions, 64),
        settings=SearchSettings(**settings),
    )


def _p(taken: list[dict[str, float]], percent: float) -> float:
    return float(np.percentile([each["total"] for each in taken], percent))


def summary(taken: list[dict[str, float]]) -> dict[str, object]:
    """p50 and p95 in all, and p50 by stage, milliseconds."""
    return {
        "p50_ms": round(_p(taken, 50), 2),
        "p95_ms": round(_p(taken, 95), 2),
        "stages_p50_ms": {
            name: round(float(np.median([each[name] for each in taken])), 3)
            for name in taken[0]
            if name != "total"
        },
    }
