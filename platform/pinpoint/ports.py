"""What flows ask of the outside; `store`, `nets` and `media` answer, `bootstrap` plugs them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol
from uuid import UUID

from pinpoint.jobs import JobName
from pinpoint.records import (
    Batch,
    BatchItem,
    Candidate,
    ClaimedItem,
    Contract,
    Embedded,
    Evidence,
    Grave,
    Hint,
    Hit,
    Image,
    ImageFix,
    IndexFilter,
    IndexInfo,
    IndexPoint,
    IndexQuery,
    IndexSpec,
    Kept,
    NewItem,
    OriginalsPolicy,
    Pixels,
    Reading,
    Rejected,
    Source,
    SourceKind,
    Vector,
)


class Encoder(Protocol):
    """Turns pictures into unit vectors, always by the same preprocessing."""

    @property
    def contract(self) -> Contract:
        """What the loaded bundle expects and produces."""
        ...

    def encode(self, images: Sequence[Pixels], kind: SourceKind | None = None) -> Vector:
        """Pictures `[H, W, 3]` uint8 in, fp32 unit vectors `[B, D]` out.

        The vector of a picture does not depend on what else is in the batch (to 1e-5).
        """
        ...

    def encode_query(self, image: Pixels, kind: SourceKind | None = None) -> Vector:
        """One picture in, one vector `[D]` out; bit-equal at every call, whoever else asks."""
        ...


class Decoder(Protocol):
    """Reads hostile bytes in a limited child process."""

    def read(
        self, file: str, data: bytes | str, hint: Hint | None = None, *, query: bool = False
    ) -> Reading | Rejected:
        """Read one file.

        Args:
            file: Name for messages.
            data: The bytes, or a path.
            hint: What is known from outside.
            query: A photo to locate: no position is needed, none is reported, no thumbnail is made.
        """
        ...

    def close(self) -> None:
        """End the child process."""
        ...


class VectorIndex(Protocol):
    """The index over one contract; every write carries the row's version.

    Raises `IndexUnavailable` where the engine does not answer.
    """

    def info(self) -> IndexInfo:
        """What the index holds and which build it is."""
        ...

    def ensure(self, spec: IndexSpec) -> None:
        """Make the index if it is not there.

        Raises:
            BadBundle: It is there, for another contract.
        """
        ...

    def upsert(self, points: Sequence[IndexPoint]) -> None:
        """Write points; one whose stored version is higher (tombstones count) is left as it is."""
        ...

    def delete(self, versions: Mapping[UUID, int]) -> None:
        """Leave a tombstone of that version: nothing older can come back under the id."""
        ...

    def forget(self, ids: Iterable[UUID]) -> None:
        """Remove points and tombstones for good, once no writer of an old version can be alive."""
        ...

    def search(self, queries: Sequence[IndexQuery]) -> list[list[Hit]]:
        """Answer several questions in one request, best first, ties by id."""
        ...

    def fetch(self, ids: Sequence[UUID], *, vectors: bool = False) -> list[IndexPoint]:
        """Live points under these ids, in no order; missing ones are left out."""
        ...

    def scroll(
        self, after: UUID | None, limit: int, organization_id: UUID | None = None
    ) -> list[tuple[UUID, int, bool]]:
        """`(id, version, alive)` in id order after `after`; an empty list is the end."""
        ...

    def count(self, where: IndexFilter | None = None) -> int:
        """Exact number of live points."""
        ...


class PointSource(Protocol):
    """PostgreSQL as the builder of an index sees it: every live, embedded image of one contract."""

    def spec(self) -> IndexSpec:
        """The contract and its vector widths."""
        ...

    def watermark(self) -> int:
        """A mark that rises with every change of a row; take it before `stream`."""
        ...

    def stream(self, since: int = 0, chunk: int = 512) -> Iterator[list[IndexPoint]]:
        """Points whose row changed at or after `since` (0: all), in chunks, with vectors."""
        ...

    def tombstones(self, since: int = 0) -> dict[UUID, int]:
        """Deleted rows that changed at or after `since`, with their version."""
        ...


class BlobStore(Protocol):
    """Bytes under names of their own, apart for each organisation.

    A name belongs to one row, so nothing is shared, and deleting a row's bytes can hurt no other.
    """

    def put(self, organization_id: UUID, data: bytes) -> str:
        """Store bytes durably under a new name and return their locator."""
        ...

    def path(self, locator: str) -> str:
        """Path of the bytes, for a decoder on the same machine.

        Raises:
            NotFound: Nothing under that locator.
        """
        ...

    def get(self, locator: str) -> bytes:
        """Read bytes back.

        Raises:
            NotFound: Nothing under that locator.
        """
        ...

    def delete(self, locator: str) -> None:
        """Remove bytes; removing what is not there is no error."""
        ...


class JobQueue(Protocol):
    """Sends ids to workers."""

    def send(self, name: JobName, ids: Sequence[UUID] = ()) -> None:
        """Send one job.

        Raises:
            BrokerUnavailable: The broker did not take it within a few seconds.
        """
        ...

    def check(self) -> None:
        """Raise `BrokerUnavailable` unless the broker answers."""
        ...

    def waiting(self) -> int:
        """Jobs that no worker has taken yet."""
        ...


class CatalogueReader(Protocol):
    """One organisation's rows; nothing of another's can be reached through it.

    Every method that takes an id raises `NotFound` where this organisation has none such.
    """

    def sources(self) -> list[Source]:
        """All sources by name, with their number of images."""
        ...

    def source(self, name_or_id: str | UUID) -> Source:
        """One source."""
        ...

    def batches(self, limit: int = 50, before: UUID | None = None) -> list[Batch]:
        """Newest first; `before` is the last id of the page before."""
        ...

    def batch(self, batch_id: UUID) -> Batch:
        """One batch with its counts."""
        ...

    def batch_items(
        self, batch_id: UUID, *, state: str | None = None, after: int = 0, limit: int = 200
    ) -> list[BatchItem]:
        """Items in order of arrival with `seq > after`."""
        ...

    def image(self, image_id: UUID) -> Image:
        """One image; deleted ones are not found."""
        ...

    def images(self, ids: Sequence[UUID]) -> dict[UUID, Image]:
        """Images by id; missing ones are left out."""
        ...

    def thumbnail(self, image_id: UUID) -> bytes:
        """JPEG bytes."""
        ...

    def neighbours(
        self, image_id: UUID, *, radius_m: float, kinds: Sequence[SourceKind] = (), limit: int = 20
    ) -> list[tuple[Image, float]]:
        """Images near an image with their geodesic distance in metres, nearest first."""
        ...

    def evidence(
        self, candidates: Sequence[Candidate], *, contract: str, radius_m: float, per_kind: int
    ) -> list[Evidence]:
        """Neighbours of all candidates in one statement: up to `per_kind` of each kind."""
        ...


class CatalogueWriter(CatalogueReader, Protocol):
    """The same, and changes; jobs they ask for leave after the commit."""

    def add_source(
        self,
        name: str,
        kind: SourceKind,
        *,
        licence: str | None = None,
        attribution: str | None = None,
        originals: OriginalsPolicy = "copy",
        root: str | None = None,
    ) -> Source:
        """Add a source.

        Raises:
            Conflict: The name is taken.
            BadRequest: Kind or policy is unknown.
        """
        ...

    def erase_source(self, source_id: UUID) -> int:
        """Leave tombstones on all its images; a worker removes them, then the source. Returns how many."""
        ...

    def open_batch(self, source_id: UUID) -> Batch:
        """Open an upload set."""
        ...

    def add_items(self, batch_id: UUID, items: Sequence[NewItem]) -> list[UUID]:
        """Record files and ask for their ingest; returns item ids in order.

        Raises:
            Conflict: The batch is closed.
        """
        ...

    def close_batch(self, batch_id: UUID) -> Batch:
        """Say that no more items come; closing twice changes nothing."""
        ...

    def retry_batch(self, batch_id: UUID) -> int:
        """Send failed and unsettled items again; returns how many."""
        ...

    def fix_image(self, image_id: UUID, fix: ImageFix) -> Image:
        """Correct a row; its version rises and a worker carries it to the index."""
        ...

    def delete_image(self, image_id: UUID) -> None:
        """Leave a tombstone; a worker removes index point, blob and row."""
        ...

    def log_query(
        self,
        asked: str,
        *,
        key_id: UUID | None,
        photo_sha256: str | None,
        bundle: str,
        index_build: str | None,
    ) -> None:
        """Write one line of the audit: a hash of the photo, never the photo."""
        ...


class Database(Protocol):
    """Hands out units of work; leaving one without an error commits it and sends its jobs."""

    def read(self, organization_id: UUID) -> AbstractContextManager[CatalogueReader]:
        """A read-only look at one organisation."""
        ...

    def write(self, organization_id: UUID) -> AbstractContextManager[CatalogueWriter]:
        """A transaction in one organisation."""
        ...


class OriginalKeeper(Protocol):
    """Puts a file's original where its source's policy wants it."""

    def __call__(self, item: ClaimedItem, reading: Reading) -> list[str | None]:
        """One locator for each face of the reading; None where nothing is kept."""
        ...


class Ledger(Protocol):
    """The catalogue as workers see it: every organisation's rows, each call one transaction."""

    def claim(self, ids: Sequence[UUID], worker: str) -> list[ClaimedItem]:
        """Take items that nobody else holds; those tried too often are failed instead."""
        ...

    def settle(
        self, verdicts: Mapping[UUID, Rejected], verdict: Literal["rejected", "failed"]
    ) -> None:
        """Give items their last word."""
        ...

    def keep(
        self, readings: Sequence[tuple[ClaimedItem, Reading]], originals: OriginalKeeper
    ) -> list[Kept]:
        """Turn readings of one source into rows, thumbnails and counters, or into duplicates.

        Args:
            readings: Items with what was read of them.
            originals: Called for a file whose bytes are new; says where its originals lie.
        """
        ...

    def save_vectors(self, contract: str, vectors: Sequence[Embedded]) -> None:
        """Store vectors as fp16; one whose image has other bytes by now is dropped."""
        ...

    def indexing(
        self, ids: Sequence[UUID], contract: str
    ) -> AbstractContextManager[list[IndexPoint]]:
        """Pending images that have a vector, locked; leaving without an error marks them indexed.

        Their items are settled in the same transaction.
        """
        ...

    def give_back(self, ids: Sequence[UUID]) -> None:
        """Free items that were not to blame; the try is not counted."""
        ...

    def unused(self, locators: Sequence[str]) -> list[str]:
        """Those of these blobs that no image and no open item names."""
        ...

    def release(self, worker: str) -> int:
        """Give up every lease of a worker; returns how many items are free again."""
        ...

    def erasing(
        self, ids: Sequence[UUID] | None
    ) -> AbstractContextManager[tuple[list[Grave], list[str]]]:
        """Deleted images, locked, and the blobs only they need; leaving removes the rows."""
        ...

    def forgetting(self, older_than_s: float) -> AbstractContextManager[list[UUID]]:
        """Ids whose tombstones are old enough; leaving without an error drops them."""
        ...

    def leases(self) -> list[str]:
        """Workers that hold a lease."""
        ...

    def lost_items(self, limit: int) -> list[tuple[UUID, int]]:
        """Unsettled items without a valid lease, oldest first, with their attempts."""
        ...

    def lost_images(self, contract: str, limit: int) -> list[UUID]:
        """Pending images that have a vector and so only wait for the index."""
        ...

    def lost_graves(self, limit: int) -> list[UUID]:
        """Deleted images that still have a row."""
        ...

    def versions(self, after: UUID | None, limit: int, contract: str) -> list[tuple[UUID, int]]:
        """`(id, version)` of all rows that the index must hold, in id order."""
        ...

    def live(self, ids: Sequence[UUID]) -> set[UUID]:
        """Those of these ids that have a row which is indexed or waits for it."""
        ...

    def mark_pending(self, ids: Sequence[UUID]) -> None:
        """Send indexed images through the index stage again."""
        ...
