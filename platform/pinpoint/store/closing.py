"""Erasing an organisation, and what time takes: old audit rows.

An organisation is first marked: its name becomes `erased:<id>`, keys and audit go, every image gets
a tombstone. The row itself goes when its last tombstone does, because until then a slow writer
could bring a point of it back. All of it can be run again at any moment.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, Connection, Text, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from pinpoint.errors import NotFound
from pinpoint.store import erasing
from pinpoint.store.database import Transactions
from pinpoint.store.tables import (
    api_keys,
    batches,
    images,
    organizations,
    queries,
    source_roots,
    sources,
    tombstones,
)

DEFAULT: Final = "default"
"""The organisation that the embedded stack serves while there are no keys; it is always there."""

_MARK: Final[ColumnElement[str]] = func.concat("erased:", organizations.c.id.cast(Text))
_ERASED: Final = organizations.c.name == _MARK


class Closing:
    """`ports.Closing` on the owner's engine."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def find(self, name_or_id: str) -> UUID:
        """Id of an organisation, revoked and half erased ones too.

        Raises:
            NotFound: There is none of that name or id.
        """
        wanted = select(organizations.c.id).where(
            or_(organizations.c.name == name_or_id, organizations.c.id.cast(Text) == name_or_id)
        )
        with self._transactions.begin() as unit:
            found: UUID | None = unit.connection.execute(wanted).scalar_one_or_none()
        if found is None:
            raise NotFound(f"no organisation {name_or_id!r}")
        return found

    def close(self, organization_id: UUID) -> int:
        """Mark an organisation as erased and bury its images; returns how many."""
        with self._transactions.begin() as unit:
            connection = unit.connection
            _erase_sources(connection, organization_id)
            connection.execute(delete(queries).where(queries.c.organization_id == organization_id))
            keys = connection.execute(
                delete(api_keys).where(api_keys.c.organization_id == organization_id)
            )
            connection.execute(
                update(organizations)
                .where(organizations.c.id == organization_id)
                .values(
                    name=_MARK, revoked_at=func.coalesce(organizations.c.revoked_at, func.now())
                )
            )
            name = upsert(organizations).values(id=uuid4(), name=DEFAULT)
            connection.execute(name.on_conflict_do_nothing(index_elements=["name"]))
            if keys.rowcount:
                _keep_the_door_shut(connection)
            return len(erasing.bury(connection, images.c.organization_id == organization_id))

    def graves(self, organization_id: UUID, limit: int) -> list[UUID]:
        """Deleted images of an organisation that still have a row."""
        wanted = (
            select(images.c.id)
            .where(images.c.organization_id == organization_id, images.c.state == "deleted")
            .order_by(images.c.id)
            .limit(limit)
        )
        with self._transactions.begin() as unit:
            return list(unit.connection.execute(wanted).scalars())

    def closed(self) -> list[UUID]:
        """Organisations that are marked as erased."""
        with self._transactions.begin() as unit:
            return list(
                unit.connection.execute(select(organizations.c.id).where(_ERASED)).scalars()
            )

    def bytes_may_go(self) -> bool:
        """Whether no backup is running that may need blobs whose rows are gone."""
        with self._transactions.begin() as unit:
            return erasing.bytes_may_go(unit.connection)

    def finish(self) -> int:
        """Remove marked organisations of which nothing is left; returns how many."""
        with self._transactions.begin() as unit:
            connection = unit.connection
            erasing.remove_empty_sources(connection)
            left: list[Any] = [
                select(table.c.organization_id)
                .where(table.c.organization_id == organizations.c.id)
                .exists()
                for table in (sources, images, tombstones, queries, api_keys)
            ]
            gone = connection.execute(delete(organizations).where(_ERASED, *(~one for one in left)))
            return int(gone.rowcount)

    def forget_queries(self, older_than_s: float) -> int:
        """Remove audit rows older than this; returns how many."""
        with self._transactions.begin() as unit:
            gone = unit.connection.execute(
                delete(queries).where(
                    queries.c.asked_at < func.now() - timedelta(seconds=older_than_s)
                )
            )
            return int(gone.rowcount)


def _erase_sources(connection: Connection, organization_id: UUID) -> None:
    """Close all batches and mark all sources; those without an image go at once."""
    mine = select(sources.c.id).where(sources.c.organization_id == organization_id)
    ids: Sequence[UUID] = connection.execute(mine.order_by(sources.c.id)).scalars().all()
    for source_id in ids:
        # After whoever keeps readings of it now; whoever comes later finds it erased.
        erasing.lock_source(connection, source_id)
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
            licence=None,
            attribution=None,
            root=None,
        )
    )
    # Paths name people and places; the sources themselves go with their last image.
    connection.execute(
        delete(source_roots).where(source_roots.c.organization_id == organization_id)
    )
    erasing.remove_empty_sources(connection)


def _keep_the_door_shut(connection: Connection) -> None:
    """If the last keys went, leave a dead one.

    Where no key was ever made the embedded stack lets everybody on the machine in; erasing an
    organisation must not bring that back.
    """
    if connection.execute(select(api_keys.c.id).limit(1)).one_or_none() is not None:
        return
    default = select(organizations.c.id).where(organizations.c.name == DEFAULT)
    connection.execute(
        insert(api_keys).values(
            id=uuid4(),
            organization_id=connection.execute(default).scalar_one(),
            name="of an erased organisation",
            secret_sha256=secrets.token_bytes(32),
            scopes=[],
            revoked_at=func.now(),
        )
    )
