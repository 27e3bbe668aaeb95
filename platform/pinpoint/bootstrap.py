"""Dependency wiring: builds all services from settings, embedded ones where no URL is set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.encoder_handle import EncoderHandle, Encoders, find_encoder
from pinpoint.errors import ModelMismatchError
from pinpoint.ingest.gallery_files import GalleryFiles
from pinpoint.ingest.gallery_pixels import StoredPixels
from pinpoint.ingest.pipeline import IngestComponents
from pinpoint.matching_handle import MatchingHandle
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.outgoing.remote_files import RemoteFiles
from pinpoint.ports import UrlFetcher, VectorIndex
from pinpoint.records import (
    IndexSpec,
)
from pinpoint.search.verifier import Verifier
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings
from pinpoint.stack.broker.task_sender import (
    BoundedSender,
    CeleryQueue,
    is_broker_failure,
    refuse_broker,
)
from pinpoint.stack.paths import StackPaths
from pinpoint.store.blobs import FolderBlobs
from pinpoint.store.catalog.training_rows import CatalogTrainingRows
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import (
    Transactions,
    api_engine,
    did_not_answer,
    owner_engine,
    refuse_database,
)
from pinpoint.store.db.installation import Installation
from pinpoint.store.db.key_limits import KeyLimitStore
from pinpoint.store.db.protected_areas import ProtectedAreaStore
from pinpoint.store.deletion.organization_deletion import OrganizationDeletion
from pinpoint.store.gallery.gallery_database import GalleryDatabase
from pinpoint.store.ingest.bucket_listings import CatalogBucketListings
from pinpoint.store.ingest.reembed_queue import CatalogReembedQueue
from pinpoint.store.ingest.repository import CatalogIngestRepository
from pinpoint.store.jobs.job_database import JobDatabase
from pinpoint.store.jobs.job_repository import StoredJobRepository
from pinpoint.store.limits.counters import open_counters
from pinpoint.store.limits.limiter import KeyLimiter
from pinpoint.store.limits.misuse import MisuseRule
from pinpoint.store.maintenance_stats import MaintenanceStats
from pinpoint.store.vectors.index_factory import open_index
from pinpoint.store.vectors.rebuild_source import RebuildSource
from pinpoint.webhook_services import WebhookServices, open_webhooks

if TYPE_CHECKING:
    pass

ProcessRole = Literal["api", "worker", "operator"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """All services of an entry point, which must close them at its end."""

    settings: Settings
    database: CatalogDatabase
    tenant_database: CatalogDatabase
    """The same with the API's role, whose views hide protected rows, also in a worker."""
    gallery: GalleryDatabase
    jobs: JobDatabase
    api_keys: ApiKeyStore
    protected_areas: ProtectedAreaStore
    index: VectorIndex
    encoders: Encoders
    blobs: FolderBlobs
    remote_files: RemoteFiles
    webhooks: WebhookServices
    listings: CatalogBucketListings
    tasks: CeleryQueue | BoundedSender
    decoder: ChildDecoder
    file_decoder: ChildDecoder
    """Children of their own, so that views of images do not delay queries."""
    matching: MatchingHandle
    verifier: Verifier
    repository: CatalogIngestRepository | None
    """Only for workers and operators: the API's role has no access to its tables."""
    job_repository: StoredJobRepository | None
    url_fetcher: UrlFetcher | None
    """None: items of jobs with a URL are refused."""
    rebuild_source: RebuildSource | None
    reembed_queue: CatalogReembedQueue | None
    tenant_deletion: OrganizationDeletion | None
    training_rows: CatalogTrainingRows | None
    maintenance_stats: MaintenanceStats
    key_limiter: KeyLimiter
    misuse_rule: MisuseRule
    installation: Installation

    @property
    def gallery_files(self) -> GalleryFiles:
        """Files of gallery images for users."""
        return GalleryFiles(self.blobs, self.file_decoder, self.settings.media.max_bytes)

    @property
    def encoder(self) -> EncoderHandle:
        """Encoder of the index as of the last read of its contract."""
        return self.encoders.current

    def ensure_index(self) -> None:
        """Create the index for the configured bundle if there is none; then select its encoder.

        Raises:
            BadBundleError: The bundle of the index is not installed.
        """
        if self.index.info().contract is None:
            contract = self.encoders.configured.contract
            self.index.ensure(
                IndexSpec(
                    contract=contract.digest,
                    dims=contract.dims,
                    installation=self.installation.id(),
                )
            )
        self.encoders.refresh()

    def with_current_encoder(self, do: Callable[[EncoderHandle], T]) -> T:
        """Call a function with the encoder of the index; repeat it once after a model switch."""
        try:
            return do(self.encoder)
        except ModelMismatchError:
            return do(self.encoders.refresh())

    def ingest_components(self) -> IngestComponents:
        """Components of the ingest flow."""
        if self.repository is None:
            raise RuntimeError("the API has no repository")
        return IngestComponents(
            repository=self.repository,
            decoder=self.decoder,
            encoder=self.encoder,
            index=self.index,
            blobs=self.blobs,
            features=self.matching,
            threads=self.decoder.children,
        )

    def close(self) -> None:
        """Close connections and end the decoder's child processes."""
        self.verifier.close()
        self.matching.close()
        self.decoder.close()
        self.file_decoder.close()
        self.tasks.close()
        self.database.close()
        self.tenant_database.close()


