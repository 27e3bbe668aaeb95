"""Builds the parts of webhooks from settings, for `bootstrap`."""

from __future__ import annotations

from dataclasses import dataclass

from pinpoint.outgoing.guard import Guard, RequestRules
from pinpoint.outgoing_settings import split_list
from pinpoint.settings import Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.store.db.database import Transactions
from pinpoint.store.webhooks.secret_cipher import SecretCipher
from pinpoint.store.webhooks.webhook_outbox import WebhookOutbox
from pinpoint.store.webhooks.webhook_store import WebhookStore


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookServices:
    """Webhooks of a process.

    Args:
        store: Webhooks and their deliveries, for the API.
        outbox: Deliveries of all organizations, for workers.
        guard: Checks and calls their URLs.
    """

    store: WebhookStore
    outbox: WebhookOutbox
    guard: Guard


def open_webhooks(settings: Settings, transactions: Transactions) -> WebhookServices:
    """Open the webhooks of the database; sends nothing."""
    cipher = SecretCipher(StackPaths(settings.services.home).webhook_key_file)
    rules = RequestRules(
        hosts=split_list(settings.webhook.allowed_hosts),
        schemes=settings.remote.schemes,
        ports=settings.remote.ports,
        networks=settings.remote.networks,
    )
    return WebhookServices(
        store=WebhookStore(transactions, cipher, settings.webhook.rotation_overlap_days),
        outbox=WebhookOutbox(transactions, cipher, settings.webhook.disable_after_days),
        guard=Guard(rules, timeout_s=settings.webhook.timeout_s),
    )
