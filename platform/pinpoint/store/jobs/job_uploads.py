"""Uploaded photos of a job that has not started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID, uuid4

from sqlalchemy import Connection, func, insert, select, update

from pinpoint.records.jobs import UploadStatus
from pinpoint.store.db.job_tables import job_items


def add_uploads(
    connection: Connection,
    organization_id: UUID,
    job_id: UUID,
    uploads: Mapping[str, str],
    *,
    has_lines: bool,
) -> dict[str, UploadStatus]:
    """Add photos as items, or to the lines that refer to them.

    Args:
        connection: Transaction that has locked the job.
        organization_id: Organization of the job.
        job_id: The job.
        uploads: URI of each photo by its name.
        has_lines: Whether the items are lines of a JSONL file.

    Returns:
        Status by name; photos that are not `stored` are not referenced by any row.
    """
    statuses = _choose_statuses(connection, job_id, uploads, has_lines=has_lines)
    stored = {name: uri for name, uri in uploads.items() if statuses[name] == "stored"}
    if has_lines:
        for name, uri in stored.items():
            connection.execute(
                update(job_items)
                .where(
                    job_items.c.job_id == job_id,
                    job_items.c.file == name,
                    job_items.c.state == "open",
                )
                .values(uri=uri)
            )
    elif stored:
        _insert_files(connection, organization_id, job_id, stored)
    return statuses


def _choose_statuses(
    connection: Connection, job_id: UUID, names: Iterable[str], *, has_lines: bool
) -> dict[str, UploadStatus]:
    names = list(names)
    rows = connection.execute(
        select(job_items.c.file, func.bool_or(job_items.c.uri.is_not(None)).label("is_uploaded"))
        .where(
            job_items.c.job_id == job_id,
            job_items.c.state == "open",
            job_items.c.file.in_(names),
        )
        .group_by(job_items.c.file)
    )
    is_uploaded = {row.file: row.is_uploaded for row in rows}
    statuses: dict[str, UploadStatus] = {}
    for name in names:
        if is_uploaded.get(name, False):
            statuses[name] = "repeated"
        elif has_lines and name not in is_uploaded:
            statuses[name] = "not_referenced"
        else:
            statuses[name] = "stored"
    return statuses


def _insert_files(
    connection: Connection, organization_id: UUID, job_id: UUID, uploads: Mapping[str, str]
) -> None:
    """Add one item for each photo, after the last one."""
    last = connection.execute(
        select(func.coalesce(func.max(job_items.c.position), 0)).where(job_items.c.job_id == job_id)
    ).scalar_one()
    connection.execute(
        insert(job_items),
        [
            {
                "id": uuid4(),
                "organization_id": organization_id,
                "job_id": job_id,
                "position": position,
                "custom_id": name,
                "file": name,
                "uri": uri,
                "parameters": {},
                "state": "open",
            }
            for position, (name, uri) in enumerate(uploads.items(), start=last + 1)
        ],
    )
