"""The duration of an answer does not reveal whether a photo was taken in a protected area.

200 queries of a restricted key, half of them with photos of the area, in random order. The
statistic is that of Mann and Whitney, as the probability that a photo of the area takes longer than
another one (AUC): 0.5 if durations reveal nothing. Its standard error with 100 photos each is 0.04.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterator

import pytest

from pinpoint.cli.api_client import ApiClient
from pinpoint.records import KeyGrant
from pinpoint.stack.state import read_state
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint_client.transport import HttpTransport
from trials.soak.fault_stack import run_fault_stack
from trials.soak.script import seeded_photo

GALLERY, PER_COLUMN, PHOTOS, MOST_AUC = 360, 90, 100, 0.6
AREA_COLUMN = 45
"""Photos with a lower place in their column are in the area."""
AREA = {
    "type": "Polygon",
    "coordinates": [
        [[1.0, 47.9], [3.0, 47.9], [3.0, 48.445], [1.0, 48.445], [1.0, 47.9]],
    ],
}


def is_inside(number: int) -> bool:
    return number % PER_COLUMN < AREA_COLUMN


@pytest.fixture(scope="module")
def clients() -> Iterator[tuple[ApiClient, ApiClient]]:
    """Clients of a key that is exempt and of a restricted key, with a gallery."""
    with run_fault_stack(clock=False, disks=False, second=False, chunk=64, lease_s=60.0) as stack:
        owner = Transactions(owner_engine(stack.paths.owner_url()))
        store = ApiKeyStore(owner)
        store.create_organization("busy")
        scopes = ("locate", "read", "ingest", "admin")
        keys = [
            store.create_key("busy", name, KeyGrant(scopes=scopes, granularity=name))[1]
            for name in ("exact", "radius")
        ]
        owner.close()
        state = read_state(stack.paths)
        assert state is not None
        opened = [ApiClient(HttpTransport(state.api_url, key, None, embedded=True)) for key in keys]
        exempt, restricted = opened
        exempt.add_source("gallery", "photo", originals="rendition")
        batch = exempt.open_batch("gallery")["id"]
        for start in range(0, GALLERY, 60):
            numbers = range(start, start + 60)
            exempt.upload(batch, {f"{n}.jpg": seeded_photo(n, n) for n in numbers})
        exempt.close_batch(batch)
        until = time.monotonic() + 180.0
        while not (now := exempt.batch(batch))["is_processed"]:
            assert time.monotonic() < until, now
            time.sleep(0.2)
        yield exempt, restricted
        for client in opened:
            client.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("granularity", ["refuse", "city"])
def test_durations_of_answers_do_not_reveal_the_area(clients, granularity):
    exempt, restricted = clients
    properties = {"name": granularity, "granularity": granularity, "purpose": "a trial"}
    area = exempt.create_protected_area(AREA, properties)
    assert area["properties"]["applied"]
    try:
        for client, name in ((restricted, "restricted"), (exempt, "exempt")):
            durations = measure(client)
            auc = compute_auc(durations[True], durations[False])
            inside, outside = (statistics.median(durations[key]) for key in (True, False))
            sys.stdout.write(
                f"{granularity}, {name} key: median {inside:.3f} s inside, {outside:.3f} s "
                f"outside, AUC {auc:.3f}\n"
            )
            if client is restricted:
                assert max(auc, 1.0 - auc) <= MOST_AUC
    finally:
        exempt.delete_protected_area(area["id"])


def measure(client: ApiClient) -> dict[bool, list[float]]:
    """Durations of queries with photos inside and outside of the area, seconds."""
    numbers = [n for n in range(GALLERY) if is_inside(n)][:PHOTOS]
    numbers += [n for n in range(GALLERY) if not is_inside(n)][:PHOTOS]
    random.Random(5).shuffle(numbers)
    durations: dict[bool, list[float]] = {True: [], False: []}
    client.locate(seeded_photo(0, 0))  # the first query loads weights
    for number in numbers:
        photo = seeded_photo(number, number)
        began = time.perf_counter()
        answer = client.locate(photo)
        durations[is_inside(number)].append(time.perf_counter() - began)
        assert "timings_ms" in answer
    return durations


def compute_auc(first: list[float], second: list[float]) -> float:
    """Probability that a value of the first list is larger; ties count half."""
    wins = sum((a > b) + 0.5 * (a == b) for a in first for b in second)
    return wins / (len(first) * len(second))
