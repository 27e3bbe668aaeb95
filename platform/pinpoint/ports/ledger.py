"""What workers ask of every organisation's rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from pinpoint.records import (
    ClaimedItem,
    Embedded,
    Grave,
    IndexPoint,
    Kept,
    Reading,
    Rejected,
    Vector,
)

EncodePlaces = Callable[[NDArray[np.float64]], Vector]
"""Positions `[B, 2]` lat, lon in degrees to unit vectors `[B, D]`: `Encoder.encode_places`."""


class OriginalKeeper(Protocol):
    """Says where a file's original lies, by its source's policy."""

    def __call__(self, item: ClaimedItem, reading: Reading) -> list[str | None] | None:
        """One locator for each face of the reading; None: its bytes must be brought there first.

        Asked in a transaction, so it moves no bytes itself.
        """
        ...


class Ledger(Protocol):
    """The catalogue as workers see it: every organisation's rows, each call one transaction."""

    def claim(self, ids: Sequence[UUID], worker: str) -> list[ClaimedItem]:
        """Take items that nobody else holds; those tried too often are failed instead.

        Those whose row cannot be read are rejected, after their try was counted. Of several only
        those never tried are taken: what was tried before goes alone.
        """
        ...

    def holding(self, ids: Sequence[UUID], worker: str) -> AbstractContextManager[None]:
        """Keep a worker's leases from ending until the block is left, an hour at most."""
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
            originals: Called for a file whose bytes are new; says where its originals lie. A file
                whose bytes are not there yet `waits`, and so does what hangs on its verdict:
                nothing is written of them.
        """
        ...

    def save_vectors(
        self,
        contract: str,
        vectors: Sequence[Embedded],
        *,
        again: bool = False,
        encode_places: EncodePlaces | None = None,
    ) -> None:
        """Store vectors as fp16; one whose image has other bytes by now is dropped.

        Args:
            contract: Digest of the bundle that made them.
            vectors: Good only for the bytes they were made from.
            again: Made of what is kept of the files, by no batch: a vector that is there by now
                stays, and the rows count as changed, so that a build of the index that runs sees
                them. Without it that is the index stage's work.
            encode_places: Stores vectors of the rows' positions as well, as channel `gps`. Without
                it that is the index stage's work.
        """
        ...

    def indexing(
        self, ids: Sequence[UUID], contract: str, encode_places: EncodePlaces | None = None
    ) -> AbstractContextManager[list[IndexPoint]]:
        """Pending images that have a vector, locked; leaving without an error marks them indexed.

        Their items are settled in the same transaction. With `encode_places` the vector of each
        row's own position is stored and goes along as channel `gps`.
        """
        ...

    def give_back(self, ids: Sequence[UUID], worker: str) -> None:
        """Free a worker's items that were not to blame; the try is not counted."""
        ...

    def put_off(self, verdicts: Mapping[UUID, Rejected], worker: str) -> None:
        """Free a worker's items after an error that nobody foresaw; their try counts."""
        ...

    def fail_images(self, ids: Sequence[UUID], reason: str, detail: str) -> None:
        """Give pending images up that the index cannot take, and the items that wait for them."""
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

    def live(self, ids: Sequence[UUID]) -> dict[UUID, int]:
        """Versions of those of these ids that have a row which is indexed or waits for it."""
        ...

    def strays(
        self, source_id: UUID, ids: Sequence[UUID]
    ) -> AbstractContextManager[tuple[list[UUID], dict[UUID, int]]]:
        """Those of a source's ids without a live row, and the tombstones some of them have.

        None of them gets a row before the block is left.
        """
        ...

    def overtake(self, versions: Mapping[UUID, int]) -> None:
        """Raise live rows above these versions and send them through the index stage again."""
        ...

    def mark_pending(self, ids: Sequence[UUID]) -> None:
        """Send indexed images through the index stage again."""
        ...
