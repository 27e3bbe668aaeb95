"""Callers in a separate process: queries at fixed times, independent of earlier ones.

A query is timed from the moment at which it was due, so it includes the wait for earlier slow
queries (no coordinated omission).
"""

from __future__ import annotations

import hashlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np

from pinpoint.bootstrap import Services, build_services
from pinpoint.errors import PinpointError
from pinpoint.records import SearchFilter
from pinpoint.search import consistency, retrieve
from pinpoint.search.context import SearchContext
from pinpoint.search.pipeline import locate_encoded
from pinpoint.settings import ServiceSettings, Settings
from trials.rebuild.rows import CHANGING, STILL

PER_S, _THREADS = 20.0, 6
_WHOLE_EVERY = 4
"""One query in this many has a complete answer with evidence; the others stop at candidates.

Two cores shared with a writer and a builder cannot answer twenty of them a second, and a pause
would be hidden in the queue.
"""
_TURNS = (CHANGING, STILL)

Said = list[str]


def ask_on(home: Path, vectors: np.ndarray, notes: Path, ready: Any, stop: Any) -> None:
    """Send queries under the API's database role until the stop event.

    Args:
        home: Home of the stack.
        vectors: Query vectors `[Q, D]`, sent to both organizations in turn.
        notes: File for one JSON line per query.
        ready: Event set before the first measured query.
        stop: Event that ends the function.
    """
    services = build_services(Settings(services=ServiceSettings(home=home)), "api")
    with ThreadPoolExecutor(_THREADS) as pool:
        # Each thread has its own connections, which are made before the measurement.
        list(pool.map(lambda n: _ask(services, vectors, n, time.monotonic()), range(4 * _THREADS)))
        ready.set()
        begun, under_way = time.monotonic(), []
        while not stop.is_set():
            due = begun + len(under_way) / PER_S
            time.sleep(max(0.0, due - time.monotonic()))
            under_way.append(pool.submit(_ask, services, vectors, len(under_way), due))
    notes.write_text("".join(json.dumps(one.result()) + "\n" for one in under_way))
    services.close()


def _ask(services: Services, vectors: np.ndarray, number: int, due: float) -> dict[str, Any]:
    query, turn = number // 2 % len(vectors), number % 2
    ask = _whole if query % _WHOLE_EVERY == 0 else _candidates
    said: dict[str, Any] = {"due": due, "query": query, "still": turn == 1}
    try:
        said["build"], answer = ask(services, vectors[query], _TURNS[turn])
    except PinpointError as error:
        said["error"] = f"{error.reason}: {error.message}"
    else:
        said["answer"] = answer and hashlib.sha256(json.dumps(answer).encode()).hexdigest()
    return {**said, "took_s": time.monotonic() - due}


def _candidates(services: Services, vector: np.ndarray, owner: UUID) -> tuple[str | None, Said]:
    """The index part of a `locate`: the build of the index, and the candidates."""
    context = _context(services, owner)
    for snapshot in consistency.consistent_snapshots(services.index, services.encoder.contract):
        candidates, _ = retrieve.retrieve_candidates(
            vector, SearchFilter(), context, snapshot=snapshot
        )
    return snapshot.build, [str(one) for one in candidates]


def _context(services: Services, owner: UUID) -> SearchContext:
    return SearchContext(
        organization_id=owner,
        decoder=services.decoder,
        encoder=services.encoder,
        index=services.index,
        database=services.database,
        settings=services.settings.search,
    )


def _whole(services: Services, vector: np.ndarray, owner: UUID) -> tuple[str | None, Said]:
    """A `locate` from the vector on; everything of its answer without timings."""
    answer = locate_encoded(vector, SearchFilter(), _context(services, owner))
    said: Said = [str(one) for one in (answer.point, *answer.credible_discs, *answer.citations)]
    for one in answer.ranked:
        near = [str(each.id) for each in one.evidence]
        said += [str(one.candidate), repr((one.weight, one.evidence_share)), *near]
    return answer.index_build, said if answer.point else []
