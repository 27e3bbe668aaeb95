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

import numpy as np

from pinpoint.bootstrap import Services, build
from pinpoint.errors import PinpointError
from pinpoint.records import Answer, Limits
from pinpoint.search.pipeline import locate_encoded
from pinpoint.settings import Places, Settings
from trials.rebuild.rows import CHANGING, STILL

PER_S, _THREADS = 5.0, 6
_TURNS = (CHANGING, STILL)


def ask_on(home: Path, asked: np.ndarray, notes: Path, ready: Any, stop: Any) -> None:
    """Ask from the API's side, with its role, until told to stop.

    Args:
        home: Of the stack.
        asked: Questions `[Q, D]`, put to both organisations in turn.
        notes: Gets one JSON line a question.
        ready: Event set before the first question that counts.
        stop: Event that ends it.
    """
    services = build(Settings(places=Places(home=home)), "api")
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
    said: dict[str, Any] = {"due": due, "question": question, "still": turn == 1}
    try:
        answer = _locate(services, asked[question], _TURNS[turn])
    except PinpointError as error:
        said["error"] = f"{error.reason}: {error.message}"
    else:
        said |= {"build": answer.index_build, "answer": _fingerprint(answer)}
    return {**said, "took_s": time.monotonic() - due}


def _note(file: Any, said: dict[str, Any]) -> None:
    file.write(json.dumps(said) + "\n")
    file.flush()


def _locate(services: Services, vector: np.ndarray, owner: Any) -> Answer:
    return locate_encoded(
        vector,
        limits=Limits(),
        organization_id=owner,
        contract=services.encoder.contract,
        index=services.index,
        database=services.database,
        settings=services.settings.search,
    )


def _fingerprint(answer: Answer) -> str | None:
    """A hash of all that the answer says but its build and timings; None if it says nothing."""
    if answer.point is None or not answer.citations:
        return None
    said = [
        str(answer.point),
        [str(region) for region in answer.regions],
        [str(one) for one in answer.citations],
        [
            [str(one.candidate), one.mass, one.support, [str(each.id) for each in one.evidence]]
            for one in answer.ranked
        ],
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
