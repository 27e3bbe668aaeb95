"""Rows of the audit log: who asked or exported what, never a photo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, insert

from pinpoint.store.db.access_tables import audit_log


def insert_query(
    connection: Connection,
    organization_id: UUID,
    operation: str,
    *,
    key_id: UUID | None,
    photo_sha256s: Sequence[str],
    bundle: str,
    index_build: str | None,
) -> None:
    """Insert one row for each photo of a query, or one row for a query without a photo."""
    hashes: list[bytes | None] = [bytes.fromhex(digest) for digest in photo_sha256s]
    connection.execute(
        insert(audit_log),
        [
            {
                "id": uuid4(),
                "organization_id": organization_id,
                "key_id": key_id,
                "operation": operation,
                "photo_sha256": photo_sha256,
                "bundle": bundle,
                "index_build": index_build,
            }
            for photo_sha256 in hashes or [None]
        ],
    )


def insert_export(
    connection: Connection,
    organization_id: UUID,
    key_id: UUID | None,
    num_rows: int,
    image_filter: Mapping[str, Any],
) -> None:
    """Insert the row of one export; `image_filter` has its format and filter as JSON values."""
    connection.execute(
        insert(audit_log).values(
            id=uuid4(),
            organization_id=organization_id,
            key_id=key_id,
            operation="export",
            num_rows=num_rows,
            image_filter=dict(image_filter),
        )
    )


def insert_area_change(
    connection: Connection,
    organization_id: UUID,
    operation: str,
    *,
    key_id: UUID | None,
    area: Mapping[str, str],
) -> None:
    """Insert the row of a change of a protected area; `area` has its id and name."""
    connection.execute(
        insert(audit_log).values(
            id=uuid4(),
            organization_id=organization_id,
            key_id=key_id,
            operation=operation,
            image_filter={"protected_area": dict(area)},
        )
    )
