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
    halves: int
    queries: int
    organizations: int


def prune_leftovers(
    *,
    closing: TenantDeletion,
    ledger: IngestRepository,
    blobs: BlobStore,
    orphan_s: float,
    audit_s: float,
) -> PruneReport:
    """Remove blobs without a row, old audit rows, and the rest of erased organizations.

    If one of them fails, its error is raised after all others are done.

    Args:
        closing: Rows of erased organizations, and the audit log.
        ledger: Returns the blobs without a row.
        blobs: The blob store.
        orphan_s: Age in seconds after which a blob without a row is an orphan; a blob is stored
            before its row is committed.
        audit_s: Age in seconds at which audit rows are deleted.
    """
    failures = Failures()
    for organization_id in closing.closed():
        with failures.apart("organization", organization=str(organization_id)):
            # Erases data of requests that were running during the erasure.
            closing.close(organization_id)
            if not closing.graves(organization_id, 1) and closing.bytes_may_go():
                blobs.erase(organization_id)
    num_blobs = halves = queries = organizations = 0
    for page in batched(blobs.old(orphan_s), _BLOBS_PER_PAGE):
        with failures.apart("blobs"):
            for locator in ledger.unused(page):
                blobs.delete(locator)
                num_blobs += 1
    with failures.apart("halves"):
        halves = blobs.drop_halves(orphan_s)
    with failures.apart("queries"):
        queries = closing.forget_queries(audit_s)
    with failures.apart("organizations"):
        organizations = closing.finish()
    failures.raise_first()
    return PruneReport(blobs=num_blobs, halves=halves, queries=queries, organizations=organizations)
