"""Settings of the brokers: what RabbitMQ 4 requires, and one queue for each task."""

from __future__ import annotations

from typing import get_args

import pytest
from celery import Celery
from celery.utils.quorum_queues import detect_quorum_queues

from pinpoint import tasks
from pinpoint.settings import Settings, WorkerSettings
from pinpoint.stack.broker.celery_config import (
    DELIVERY_LIMIT,
    is_rabbitmq,
    make_celery_config,
    make_dead_letter_queue,
)
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor.programs import list_programs

RABBITMQ_URL = "amqp://user:secret@broker.example//"


def make_app(broker_url: str) -> Celery:
    app = Celery("pinpoint")
    app.conf.update(make_celery_config(broker_url))
    return app


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (RABBITMQ_URL, True),
        ("amqps://broker.example", True),
        ("pyamqp://broker.example", True),
        ("redis://localhost", False),
        ("redis+socket:///run/redis.sock", False),
    ],
)
def test_the_scheme_names_the_broker(url, expected):
    assert is_rabbitmq(url) is expected


def test_every_task_has_a_queue_and_every_queue_a_worker(tmp_path):
    assert set(tasks.QUEUE_OF) == set(get_args(tasks.TaskName))
    assert set(tasks.QUEUE_OF.values()) == set(tasks.QUEUES)
    commands = [program.command for program in list_programs(Settings(), StackPaths(tmp_path))]
    consumed = [
        queue
        for command in commands
        if "worker" in command
        for queue in command[command.index("-Q") + 1].split(",")
    ]
    assert sorted(consumed) == sorted(tasks.QUEUES)


def test_queues_on_rabbitmq_are_safe_for_version_4():
    app = make_app(RABBITMQ_URL)
    queues = [*app.amqp.queues.values(), make_dead_letter_queue()]
    for queue in queues:
        assert queue.queue_arguments["x-queue-type"] == "quorum"
        assert queue.durable
        assert not queue.exclusive
        assert not queue.auto_delete
    # With quorum queues Celery asks for no global QoS, which version 4 refuses (kombu #2469).
    assert app.conf.worker_detect_quorum_queues
    assert detect_quorum_queues(app, "amqp")[0]
    # Transient queues must be exclusive from version 4.3 on (kombu #2237).
    assert app.conf.control_queue_exclusive
    assert app.conf.event_queue_exclusive
    assert not app.conf.worker_enable_prefetch_count_reduction
    assert app.conf.broker_transport_options["confirm_publish"]


def test_workers_do_not_exchange_messages(tmp_path):
    programs = list_programs(Settings(), StackPaths(tmp_path))
    workers = [program.command for program in programs if "worker" in program.command]
    assert len(workers) == 3
    for command in workers:
        assert {"--without-gossip", "--without-mingle"} <= set(command)


def test_the_database_decides_before_the_broker_gives_up():
    assert 2 * WorkerSettings().max_attempts < DELIVERY_LIMIT
    for queue in make_app(RABBITMQ_URL).amqp.queues.values():
        assert queue.queue_arguments["x-delivery-limit"] == DELIVERY_LIMIT
        assert queue.queue_arguments["x-dead-letter-strategy"] == "at-least-once"
        assert queue.queue_arguments["x-overflow"] == "reject-publish"


def test_redis_queues_have_no_arguments():
    for queue in make_app("redis://localhost").amqp.queues.values():
        assert not queue.queue_arguments


def test_each_task_is_sent_to_its_queue():
    app = make_app(RABBITMQ_URL)
    for name, queue in tasks.QUEUE_OF.items():
        assert app.amqp.router.route({}, name)["queue"].name == queue
