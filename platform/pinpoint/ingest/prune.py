"""Prune: deletes unreferenced data that is too old to be referenced by a running write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pinpoint.fault_isolation import Failures
from pinpoint.iteration import batched
from pinpoint.ports import BlobStore, IngestRepository, TenantDeletion

_BLOBS_PER_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """Numbers of removed objects."""

    blobs: int
    partial_files: int
    audit_rows: int
    kept_queries: int
    organizations: int


def prune_leftovers(
    *,
    tenant_deletion: TenantDeletion,
    repository: IngestRepository,
    blobs: BlobStore,
    orphan_blob_ttl_s: float,
    audit_retention_s: float,
) -> PruneReport:
    """Remove blobs without a row, old audit rows, expired kept queries and erased organizations.

    If one of them fails, its error is raised after all others are done.

    Args:
        tenant_deletion: Rows of erased organizations, audit log and kept queries.
        repository: Returns the blobs without a row.
        blobs: The blob store.
        orphan_blob_ttl_s: Age in seconds after which a blob without a row is an orphan; a blob is
            stored before its row is committed.
        audit_retention_s: Age in seconds at which audit rows are deleted.
    """
    failures = Failures()
    for organization_id in tenant_deletion.deleted_organizations():
        with failures.isolate("organization", organization=str(organization_id)):
            # Erases data of requests that were running during the erasure.
            tenant_deletion.close(organization_id)
            if (
                not tenant_deletion.pending_deletions(organization_id, 1)
                and tenant_deletion.blob_deletion_allowed()
            ):
                blobs.erase(organization_id)
    num_blobs = partial_files = audit_rows = kept_queries = organizations = 0
    for page in batched(blobs.list_older_than(orphan_blob_ttl_s), _BLOBS_PER_PAGE):
        with failures.isolate("blobs"):
            for uri in repository.unused_blobs(page):
                blobs.delete(uri)
                num_blobs += 1
    with failures.isolate("partial files"):
        partial_files = blobs.delete_partial(orphan_blob_ttl_s)
    with failures.isolate("audit log"):
        audit_rows = tenant_deletion.prune_audit_log(audit_retention_s)
    with failures.isolate("kept queries"):
        kept_queries = tenant_deletion.prune_kept_queries()
    with failures.isolate("organizations"):
        organizations = tenant_deletion.finish()
    failures.raise_first()
    return PruneReport(
        blobs=num_blobs,
        partial_files=partial_files,
        audit_rows=audit_rows,
        kept_queries=kept_queries,
        organizations=organizations,
    )
