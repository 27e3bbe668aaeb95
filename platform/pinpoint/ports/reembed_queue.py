"""Port of the re-embedding after a change of the bundle: rows of all organizations."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

from pinpoint.records import StoredFile


class ReembedQueue(Protocol):
    """Live images (indexed, or waiting for the index) without vectors of a contract."""

    def count_live(self) -> int:
        """Number of live images."""
        ...

    def list_missing(
        self, contract: str, channels: Collection[str], *, include_in_progress: bool = True
    ) -> list[UUID]:
        """Live images that lack a vector in any of these channels, sorted by file.

        Args:
            contract: Digest of the bundle whose vectors are checked.
            channels: Required channels.
            include_in_progress: Include images that an unfinished batch item still processes.
        """
        ...

    def wait_for_open_transactions(self) -> None:
        """Wait until all transactions that are writing now have ended.

        Raises:
            DatabaseUnavailableError: A transaction does not end for minutes.
        """
        ...

    def files(self, ids: Sequence[UUID]) -> list[StoredFile]:
        """Stored files of these images; deleted images are omitted."""
        ...
