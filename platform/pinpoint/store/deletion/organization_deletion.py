"""Deletion of organizations, of old rows of the audit log, and of expired kept queries.

An organization is first marked as erased: its name becomes `erased:<id>`, its keys, audit rows,
kept queries, webhooks and jobs are deleted, and every image gets a tombstone. The organization's
row is deleted with its last tombstone: until then a slow writer could restore a point of it. Every
step can be repeated at any time.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Text, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert

from pinpoint.errors import NotFoundError
from pinpoint.records import DEFAULT_ORGANIZATION
from pinpoint.store.db.access_tables import api_keys, audit_log, organizations
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.idempotency_tables import idempotency_keys
from pinpoint.store.db.job_tables import jobs
from pinpoint.store.db.protected_area_tables import protected_areas
from pinpoint.store.db.quality_report_tables import quality_reports
from pinpoint.store.db.tables import (
    batches,
    images,
    kept_queries,
    source_roots,
    sources,
    tombstones,
)
from pinpoint.store.db.webhook_tables import webhooks
from pinpoint.store.deletion import image_deletion

"""Organization that the embedded stack uses while no keys exist; it always exists."""

_ERASED_NAME: Final[ColumnElement[str]] = func.concat("erased:", organizations.c.id.cast(Text))
_IS_ERASED: Final = organizations.c.name == _ERASED_NAME


class OrganizationDeletion:
    """Implements `ports.TenantDeletion` on the owner's engine."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def find(self, name_or_id: str) -> UUID:
        """Id of an organization, including disabled and partly erased ones.

        Raises:
            NotFoundError: No organization has this name or id.
        """
        statement = select(organizations.c.id).where(
            or_(organizations.c.name == name_or_id, organizations.c.id.cast(Text) == name_or_id)
        )
        with self._transactions.begin() as unit:
            organization_id: UUID | None = unit.connection.execute(statement).scalar_one_or_none()
        if organization_id is None:
            raise NotFoundError(f"no organization {name_or_id!r}")
        return organization_id

    def close(self, organization_id: UUID) -> int:
        """Mark an organization as erased and its images as deleted; returns their number."""
        with self._transactions.begin() as unit:
            connection = unit.connection
            _erase_sources(connection, organization_id)
            for table in (
                *(audit_log, kept_queries, webhooks, idempotency_keys, jobs),
                protected_areas,
                quality_reports,
            ):
                connection.execute(delete(table).where(table.c.organization_id == organization_id))
            keys = connection.execute(
                delete(api_keys).where(api_keys.c.organization_id == organization_id)
            )
            connection.execute(
                update(organizations)
                .where(organizations.c.id == organization_id)
                .values(
                    name=_ERASED_NAME,
                    disabled_at=func.coalesce(organizations.c.disabled_at, func.now()),
                )
            )
            default_row = postgresql_insert(organizations).values(
                id=uuid4(), name=DEFAULT_ORGANIZATION
            )
            connection.execute(default_row.on_conflict_do_nothing(index_elements=["name"]))
            if keys.rowcount:
                _keep_revoked_key(connection)
            return len(
                image_deletion.mark_deleted(connection, images.c.organization_id == organization_id)
            )

    def pending_deletions(self, organization_id: UUID, limit: int) -> list[UUID]:
        """Deleted images of an organization that still have a row."""
        statement = (
            select(images.c.id)
            .where(images.c.organization_id == organization_id, images.c.state == "deleted")
            .order_by(images.c.id)
            .limit(limit)
        )
        with self._transactions.begin() as unit:
            return list(unit.connection.execute(statement).scalars())

    def deleted_organizations(self) -> list[UUID]:
        """Organizations that are marked as erased."""
        with self._transactions.begin() as unit:
            return list(
                unit.connection.execute(select(organizations.c.id).where(_IS_ERASED)).scalars()
            )

    def blob_deletion_allowed(self) -> bool:
        """Whether no backup is running that may need blobs of deleted rows."""
        with self._transactions.begin() as unit:
            return image_deletion.blob_deletion_allowed(unit.connection)

    def finish(self) -> int:
        """Delete erased organizations without remaining rows; returns their number."""
        with self._transactions.begin() as unit:
            connection = unit.connection
            image_deletion.remove_empty_sources(connection)
            remaining: list[Any] = [
                select(table.c.organization_id)
                .where(table.c.organization_id == organizations.c.id)
                .exists()
                for table in (
                    *(sources, images, tombstones, audit_log, kept_queries, idempotency_keys),
                    *(jobs, api_keys, webhooks, protected_areas, quality_reports),
                )
            ]
            deleted = connection.execute(
                delete(organizations).where(_IS_ERASED, *(~rows for rows in remaining))
            )
            return int(deleted.rowcount)

    def prune_audit_log(self, older_than_s: float) -> int:
        """Delete audit rows older than this; returns their number."""
        with self._transactions.begin() as unit:
            deleted = unit.connection.execute(
                delete(audit_log).where(
                    audit_log.c.created_at < func.now() - timedelta(seconds=older_than_s)
                )
            )
            return int(deleted.rowcount)

    def prune_kept_queries(self) -> int:
        """Delete expired kept queries; returns their number."""
        with self._transactions.begin() as unit:
            deleted = unit.connection.execute(
                delete(kept_queries).where(kept_queries.c.expires_at <= func.now())
            )
            return int(deleted.rowcount)


def _erase_sources(connection: Connection, organization_id: UUID) -> None:
    """Close all batches and mark all sources as erased; delete sources without images."""
    mine = select(sources.c.id).where(sources.c.organization_id == organization_id)
    ids: Sequence[UUID] = connection.execute(mine.order_by(sources.c.id)).scalars().all()
    for source_id in ids:
        # The lock waits for writers of this source; later writers see that it is erased.
        image_deletion.lock_source(connection, source_id)
    connection.execute(
        update(batches)
        .where(batches.c.organization_id == organization_id)
        .values(closed_at=func.coalesce(batches.c.closed_at, func.now()))
    )
    connection.execute(
        update(sources)
        .where(sources.c.organization_id == organization_id)
        .values(
            erased_at=func.coalesce(sources.c.erased_at, func.now()),
            name=func.concat("erased:", sources.c.id.cast(Text)),
            license=None,
            attribution=None,
        )
    )
    # Paths contain names of people and places; the sources are deleted with their last image.
    connection.execute(
        delete(source_roots).where(source_roots.c.organization_id == organization_id)
    )
    image_deletion.remove_empty_sources(connection)


def _keep_revoked_key(connection: Connection) -> None:
    """Insert a revoked key if no key remains.

    An installation that never had a key allows unauthenticated access from its machine; deletion of
    an organization must not restore that.
    """
    if connection.execute(select(api_keys.c.id).limit(1)).one_or_none() is not None:
        return
    default = select(organizations.c.id).where(organizations.c.name == DEFAULT_ORGANIZATION)
    connection.execute(
        insert(api_keys).values(
            id=uuid4(),
            organization_id=connection.execute(default).scalar_one(),
            name="of an erased organization",
            secret_sha256=secrets.token_bytes(32),
            scopes=[],
            revoked_at=func.now(),
        )
    )
