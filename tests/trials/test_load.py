"""One minute of eight concurrent callers: documented errors only, flat memory, no long tail."""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import psutil
import pytest

from pinpoint import errors
from pinpoint.cli.api_client import ApiClient
from pinpoint.stack.state import read_state
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint_client.transport import HttpTransport
from trials.soak.fault_stack import FaultStack, run_fault_stack
from trials.soak.script import seeded_photo

GALLERY, CALLERS, UPLOADED = 300, 8, 4
WARM_S, LOAD_S = 20.0, 60.0
MOST_GROWTH, MOST_TAIL = 1.05, 4.0
WATCHED = ("api", "worker", "index")


@dataclass
class Seen:
    """Records of the callers and of the memory sampler."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refused: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    rss: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: defaultdict(list))


@pytest.mark.timeout(600)
def test_eight_callers_see_stated_errors_and_flat_memory():
    with run_fault_stack(clock=False, disks=False, second=False, chunk=64, lease_s=60.0) as stack:
        owner = Transactions(owner_engine(stack.paths.owner_url()))
        ApiKeyStore(owner).create_organization("busy")
        owner.close()
        images = _gallery(stack)
        seen, stop, measured = Seen(), threading.Event(), threading.Event()
        threads = [
            threading.Thread(target=_caller, args=(stack, n, images, seen, stop, measured))
            for n in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(WARM_S)
        measured.set()
        _sample(stack, seen)
        stop.set()
        for thread in threads:
            thread.join()
        _report_and_check(seen)


def _open_client(stack: FaultStack) -> ApiClient:
    state = read_state(stack.paths)
    assert state is not None
    key = stack.paths.operator_key_file.read_text().strip()
    return ApiClient(HttpTransport(state.api_url, key, "busy", embedded=True))


def _gallery(stack: FaultStack) -> list[str]:
    with _open_client(stack) as client:
        client.add_source("gallery", "photo", originals="rendition")
        batch = client.open_batch("gallery")["id"]
        for start in range(0, GALLERY, 50):
            numbers = range(start, start + 50)
            client.upload(batch, {f"{n}.jpg": seeded_photo(n, n) for n in numbers})
        client.close_batch(batch)
        until = time.monotonic() + 180.0
        while not (now := client.batch(batch))["is_processed"]:
            assert time.monotonic() < until, now
            time.sleep(0.2)
        return [one["image_ids"][0] for one in client.items(batch, limit=1000)["items"]]


def _caller(
    stack: FaultStack,
    number: int,
    images: list[str],
    seen: Seen,
    stop: threading.Event,
    measured: threading.Event,
) -> None:
    """Three callers locate, three search for similar images, two upload."""
    verb = ("locate", "similar", "upload", "locate", "similar", "upload", "locate", "similar")[
        number
    ]
    turn = 0
    with _open_client(stack) as client:
        while not stop.is_set():
            turn += 1
            began = time.monotonic()
            try:
                _ask(client, verb, number, turn, images)
            except errors.UnavailableError as error:
                seen.refused[error.reason] += 1
                time.sleep(0.2)
            except Exception as error:
                seen.wrong.append(f"{verb}: {error!r}")
                time.sleep(0.2)
            else:
                if measured.is_set():
                    seen.seconds[verb].append(time.monotonic() - began)


def _ask(client: ApiClient, verb: str, number: int, turn: int, images: list[str]) -> None:
    seed = 10_000 * (number + 1) + turn
    if verb == "locate":
        client.locate(seeded_photo(seed % 400, seed % 400))
    elif verb == "similar":
        client.similar(image_id=images[seed % len(images)])
    else:
        batch = client.open_batch("gallery")["id"]
        client.upload(
            batch, {f"{seed}-{n}.jpg": seeded_photo(seed + n, seed) for n in range(UPLOADED)}
        )
        client.close_batch(batch)
        time.sleep(0.5)


def _sample(stack: FaultStack, seen: Seen) -> None:
    processes = {name: psutil.Process(stack.pid(name)) for name in WATCHED}
    began = time.monotonic()
    while (now := time.monotonic() - began) < LOAD_S:
        for name, process in processes.items():
            seen.rss[name].append((now, process.memory_info().rss))
        (engine,) = processes["index"].children()
        seen.rss["engine"].append((now, engine.memory_info().rss))
        time.sleep(0.5)


def _report_and_check(seen: Seen) -> None:
    tails, growths = {}, {}
    for verb, seconds in sorted(seen.seconds.items()):
        cuts = statistics.quantiles(seconds, n=100)
        tails[verb] = cuts[98] / cuts[49]
        sys.stdout.write(
            f"{verb:8} {len(seconds):6d} calls, p50 {1e3 * cuts[49]:7.1f} ms, "
            f"p95 {1e3 * cuts[94]:7.1f} ms, p99 {1e3 * cuts[98]:7.1f} ms, "
            f"p99/p50 {tails[verb]:.1f}\n"
        )
    for name, samples in seen.rss.items():
        first = statistics.median(rss for at, rss in samples if at < LOAD_S / 3)
        last = statistics.median(rss for at, rss in samples if at > 2 * LOAD_S / 3)
        growths[name] = last / first
        sys.stdout.write(
            f"{name:8} first third {first / 2**20:7.1f} MiB, last third {last / 2**20:7.1f} MiB, "
            f"{100 * (last / first - 1):+.1f} %\n"
        )
    sys.stdout.write(f"refused {dict(seen.refused)}, wrong {seen.wrong[:5]}\n")
    assert seen.wrong == []
    assert all(growth <= MOST_GROWTH for growth in growths.values()), growths
    assert all(tail <= MOST_TAIL for tail in tails.values()), tails
