"""Port of entry points: read-only questions about one organization's gallery."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID

from pinpoint.records import ExportRequest, ExportRows


class GalleryReader(Protocol):
    """Rows of one organization's layers; rows of other organizations cannot be reached."""


class Gallery(Protocol):
    """Opens gallery readers."""

    def read(self, organization_id: UUID) -> AbstractContextManager[GalleryReader]:
        """A read-only transaction in one organization."""
        ...

    def export(
        self, organization_id: UUID, request: ExportRequest, limit_s: float
    ) -> AbstractContextManager[ExportRows]:
        """A read-only transaction with the rows of an export, all of one state of the gallery.

        Args:
            organization_id: Organization of the rows.
            request: Rows and columns.
            limit_s: Time limit of reading all rows, seconds.

        Raises:
            BadRequestError: No image has an embedding of the requested channel.
        """
        ...
