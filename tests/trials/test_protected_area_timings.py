"""The duration of an answer does not reveal whether a photo was taken in a protected area.

200 queries of a restricted key, half of them with photos of the area, in random order. A duration
is the time until the head of the response, because bodies differ in length anyway. The statistic is
that of Mann and Whitney, as the probability that a photo of the area takes longer than another one
(AUC): 0.5 if durations reveal nothing. Its standard error, corrected for ties, is about 0.04 with
100 photos each; a difference at the level of 1 % fails, which detects an AUC of 0.64 with a power
of 80 %.

Needs a machine without other load: a load that comes and goes widens both distributions alike, but
steps beyond the first interval make the test weaker.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterator

import httpx
import pytest
from scipy.stats import mannwhitneyu, rankdata, tiecorrect

from pinpoint.cli.api_client import ApiClient
from pinpoint.records import KeyGrant
from pinpoint.stack.state import read_state
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint_client.transport import HttpTransport
from trials.soak.fault_stack import run_fault_stack
from trials.soak.script import seeded_photo

GALLERY, PER_COLUMN, PHOTOS, LEVEL = 360, 90, 100, 0.01
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
def clients() -> Iterator[tuple[ApiClient, httpx.Client, httpx.Client]]:
    """A client that is exempt, and connections of a restricted and of the exempt key."""
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
        exempt = ApiClient(HttpTransport(state.api_url, keys[0], None, embedded=True))
        connections = [
            httpx.Client(
                base_url=state.api_url,
                headers={"Authorization": f"Bearer {key}"},
                trust_env=False,
                timeout=60,
            )
            for key in reversed(keys)
        ]
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
        restricted, unrestricted = connections
        yield exempt, restricted, unrestricted
        exempt.close()
        for connection in connections:
            connection.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("granularity", ["refuse", "city"])
def test_durations_of_answers_do_not_reveal_the_area(clients, granularity):
    exempt, restricted, unrestricted = clients
    properties = {"name": granularity, "granularity": granularity, "purpose": "a trial"}
    area = exempt.create_protected_area(AREA, properties)
    assert area["properties"]["applied"]
    try:
        for client, name in ((restricted, "restricted"), (unrestricted, "exempt")):
            durations = measure(client)
            auc, error, p_value = compare(durations[True], durations[False])
            inside, outside = (statistics.median(durations[key]) for key in (True, False))
            sys.stdout.write(
                f"{granularity}, {name} key: median {inside:.4f} s inside, {outside:.4f} s "
                f"outside, AUC {auc:.3f} ± {error:.3f}, p {p_value:.3f}\n"
            )
            if client is restricted:
                assert p_value >= LEVEL
    finally:
        exempt.delete_protected_area(area["id"])


def measure(client: httpx.Client) -> dict[bool, list[float]]:
    """Durations of queries with photos inside and outside of the area, seconds."""
    numbers = [n for n in range(GALLERY) if is_inside(n)][:PHOTOS]
    numbers += [n for n in range(GALLERY) if not is_inside(n)][:PHOTOS]
    random.Random(5).shuffle(numbers)
    durations: dict[bool, list[float]] = {True: [], False: []}
    for number in (0, *numbers):
        files = {"photo": seeded_photo(number, number)}
        began_at = time.perf_counter()
        with client.stream("POST", "/v1/locate", files=files) as response:
            duration_s = time.perf_counter() - began_at
            response.read()
        assert response.status_code == 200, response.text
        durations[is_inside(number)].append(duration_s)
    del durations[is_inside(0)][0]  # the first query loads weights
    return durations


def compare(first: list[float], second: list[float]) -> tuple[float, float, float]:
    """The AUC of two samples, its standard error if both have one distribution, and the p value.

    The AUC is the probability that a value of the first sample is larger; ties count half.
    """
    test = mannwhitneyu(first, second, method="asymptotic")
    pairs, total = len(first) * len(second), len(first) + len(second)
    error = (tiecorrect(rankdata([*first, *second])) * (total + 1) / (12 * pairs)) ** 0.5
    return float(test.statistic) / pairs, error, float(test.pvalue)
