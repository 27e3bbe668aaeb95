"""What training asks of the catalogue."""

from __future__ import annotations

from typing import Protocol

from pinpoint.records import TrainingSource


class Gallery(Protocol):
    """Images that were ingested, with the places where their pictures are kept."""

    def read(self, source: str, organization: str) -> TrainingSource:
        """One source's rows, of one moment.

        Args:
            source: Name or id.
            organization: Whose it is, name or id.

        Raises:
            NotFound: There is no such organisation, or no such source in it.
            DatabaseUnavailable: PostgreSQL does not answer.
        """
        ...
