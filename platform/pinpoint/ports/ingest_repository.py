"""Port of workers: rows of all organizations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.records import (
    ClaimedItem,
    DecodedImage,
    Embedded,
    IndexPoint,
    PendingDeletion,
    Rejected,
    UpsertResult,
    Vector,
)

EncodePositions = Callable[[NDArray[np.float64]], Vector]
"""Maps positions `[B, 2]` (lat, lon in degrees) to unit vectors `[B, D]`:
`Encoder.encode_positions`."""


class OriginalStore(Protocol):
    """Finds the location of a file's original by the policy of its source."""

    def __call__(self, item: ClaimedItem, reading: DecodedImage) -> list[str | None] | None:
        """Return one URI per face of the reading; None if the bytes must be stored first.

        Called in a transaction, so it copies no bytes itself.
        """
        ...


class IngestRepository(Protocol):
    """Catalog access of workers: rows of all organizations; each call is one transaction."""

    def claim(self, ids: Sequence[UUID], worker: str) -> list[ClaimedItem]:
        """Claim free items; items with too many attempts are failed instead.

        Items with unreadable rows are rejected after their attempt was counted. If several
        ids are given, only items without an attempt are claimed: an item with an earlier attempt
        is claimed alone.
        """
        ...

    def record_dead_letter(self, ids: Sequence[UUID]) -> None:
        """Record that the broker gave up the task of these items.

        Items of a chunk lose one attempt; an item that was alone in its task fails.
        """
        ...

    def lease_heartbeat(self, ids: Sequence[UUID], worker: str) -> AbstractContextManager[None]:
        """Renew a worker's leases until the block ends, for at most one hour."""
        ...

    def finish_items(
        self, rejections: Mapping[UUID, Rejected], status: Literal["rejected", "failed"]
    ) -> None:
        """Set the final status of items."""
        ...

    def upsert_images(
        self, readings: Sequence[tuple[ClaimedItem, DecodedImage]], originals: OriginalStore
    ) -> list[UpsertResult]:
        """Convert readings of one source to rows, thumbnails and counters, or to duplicates.

        Args:
            readings: Items and their decoded files.
            originals: Called for a file with new bytes; returns the URIs of its originals. A
                file without stored bytes `waits`, and so do the items that depend on its result:
                nothing is written for them.
        """
        ...

    def save_vectors(
        self,
        contract: str,
        vectors: Sequence[Embedded],
        *,
        again: bool = False,
        encode_positions: EncodePositions | None = None,
    ) -> None:
        """Store vectors as fp16; skip a vector if the bytes of its image changed.

        Args:
            contract: Digest of the bundle that computed them.
            vectors: Each is valid only for the bytes it was computed from.
            again: True for vectors computed from stored files, outside a batch. An existing vector
                then stays, and the rows count as changed, so that a running index build reads them.
                Otherwise the index stage does this.
            encode_positions: Also stores vectors of the rows' positions as channel `gps`. Otherwise
                the index stage does this.
        """
        ...

    def lock_pending_images(
        self, ids: Sequence[UUID], contract: str, encode_positions: EncodePositions | None = None
    ) -> AbstractContextManager[list[IndexPoint]]:
        """Yield pending images with a vector, locked; the end of the block marks them indexed.

        Their items are finished in the same transaction. With `encode_positions` the vector of each
        row's position is stored and returned as channel `gps`.
        """
        ...

    def release_unprocessed(self, ids: Sequence[UUID], worker: str) -> None:
        """Release a worker's items that were not processed; the attempt is not counted."""
        ...

    def release_after_error(self, rejections: Mapping[UUID, Rejected], worker: str) -> None:
        """Release a worker's items after an unexpected error; the attempt counts."""
        ...

    def fail_images(self, ids: Sequence[UUID], error_code: str, error_message: str) -> None:
        """Mark pending images that the index rejects, and their waiting items, as failed."""
        ...

    def unused_blobs(self, uris: Sequence[str]) -> list[str]:
        """Filter the blobs that neither an image nor an open item references."""
        ...

    def release_worker(self, worker: str) -> int:
        """Release all leases of a worker; returns the number of released items."""
        ...

    def lock_pending_deletions(
        self, ids: Sequence[UUID] | None
    ) -> AbstractContextManager[tuple[list[PendingDeletion], list[str]]]:
        """Yield deleted images, locked, and blobs only they need; the end deletes the rows."""
        ...

    def expired_tombstones(self, older_than_s: float) -> AbstractContextManager[list[UUID]]:
        """Yield ids of expired tombstones; the end without an error deletes them."""
        ...

    def active_workers(self) -> list[str]:
        """Names of workers that hold a lease."""
        ...

    def expired_items(self, limit: int) -> list[tuple[UUID, int]]:
        """Open items without a valid lease, oldest first, with their attempts."""
        ...

    def unindexed_images(self, contract: str, limit: int) -> list[UUID]:
        """Pending images that have a vector and only wait for the index."""
        ...

    def pending_deletions(self, limit: int) -> list[UUID]:
        """Deleted images that still have a row."""
        ...

    def versions(self, after: UUID | None, limit: int, contract: str) -> list[tuple[UUID, int]]:
        """`(id, version)` of all rows that the index must contain, in id order."""
        ...

    def live_versions(self, ids: Sequence[UUID]) -> dict[UUID, int]:
        """Versions of the ids with a row that is indexed or pending."""
        ...

    def orphaned_points(
        self, source_id: UUID, ids: Sequence[UUID]
    ) -> AbstractContextManager[tuple[list[UUID], dict[UUID, int]]]:
        """Yield the ids of a source without a live row, and their tombstones, if any.

        None of them gets a row before the block ends.
        """
        ...

    def bump_versions(self, versions: Mapping[UUID, int]) -> None:
        """Raise live rows above these versions and process them in the index stage again."""
        ...

    def mark_pending(self, ids: Sequence[UUID]) -> None:
        """Process indexed images in the index stage again."""
        ...
