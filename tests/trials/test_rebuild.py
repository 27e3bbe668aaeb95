"""The index is rebuilt under load, and with kills during the rebuild.

`PINPOINT_TEST_REBUILD_IMAGES` is the number of images (default 100,000). The test of crashes has a
fifth of them, because each crash waits for the progress of a build that shares two cores with
callers.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import numpy as np
import pytest

from clustered import shapes
from pinpoint.bootstrap import Services, build_services
from pinpoint.circuit_breaker import PAUSE_S
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.records import IndexPoint, IndexQuery
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.rpc.client import RemoteIndex
from recall_table import ENOUGH, Switch
from trials.rebuild import crashes
from trials.rebuild.load import HEAD, Load, Window, follow, line, loading
from trials.rebuild.query_load import PER_S as ASKED_PER_S
from trials.rebuild.rows import BEST, CHANNEL, Loaded, exact, load
from trials.rebuild.writer import PER_S as WRITTEN_PER_S
from trials.rebuild.writer import vector_of
from trials.soak.fault_stack import FaultStack, run_fault_stack

IMAGES = int(os.environ.get("PINPOINT_TEST_REBUILD_IMAGES", "100000"))
CRASHED = IMAGES // 5
ASKED, AROUND_S = 40, 10.0
LONGEST_S, RATE_HELD = 1.0, 0.9
"""Longest pause allowed, and the share of both rates that has to be reached."""


@pytest.mark.timeout(1_500)
def test_rebuild_under_load_has_no_failure_and_keeps_answers(tmp_path):
    with stack_of(IMAGES) as (stack, services, loaded):
        first = _rebuilt(services)
        say(f"{IMAGES} images: first build {sum(one.ended - one.begun for one in first):.1f} s\n")
        _fresh_owner(stack, services)
        before = exact(services.index, loaded)
        under_load = _under_load(stack, services, loaded, tmp_path)
        assert exact(services.index, loaded) == before, "exact answers differ after the swap"
        _nothing_lost(stack, services, loaded, [under_load])
        _recall(stack, services, loaded, tmp_path / "copy")


@pytest.mark.timeout(1_500)
def test_rebuild_with_crashes_loses_nothing(tmp_path):
    with stack_of(CRASHED) as (stack, services, loaded):
        first = _rebuilt(services)
        before = exact(services.index, loaded)
        optimizing_s = sum(w.ended - w.begun for w in first if w.name == "optimizing")
        in_crashes = _crashes(stack, services, loaded, tmp_path, optimizing_s)
        build_before = services.index.info().build
        _rebuilt(services)
        assert services.index.info().build != build_before
        assert exact(services.index, loaded) == before, "exact answers differ after the crashes"
        _nothing_lost(stack, services, loaded, [in_crashes])


@contextmanager
def stack_of(images: int) -> Iterator[tuple[FaultStack, Services, Loaded]]:
    with run_fault_stack(clock=False, disks=False, second=False, chunk=64, lease_s=60.0) as stack:
        loaded = load(stack, images, ASKED)
        services = build_services(stack.settings, "worker")
        yield stack, services, loaded
        services.close()


def say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _rebuilt(services: Services) -> list[Window]:
    assert isinstance(services.index, RemoteIndex)
    services.index.rebuild()
    return follow(services.index)


def _fresh_owner(stack: FaultStack, services: Services) -> None:
    """Restart the index owner, so that the imports of its first rebuild count as a pause too."""
    old = stack.pid("index")
    os.kill(old, signal.SIGTERM)
    until = time.monotonic() + 60.0
    while stack.pid("index") in (None, old) or not crashes.serves(services.index):
        assert time.monotonic() < until, "the owner does not come back"
        time.sleep(0.1)


def _under_load(stack: FaultStack, services: Services, loaded: Loaded, folder) -> Load:
    """One rebuild under queries and writes: no failure, no long pause, the build changes."""
    old = services.index.info().build
    with loading(stack.paths.home, folder, "load", loaded) as seen:
        begun = time.monotonic()
        time.sleep(AROUND_S)
        windows = [Window("before", begun, time.monotonic()), *_rebuilt(services)]
        windows = [one for one in windows if one.name != "idle"]
        time.sleep(AROUND_S)
        windows.append(Window("after", windows[-1].ended, time.monotonic()))
        whole = Window("in all", begun, time.monotonic())
        new = services.index.info().build
    say(HEAD)
    for one in [*windows, whole]:
        say(line(one.name, seen.queries(one), seen.written(one), one.ended - one.begun))
    queries = seen.queries()
    replaying = next(one for one in windows if one.name == "replaying")
    early = {one.get("build") for one in queries if one["due"] + one["took_s"] < replaying.begun}
    late = {one.get("build") for one in queries if one["due"] >= replaying.ended}
    say(f"answers named build {early} until the swap and {late} after it\n")
    assert [one["error"] for one in queries if "error" in one] == []
    assert max(one["took_s"] for one in queries) <= LONGEST_S
    assert old != new
    assert (early, late) == ({old}, {new})
    s = whole.ended - whole.begun
    assert len(seen.queries(whole)) >= RATE_HELD * ASKED_PER_S * s
    written = sum(one.get("indexed", 0) for one in seen.written(whole))
    assert written >= RATE_HELD * WRITTEN_PER_S * s, "the writes did not hold their rate"
    assert not [one for one in seen.written() if "refused" in one]
    _same_answers(seen)
    return seen


def _same_answers(seen: Load) -> None:
    """Answers of the organization without changes are the same before, in and after the rebuild."""
    answers: dict[int, set[str]] = {}
    for one in seen.queries():
        if "error" not in one:
            assert one["answer"], f"an empty answer: {one}"
            if one["still"]:
                answers.setdefault(one["query"], set()).add(one["answer"])
    assert len(answers) == ASKED
    assert [query for query, seen_answers in answers.items() if len(seen_answers) > 1] == []


def _nothing_lost(stack: FaultStack, services: Services, loaded: Loaded, loads: list[Load]) -> None:
    """Every write is in the index at its row's version with its vector, and nothing else is."""
    _settled(stack)
    promised, times = {}, Counter()
    for one in loads:
        promised |= one.promised()
        times.update(one.times())
    ids = [UUID(image) for image in promised]
    rows = dict(stack.sql("SELECT id, version FROM images WHERE id = ANY(%s)", ids))
    old = set(loaded.ids)
    assert rows == {each: times[str(each)] + (each in old) for each in ids}, "rows were lost"
    points = {point.id: point for point in services.index.fetch(ids, vectors=True)}
    lost = [each for each in ids if each not in points or points[each].version != rows[each]]
    other = [each for each in ids if each in points and not _holds(points[each], promised)]
    drift = reconcile_index_rows(
        repository=services.repository,
        index=services.index,
        queue=None,
        contract=services.encoder.contract.digest,
        chunk=64,
    )
    say(
        f"{sum(times.values())} writes of {len(ids)} images: {len(lost)} lost, {len(other)} with "
        f"an older vector; reconcile: {drift}\n"
    )
    assert (lost, other, drift.total) == ([], [], 0)
    assert drift.checked == services.index.count()


