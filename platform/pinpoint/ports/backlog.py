"""What a change of the bundle asks of every organisation's rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol
from uuid import UUID

from pinpoint.records import StoredFile


class Backlog(Protocol):
    """Live images (indexed, or waiting for the index) that lack vectors of a contract."""

    def live(self) -> int:
        """How many live images there are."""
        ...

    def missing(
        self, contract: str, channels: Collection[str], *, under_way: bool = True
    ) -> list[UUID]:
        """Live images without a vector in each of these channels; those of a file together.

        Args:
            contract: Digest of the bundle whose vectors are wanted.
            channels: All of them have to be there.
            under_way: Also those that an unsettled item of a batch still works on.
        """
        ...

    def outlast(self) -> None:
        """Wait until every transaction that writes now has ended.

        Raises:
            DatabaseUnavailable: One does not end for minutes.
        """
        ...

    def files(self, ids: Sequence[UUID]) -> list[StoredFile]:
        """What is kept of these images' files; images that are gone are left out."""
        ...
