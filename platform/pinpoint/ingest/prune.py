"""Prune: what nobody needs any more goes, once it is old enough that nobody can be about to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

from pinpoint.fault_isolation import Failures
from pinpoint.ports import BlobStore, Closing, Ledger

_PAGE: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was removed."""

    blobs: int
    halves: int
    queries: int
    organizations: int


def prune(
    *, closing: Closing, ledger: Ledger, blobs: BlobStore, orphan_s: float, audit_s: float
) -> Pruned:
    """Remove blobs without a row, old audit rows, and what is left of erased organisations.

    What fails for one of them is raised after all others had their turn.

    Args:
        closing: Rows of erased organisations, and the audit.
        ledger: Says which blobs are needed.
        blobs: Where the bytes are.
        orphan_s: A blob is put before its row is committed; one older than this has lost it.
        audit_s: How long the audit remembers a question.
    """
    failures = Failures()
    for organization_id in closing.closed():
        with failures.apart("organization", organization=str(organization_id)):
            # What came in while it was being erased: a request may have been under way.
            closing.close(organization_id)
            if not closing.graves(organization_id, 1) and closing.bytes_may_go():
                blobs.erase(organization_id)
    removed = halves = queries = organizations = 0
    listed = blobs.old(orphan_s)
    while page := list(islice(listed, _PAGE)):
        with failures.apart("blobs"):
            for locator in ledger.unused(page):
                blobs.delete(locator)
                removed += 1
    with failures.apart("halves"):
        halves = blobs.drop_halves(orphan_s)
    with failures.apart("queries"):
        queries = closing.forget_queries(audit_s)
    with failures.apart("organizations"):
        organizations = closing.finish()
    failures.raise_first()
    return Pruned(blobs=removed, halves=halves, queries=queries, organizations=organizations)