def _holds(point: IndexPoint, promised: dict[str, tuple[str, int]]) -> bool:
    """Whether the index has the vector of the last write; it keeps vectors at length 1."""
    stored = point.vectors[CHANNEL]
    wanted = vector_of(*promised[str(point.id)], len(stored))
    return np.allclose(stored, wanted / np.linalg.norm(wanted), atol=1e-6)


def _settled(stack: FaultStack) -> None:
    until = time.monotonic() + 90.0
    while (waiting := stack.sql("SELECT count(*) FROM images WHERE state <> 'indexed'")) != [(0,)]:
        assert time.monotonic() < until, f"{waiting} rows are not in the index"
        time.sleep(0.2)


def _recall(stack: FaultStack, services: Services, loaded: Loaded, copy) -> None:
    """Recall of the graph that was swapped in, though the product compares all at this size."""
    time.sleep(6.0)  # longer than the owner waits with flushing
    build_ = stack.paths.index_dir / "builds" / str(services.index.info().build)
    shutil.copytree(build_, copy)
    switch = Switch()
    index = EdgeIndex(copy, chooser=switch)
    low = []
    for shape, where in shapes(loaded.clustered).items():
        queries = [
            IndexQuery(channel=CHANNEL, vector=vector, filter=where, limit=BEST)
            for vector in loaded.queries
        ]
        ids_by_way = {}
        for way in ("exact", "acorn"):
            switch.way = way
            ids_by_way[way] = [{hit.id for hit in hits} for hits in index.search(queries)]
        pairs = zip(ids_by_way["acorn"], ids_by_way["exact"], strict=True)
        recall = float(np.mean([len(a & b) / len(b) for a, b in pairs]))
        say(f"recall@{BEST} of the graph, {shape}: {recall:.3f}\n")
        low += [shape] if recall < ENOUGH else []
    say(f"{index.info().indexed_vectors} of {index.info().points} vectors in the graph\n")
    index.close()
    assert low == []


def _crashes(
    stack: FaultStack, services: Services, loaded: Loaded, folder, optimizing_s: float
) -> Load:
    """Kills in every state of a rebuild under queries and writes."""
    done = []
    with loading(stack.paths.home, folder, "crashes", loaded) as seen:
        say(crashes.HEAD + "\n")
        for victim, state in crashes.MOMENTS:
            one = crashes.crash(stack, services.index, victim, state, CRASHED, optimizing_s)
            done.append(one)
            say(f"{one}\n")
            time.sleep(1.0)
    # The circuit breaker of the API rejects calls for a while after the owner is back.
    away = [(one.killed, one.back + PAUSE_S) for one in done if one.victim == "owner"]
    failed = [one for one in seen.queries() if "error" in one]
    wrong = [
        one
        for one in failed
        if not any(one["due"] < back and one["due"] + one["took_s"] > gone for gone, back in away)
    ]
    refused = sum(one.get("refused", 0) for one in seen.written())
    say(
        f"{len(seen.queries())} asked, {len(failed)} failed while the owner was away, {len(wrong)} "
        f"else; {refused} writes left to the sweep\n"
    )
    assert wrong == []
    _same_answers(seen)
    return seen
