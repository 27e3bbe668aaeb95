"""The services in one process: PostgreSQL, decoding child, encoder and embedded index.

Only the broker is replaced: `InlineQueue` keeps the tasks, and `run` executes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from media.pictures import exif, noise, saved
from pinpoint import tasks
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.ingest import pipeline
from pinpoint.ingest.gallery_files import GalleryFiles
from pinpoint.ingest.gallery_pixels import StoredPixels
from pinpoint.ingest.pipeline import IngestComponents
from pinpoint.ingest.register_urls import add_bucket_pages
from pinpoint.limit_settings import LimitSettings
from pinpoint.matching_handle import MatchingHandle
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.outgoing.remote_files import RemoteFiles
from pinpoint.records import Batch, IndexSpec, VerificationThreshold
from pinpoint.search.context import SearchContext
from pinpoint.search.verifier import Verifier
from pinpoint.settings import EncoderSettings, MediaSettings, ServiceSettings, Settings
from pinpoint.store.blobs import FolderBlobs
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.db.key_limits import KeyLimitStore
from pinpoint.store.ingest.bucket_listings import CatalogBucketListings
from pinpoint.store.ingest.repository import CatalogIngestRepository
from pinpoint.store.limits.counters import IN_PROCESS_URL, LimitCounters
from pinpoint.store.limits.limiter import KeyLimiter
from pinpoint.store.limits.misuse import MisuseRule
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.webhook_delivery import deliver_webhooks
from pinpoint.webhook_services import open_webhooks
from registration import register_folder

WORKER = "host/1/0.00"


@dataclass
class InlineQueue:
    """`ports.TaskQueue` that keeps the sent tasks."""

    sent: list[tuple[str, list[UUID]]] = field(default_factory=list)

    def send(self, name: tasks.TaskName, ids: Sequence[UUID] = ()) -> None:
        self.sent.append((name, list(ids)))

    def check(self) -> None:
        return None

    def waiting(self, queues: Sequence[str] = tasks.GALLERY_QUEUES) -> int:
        return len(self.sent)


def limit_services(transactions: Transactions, **settings: Any) -> dict[str, Any]:
    """The services `key_limiter` and `misuse_rule`, which count in this process."""
    counters, store = LimitCounters(IN_PROCESS_URL), KeyLimitStore(transactions)
    limits = LimitSettings(**settings)
    return {
        "key_limiter": KeyLimiter(counters, store, limits),
        "misuse_rule": MisuseRule(counters, store, limits),
    }


class ServiceHarness:
    """Services over one database and one folder."""

    def __init__(
        self, database_url: str, api_database_url: str, folder: Path, bundle: str = "descriptor"
    ) -> None:
        self.folder = folder
        self.settings = Settings(
            media=MediaSettings(timeout_s=20),
            encoder=EncoderSettings(bundle=bundle, device="cpu"),
        )
        self.queue = InlineQueue()
        self.owner = Transactions(owner_engine(database_url), self.queue)
        self.as_api = Transactions(api_engine(api_database_url, own_login=True), self.queue)
        self.database = CatalogDatabase(self.as_api, self.settings.worker.task_batch_size)
        self.operator = CatalogDatabase(self.owner, self.settings.worker.task_batch_size)
        self.api_keys = ApiKeyStore(self.owner)
        self.encoder = EncoderHandle(self.settings)
        self.index = EdgeIndex(folder / "index")
        contract = self.encoder.contract
        self.index.ensure(IndexSpec(contract=contract.digest, dims=contract.dims))
        self.repository = CatalogIngestRepository(
            self.owner, contract=lambda: contract.digest, lease_ttl_s=60, max_attempts=3
        )
        self.remote_files = RemoteFiles(
            self.settings.remote, folder / "downloads", self.settings.media.max_bytes
        )
        self.blobs = FolderBlobs(folder / "blobs", self.remote_files)
        self.listings = CatalogBucketListings(self.owner, self.settings.worker.task_batch_size)
        self.webhooks = open_webhooks(
            Settings(services=ServiceSettings(home=folder), webhook=self.settings.webhook),
            self.owner,
        )
        self.features = MatchingHandle(Settings(services=ServiceSettings(home=folder)))
        decoder = ChildDecoder(self.settings.media, children=1)
        self.components = IngestComponents(
            repository=self.repository,
            decoder=decoder,
            encoder=self.encoder,
            index=self.index,
            blobs=self.blobs,
            features=self.features,
            threads=1,
        )
        self.gallery_files = GalleryFiles(self.blobs, decoder, self.settings.media.max_bytes)
        self.threshold = VerificationThreshold()
        self.verifier = Verifier(
            self.features,
            self.features,
            StoredPixels(self.blobs, self.components.decoder),
            lambda _organization_id: self.threshold,
        )

    def search_context(self, organization_id: UUID, **changes: Any) -> SearchContext:
        """Context of one query over the gallery of an organization."""
        context = SearchContext(
            organization_id=organization_id,
            decoder=self.components.decoder,
            encoder=self.encoder,
            index=self.index,
            database=self.database,
            settings=self.settings.search,
        )
        return replace(context, **changes)

    def organization(self, name: str = "acme") -> UUID:
        return self.api_keys.create_organization(name).id

    def run(self) -> None:
        """Execute all queued tasks, and the tasks that these send."""
        while self.queue.sent:
            name, ids = self.queue.sent.pop(0)
            if name == tasks.INGEST_ITEMS:
                pipeline.ingest_items(ids, WORKER, self.components)
            elif name == tasks.LIST_BUCKET:
                for listing in filter(None, map(self.listings.start, ids)):
                    add_bucket_pages(listing, self.listings, self.remote_files)
            elif name == tasks.DELIVER_WEBHOOKS:
                deliver_webhooks(ids, self.webhooks.outbox, self.webhooks.guard, max_attempts=3)
            elif name == tasks.INDEX_IMAGES:
                pipeline.index_images(ids, self.components)
            elif name == tasks.ERASE_IMAGES:
                pipeline.erase_images(ids, self.components)
            else:
                raise AssertionError(f"unknown task {name}")

    def ingest(
        self, path: Path, organization_id: UUID, source: str = "photos", kind: str = "photo"
    ) -> Batch:
        """Register a folder or manifest and execute all tasks; returns the finished batch."""
        batch = register_folder(
            path,
            source=source,
            kind=kind,
            organization_id=organization_id,
            database=self.operator,
            settings=self.settings,
        )
        self.run()
        with self.database.read(organization_id) as catalog:
            return catalog.batch(batch.id)

    def scalar(self, statement: str, **values: object) -> int:
        """Run a statement as the owner; returns its one number."""
        with self.owner.begin() as unit:
            return unit.connection.execute(text(statement), values).scalar_one()

    def close(self) -> None:
        self.verifier.close()
        self.components.decoder.close()
        self.index.close()
        self.owner.close()
        self.as_api.close()


def degrees(value: float) -> tuple[float, float, float]:
    """A coordinate as EXIF writes it."""
    value = abs(value)
    minutes = (value - int(value)) * 60
    return (float(int(value)), float(int(minutes)), (minutes - int(minutes)) * 60)


def jpeg(
    seed: int, lat: float, lon: float, size: tuple[int, int] = (96, 72), **tags: object
) -> bytes:
    """A seeded JPEG with a GPS position."""
    gps = {
        1: "N" if lat >= 0 else "S",
        2: degrees(lat),
        3: "E" if lon >= 0 else "W",
        4: degrees(lon),
    }
    return saved(noise(*size, seed=seed), quality=90, exif=exif(gps=gps, **tags))


def plain_jpeg(seed: int, size: tuple[int, int] = (96, 72)) -> bytes:
    """A seeded JPEG without metadata."""
    return saved(noise(*size, seed=seed), quality=90)


def write_photos(folder: Path, count: int, *, first: int = 0, lat: float = 48.85) -> None:
    """`count` photos on a line to the east, about 73 m apart."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        (folder / f"{seed:04d}.jpg").write_bytes(jpeg(seed, lat, 2.35 + 0.001 * seed))


def unique(prefix: str) -> str:
    """A unique name with a prefix."""
    return f"{prefix}-{uuid4().hex[:8]}"
