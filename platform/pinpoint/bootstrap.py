"""Dependency wiring: builds all services from settings, embedded ones where no URL is set."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.errors import ModelMismatchError
from pinpoint.ingest.gallery_files import GalleryFiles
from pinpoint.ingest.gallery_pixels import StoredPixels
from pinpoint.ingest.pipeline import IngestComponents
from pinpoint.matching_handle import MatchingHandle
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.nets.bundle.bundles import Bundle, find_bundle, resolve_bundle
from pinpoint.nets.bundle.digests import public_contract
from pinpoint.outgoing.remote_files import RemoteFiles
from pinpoint.ports import Reranker, UrlFetcher, VectorIndex
from pinpoint.records import (
    Contract,
    CoordinateGallery,
    IndexSpec,
    Pixels,
    SourceKind,
    Vector,
)
from pinpoint.search.verifier import Verifier
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.task_sender import BoundedSender, CeleryQueue, is_broker_failure, refuse_broker
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
    from pinpoint.nets.embedder.embedder import Embedder
    from pinpoint.nets.reranker.bundle_reranker import BundleReranker

ProcessRole = Literal["api", "worker", "operator"]
T = TypeVar("T")


class EncoderHandle:
    """Encoder that loads its contract on demand and its weights at the first image.

    Importing torch takes seconds, which commands that never encode must not spend.

    Args:
        settings: Settings with the home of bundles and the device.
        bundle: Bundle to use instead of that of the settings.
    """

    def __init__(self, settings: Settings, bundle: str | None = None) -> None:
        self._settings = settings
        self._encoder = settings.encoder
        if bundle is not None:
            self._encoder = settings.encoder.model_copy(update={"bundle": bundle})
        self._lock = threading.Lock()

    @cached_property
    def bundle(self) -> Bundle:
        """The bundle."""
        return find_bundle(self._encoder.bundle, self._settings.services.home)

    @cached_property
    def contract(self) -> Contract:
        """Contract of the bundle: its inputs and outputs."""
        rendition_px = self._settings.media.rendition_px
        return public_contract(self.bundle.contract, rendition_px, self.bundle.calibrations)

    @cached_property
    def _loaded_reranker(self) -> BundleReranker | None:
        from pinpoint.nets.reranker.bundle_reranker import open_reranker

        return open_reranker(self.bundle, self._settings.search.candidates, self._encoder.device)

    @property
    def reranker(self) -> Reranker | None:
        """Reranker of the bundle, loaded at the first access; None if the bundle has none."""
        with self._lock:
            return self._loaded_reranker if self.bundle.contract.reranker else None

    @cached_property
    def _loaded_encoder(self) -> Embedder:
        from pinpoint.nets.runtime import open_encoder

        return open_encoder(
            self._encoder, self._settings.services.home, self._settings.media.rendition_px
        )

    def warm(self) -> None:
        """Load the weights; concurrent calls load them only once."""
        with self._lock:
            _ = self._loaded_encoder

    def encode(self, images: Sequence[Pixels], kind: SourceKind | None = None) -> Vector:
        """Encode images to unit vectors `[B, D]`."""
        self.warm()
        return self._loaded_encoder.encode(images, kind)

    def encode_channels(
        self, images: Sequence[Pixels], kind: SourceKind | None = None
    ) -> Mapping[str, Vector]:
        """Encode images to unit vectors `[B, D]` by channel."""
        self.warm()
        return self._loaded_encoder.encode_channels(images, kind)

    def encode_query(self, image: Pixels, kind: SourceKind | None = None) -> Vector:
        """Encode one query photo to a vector `[D]`."""
        self.warm()
        return self._loaded_encoder.encode_query(image, kind)

    def encode_query_channels(
        self, image: Pixels, kind: SourceKind | None = None
    ) -> Mapping[str, Vector]:
        """Encode one query photo to a vector `[D]` by channel."""
        self.warm()
        return self._loaded_encoder.encode_query_channels(image, kind)

    def encode_texts(self, texts: Sequence[str]) -> Vector:
        """Encode texts to unit vectors `[B, D]` in the space of the images."""
        self.warm()
        return self._loaded_encoder.encode_texts(texts)

    def encode_positions(self, positions: NDArray[np.float64]) -> Vector:
        """Encode positions `[B, 2]` (lat, lon in degrees) to unit vectors `[B, D]`."""
        self.warm()
        return self._loaded_encoder.encode_positions(positions)

    def coordinate_gallery(self) -> CoordinateGallery:
        """Coordinate gallery of the bundle, encoded at the first call."""
        self.warm()
        return self._loaded_encoder.coordinate_gallery()


class Encoders:
    """Encoder of the contract of the index.

    The bundle of the settings is used only for a newly created index.
    """

    def __init__(self, settings: Settings, index: VectorIndex) -> None:
        self._settings, self._index = settings, index
        self._lock = threading.Lock()
        self.configured = EncoderHandle(settings)
        self._live_encoder: EncoderHandle | None = None

    @property
    def current(self) -> EncoderHandle:
        """Encoder of the index as of the last `refresh`."""
        return self._live_encoder or self.refresh()

    def refresh(self) -> EncoderHandle:
        """Read the contract of the index and return its encoder.

        Raises:
            IndexUnavailableError: The index does not answer.
            BadBundleError: The bundle of the index is not installed.
        """
        contract = self._index.info().contract
        with self._lock:
            if contract is None:
                return self._live_encoder or self.configured
            if self._live_encoder is None or self._live_encoder.contract.digest != contract:
                self._live_encoder = find_encoder(contract, self._settings)
            return self._live_encoder


def find_encoder(contract: str, settings: Settings) -> EncoderHandle:
    """Find the encoder of a contract.

    Args:
        contract: Contract digest.
        settings: Settings with the home of bundles.

    Raises:
        BadBundleError: Its bundle is not installed.
    """
    home, rendition_px = settings.services.home, settings.media.rendition_px
    name = resolve_bundle(contract, home, rendition_px, settings.encoder.bundle)
    return EncoderHandle(settings, name)


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
