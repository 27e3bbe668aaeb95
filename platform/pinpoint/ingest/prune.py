"""Prune: what nobody needs any more goes, once it is old enough that nobody can be about to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Final

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

    Args:
        closing: Rows of erased organisations, and the audit.
        ledger: Says which blobs are needed.
        blobs: Where the bytes are.
        orphan_s: A blob is put before its row is committed; one older than this has lost it.
        audit_s: How long the audit remembers a question.
    """
    for organization_id in closing.closed():
        # What came in while it was being erased: a request may have been under way.
        closing.close(organization_id)
        if not closing.graves(organization_id, 1) and closing.bytes_may_go():
            blobs.erase(organization_id)
    removed = 0
    listed = blobs.old(orphan_s)
    while page := list(islice(listed, _PAGE)):
        for locator in ledger.unused(page):
            blobs.delete(locator)
            removed += 1
    return Pruned(
        blobs=removed,
        halves=blobs.drop_halves(orphan_s),
        queries=closing.forget_queries(audit_s),
        organizations=closing.finish(),
    )
