"""Events reach their receivers signed, once for each commit, and are tried again after failures."""

from __future__ import annotations

import json
import stat
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook, WebhookVerificationError

from pinpoint import tasks
from pinpoint.errors import ConfigurationError, ConflictError, NotFoundError
from pinpoint.records.webhooks import WebhookUpdate
from pinpoint.store.webhooks.secret_cipher import SecretCipher
from pinpoint.store.webhooks.webhook_events import insert_event
from pinpoint.store.webhooks.webhook_store import MAX_WEBHOOKS
from pinpoint.webhook_delivery import plan_retry


def add_webhook(harness, org, *event_types, path="/events"):
    return harness.api.store.add_webhook(org, harness.receiver.url(path), event_types)


def publish(harness, org, event_type="job.completed", **data):
    with harness.as_api.begin(org) as unit:
        return insert_event(unit, org, event_type, data)


def make_due(harness):
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE webhook_deliveries SET next_attempt_at = now()"))


def deliveries(harness, org, webhook):
    return harness.api.store.deliveries(org, webhook.id, limit=100)


def test_closing_a_batch_sends_a_verifiable_event_once(harness, org):
    webhook, secret = add_webhook(harness, org, "batch.closed")
    with harness.database.write(org) as catalog:
        batch = catalog.open_batch(catalog.add_source("walk", "photo").id)
    for _ in range(2):
        with harness.database.write(org) as catalog:
            catalog.close_batch(batch.id)
    ((name, ids),) = harness.queue.sent
    assert name == tasks.DELIVER_WEBHOOKS
    assert harness.deliver(*ids) == 1
    assert harness.deliver(*ids) == harness.deliver() == 0
    (received,) = harness.receiver.received
    event = Webhook(secret).verify(received.body, received.headers)
    assert event["type"] == "batch.closed"
    assert event["data"] == {"batch_id": str(batch.id)}
    assert received.headers["Content-Type"] == "application/json"
    (delivery,) = deliveries(harness, org, webhook)
    assert (delivery.status, delivery.attempts, delivery.response_status) == ("delivered", 1, 204)
    assert received.headers["webhook-id"] == f"msg_{delivery.event_id.hex}"
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(received.body + b" ", received.headers)


def test_event_of_a_rolled_back_transaction_is_not_sent(harness, org):
    add_webhook(harness, org)
    with suppress(InterruptedError), harness.as_api.begin(org) as unit:
        assert insert_event(unit, org, "job.completed", {}) == 1
        raise InterruptedError
    assert harness.queue.sent == []
    assert harness.deliver() == 0


def test_events_go_to_enabled_webhooks_of_their_type_and_organization(harness, org):
    other = harness.api_keys.create_organization("other").id
    add_webhook(harness, org, path="/all")
    add_webhook(harness, org, "job.failed", path="/failed")
    disabled, _ = add_webhook(harness, org, path="/disabled")
    add_webhook(harness, other, path="/other")
    harness.api.store.update_webhook(org, disabled.id, WebhookUpdate(enabled=False))
    assert publish(harness, org, "job.completed", job_id="1") == 1
    assert publish(harness, org, "job.failed", job_id="2") == 2
    assert harness.deliver() == 3
    paths = sorted(received.path for received in harness.receiver.received)
    assert paths == ["/all", "/all", "/failed"]


