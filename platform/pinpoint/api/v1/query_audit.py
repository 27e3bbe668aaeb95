"""Rows of the audit log of queries: hashes of photos, bundle, index build; never a photo."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from pinpoint.records import Answer, AuditEntry, Caller, KeptQuery, SimilarResult
from pinpoint.records.audit import AuditOperation
from pinpoint.search.context import QueryPhoto


def list_locate_entries(
    answer: Answer,
    photos: Sequence[QueryPhoto],
    caller: Caller,
    *,
    kept_query: KeptQuery | None,
    has_position: bool,
    operation: AuditOperation = "locate",
) -> list[AuditEntry]:
    """Return an entry for each photo of a locate query.

    Args:
        answer: Its answer.
        photos: Its photos.
        caller: Its caller.
        kept_query: The kept query, if the caller asked to keep the answer; it is the target.
        has_position: Whether the located point is stored (`PINPOINT_API_AUDIT_POSITIONS`).
        operation: `locate`, or `create_dossier` if the answer is returned as a dossier.
    """
    has_abstained = answer.point is None or answer.calibrated_result.abstention_reason is not None
    entry = AuditEntry(
        operation=operation,
        key_id=caller.key_id,
        status="abstained" if has_abstained else "succeeded",
        target_id=None if kept_query is None else kept_query.id,
        bundle=answer.bundle,
        index_build=answer.index_build,
        point=answer.point if has_position else None,
    )
    return repeat_for_photos(entry, photos)


def list_similar_entries(
    result: SimilarResult,
    photos: Sequence[QueryPhoto],
    caller: Caller,
    image_id: UUID | None,
    operation: AuditOperation = "similar",
) -> list[AuditEntry]:
    """Return the entries of a query for images; `image_id` is the image it starts from."""
    entry = AuditEntry(
        operation=operation,
        key_id=caller.key_id,
        target_id=image_id,
        bundle=result.bundle,
        index_build=result.index_build,
    )
    return repeat_for_photos(entry, photos)


def repeat_for_photos(entry: AuditEntry, photos: Sequence[QueryPhoto]) -> list[AuditEntry]:
    """Return an entry with the hash of each photo; without photos, the entry itself."""
    hashes = sorted({hashlib.sha256(photo.data).hexdigest() for photo in photos})
    return [replace(entry, photo_sha256=photo_sha256) for photo_sha256 in hashes] or [entry]
