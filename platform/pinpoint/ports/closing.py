"""What erasing an organisation, and time, ask of every organisation's rows."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID


class Closing(Protocol):
    """Rows of organisations that go for good; each call is one transaction."""

    def find(self, name_or_id: str) -> UUID:
        """Id of an organisation, revoked and half erased ones too.

        Raises:
            NotFound: There is none of that name or id.
        """
        ...

    def close(self, organization_id: UUID) -> int:
        """Mark an organisation as erased and bury its images; returns how many."""
        ...

    def graves(self, organization_id: UUID, limit: int) -> list[UUID]:
        """Deleted images of an organisation that still have a row."""
        ...

    def closed(self) -> list[UUID]:
        """Organisations that are marked as erased."""
        ...

    def bytes_may_go(self) -> bool:
        """Whether no backup is running that may need blobs whose rows are gone."""
        ...

    def finish(self) -> int:
        """Remove marked organisations of which nothing is left; returns how many."""
        ...

    def forget_queries(self, older_than_s: float) -> int:
        """Remove audit rows older than this; returns how many."""
        ...
