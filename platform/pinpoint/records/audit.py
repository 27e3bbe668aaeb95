"""Rows of the audit log: who asked, exported or changed what; never a photo."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

from pinpoint.records.primitives import Point

AuditOperation = Literal[
    "locate",
    "create_dossier",
    "similar",
    "search",
    "detect_misuse",
    "list_kept_queries",
    "delete_kept_query",
    "read_report",
    "export",
    "get_image_file",
    "add_source",
    "delete_source",
    "open_batch",
    "upload_images",
    "cancel_batch",
    "update_image",
    "update_images",
    "delete_image",
    "create_key",
    "rotate_key",
    "revoke_key",
    "create_protected_area",
    "replace_protected_area",
    "delete_protected_area",
    "create_organization",
    "disable_organization",
]
AUDIT_OPERATIONS: Final[tuple[AuditOperation, ...]] = get_args(AuditOperation)
AuditStatus = Literal["succeeded", "abstained", "refused"]
"""`abstained`: an answer without a certain point; `refused`: a rule of access forbids it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One operation for the audit log."""

    operation: AuditOperation
    key_id: UUID | None
    """API key of the caller; None for the operator."""
    status: AuditStatus = "succeeded"
    target_id: UUID | None = None
    """The image, batch, source, key, kept query or organization that the operation is about."""
    photo_sha256: str | None = None
    """Hash of the query photo, 64 hex digits."""
    bundle: str | None = None
    index_build: str | None = None
    num_rows: int | None = None
    """Number of rows or files that were sent, uploaded, changed or deleted."""
    image_filter: Mapping[str, object] | None = None
    """Format and filter of an export as JSON values."""
    point: Point | None = None
    """The located point; None unless `PINPOINT_API_AUDIT_POSITIONS` is set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """One stored row of the audit log."""

    id: UUID
    created_at: datetime
    request_id: str | None
    key_name: str | None
    """Name of the key; None for the operator."""
    entry: AuditEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Conditions on rows of the audit log, all of which must hold; None: no condition."""

    operation: AuditOperation | None = None
    key_id: UUID | None = None
    start: datetime | None = None
    """First time that is included."""
    before: datetime | None = None
    """First time that is not included."""
