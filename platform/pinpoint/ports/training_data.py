"""Port of training: catalog rows."""

from __future__ import annotations

from typing import Protocol

from pinpoint.records import TrainingSource


class TrainingDataReader(Protocol):
    """Ingested images with the paths of their stored files."""

    def read(self, source: str, organization: str) -> TrainingSource:
        """One source's rows from one snapshot.

        Args:
            source: Name or id of the source.
            organization: Name or id of its organization.

        Raises:
            NotFoundError: No such organization exists, or it has no such source.
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        ...
