"""Quorum queues on a real RabbitMQ: killed workers, a restarted broker, dead letters.

Debian's version is 3.10. That the settings hold on version 4 is not shown here; a test asserts
them (`tests/stack/test_celery_config.py`).
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from kombu.connection import Connection

from pinpoint.cli.api_client import ApiClient
from pinpoint.records import KeyGrant
from pinpoint.stack.broker.celery_config import DEAD_LETTER_QUEUE, DELIVERY_LIMIT
from pinpoint.stack.state import read_state
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint.tasks import INGEST_QUEUE, QUEUES
from stack_fixtures import write_photos
from trials.rabbitmq.server import BINARIES, RabbitServer, run_rabbitmq
from trials.soak.compare import measure_drift
from trials.soak.fault_stack import FaultStack, run_fault_stack

pytestmark = pytest.mark.skipif(
    not (BINARIES / "rabbitmq-server").exists(),
    reason="rabbitmq-server is not installed (Debian: apt-get install rabbitmq-server)",
)

IMAGES: Final = 2_000
POISONED: Final = 40
CHUNK: Final = 16
LIMIT_S: Final = 900.0


@pytest.fixture(scope="module")
def rabbitmq() -> Iterator[RabbitServer]:
    with (
        tempfile.TemporaryDirectory(prefix="pinpoint-test-") as folder,
        run_rabbitmq(Path(folder)) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def stack(rabbitmq: RabbitServer) -> Iterator[FaultStack]:
    with run_fault_stack(
        clock=False, disks=False, chunk=CHUNK, broker_url=rabbitmq.url
    ) as running_stack:
        yield running_stack


@pytest.fixture(scope="module")
def client(stack: FaultStack) -> Iterator[ApiClient]:
    owner = Transactions(owner_engine(stack.paths.owner_url()))
    keys = ApiKeyStore(owner)
    keys.create_organization("rabbit")
    grant = KeyGrant(scopes=("read", "ingest", "admin"))
    _, key = keys.create_key("rabbit", "all", grant)
    owner.close()
    state = read_state(stack.paths)
    assert state is not None
    with ApiClient.open(server=state.api_url, key=key) as api_client:
        api_client.add_source("gallery", "photo")
        yield api_client


@pytest.mark.timeout(1_500)
def test_killed_workers_and_a_restarted_broker_lose_no_image(stack, client, rabbitmq, tmp_path):
    folder = tmp_path / "gallery"
    write_photos(folder, IMAGES)
    for number in range(POISONED):
        path = folder / f"{number * (IMAGES // POISONED):04d}.jpg"
        path.write_bytes(path.read_bytes()[:200])
    batch = client.ingest_folder(folder, source="gallery", wait=False)

    def count_ended() -> int:
        return int(
            stack.sql(
                "SELECT count(*) FROM batch_items WHERE batch_id = %s AND "
                "status NOT IN ('received', 'stored')",
                batch["id"],
            )[0][0]
        )

    def has_ended(share: float) -> bool:
        return count_ended() >= share * IMAGES

    faults: list[tuple[float, Callable[[], None], bool]] = [
        (0.1, lambda: kill_worker(stack), False),
        (0.2, rabbitmq.kill, True),
        (0.3, lambda: kill_second_worker(stack), False),
        (0.45, rabbitmq.stop, True),
        (0.6, lambda: kill_worker(stack), False),
        (0.75, lambda: kill_second_worker(stack), False),
    ]
    for share, cause_fault, is_of_broker in faults:
        wait_until(functools.partial(has_ended, share))
        cause_fault()
        say(f"fault at {count_ended()} of {IMAGES}")
        if is_of_broker:
            time.sleep(2.0)
            rabbitmq.start()
    wait_until(lambda: count_ended() == IMAGES)
    wait_until(lambda: client.batch(batch["id"])["is_processed"])
    states = stack.sql(
        "SELECT status, count(*) FROM batch_items WHERE batch_id = %s GROUP BY 1 ORDER BY 1",
        batch["id"],
    )
    attempts = stack.sql(
        "SELECT attempts, count(*) FROM batch_items WHERE batch_id = %s GROUP BY 1 ORDER BY 1",
        batch["id"],
    )
    drift = measure_drift(stack)
    say(f"{len(faults)} faults; {states}; attempts {attempts}; {drift}")
    assert dict(states) == {"indexed": IMAGES - POISONED, "rejected": POISONED}
    indexed = stack.sql("SELECT count(*), count(DISTINCT external_id) FROM images")
    assert indexed == [(IMAGES - POISONED, IMAGES - POISONED)]
    assert (drift.checked, drift.total) == (IMAGES - POISONED, 0)


@pytest.mark.timeout(600)
def test_all_queues_are_quorum_queues_with_dead_letters(stack, client, rabbitmq):
    queues = rabbitmq.list_queues()
    assert set(QUEUES) | {DEAD_LETTER_QUEUE} <= queues.keys()
    for name in QUEUES:
        kind, arguments = queues[name]
        assert kind == "quorum", name
        assert "x-dead-letter-exchange" in arguments
        assert f'"x-delivery-limit",{DELIVERY_LIMIT}' in arguments
    say(f"queues: {sorted(queues)}")


@pytest.mark.timeout(900)
def test_dead_letters_become_states_of_items(stack, client, rabbitmq, tmp_path):
    with stopped_workers(stack):
        write_photos(tmp_path / "chunks", 2 * CHUNK, first=5_000)
        batch = client.ingest_folder(tmp_path / "chunks", source="gallery", wait=False)
        write_photos(tmp_path / "single", 1, first=6_000)
        alone = client.ingest_folder(tmp_path / "single", source="gallery", wait=False)
        with connect(rabbitmq) as connection:
            # A worker that is lost with its task, until the broker gives up.
            wait_until(lambda: count_messages(connection, INGEST_QUEUE) == 3)
        for _ in range(3 * (DELIVERY_LIMIT + 1)):
            with connect(rabbitmq) as connection:
                if count_messages(connection, INGEST_QUEUE) < 3:
                    break
                get_message(connection)
        with connect(rabbitmq) as connection:
            # Tasks that a worker refuses.
            while (message := get_message(connection)) is not None:
                message.reject()
            publish_unknown(connection)
    wait_until(lambda: client.batch(batch["id"])["is_processed"])
    wait_until(lambda: client.batch(alone["id"])["is_processed"])
    items = stack.sql(
        "SELECT status, attempts, error_code, count(*) FROM batch_items WHERE batch_id = ANY(%s) "
        "GROUP BY 1, 2, 3 ORDER BY 1",
        [batch["id"], alone["id"]],
    )
    say(f"after three dead letters: {items}")
    assert [row for row in items if row[0] == "failed"] == [("failed", 0, "too_many_attempts", 1)]
    assert sum(row[3] for row in items if row[0] == "indexed") == 2 * CHUNK
    # Items of a chunk that was given up were sent one by one, after an attempt was counted.
    assert {row[1] for row in items if row[0] == "indexed"} == {2}
    wait_until(lambda: count_dead_letters(stack) == 4)
    reasons = [line["reason"] for line in stack.logged("worker") if line["event"] == "dead letter"]
    say(f"reasons of dead letters: {reasons}")
    assert set(reasons) == {"delivery_limit", "rejected"}
    client.retry(alone["id"])
    wait_until(lambda: client.batch(alone["id"])["is_processed"])
    retried = stack.sql("SELECT status FROM batch_items WHERE batch_id = %s", alone["id"])
    assert retried == [("indexed",)]


@contextlib.contextmanager
def stopped_workers(stack: FaultStack) -> Iterator[None]:
    """Stop both workers inside the block."""
    stack.close_second()
    stack.supervisor.stop(["worker"], 30.0)
    yield
    stack.supervisor.start("worker")


def connect(rabbitmq: RabbitServer) -> Connection:
    return Connection(rabbitmq.url)


def get_message(connection: Connection) -> Any:
    """Take a task without confirming it."""
    channel = connection.default_channel
    message = channel.basic_get(INGEST_QUEUE, no_ack=False)
    return None if message is None else channel.message_to_python(message)


def publish_unknown(connection: Connection) -> None:
    """Send a task that no worker knows."""
    producer = connection.Producer()
    body: Any = [[[]], {}, {}]
    headers = {"task": "ingest.unknown", "id": "1", "lang": "py"}
    producer.publish(
        body, exchange="pinpoint", routing_key=INGEST_QUEUE, headers=headers, serializer="json"
    )


def count_messages(connection: Connection, queue: str) -> int:
    return int(connection.default_channel.queue_declare(queue=queue, passive=True).message_count)


def count_dead_letters(stack: FaultStack) -> int:
    rows = stack.sql("SELECT value FROM maintenance_stats WHERE name = 'sum.dead_letters'")
    return int(rows[0][0]) if rows else 0


def kill_worker(stack: FaultStack) -> None:
    """Kill the supervised worker while it holds items; the supervisor starts it again."""
    pid = wait_for_leases(stack, lambda: stack.pid("worker"))
    os.kill(pid, signal.SIGKILL)


def kill_second_worker(stack: FaultStack) -> None:
    wait_for_leases(stack, lambda: stack.second_pid)
    stack.close_second()
    stack.second_worker()


def wait_for_leases(stack: FaultStack, get_pid: Callable[[], int | None]) -> int:
    """The process id of a worker that holds items now."""
    until = time.monotonic() + 120.0
    while time.monotonic() < until:
        pid = get_pid()
        rows = stack.sql("SELECT DISTINCT lease_owner FROM batch_items WHERE lease_owner <> ''")
        if pid is not None and any(owner.split("/")[1] == str(pid) for (owner,) in rows):
            return pid
        time.sleep(0.02)
    raise AssertionError("the worker holds no lease")


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
