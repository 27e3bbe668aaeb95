"""Port of the deletion of organizations, old audit rows and expired kept queries."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID


class TenantDeletion(Protocol):
    """Rows of organizations under deletion; each call is one transaction."""

    def find(self, name_or_id: str) -> UUID:
        """Id of an organization, including disabled and partly erased ones.

        Raises:
            NotFoundError: No organization has this name or id.
        """
        ...

    def close(self, organization_id: UUID) -> int:
        """Mark an organization as erased and its images as deleted; returns their number."""
        ...

    def pending_deletions(self, organization_id: UUID, limit: int) -> list[UUID]:
        """Deleted images of an organization that still have a row."""
        ...

    def deleted_organizations(self) -> list[UUID]:
        """Organizations that are marked as erased."""
        ...

    def blob_deletion_allowed(self) -> bool:
        """Whether no backup is running that may need blobs of deleted rows."""
        ...

    def finish(self) -> int:
        """Delete erased organizations without remaining rows; returns their number."""
        ...

    def prune_audit_log(self, older_than_s: float) -> int:
        """Delete audit rows older than this; returns their number."""
        ...

    def prune_kept_queries(self) -> int:
        """Delete expired kept queries; returns their number."""
        ...
