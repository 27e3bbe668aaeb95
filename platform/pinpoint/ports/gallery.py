"""Port of entry points: read-only questions about one organization's gallery."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol
from uuid import UUID


class GalleryReader(Protocol):
    """Rows of one organization's layers; rows of other organizations cannot be reached."""


class Gallery(Protocol):
    """Opens gallery readers."""

    def read(self, organization_id: UUID) -> AbstractContextManager[GalleryReader]:
        """A read-only transaction in one organization."""
        ...
