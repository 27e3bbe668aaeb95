"""Callers in a process of their own: questions at fixed moments, however long others take.

A question is timed from the moment at which it was due, so one that had to wait for slow ones
before it counts its wait (no coordinated omission).
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
"""Whole answers, evidence included, are for one question in so many; the others stop at candidates.

Two cores shared with a writer and a builder could not give twenty of them a second, and a pause
would be hidden in the queue.
"""
_TURNS = (CHANGING, STILL)

Said = list[str]


def ask_on(home: Path, asked: np.ndarray, notes: Path, ready: Any, stop: Any) -> None:
    """Ask from the API's side, with its role, until told to stop.

    Args:
        home: Of the stack.
        asked: Questions `[Q, D]`, put to both organizations in turn.
        notes: Gets one JSON line a question.
        ready: Event set before the first question that counts.
        stop: Event that ends it.
    """
    services = build_services(Settings(services=ServiceSettings(home=home)), "api")
    with ThreadPoolExecutor(_THREADS) as pool:
        # Each thread has its own connections: they are made before anything counts.
        list(pool.map(lambda n: _ask(services, asked, n, time.monotonic()), range(4 * _THREADS)))
        ready.set()
        begun, under_way = time.monotonic(), []
        while not stop.is_set():
            due = begun + len(under_way) / PER_S
            time.sleep(max(0.0, due - time.monotonic()))
            under_way.append(pool.submit(_ask, services, asked, len(under_way), due))
    notes.write_text("".join(json.dumps(one.result()) + "\n" for one in under_way))
    services.close()


def _ask(services: Services, asked: np.ndarray, number: int, due: float) -> dict[str, Any]:
    question, turn = number // 2 % len(asked), number % 2
    ask = _whole if question % _WHOLE_EVERY == 0 else _candidates
    said: dict[str, Any] = {"due": due, "question": question, "still": turn == 1}
    try:
        said["build"], found = ask(services, asked[question], _TURNS[turn])
    except PinpointError as error:
        said["error"] = f"{error.reason}: {error.message}"
    else:
        said["answer"] = found and hashlib.sha256(json.dumps(found).encode()).hexdigest()
    return {**said, "took_s": time.monotonic() - due}


def _candidates(services: Services, vector: np.ndarray, owner: UUID) -> tuple[str | None, Said]:
    """What a `locate` asks of the index: which build it is, and the candidates."""
    context = _context(services, owner)
    for snapshot in consistency.consistent_snapshots(services.index, services.encoder.contract):
        found, _ = retrieve.retrieve_candidates(vector, SearchFilter(), context, snapshot=snapshot)
    return snapshot.build, [str(one) for one in found]


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
    """A `locate` from the vector on; all that it says but its timings."""
    answer = locate_encoded(vector, SearchFilter(), _context(services, owner))
    said: Said = [str(one) for one in (answer.point, *answer.credible_discs, *answer.citations)]
    for one in answer.ranked:
        near = [str(each.id) for each in one.evidence]
        said += [str(one.candidate), repr((one.weight, one.evidence_share)), *near]
    return answer.index_build, said if answer.point else []