def test_rotated_secret_signs_together_with_the_previous_one_during_the_overlap(harness, org):
    webhook, first = add_webhook(harness, org)
    rotated, second = harness.api.store.rotate_secret(org, webhook.id)
    assert rotated.previous_secret_expires_at is not None
    assert first != second
    publish(harness, org)
    harness.deliver()
    (received,) = harness.receiver.received
    for secret in (first, second):
        assert Webhook(secret).verify(received.body, received.headers)["type"] == "job.completed"
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE webhooks SET previous_secret_expires_at = now()"))
    publish(harness, org)
    harness.deliver()
    received = harness.receiver.received[-1]
    assert Webhook(second).verify(received.body, received.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(first).verify(received.body, received.headers)


def test_failed_attempts_are_repeated_with_the_same_id_until_they_succeed(harness, org):
    webhook, _ = add_webhook(harness, org)
    harness.receiver.statuses = [500, 302, 404]
    publish(harness, org)
    for number in range(4):
        assert harness.deliver() == 1
        assert harness.deliver() == 0, "the next attempt is not due yet"
        (delivery,) = deliveries(harness, org, webhook)
        assert delivery.attempts == number + 1
        make_due(harness)
    assert (delivery.status, delivery.error_message) == ("delivered", None)
    received = harness.receiver.received
    assert {request.path for request in received} == {"/events"}
    assert len({request.headers["webhook-id"] for request in received}) == 1
    assert len({request.body for request in received}) == 1
    assert harness.api.store.webhook(org, webhook.id).failing_since is None


def test_deliveries_after_a_failure_keep_their_order_and_their_attempts(harness, org):
    webhook, _ = add_webhook(harness, org)
    harness.receiver.statuses = [503]
    for number in range(3):
        publish(harness, org, number=number)
    assert harness.deliver() == 1
    assert sorted(delivery.attempts for delivery in deliveries(harness, org, webhook)) == [0, 0, 1]
    make_due(harness)
    assert harness.deliver() == 3
    numbers = [json.loads(one.body)["data"]["number"] for one in harness.receiver.received]
    assert numbers == [0, 0, 1, 2]


def test_receiver_that_is_gone_disables_the_webhook(harness, org):
    webhook, _ = add_webhook(harness, org)
    harness.receiver.statuses = [410]
    publish(harness, org)
    publish(harness, org)
    assert harness.deliver() == 1
    assert harness.api.store.webhook(org, webhook.id).disabled_at is not None
    assert {delivery.status for delivery in deliveries(harness, org, webhook)} == {"failed"}
    with pytest.raises(ConflictError):
        harness.api.store.send_test(org, webhook.id)
    harness.api.store.update_webhook(org, webhook.id, WebhookUpdate(enabled=True))
    assert harness.api.store.send_test(org, webhook.id).event_type == "webhook.test"
    assert harness.deliver() == 1


def test_webhook_that_fails_for_days_is_disabled(harness, org):
    webhook, _ = add_webhook(harness, org)
    harness.receiver.statuses = [500, 500]
    publish(harness, org)
    harness.deliver()
    assert harness.api.store.webhook(org, webhook.id).disabled_at is None
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE webhooks SET failing_since = now() - interval '6 days'")
        )
    make_due(harness)
    harness.deliver()
    assert harness.api.store.webhook(org, webhook.id).disabled_at is not None
    (delivery,) = deliveries(harness, org, webhook)
    assert (delivery.status, delivery.response_status) == ("failed", 500)


def test_claim_of_a_lost_worker_expires(harness, org):
    add_webhook(harness, org)
    publish(harness, org)
    assert len(harness.worker.outbox.claim([], 10)) == 1
    assert harness.deliver() == 0
    make_due(harness)
    assert harness.deliver() == 1


def test_secrets_are_encrypted_with_a_private_key_file(harness, org):
    webhook, secret = add_webhook(harness, org)
    key_file = harness.settings.services.home / "webhook.key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    with harness.owner.begin() as unit:
        row = unit.connection.execute(text("SELECT w::text FROM webhooks w")).scalar_one()
    assert secret not in row
    assert secret.removeprefix("whsec_").encode().hex() not in row
    key_file.rename(key_file.with_suffix(".lost"))
    publish(harness, org)
    assert harness.deliver() == 1
    (delivery,) = deliveries(harness, org, webhook)
    assert "cannot be decrypted" in delivery.error_message
    assert harness.receiver.received == []


def test_cipher_with_a_readable_key_refuses_it(tmp_path):
    cipher = SecretCipher(tmp_path / "webhook.key")
    encrypted = cipher.encrypt("text")
    assert cipher.decrypt(encrypted) == "text"
    (tmp_path / "webhook.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        cipher.decrypt(encrypted)


def test_finished_deliveries_are_pruned_by_age(harness, org):
    webhook, _ = add_webhook(harness, org)
    publish(harness, org)
    harness.deliver()
    publish(harness, org)
    assert harness.worker.outbox.prune_deliveries(3_600) == 0
    assert harness.worker.outbox.prune_deliveries(-1) == 1
    (delivery,) = deliveries(harness, org, webhook)
    assert delivery.status == "pending"


def test_store_limits_the_number_of_webhooks(harness, org):
    for _ in range(MAX_WEBHOOKS):
        add_webhook(harness, org)
    with pytest.raises(ConflictError):
        add_webhook(harness, org)
    (webhook, *_) = harness.api.store.webhooks(org)
    harness.api.store.delete_webhook(org, webhook.id)
    with pytest.raises(NotFoundError):
        harness.api.store.delete_webhook(org, webhook.id)


def test_plan_retry_grows_with_jitter_and_ends():
    delays = [plan_retry(attempts, 500, 10, 0.5).delay_s for attempts in range(1, 11)]
    assert delays[:3] == [5.0, 20.0, 80.0]
    assert delays[8:] == [86_400.0, None]
    assert timedelta(days=2) < timedelta(seconds=sum(delays[:-1])) < timedelta(days=4)
    assert plan_retry(1, 500, 10, 0.0).delay_s == pytest.approx(4.0)
    assert plan_retry(1, 500, 10, 1.0).delay_s == pytest.approx(6.0)
    assert plan_retry(1, 410, 10, 0.5).disables_webhook
