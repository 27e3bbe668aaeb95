"""The fair queue: slots and bytes per key, and the time limit of a wait."""

from __future__ import annotations

import asyncio

import pytest

from pinpoint.api.admission import FairQueue
from pinpoint.errors import UnavailableError


def run(coroutine):
    return asyncio.run(coroutine)


async def start(queue, key, cost=0, wait_s=5.0):
    task = asyncio.create_task(queue.acquire(key, cost, wait_s))
    await asyncio.sleep(0)
    return task


def test_fair_queue_with_one_busy_key_keeps_a_slot_for_other_keys():
    async def scene():
        queue = FairQueue(4, 100, 10)
        mine = [await start(queue, "a") for _ in range(6)]
        assert [waiter.done() for waiter in mine] == [True] * 3 + [False] * 3
        other = await start(queue, "b")
        assert other.done()
        for waiter in mine:
            waiter.cancel()

    run(scene())


def test_fair_queue_admits_the_key_with_the_fewest_slots_first():
    async def scene():
        queue = FairQueue(2, 100, 10)
        order = []

        async def ask(key):
            await queue.acquire(key, 0, 5.0)
            order.append(key)

        await queue.acquire("a", 0, 1.0)
        await queue.acquire("z", 0, 1.0)
        asks = [asyncio.create_task(ask(key)) for key in ("a", "a", "a", "b")]
        await asyncio.sleep(0)
        queue.release("z", 0)
        await asyncio.sleep(0)
        assert order == ["b"]
        queue.release("a", 0)
        await asyncio.sleep(0)
        queue.release("a", 0)
        await asyncio.sleep(0)
        assert order[:3] == ["b", "a", "a"]
        for waiter in asks:
            waiter.cancel()

    run(scene())


def test_fair_queue_full_of_one_key_replaces_a_waiter_by_another_key():
    async def scene():
        queue = FairQueue(1, 100, 3)
        await queue.acquire("a", 0, 1.0)
        mine = [await start(queue, "a") for _ in range(3)]
        other = await start(queue, "b")
        await asyncio.sleep(0)
        assert [waiter.done() for waiter in mine] == [False, False, True]
        with pytest.raises(UnavailableError) as refused:
            mine[2].result()
        assert refused.value.reason == "overloaded"
        assert refused.value.retry_after_s
        with pytest.raises(UnavailableError):
            await queue.acquire("a", 0, 1.0)
        queue.release("a", 0)
        await asyncio.sleep(0)
        assert other.done()
        for waiter in mine:
            waiter.cancel()

    run(scene())


def test_fair_queue_wait_timeout_releases_everything():
    async def scene():
        queue = FairQueue(1, 100, 10)
        await queue.acquire("a", 0, 1.0)
        with pytest.raises(UnavailableError):
            await queue.acquire("b", 0, 0.01)
        assert queue.waiting == 0
        queue.release("a", 0)
        assert await queue.acquire("b", 0, 0.01) == 0

    run(scene())


def test_fair_queue_limits_admitted_bytes():
    async def scene():
        queue = FairQueue(10, 100, 10)
        assert await queue.acquire("a", 60, 1.0) == 60
        second = await start(queue, "b", 60)
        assert not second.done()
        assert not queue.grow(41)
        assert queue.grow(40)
        queue.release("a", 100)
        assert await second == 60
        queue.release("b", 60)
        # Larger than the byte limit: admitted alone.
        assert await queue.acquire("a", 1_000, 1.0) == 100
        assert not (await start(queue, "b", 1)).done()

    run(scene())


def test_fair_queue_canceled_waiter_releases_its_slot():
    async def scene():
        queue = FairQueue(1, 100, 10)
        await queue.acquire("a", 0, 1.0)
        waiter = await start(queue, "b")
        queue.release("a", 0)  # granted now, and cancelled before it runs
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        assert await queue.acquire("c", 0, 0.01) == 0

    run(scene())