def build_services(settings: Settings, role: ProcessRole) -> Services:
    """Build all services; opens no connection yet.

    Args:
        settings: All settings.
        role: `api` uses the API's database role, which sees views only; the others use the owner.
    """
    paths = StackPaths(settings.services.home)
    queue = _open_queue(settings, paths, role)
    transactions = _open_transactions(settings, paths, queue, role)
    installation = Installation(transactions)
    index = open_index(
        settings.services,
        paths.index_socket,
        installation,
        budget_s=settings.api.request_budget_s if role == "api" else None,
    )
    encoders = Encoders(settings, index)
    is_owner = role != "api"
    remote_files = RemoteFiles(settings.remote, paths.downloads_dir, settings.media.max_bytes)
    # Requests of users never wait for servers that users name.
    blobs = FolderBlobs(paths.blobs_dir, remote_files if is_owner else None)
    decoder = ChildDecoder(settings.media, children=2)
    matching = MatchingHandle(settings)
    counters = open_counters(settings, paths.broker_url)
    limit_store = KeyLimitStore(transactions)
    database = CatalogDatabase(transactions, settings.worker.task_batch_size)
    return Services(
        settings=settings,
        database=database,
        tenant_database=_open_tenant_database(settings, paths) if is_owner else database,
        gallery=GalleryDatabase(transactions),
        jobs=JobDatabase(transactions),
        api_keys=ApiKeyStore(transactions),
        protected_areas=ProtectedAreaStore(transactions),
        index=index,
        encoders=encoders,
        blobs=blobs,
        remote_files=remote_files,
        webhooks=open_webhooks(settings, transactions),
        listings=CatalogBucketListings(transactions, settings.worker.task_batch_size),
        tasks=queue,
        decoder=decoder,
        file_decoder=ChildDecoder(settings.media, children=2),
        matching=matching,
        verifier=Verifier(
            matching,
            matching,
            StoredPixels(blobs, decoder),
            matching.find_threshold,
            settings.matching.threads,
        ),
        repository=CatalogIngestRepository(
            transactions,
            contract=lambda: encoders.current.contract.digest,
            lease_ttl_s=settings.worker.lease_ttl_s,
            max_attempts=settings.worker.max_attempts,
        )
        if is_owner
        else None,
        job_repository=StoredJobRepository(transactions, settings) if is_owner else None,
        url_fetcher=remote_files if settings.remote.allowed_hosts else None,
        rebuild_source=RebuildSource(transactions, lambda: encoders.current.contract)
        if is_owner
        else None,
        reembed_queue=CatalogReembedQueue(transactions) if is_owner else None,
        tenant_deletion=OrganizationDeletion(transactions) if is_owner else None,
        training_rows=CatalogTrainingRows(transactions, blobs) if is_owner else None,
        maintenance_stats=MaintenanceStats(transactions),
        key_limiter=KeyLimiter(counters, limit_store, settings.limits),
        misuse_rule=MisuseRule(counters, limit_store, settings.limits),
        installation=installation,
    )


def _open_queue(
    settings: Settings, paths: StackPaths, role: ProcessRole
) -> CeleryQueue | BoundedSender:
    queue = CeleryQueue(settings.services.broker_url or paths.broker_url)
    if role != "api":
        return queue
    return BoundedSender(queue, CircuitBreaker(refuse_broker, is_broker_failure))


def open_point_source(contract: str | None = None) -> RebuildSource:
    """Open the point source of this environment; the index builder's child process calls it.

    Args:
        contract: Contract digest; None for that of the settings' bundle.

    Raises:
        BadBundleError: No bundle has that contract.
    """
    settings = load_settings()
    paths = StackPaths(settings.services.home)
    encoder = EncoderHandle(settings) if contract is None else find_encoder(contract, settings)
    return RebuildSource(
        Transactions(owner_engine(settings.services.database_url or paths.owner_url())),
        lambda: encoder.contract,
    )


def _open_tenant_database(settings: Settings, paths: StackPaths) -> CatalogDatabase:
    """Open the catalog with the API's role, over the owner's login."""
    owner_url = settings.services.database_url or paths.owner_url()
    transactions = Transactions(api_engine(owner_url, own_login=False))
    return CatalogDatabase(transactions, settings.worker.task_batch_size)


def _open_transactions(
    settings: Settings, paths: StackPaths, queue: CeleryQueue | BoundedSender, role: ProcessRole
) -> Transactions:
    if role != "api":
        return Transactions(
            owner_engine(settings.services.database_url or paths.owner_url()), queue
        )
    login_url = settings.services.api_database_url
    if login_url is None and settings.services.database_url is None:
        login_url = paths.api_url()
    breaker = CircuitBreaker(refuse_database, did_not_answer)
    if login_url is not None:
        return Transactions(api_engine(login_url, own_login=True), queue, breaker)
    shared = api_engine(str(settings.services.database_url), own_login=False)
    return Transactions(shared, queue, breaker)
