"""The only wiring: settings in, services out. Embedded where no URL says otherwise."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pinpoint.ingest.pipeline import IngestParts
from pinpoint.media.decoder import ChildDecoder
from pinpoint.nets.bundles import find_bundle
from pinpoint.nets.digests import public_contract
from pinpoint.ports import VectorIndex
from pinpoint.records import Contract, IndexSpec, Pixels, SourceKind, Vector
from pinpoint.settings import Settings
from pinpoint.stack.broker import CeleryQueue
from pinpoint.stack.places import StackPlaces
from pinpoint.store.access import Access
from pinpoint.store.blobs import FolderBlobs
from pinpoint.store.closing import Closing
from pinpoint.store.database import Transactions, api_engine, owner_engine
from pinpoint.store.handles import CatalogueDatabase
from pinpoint.store.ledger import Ledger
from pinpoint.store.points import Points
from pinpoint.store.upkeep import Upkeep
from pinpoint.store.vectors_qdrant import QdrantIndex
from pinpoint.store.vectors_remote import RemoteIndex

if TYPE_CHECKING:
    from pinpoint.nets.embedder import Embedder

Role = Literal["api", "worker", "operator"]


class LazyEncoder:
    """An encoder that reads its contract at once cheaply and its weights at the first picture.

    torch takes seconds to import: commands that never encode must not pay for it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()

    @cached_property
    def contract(self) -> Contract:
        """What the configured bundle expects and produces."""
        bundle = find_bundle(self._settings.encoder.bundle, self._settings.places.home)
        return public_contract(bundle.contract, self._settings.media.rendition_px)

    @cached_property
    def _opened(self) -> Embedder:
        from pinpoint.nets.runtime import open_encoder

        return open_encoder(
            self._settings.encoder, self._settings.places.home, self._settings.media.rendition_px
        )

    def warm(self) -> None:
        """Load the weights now; two threads load them once."""
        with self._lock:
            _ = self._opened

    def encode(self, images: Sequence[Pixels], kind: SourceKind | None = None) -> Vector:
        """Pictures in, unit vectors `[B, D]` out."""
        self.warm()
        return self._opened.encode(images, kind)

    def encode_query(self, image: Pixels, kind: SourceKind | None = None) -> Vector:
        """One picture in, one vector `[D]` out."""
        self.warm()
        return self._opened.encode_query(image, kind)

    def encode_places(self, positions: NDArray[np.float64]) -> Vector:
        """Positions `[B, 2]` lat, lon in degrees to unit vectors `[B, D]`."""
        self.warm()
        return self._opened.encode_places(positions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a door needs; close it when the door shuts."""

    settings: Settings
    database: CatalogueDatabase
    access: Access
    index: VectorIndex
    encoder: LazyEncoder
    blobs: FolderBlobs
    jobs: CeleryQueue
    decoder: ChildDecoder
    ledger: Ledger | None
    """Only for workers and operators: the API's role cannot reach what it needs."""
    points: Points | None
    closing: Closing | None
    upkeep: Upkeep

    def ensure_index(self) -> None:
        """Make the index for the configured bundle if there is none.

        Raises:
            BadBundle: The index holds vectors of another bundle.
        """
        contract = self.encoder.contract
        self.index.ensure(IndexSpec(contract=contract.digest, dims=contract.dims))

    def ingest_parts(self) -> IngestParts:
        """What the ingest flow works with."""
        if self.ledger is None:
            raise RuntimeError("the API has no ledger")
        return IngestParts(
            ledger=self.ledger,
            decoder=self.decoder,
            encoder=self.encoder,
            index=self.index,
            blobs=self.blobs,
            threads=self.decoder.children,
        )

    def close(self) -> None:
        """Give back connections and end the decoding children."""
        self.decoder.close()
        self.jobs.close()
        self.database.close()


def build(settings: Settings, role: Role) -> Services:
    """Plug everything together; opens no connection yet.

    Args:
        settings: All groups.
        role: `api` works as the API's role and sees views only; the others as the owner.
    """
    places = StackPlaces(settings.places.home)
    queue = CeleryQueue(settings.places.broker_url or places.broker_url)
    encoder = LazyEncoder(settings)
    transactions = _transactions(settings, places, queue, role)
    owned = role != "api"
    return Services(
        settings=settings,
        database=CatalogueDatabase(transactions, settings.worker.chunk),
        access=Access(transactions),
        index=open_index(settings),
        encoder=encoder,
        blobs=FolderBlobs(places.blobs_dir),
        jobs=queue,
        decoder=ChildDecoder(settings.media, children=2),
        ledger=_ledger(transactions, settings, encoder) if owned else None,
        points=_points(transactions, encoder) if owned else None,
        closing=Closing(transactions) if owned else None,
        upkeep=Upkeep(transactions),
    )


def open_index(settings: Settings) -> VectorIndex:
    """The Qdrant server of the settings, or the embedded owner's socket."""
    if settings.places.qdrant_url:
        return QdrantIndex(url=settings.places.qdrant_url, api_key=settings.places.qdrant_api_key)
    return RemoteIndex(StackPlaces(settings.places.home).index_socket)


def open_point_source() -> Points:
    """The point source of this environment; what the index builder's child process calls."""
    settings = Settings.from_environment()
    places = StackPlaces(settings.places.home)
    return _points(
        Transactions(owner_engine(settings.places.database_url or places.owner_url())),
        LazyEncoder(settings),
    )


def _transactions(
    settings: Settings, places: StackPlaces, queue: CeleryQueue, role: Role
) -> Transactions:
    if role != "api":
        return Transactions(owner_engine(settings.places.database_url or places.owner_url()), queue)
    own = settings.places.api_database_url
    if own is None and settings.places.database_url is None:
        own = places.api_url()
    if own is not None:
        return Transactions(api_engine(own, own_login=True), queue)
    return Transactions(api_engine(str(settings.places.database_url), own_login=False), queue)


def _ledger(transactions: Transactions, settings: Settings, encoder: LazyEncoder) -> Ledger:
    return Ledger(
        transactions,
        contract=lambda: encoder.contract.digest,
        lease_s=settings.worker.lease_s,
        max_attempts=settings.worker.max_attempts,
    )


def _points(transactions: Transactions, encoder: LazyEncoder) -> Points:
    return Points(transactions, lambda: encoder.contract)
