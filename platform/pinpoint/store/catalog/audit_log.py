"""Rows of the audit log: who asked, exported or changed what, never a photo."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Row, Select, and_, insert, select, tuple_

from pinpoint import logs
from pinpoint.records import AuditEntry, Point
from pinpoint.records.audit import AuditFilter, AuditRow
from pinpoint.store.db.access_tables import api_keys, audit_log


def insert_entries(
    connection: Connection, organization_id: UUID, entries: Sequence[AuditEntry]
) -> None:
    """Insert one row for each entry, with the id of the current request.

    Args:
        connection: Of the current unit of work, so that a rollback discards the rows.
        organization_id: Organization of the rows.
        entries: Operations; at least one.
    """
    request_id = logs.current_context().get("request_id")
    connection.execute(
        insert(audit_log),
        [
            {
                "id": uuid4(),
                "organization_id": organization_id,
                "key_id": entry.key_id,
                "operation": entry.operation,
                "status": entry.status,
                "request_id": None if request_id is None else str(request_id),
                "target_id": entry.target_id,
                "photo_sha256": None
                if entry.photo_sha256 is None
                else bytes.fromhex(entry.photo_sha256),
                "bundle": entry.bundle,
                "index_build": entry.index_build,
                "num_rows": entry.num_rows,
                "image_filter": None if entry.image_filter is None else dict(entry.image_filter),
                "lat": None if entry.point is None else entry.point.lat,
                "lon": None if entry.point is None else entry.point.lon,
            }
            for entry in entries
        ],
    )


def list_rows(
    connection: Connection,
    organization_id: UUID,
    audit_filter: AuditFilter,
    *,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> list[AuditRow]:
    """List rows, newest first.

    Args:
        connection: Of the organization.
        organization_id: Organization of the rows.
        audit_filter: Conditions.
        limit: Maximum number of rows.
        before: Time and id of the last row of the previous page.
    """
    conditions = [audit_log.c.organization_id == organization_id]
    if audit_filter.operation is not None:
        conditions.append(audit_log.c.operation == audit_filter.operation)
    if audit_filter.key_id is not None:
        conditions.append(audit_log.c.key_id == audit_filter.key_id)
    if audit_filter.start is not None:
        conditions.append(audit_log.c.created_at >= audit_filter.start)
    if audit_filter.before is not None:
        conditions.append(audit_log.c.created_at < audit_filter.before)
    if before is not None:
        conditions.append(tuple_(audit_log.c.created_at, audit_log.c.id) < tuple_(*before))
    key_of_row = and_(
        api_keys.c.id == audit_log.c.key_id, api_keys.c.organization_id == organization_id
    )
    statement: Select[Any] = (
        select(*audit_log.c, api_keys.c.name.label("key_name"))
        .select_from(audit_log.outerjoin(api_keys, key_of_row))
        .where(*conditions)
        .order_by(audit_log.c.created_at.desc(), audit_log.c.id.desc())
        .limit(limit)
    )
    return [_to_audit_row(row) for row in connection.execute(statement)]


def _to_audit_row(row: Row[Any]) -> AuditRow:
    return AuditRow(
        id=row.id,
        created_at=row.created_at,
        request_id=row.request_id,
        key_name=row.key_name,
        entry=AuditEntry(
            operation=row.operation,
            key_id=row.key_id,
            status=row.status,
            target_id=row.target_id,
            photo_sha256=None if row.photo_sha256 is None else row.photo_sha256.hex(),
            bundle=row.bundle,
            index_build=row.index_build,
            num_rows=row.num_rows,
            image_filter=row.image_filter,
            point=None if row.lat is None else Point(row.lat, row.lon),
        ),
    )
