"""Webhooks over a real database and a real receiver."""

from __future__ import annotations

import pytest

from pinpoint.outgoing_settings import RemoteSettings, WebhookSettings
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.webhook_delivery import deliver_webhooks
from pinpoint.webhook_services import open_webhooks
from stack_fixtures import InlineQueue
from webhooks.receivers import ADDRESS, receive


@pytest.fixture
def receiver():
    with receive() as running:
        yield running


class WebhookHarness:
    """API and worker of the webhooks, with their database roles."""

    def __init__(self, database_url, api_database_url, home, receiver):
        self.receiver = receiver
        self.settings = Settings(
            services=ServiceSettings(home=home),
            remote=RemoteSettings(
                allowed_hosts=ADDRESS,
                allow_http=True,
                allowed_ports=str(receiver.port),
                allowed_networks=f"{ADDRESS}/32",
            ),
            webhook=WebhookSettings(allowed_hosts=ADDRESS, timeout_s=2),
        )
        self.queue = InlineQueue()
        self.owner = Transactions(owner_engine(database_url), self.queue)
        self.as_api = Transactions(api_engine(api_database_url, own_login=True), self.queue)
        self.database = CatalogDatabase(self.as_api, 64)
        self.api_keys = ApiKeyStore(self.owner)
        self.api = open_webhooks(self.settings, self.as_api)
        self.worker = open_webhooks(self.settings, self.owner)

    def deliver(self, *ids):
        return deliver_webhooks(
            ids, self.worker.outbox, self.worker.guard, self.settings.webhook.max_attempts
        )

    def close(self):
        self.owner.close()
        self.as_api.close()


@pytest.fixture
def harness(database_url, api_database_url, tmp_path, receiver):
    made = WebhookHarness(database_url, api_database_url, tmp_path / "home", receiver)
    yield made
    made.close()


@pytest.fixture
def org(harness):
    return harness.api_keys.create_organization("acme").id
