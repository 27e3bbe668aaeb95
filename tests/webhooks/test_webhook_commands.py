"""`pinpoint webhooks`, and `pinpoint ingest` of URLs, over a real API and database."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace

import pytest
import uvicorn
from standardwebhooks import Webhook
from typer.testing import CliRunner

from index_process import until
from pinpoint import logs
from pinpoint.api.app import create_app
from pinpoint.cli.main import app
from pinpoint.errors import BadManifestError, BadRequestError, NotFoundError, RemoteFileError
from pinpoint.outgoing.remote_files import RemoteFiles
from pinpoint.records import KeyGrant
from pinpoint.settings import LogSettings
from pinpoint.store.db.api_keys import ApiKeyStore
from stack_fixtures import limit_services


@pytest.fixture
def pinpoint(harness, org, tmp_path, monkeypatch):
    """Runs a command with `--json` against the API; returns its document or its error."""
    logs.configure(LogSettings())  # to stderr
    services = SimpleNamespace(
        settings=harness.settings,
        database=harness.database,
        api_keys=ApiKeyStore(harness.as_api),
        webhooks=harness.api,
        **limit_services(harness.as_api),
        remote_files=RemoteFiles(harness.settings.remote, tmp_path / "downloads", 1_000_000),
    )
    scopes = ("read", "ingest", "admin")
    _, key = harness.api_keys.create_key("acme", "all", KeyGrant(scopes=scopes))
    server = uvicorn.Server(uvicorn.Config(create_app(services), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    monkeypatch.setenv("PINPOINT_SERVER", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("PINPOINT_KEY", key)

    def run(*arguments):
        result = CliRunner().invoke(app, [*map(str, arguments), "--json"])
        if result.exception is not None:
            return result.exception
        return json.loads(result.stdout)

    yield run
    server.should_exit = True
    thread.join(10)


def test_webhook_commands_from_creation_to_deletion(pinpoint, harness, receiver):
    created = pinpoint("webhooks", "add", receiver.url(), "--event-type", "batch.closed")
    webhook_id, secret = created["webhook"]["id"], created["secret"]
    assert pinpoint("webhooks", "list") == {"webhooks": [created["webhook"]]}
    delivery = pinpoint("webhooks", "test", webhook_id)
    assert (delivery["event_type"], delivery["status"]) == ("webhook.test", "pending")
    assert harness.deliver() == 1
    (received,) = receiver.received
    assert Webhook(secret).verify(received.body, received.headers)["type"] == "webhook.test"
    shown = pinpoint("webhooks", "show", webhook_id)
    assert [entry["status"] for entry in shown["deliveries"]] == ["delivered"]
    rotated = pinpoint("webhooks", "rotate-secret", webhook_id)
    assert rotated["secret"] != secret
    assert pinpoint("webhooks", "update", webhook_id, "--disable")["disabled_at"] is not None
    assert pinpoint("webhooks", "delete", webhook_id) == {"deleted": webhook_id}
    assert isinstance(pinpoint("webhooks", "show", webhook_id), NotFoundError)
    assert isinstance(pinpoint("webhooks", "add", "https://example.org/"), RemoteFileError)


def test_ingest_of_urls_queues_each_url_once(pinpoint, receiver, tmp_path):
    options = ("--source", "survey", "--source-kind", "photo", "--no-wait")
    batch = pinpoint("ingest", receiver.url("/a.jpg"), *options)
    assert (batch["items"], batch["received"], batch["state"]) == (1, 1, "closed")
    urls = tmp_path / "list.jsonl"
    rows = [receiver.url("/b.jpg"), receiver.url("/c.jpg"), "http://127.0.0.1/no.jpg"]
    urls.write_text("\n\n".join(json.dumps({"url": url, "lat": 1.5, "lon": 2.5}) for url in rows))
    batch = pinpoint("ingest", urls, *options)
    assert (batch["items"], batch["received"], batch["rejected"]) == (3, 2, 1)
    items = pinpoint("batches", "show", batch["id"])["items"]
    assert [item["file"] for item in items] == rows
    assert items[2]["error_code"] == "url_refused"


def test_ingest_of_invalid_lists_and_prefixes_explains_the_error(pinpoint, tmp_path):
    options = ("--source", "survey", "--source-kind", "photo", "--no-wait")
    urls = tmp_path / "list.jsonl"
    for content, error in (
        ('{"url": "https://a.test/a.jpg"}\nnot JSON', BadManifestError),
        ('{"name": "a.jpg"}', BadManifestError),
        ("\n", BadRequestError),
    ):
        urls.write_text(content)
        assert type(pinpoint("ingest", urls, *options)) is error
    assert isinstance(pinpoint("ingest", tmp_path / "no.jsonl", *options), BadRequestError)
    assert isinstance(pinpoint("ingest", "s3://other-bucket/", *options), RemoteFileError)
    # No batch stays open: that of the refused prefix is closed.
    (batch,) = pinpoint("batches", "list")["batches"]
    assert (batch["items"], batch["state"]) == (0, "closed")
