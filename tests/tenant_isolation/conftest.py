"""Two organizations with interleaved images behind a real API, once per session."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import uvicorn

from pinpoint import logs
from pinpoint.api.app import create_app
from pinpoint.api_settings import ApiSettings
from pinpoint.geo import gazetteer
from pinpoint.settings import LogSettings, ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.db.protected_areas import ProtectedAreaStore
from pinpoint.store.gallery.gallery_database import GalleryDatabase
from pinpoint.store.jobs.job_database import JobDatabase
from pinpoint.store.quality_reports import QualityReportStore
from pinpoint.webhook_services import open_webhooks
from stack_fixtures import ServiceHarness, limit_services
from tenant_isolation.other_organization import TenantPair, create_tenants
from tenant_isolation.protected_galleries import ProtectedGalleries, create_galleries

TEMPLATE = "template_pinpoint"
OPERATOR_KEY = "the-operators-secret"


@contextmanager
def create_database(postgres, server_paths) -> Iterator[SimpleNamespace]:
    """A migrated database for several tests, with the URLs of owner and API role."""
    name = f"w_{uuid.uuid4().hex[:16]}"
    postgres.clone(TEMPLATE, name)
    yield SimpleNamespace(owner=server_paths.owner_url(name), api=server_paths.api_url(name))
    postgres.drop(name)


@pytest.fixture(scope="session")
def isolation_database(postgres, server_paths) -> Iterator[SimpleNamespace]:
    """The database of both organizations."""
    with create_database(postgres, server_paths) as database:
        yield database


@pytest.fixture(scope="session")
def tenant_pair(isolation_database, tmp_path_factory) -> Iterator[TenantPair]:
    """Both organizations with data, and an API on loopback that requires keys."""
    # Thousands of requests: a line for each costs more than many of them.
    logs.configure(LogSettings(level="warning"))
    folder = tmp_path_factory.mktemp("isolation")
    harness = ServiceHarness(isolation_database.owner, isolation_database.api, folder / "harness")
    home = folder / "home"
    home.mkdir()
    harness.settings.services = ServiceSettings(home=home)
    operator_key = StackPaths(home).operator_key_file
    operator_key.write_text(OPERATOR_KEY, encoding="ascii")
    operator_key.chmod(0o600)
    services = SimpleNamespace(
        # Without waiting: these tests compare contents.
        settings=Settings(
            media=harness.settings.media,
            encoder=harness.settings.encoder,
            services=harness.settings.services,
            # And without hurry: a slow machine is no failure.
            api=ApiSettings(restricted_interval_s=0, request_budget_s=60),
        ),
        database=harness.database,
        # As in the real API: only functions that the API role may call.
        api_keys=ApiKeyStore(harness.as_api),
        **limit_services(harness.as_api),
        protected_areas=ProtectedAreaStore(harness.as_api),
        quality_reports=QualityReportStore(harness.as_api),
        gallery=GalleryDatabase(harness.as_api),
        jobs=JobDatabase(harness.as_api),
        url_fetcher=None,
        index=harness.index,
        encoder=harness.encoder,
        with_current_encoder=lambda do: do(harness.encoder),
        blobs=harness.blobs,
        remote_files=harness.remote_files,
        webhooks=open_webhooks(
            Settings(services=ServiceSettings(home=harness.folder)), harness.as_api
        ),
        tasks=harness.queue,
        decoder=harness.components.decoder,
        gallery_files=harness.gallery_files,
        verifier=harness.verifier,
    )
    # As at the start of the API.
    gazetteer.load_cities()
    assert harness.features.digest
    app = create_app(services)
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, proxy_headers=False, lifespan="on")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield create_tenants(harness, app, f"http://127.0.0.1:{port}", folder)
    finally:
        server.should_exit = True
        thread.join(10)
        harness.close()


@pytest.fixture(scope="session")
def galleries(tenant_pair) -> ProtectedGalleries:
    """Two galleries with one protected area; each test sets its granularity."""
    return create_galleries(tenant_pair)


@pytest.fixture
def owner(database_url) -> Iterator[Transactions]:
    """Transactions of the owner on an empty database of this test."""
    transactions = Transactions(owner_engine(database_url))
    yield transactions
    transactions.close()


@pytest.fixture
def as_api(api_database_url) -> Iterator[Transactions]:
    """Transactions of the API role on the same database."""
    transactions = Transactions(api_engine(api_database_url, own_login=True))
    yield transactions
    transactions.close()
